"""The error of an operation."""


class OperationError(Exception):
    """The operation failed. Its text is one line for the operator."""
