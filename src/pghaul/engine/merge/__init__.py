"""The recipe merge: increments of tables and queries into staging tables, and from there in one transaction."""
