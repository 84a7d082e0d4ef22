"""How declarative partitions are declared: keys and bounds, as the server writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.sql import SQL

from pghaul.model.table import Name
from pghaul.postgres.catalog_sql import NAMED

if TYPE_CHECKING:
    from pghaul.postgres.session import Session

PARTITIONING = SQL(
    """
SELECT n.nspname::text, c.relname::text, coalesce(pg_catalog.pg_get_partkeydef(c.oid), ''),
       coalesce(pg_catalog.pg_get_expr(c.relpartbound, c.oid), ''),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_partitioned_table p
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (p.partattrs) AND a.attnum > 0
             WHERE p.partrelid = c.oid)
FROM {named} w
JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname
WHERE c.relkind = 'p' OR c.relispartition
"""
).format(named=NAMED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partitioning:
    """`key` stands behind PARTITION BY, `bound` behind PARTITION OF; empty where the table is neither."""

    key: str = ""
    bound: str = ""
    key_columns: tuple[str, ...] = ()


def partitioning(session: Session, names: Sequence[Name]) -> dict[Name, Partitioning]:
    """Of those among these that take part in it."""
    if not names or not session.server.capabilities.declarative_partitions:
        return {}
    rows = session.rows(PARTITIONING, ([n.schema for n in names], [n.name for n in names]))
    return {Name(s, n): Partitioning(key=k, bound=b, key_columns=tuple(c)) for s, n, k, b, c in rows}
