"""The local state store: a mirror of what the ledger on the target decides, and what was planned and said."""
