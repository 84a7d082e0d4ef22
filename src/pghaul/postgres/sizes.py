"""Sizes on disk, set-wise. The server opens every file for them, and waits for whoever locks a table out.

Where that takes too long, sizes as of the last VACUUM or ANALYZE have to do: a look at a database must not hang on a
CLUSTER that somebody runs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.sql import SQL

from pghaul.model.errors import ServerBusyError

if TYPE_CHECKING:
    from pghaul.postgres.session import Session

SHORT_WAIT = "SET LOCAL lock_timeout = '500ms'"
SIZES = SQL(
    """
SELECT c.oid::int8, coalesce(pg_catalog.pg_relation_size(c.oid), 0)::int8,
       coalesce(pg_catalog.pg_indexes_size(c.oid), 0)::int8, coalesce(pg_catalog.pg_total_relation_size(c.oid), 0)::int8
FROM pg_catalog.pg_class c WHERE c.oid = ANY (%s::oid[])
"""
)
HEAPS = SQL(
    """
SELECT c.oid::int8, coalesce(pg_catalog.pg_relation_size(c.oid), 0)::int8, 0::int8, 0::int8
FROM pg_catalog.pg_class c WHERE c.oid = ANY (%s::oid[])
"""
)
REMEMBERED = SQL(
    """
SELECT c.oid::int8, c.relpages * b.size, x.pages * b.size, (c.relpages + coalesce(t.relpages, 0) + x.pages) * b.size
FROM pg_catalog.pg_class c
LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
CROSS JOIN (SELECT pg_catalog.current_setting('block_size')::int8 AS size) b
CROSS JOIN LATERAL (
    SELECT coalesce(pg_catalog.sum(r.relpages), 0)::int8 AS pages
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class r ON r.oid = i.indexrelid WHERE i.indrelid = c.oid) x
WHERE c.oid = ANY (%s::oid[])
"""
)


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes; `total` holds the heap, its indexes and what is stored out of line."""

    heap: int = 0
    indexes: int = 0
    total: int = 0


def sizes(session: Session, oids: Collection[int]) -> tuple[dict[int, Size], bool]:
    """By oid; and whether they are today's, not those of the last VACUUM."""
    return _asked(session, oids, SIZES)


def heap_sizes(session: Session, oids: Collection[int]) -> dict[int, int]:
    """Of the heaps alone, which is quicker."""
    return {oid: size.heap for oid, size in _asked(session, oids, HEAPS)[0].items()}


def _asked(session: Session, oids: Collection[int], query: SQL) -> tuple[dict[int, Size], bool]:
    params = (sorted(oids),)
    try:
        with session.transaction():
            session.execute(SHORT_WAIT)
            rows, exact = session.rows(query, params), True
    except ServerBusyError:
        rows, exact = session.rows(REMEMBERED, params), False
    return {oid: Size(heap, indexes, total) for oid, heap, indexes, total in rows}, exact
