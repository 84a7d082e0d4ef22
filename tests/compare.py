"""A full compare of two databases, independent of the product: every row, as text, as a multiset.

It shares no code with what it judges: no hash, no catalogue query, no COPY.

A float's text changed with PostgreSQL 12. Across that border floats, their arrays and shapes are compared by their
binary form; inside composites, domains and ranges by the 15 digits (6 of a float4) that both sides write alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import psycopg
from psycopg import sql

from pghaul.model.table import Name

Row: TypeAlias = tuple[bytes | None, ...]

SETTINGS = (
    "SET DateStyle = 'ISO'",
    "SET IntervalStyle = 'postgres'",
    "SET TimeZone = 'UTC'",
    "SET extra_float_digits = 3",
    "SET bytea_output = 'hex'",
    "SET lc_monetary = 'C'",
    "SET search_path = ''",
    "SET xmloption = 'content'",
)
SHORTEST_FLOATS = 120000
FLOAT_SEND = {
    "real": "float4send",
    "double precision": "float8send",
    "real[]": "array_send",
    "double precision[]": "array_send",
    "point": "point_send",
    "line": "line_send",
    "lseg": "lseg_send",
    "box": "box_send",
    "path": "path_send",
    "polygon": "poly_send",
    "circle": "circle_send",
}
COLUMNS = """
    SELECT a.attname, {generated}, pg_catalog.format_type(a.atttypid, NULL) FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
IS_ROOT = """
    SELECT c.relkind = 'p' FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = %s
"""


@dataclass(frozen=True, kw_only=True)
class Content:
    """What one table holds: its stored columns and each row with how often it is there."""

    columns: tuple[str, ...]
    rows: Counter[Row]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Rows of the source that the target has too few of, and rows the target has too many of."""

    lost: int = 0
    doubled: int = 0
    examples: tuple[str, ...] = ()
    tables: tuple[str, ...] = field(default=())

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.lost or self.doubled)

    def __add__(self, other: Difference) -> Difference:
        return Difference(
            lost=self.lost + other.lost,
            doubled=self.doubled + other.doubled,
            examples=(self.examples + other.examples)[:6],
            tables=self.tables + other.tables,
        )


def as_name(table: Name | str) -> Name:
    """ "schema.table" or a Name."""
    return table if isinstance(table, Name) else Name(*table.split(".", 1))


def exists(session: psycopg.Connection, table: Name | str) -> bool:
    """Whether there is such a relation."""
    name = as_name(table)
    return session.execute(IS_ROOT, (name.schema, name.name)).fetchone() is not None


def contents(
    url: str,
    tables: Iterable[Name | str],
    *,
    columns: Mapping[Name, Sequence[str]] | None = None,
    encoding: str | None = None,
    binary_floats: bool = False,
) -> dict[Name, Content]:
    """All rows of these tables in one snapshot; a missing table is absent from the answer.

    `encoding` is the Python codec of a SQL_ASCII database's bytes; other databases answer in UTF-8.
    """
    with psycopg.connect(url, client_encoding="SQL_ASCII" if encoding else "UTF8") as session:
        session.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        for setting in SETTINGS:
            session.execute(setting)
        if binary_floats:
            session.execute("SET extra_float_digits = 0")
        session.commit()
        names = [as_name(t) for t in tables]
        return {
            n: _content(session, n, (columns or {}).get(n), encoding, binary_floats)
            for n in names
            if exists(session, n)
        }


def _stored_columns(session: psycopg.Connection, table: Name) -> dict[str, str]:
    """Names and types."""
    generated = "a.attgenerated <> ''" if session.info.server_version >= 120000 else "false"
    query = sql.SQL(COLUMNS).format(generated=sql.SQL(generated))
    found = session.execute(query, (table.schema, table.name)).fetchall()
    return {_text(name): _text(kind) for name, is_generated, kind in found if not is_generated}


def _read(column: str, kind: str | None) -> sql.Composable:
    send = FLOAT_SEND.get(kind or "")
    value = sql.SQL("pg_catalog.{}({})").format(sql.SQL(send), sql.Identifier(column)) if send else None
    return (value or sql.Identifier(column)) + sql.SQL("::pg_catalog.text")


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _content(
    session: psycopg.Connection,
    table: Name,
    columns: Sequence[str] | None,
    encoding: str | None,
    binary_floats: bool,
) -> Content:
    root = session.execute(IS_ROOT, (table.schema, table.name)).fetchone()
    stored = _stored_columns(session, table)
    names = tuple(columns if columns is not None else stored)
    # A partitioned root has rows through its leaves only; an inheritance parent has its own.
    query = sql.SQL("SELECT {} FROM {} {}").format(
        sql.SQL(", ").join(_read(c, stored.get(c) if binary_floats else None) for c in names),
        sql.SQL("" if root and root[0] else "ONLY"),
        sql.Identifier(table.schema, table.name),
    )
    result = session.execute(query).pgresult
    assert result is not None
    width = range(len(names))
    rows = Counter(tuple(result.get_value(r, c) for c in width) for r in range(result.ntuples))
    return Content(columns=names, rows=_recoded(rows, encoding) if encoding else rows)


def _recoded(rows: Counter[Row], encoding: str) -> Counter[Row]:
    out: Counter[Row] = Counter()
    for row, times in rows.items():
        out[tuple(v if v is None else v.decode(encoding).encode() for v in row)] += times
    return out


def difference(table: Name, source: Content | None, target: Content | None) -> Difference:
    """Compare one table as multisets; a missing table has no rows."""
    expected = source.rows if source else Counter[Row]()
    found = target.rows if target else Counter[Row]()
    if expected == found and (source is None) == (target is None):
        return Difference()
    lost, doubled = expected - found, found - expected
    examples = tuple(f"{table} lost {row}" for row in list(lost)[:2])
    examples += tuple(f"{table} too often {row}" for row in list(doubled)[:2])
    if source is not None and target is None:
        examples = (f"{table} is missing on the target", *examples)
    return Difference(lost=lost.total(), doubled=doubled.total(), examples=examples, tables=(str(table),))


def compare(expected: Mapping[Name, Content], found: Mapping[Name, Content]) -> Difference:
    """The sum of the differences of all tables of `expected`."""
    return sum((difference(n, expected[n], found.get(n)) for n in sorted(expected)), Difference())


def content_difference(
    source_url: str, target_url: str, tables: Iterable[Name | str], *, source_encoding: str | None = None
) -> Difference:
    """How the tables of the target differ from those of the source, by the source's stored columns."""
    floats = _floats_differ(source_url, target_url)
    expected = contents(source_url, tables, encoding=source_encoding, binary_floats=floats)
    columns = {n: c.columns for n, c in expected.items()}
    return compare(expected, contents(target_url, expected, columns=columns, binary_floats=floats))


def _floats_differ(source_url: str, target_url: str) -> bool:
    shortest = set()
    for url in (source_url, target_url):
        with psycopg.connect(url) as session:
            shortest.add(session.info.server_version >= SHORTEST_FLOATS)
    return len(shortest) == 2


def assert_same_content(
    source_url: str, target_url: str, tables: Iterable[Name | str], *, source_encoding: str | None = None
) -> tuple[int, int]:
    """Fail unless every table holds the same rows on both sides; the numbers (lost, doubled), so (0, 0)."""
    names = [as_name(t) for t in tables]
    expected = contents(source_url, names, encoding=source_encoding)
    absent = [str(n) for n in names if n not in expected]
    assert not absent, f"not on the source: {absent}"
    found = content_difference(source_url, target_url, names, source_encoding=source_encoding)
    assert not found, f"{found.lost} rows lost, {found.doubled} too many: {found.examples}"
    return found.lost, found.doubled
