"""Adapters of the ports for AWS. `errors` translates the SDK's errors, `sdk` makes the SDK fast and safe."""
