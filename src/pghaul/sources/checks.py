"""What CHECK constraints say of the rows of an inheritance tree, in one query for all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from psycopg.sql import SQL

from pghaul.model.bounds import Bounds, Strategy
from pghaul.model.table import Name, Table
from pghaul.postgres.catalog_sql import NAMED
from pghaul.postgres.expressions import parse_check

if TYPE_CHECKING:
    from pghaul.postgres.session import Session

CHECKS = SQL(
    """
SELECT n.nspname::text, c.relname::text, pg_catalog.pg_get_expr(k.conbin, k.conrelid), k.convalidated
FROM {named} w
JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname
JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'c'
ORDER BY c.oid, k.convalidated DESC, k.conname
"""
).format(named=NAMED)


def check_bounds(session: Session, tables: Mapping[Name, Table]) -> dict[Name, dict[str, Bounds]]:
    """By table and column. A constraint that nobody has validated counts where no other says anything."""
    names = list(tables)
    found: dict[Name, dict[str, Bounds]] = {n: {} for n in names}
    for schema, table, expression, validated in session.rows(
        CHECKS, ([n.schema for n in names], [n.name for n in names])
    ):
        name = Name(schema, table)
        types = {c.name: c.type for c in tables[name].columns}
        for said in parse_check(expression, types, trusted=validated).bounds:
            known = found[name].get(said.column)
            found[name][said.column] = said if known is None else _together(known, said)
    return found


def _together(known: Bounds, said: Bounds) -> Bounds:
    """Both hold; a claim does not narrow what is certain, nor a range a list."""
    if (known.trusted and not said.trusted) or Strategy.LIST in {known.strategy, said.strategy}:
        return known
    return known.intersect(said)
