"""Alembic revisions of the state store, shipped in the wheel and applied at first use."""
