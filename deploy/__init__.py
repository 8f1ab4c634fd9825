"""Deploys the system. `stacks` deploys to any AWS; `local` runs a local AWS and the workers on this machine."""
