"""Runs the system on this machine: the local AWS, the stack, the workers and sample orders."""
