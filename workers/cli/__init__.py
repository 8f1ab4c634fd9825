"""`orders`, the operator's command line: parses arguments, calls `workers.operations`, prints results."""
