"""The edge to AWS: adapters for the ports, SDK errors translated once."""
