"""The tests. `python -m tests` runs all of them, with format, lint, types and layers, and prints one summary."""
