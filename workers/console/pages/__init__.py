"""The pages. Each module has the routes of one part; it calls `workers.operations` and renders a template."""
