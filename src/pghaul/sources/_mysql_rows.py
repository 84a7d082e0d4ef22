"""How many rows a table has, where information_schema cannot know: InnoDB says 0 or 2 of one that was just filled.

Small numbers are counted, up to a bound; what is beyond it is taken from the range of an integer key, which an index
answers at once. Both are bounded in time: of thousands of tables the first are looked at.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pghaul.model.foreign import ForeignDatabase, ForeignTable
from pghaul.model.table import Name
from pghaul.sources._mysql_catalog import asked
from pghaul.sources._mysql_projection import quoted
from pghaul.sources._mysql_types import SIGNED, parse

if TYPE_CHECKING:
    import pymysql

FEW = 20_000  # rows that are counted: some milliseconds
AT_ONCE = 40  # tables in one statement
MOST = 0.3  # seconds for all of them
LEAST = 18  # bytes that InnoDB has for a row beside its values
LOOKED_AT = 200  # rows whose width is taken for that of all


def with_rows(session: pymysql.Connection[Any], database: ForeignDatabase, schema: str) -> ForeignDatabase:
    """The same, where tables of which the server says little hold what they hold. `schema` is that of bare names."""
    unsure = [t for t in database.tables if not t.exact_rows]
    known = dict(_looked(session, [t for t in unsure if (t.rows or 0) < FEW], schema))
    known |= {t.name: _with_width(session, t, schema) for t in unsure if (t.rows or 0) >= FEW and _is_thin(t)}
    return replace(database, tables=tuple(known.get(t.name, t) for t in database.tables))


def _looked(
    session: pymysql.Connection[Any], tables: Sequence[ForeignTable], schema: str
) -> Iterator[tuple[Name, ForeignTable]]:
    end = time.monotonic() + MOST
    for start in range(0, len(tables), AT_ONCE):
        some = tables[start : start + AT_ONCE]
        for place, rows in _counts(session, some, schema):
            yield some[place].name, _now(session, some[place], rows, schema)
            if time.monotonic() > end:
                return


def _counts(session: pymysql.Connection[Any], tables: Iterable[ForeignTable], schema: str) -> list[tuple[int, int]]:
    """By their places; none where one of them cannot be read: whoever reads it is told so."""
    counts = [
        f"SELECT {k:d} AS k, COUNT(*) AS n FROM (SELECT 1 FROM {_place(t, schema)} LIMIT {FEW + 1}) AS x"  # noqa: S608
        for k, t in enumerate(tables)
    ]
    return [(int(row["K"]), int(row["N"])) for row in _tried(session, " UNION ALL ".join(counts))]


def _now(session: pymysql.Connection[Any], table: ForeignTable, rows: int, schema: str) -> ForeignTable:
    if rows > FEW:
        rows = max(rows, _range(session, table, schema))
    more = rows > 2 * (table.rows or 0)
    table = replace(table, rows=rows)
    return _with_width(session, table, schema) if rows >= LOOKED_AT and (more or _is_thin(table)) else table


def _is_thin(table: ForeignTable) -> bool:
    """Its size is older than its rows: so few bytes no row can have."""
    return table.bytes < LEAST * (table.rows or 0)


def _with_width(session: pymysql.Connection[Any], table: ForeignTable, schema: str) -> ForeignTable:
    width = LEAST + _width(session, table, schema)
    return replace(table, bytes=max(table.bytes, round((table.rows or 0) * width)))


def _range(session: pymysql.Connection[Any], table: ForeignTable, schema: str) -> int:
    """Of a key that counts: gaps make it too many, which is nearer than the bound."""
    key = table.primary.columns if table.primary else ()
    types = {c.name: parse(c.native).base for c in table.columns}
    if len(key) != 1 or types[key[0]] not in SIGNED:
        return 0
    name = quoted(key[0])
    found = _tried(session, f"SELECT MAX({name}) - MIN({name}) + 1 AS n FROM {_place(table, schema)}")  # noqa: S608
    return int(found[0]["N"] or 0) if found else 0


def _width(session: pymysql.Connection[Any], table: ForeignTable, schema: str) -> float:
    """Bytes of a row, of its first ones."""
    lengths = " + ".join(f"COALESCE(LENGTH({quoted(c.name)}), 0)" for c in table.columns) or "0"
    query = f"SELECT AVG({lengths}) AS n FROM (SELECT * FROM {_place(table, schema)} LIMIT {LOOKED_AT}) AS x"  # noqa: S608
    found = _tried(session, query)
    return float(found[0]["N"] or 0) if found else 0.0


def _place(table: ForeignTable, schema: str) -> str:
    return f"{quoted(table.name.schema or schema)}.{quoted(table.name.name)}"


def _tried(session: pymysql.Connection[Any], query: str) -> list[Mapping[str, Any]]:
    """Nothing, where the server will not say: an estimate is nothing to fail for."""
    import pymysql  # noqa: PLC0415

    try:
        return list(asked(session, query))
    except (pymysql.err.ProgrammingError, pymysql.err.OperationalError, pymysql.err.InternalError):
        if not session.open:
            raise
        return []
