"""Deploys the two CloudFormation stacks: `python -m deploy up`, `status` and `down`."""
