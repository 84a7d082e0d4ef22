"""A table is not its own target: loading it from itself would double it, or wait for our own lock for ever.

One server has many addresses, and a copy of its files has its identifier: only a lock that is taken on one side and
seen from the other tells that both are the same database.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator

from pghaul.model.finding import Finding, Kind
from pghaul.model.placement import Placement
from pghaul.model.table import Name
from pghaul.model.text import say
from pghaul.postgres.session import Session

LOCK = "SELECT pg_catalog.pg_try_advisory_lock_shared(%s)"
UNLOCK = "SELECT pg_catalog.pg_advisory_unlock_shared(%s)"
SEEN = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_locks
     WHERE locktype = 'advisory' AND objsubid = 1 AND classid::int8 * 4294967296 + objid::int8 = %s
       AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
"""


def findings(source: Session, target: Session, placements: Iterable[Placement]) -> Iterator[Finding]:
    """One, where relations would be written that are read."""
    placed = list(placements)
    read = {origin.table for placement in placed for origin in placement.origins}
    both = sorted(p.target for p in placed if p.target in read)
    if both and one_database(source, target):
        yield _finding(both)


def one_database(source: Session, target: Session) -> bool:
    """Whether both sessions are in the very same database of the very same server."""
    if source.server.identity != target.server.identity:
        return False
    key = secrets.randbelow(1 << 62)
    source.rows(LOCK, (key,))
    try:
        return bool(target.value(SEEN, (key,)))
    finally:
        source.rows(UNLOCK, (key,))


def _finding(tables: list[Name]) -> Finding:
    return Finding(
        kind=Kind.USAGE,
        object=str(tables[0]),
        what=say(
            "source and target are one and the same database: {table} would be written from itself (tables: {n})",
            table=str(tables[0]),
            n=len(tables),
        ),
        where="--to",
        advice=say("name another database, or another place in this one: --into"),
        code=1154,
    )
