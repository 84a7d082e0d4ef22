"""Looks at the values of a key, under the session's snapshot. Each says what it costs: an index, or one scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psycopg import sql

from pghaul.model.bounds import Value
from pghaul.model.table import Name
from pghaul.postgres.bound_values import Family, family, read_value
from pghaul.sources.slices import Slice, both, place

if TYPE_CHECKING:
    from pghaul.postgres.session import Session

EXTREMES = sql.SQL(
    "SELECT (SELECT {key}::pg_catalog.text FROM ONLY {table} WHERE {where} ORDER BY {key} LIMIT 1), "
    "(SELECT {key}::pg_catalog.text FROM ONLY {table} WHERE {where} ORDER BY {key} DESC LIMIT 1)"
)
FINITE = sql.SQL("{key} > '-infinity' AND {key} < 'infinity'")
GIVEN = sql.SQL("{key} IS NOT NULL")
DISTINCT = sql.SQL(
    "SELECT v::pg_catalog.text FROM (SELECT DISTINCT {key} AS v FROM ONLY {table} WHERE {where} LIMIT {most}) AS d "
    "ORDER BY v"
)
PLACES = sql.SQL("SELECT DISTINCT {place} FROM ONLY {table}{where}")
ANY = sql.SQL("SELECT EXISTS (SELECT 1 FROM ONLY {table}{where})")
LEADING = """
SELECT EXISTS (
    SELECT 1 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    JOIN pg_catalog.pg_am m ON m.oid = x.relam JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
    WHERE n.nspname = %s AND c.relname = %s AND a.attname = %s AND i.indkey[0] = a.attnum AND m.amname = 'btree'
      AND i.indisvalid AND i.indpred IS NULL)
"""


def extremes(session: Session, table: Name, key: str, type_name: str, where: str) -> tuple[Value, Value] | None:
    """The smallest and the largest key of the rows that `where` keeps, infinite ones apart; None without any."""
    kind = family(type_name)
    endless = kind in {Family.DATE, Family.TIMESTAMP, Family.TIMESTAMPTZ}
    kept = (FINITE if endless else GIVEN).format(key=sql.Identifier(key)).as_string(None)
    query = EXTREMES.format(key=sql.Identifier(key), table=_only(table), where=sql.SQL(both(where, kept)))
    ((low, high),) = session.rows(query)
    return None if low is None else (read_value(low, kind), read_value(high, kind))


def distinct(session: Session, table: Name, key: str, where: str, most: int) -> list[str]:
    """The values of a key as text, at most one more than `most`. One scan."""
    given = GIVEN.format(key=sql.Identifier(key)).as_string(None)
    query = DISTINCT.format(
        key=sql.Identifier(key), table=_only(table), where=sql.SQL(both(where, given)), most=sql.Literal(most + 1)
    )
    return [text for (text,) in session.rows(query)]


def places(session: Session, table: Name, key: str, slices: Sequence[Slice], where: str) -> set[int]:
    """Which slices have rows here; NOWHERE among them where some belong to none. One scan."""
    query = PLACES.format(place=sql.SQL(place(key, slices)), table=_only(table), where=_where(where))
    return {int(number) for (number,) in session.rows(query)}


def any_row(session: Session, table: Name, where: str) -> bool:
    """Whether a row is there that `where` keeps."""
    return bool(session.value(ANY.format(table=_only(table), where=_where(where))))


def has_index(session: Session, table: Name, key: str) -> bool:
    """Whether ranges of this key can be read without reading the whole table."""
    return bool(session.value(LEADING, (table.schema, table.name, key)))


def _only(table: Name) -> sql.Composable:
    return sql.Identifier(table.schema, table.name)


def _where(condition: str) -> sql.Composable:
    return sql.SQL(" WHERE (\n{}\n)").format(sql.SQL(condition)) if condition else sql.SQL("")
