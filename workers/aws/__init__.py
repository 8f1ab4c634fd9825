"""Implements the workers' ports with AWS. `errors` translates the SDK's errors; `sdk` makes the SDK fast and safe."""
