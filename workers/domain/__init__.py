"""Orders and escalations: rules and transitions. No AWS, no I/O."""
