"""Tests against real servers; `python -m tests.components` says which of them are here."""
