"""Deploys the system: `stacks` to AWS or to a local AWS, `local` starts the local AWS and workers on this machine."""
