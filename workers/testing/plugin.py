"""The fixtures: see docs/testing.md."""
