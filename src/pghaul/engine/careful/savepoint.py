"""The savepoint behind which a batch is tried."""

from __future__ import annotations

# A constraint that is checked at the commit only would fail all of it.
BEGIN = "SET CONSTRAINTS ALL IMMEDIATE; SAVEPOINT pghaul_rows"
FRESH = "RELEASE SAVEPOINT pghaul_rows; SAVEPOINT pghaul_rows"
BACK = "ROLLBACK TO SAVEPOINT pghaul_rows"
END = "RELEASE SAVEPOINT pghaul_rows"
