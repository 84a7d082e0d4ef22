"""Faults injected on purpose, and the count of what they cost: `python -m tests.faults.campaign`."""
