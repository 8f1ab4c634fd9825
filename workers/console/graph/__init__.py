"""Draws a Step Functions workflow, and the path of an execution through it, as SVG."""
