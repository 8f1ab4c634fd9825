"""A pytest plugin for other projects: the local AWS, the stack, workers and queues as fixtures."""
