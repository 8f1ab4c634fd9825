"""The web console: orders, cases, executions, dead letters, queues and workers in a browser."""
