"""A bounded look at rows, where a type alone does not tell what a column holds.

Booleans among tinyint(1), times of day among durations, dates that are none, and unsigned bigints, which most
applications have for all their keys and none has ever filled: as numeric they could be no identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pghaul.model.foreign import ForeignColumn, ForeignDatabase, ForeignTable
from pghaul.model.table import Name
from pghaul.model.text import Text, say, saying
from pghaul.sources._mysql_catalog import asked
from pghaul.sources._mysql_projection import is_no_date, is_no_time, quoted
from pghaul.sources._mysql_types import DATES, INTERVAL, parse

if TYPE_CHECKING:
    import pymysql

ROWS = 1_000_000  # of a table that are looked at, about, at most: a fifth of a second for each column
BYTES = 1 << 30
LABELS = frozenset({"latin1"})  # what takes any byte, and was the default for twenty years
FIRST = 20_000  # rows of a table that are looked at for what their bytes seem to be: a few hundredths of a second
SEEMS = {"utf-8": "utf8mb4", "cp949": "euckr"}  # the likeliest first
GREATEST = 2**63 - 1  # of a bigint
WIDE = "numeric(20,0)"  # what a bigint unsigned is proposed as
NO_DATES = {
    "refuse": saying(
        "{n} values are no dates, such as 0000-00-00: refused, unless zero-dates in the URL says otherwise"
    ),
    "null": saying("{n} values are no dates, such as 0000-00-00, and become NULL, as zero-dates in the URL says"),
    "text": saying("{n} values are no dates, such as 0000-00-00: their rows go to quarantine, if some may"),
}

NO_TIMES = saying("{n} values are below 0 or beyond a day")
NO_BOOLEANS = saying("{n} values are neither 0 nor 1")
TOO_GREAT = saying("{n} values are greater than 9223372036854775807")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the rows tell of a column."""

    type: str
    note: str = ""
    refused: bool = False
    seems: str = ""


def look(
    session: pymysql.Connection[Any], tables: Iterable[tuple[str, ForeignTable]], zero_dates: str = "refuse"
) -> dict[tuple[Name, str], Said]:
    """Of the columns about which there is something to say. `tables`: with the name of the database."""
    found: dict[tuple[Name, str], Said] = {}
    tables = list(tables)
    keys = set(_keys([t for _, t in tables]))
    for database, table in tables:
        terms = {
            (c.name, what): term for c in table.columns for what, term in _terms(c, key=(table.name, c.name) in keys)
        }
        if terms:
            few = (table.rows or 0) < ROWS and table.bytes < BYTES
            values = _asked(session, database, table, terms, all_of_it=few)
            whole = few or values.pop(("", "rows")) < ROWS
            ends = {} if whole else _ends(session, database, table)
            for column in table.columns:
                said = _concluded(column, values | ends, zero_dates, whole=whole or (column.name, "odd") in ends)
                if said is not None:
                    found[table.name, column.name] = said
        for name, seems in _labelled(session, database, table):
            found[table.name, name] = Said(type=next(c.pg_type for c in table.columns if c.name == name), seems=seems)
    return found


def _labelled(session: pymysql.Connection[Any], database: str, table: ForeignTable) -> Iterable[tuple[str, str]]:
    """Texts that say latin1, and of which all that is not ASCII reads as UTF-8, or as Korean, in the first rows."""
    names = [c.name for c in table.columns if c.charset in LABELS and not c.values and c.generated is None]
    if not names:
        return
    counts = ", ".join(
        f"COUNT(IF({condition}, 1, NULL)) AS c{i}x{j}"
        for i, name in enumerate(names)
        for j, condition in enumerate(_readings(quoted(name)))
    )
    columns = ", ".join(map(quoted, names))
    rows = f"SELECT {columns} FROM {quoted(database)}.{quoted(table.name.name)} LIMIT {FIRST}"  # noqa: S608
    (row,) = asked(session, f"SELECT {counts} FROM ({rows}) AS looked")  # noqa: S608
    for i, name in enumerate(names):
        high = int(row[f"C{i}X0"])
        seems = next((e for j, e in enumerate(SEEMS, 1) if high and int(row[f"C{i}X{j}"]) == high), None)
        if seems is not None:
            yield name, seems


def _readings(name: str) -> Iterable[str]:
    """Conditions: it holds more than ASCII; and that reads as each encoding, without a question mark for any of it."""
    high, raw = f"LENGTH(CONVERT({name} USING utf8mb4)) > LENGTH({name})", f"CAST({name} AS BINARY)"
    yield high
    own = f"LENGTH({raw}) - LENGTH(REPLACE({raw}, '?', ''))"
    for charset in SEEMS.values():
        text = f"CONVERT(CONVERT({raw} USING {charset}) USING utf8mb4)"
        marks = f"CHAR_LENGTH({text}) - CHAR_LENGTH(REPLACE({text}, '?', ''))"
        yield f"{high} AND CHAR_LENGTH({text}) < LENGTH({raw}) AND {marks} = {own}"


def _keys(tables: Iterable[ForeignTable]) -> Iterable[tuple[Name, str]]:
    """Columns that tell rows apart, or refer to such: numbers, however few there are of them now."""
    for table in tables:
        yield from ((table.name, c.name) for c in table.columns if c.identity)
        yield from ((table.name, i.columns[0]) for i in table.indexes if i.unique and len(i.columns) == 1)
        for reference in table.references:
            yield from ((table.name, c) for c in reference.columns)
            yield from ((reference.table, c) for c in reference.referenced)


def _terms(column: ForeignColumn, *, key: bool) -> Iterable[tuple[str, str]]:
    """What to count of it."""
    native, name = parse(column.native), quoted(column.name)
    if column.generated is not None:
        return
    if native.is_boolean:
        if key or (column.default or "0").strip("'") not in {"0", "1"}:
            return
        yield "odd", f"{name} NOT IN (0, 1)"
    elif native.base == "bigint" and native.unsigned:
        yield "odd", f"{name} > {GREATEST}"
    elif native.base == "time":
        yield "odd", is_no_time(name)
    elif native.base in DATES:
        yield "odd", is_no_date(name)


def _asked(
    session: pymysql.Connection[Any],
    database: str,
    table: ForeignTable,
    terms: Mapping[tuple[str, str], str],
    *,
    all_of_it: bool,
) -> dict[tuple[str, str], int]:
    """A limit makes a temporary table of what is looked at: twice the work."""
    columns = ", ".join(quoted(c) for c, _ in terms)
    counts = ", ".join(f"COUNT(IF({term}, 1, NULL)) AS c{i}" for i, term in enumerate(terms.values()))
    rows = f"{quoted(database)}.{quoted(table.name.name)}"
    if not all_of_it:
        rows = f"(SELECT {columns} FROM {rows} LIMIT {ROWS}) AS looked"  # noqa: S608
    (row,) = asked(session, f"SELECT COUNT(*) AS n, {counts} FROM {rows}")  # noqa: S608
    return {("", "rows"): int(row["N"])} | {key: int(row[f"C{i}"]) for i, key in enumerate(terms)}


def _ends(session: pymysql.Connection[Any], database: str, table: ForeignTable) -> dict[tuple[str, str], int]:
    """Of a large table: what its indexes tell at once of unsigned bigints."""
    first = {i.columns[0] for i in table.indexes if i.columns and not i.kind and i.expression is None}
    found = {}
    for column in table.columns:
        native, name = parse(column.native), quoted(column.name)
        if column.name in first and native.base == "bigint" and native.unsigned:
            query = f"SELECT MAX({name}) > {GREATEST} AS odd FROM {quoted(database)}.{quoted(table.name.name)}"  # noqa: S608
            (row,) = asked(session, query)
            found[column.name, "odd"] = int(row["ODD"] or 0)
    return found


def _concluded(
    column: ForeignColumn, values: Mapping[tuple[str, str], int], zero_dates: str, *, whole: bool
) -> Said | None:
    """None where it is as it was proposed."""
    odd = values.get((column.name, "odd"))
    if odd is None:
        return None
    native = parse(column.native)
    if native.base in DATES:
        told = NO_DATES[zero_dates].format(n=odd)
        return Said(type=column.pg_type, note=told, refused=zero_dates == "refuse") if odd else None
    common, rare, told, otherwise = _choice(native.base, column)
    if odd:
        return Said(type=rare, note=told.format(n=odd))
    return Said(type=common) if whole else Said(type=column.pg_type, note=otherwise)


def _choice(base: str, column: ForeignColumn) -> tuple[str, str, Text, Text]:
    """The type where nothing is odd, the one where something is, what is said of that, and where not all is known."""
    if base == "time":
        return column.pg_type, INTERVAL, NO_TIMES, say("if all of it lies within a day; else give it interval")
    if base == "bigint":
        return "bigint", column.pg_type, TOO_GREAT, say("bigint, if all of it fits")
    return "boolean", column.pg_type, NO_BOOLEANS, say("boolean, if all of it is 0 or 1")


def with_types(database: ForeignDatabase, said: Mapping[tuple[Name, str], Said]) -> ForeignDatabase:
    """The same, where a look at the rows has proposed other types, or has found something to be said."""

    def told(table: Name, column: ForeignColumn) -> ForeignColumn:
        found = said.get((table, column.name))
        if found is None:
            return column
        return replace(
            column, pg_type=found.type, note=found.note or column.note, refused=found.refused, seems=found.seems
        )

    return _changed(database, told)


def alike(database: ForeignDatabase) -> ForeignDatabase:
    """The same, where what refers to a number beyond a bigint, or is referred to by one, is as wide as that."""
    types = {(t.name, c.name): c.pg_type for t in database.tables for c in t.columns}
    wide = {place for place, type_ in types.items() if type_ == WIDE}
    pairs = [
        {(t.name, own), (r.table, other)}
        for t in database.tables
        for r in t.references
        for own, other in zip(r.columns, r.referenced, strict=False)
    ]
    while new := {p for pair in pairs if pair & wide for p in pair if types.get(p) == "bigint"} - wide:
        wide |= new

    def widened(table: Name, column: ForeignColumn) -> ForeignColumn:
        if (table, column.name) not in wide or column.pg_type == WIDE:
            return column
        return replace(column, pg_type=WIDE, note=say("as wide as the key that it belongs to"))

    return _changed(database, widened)


def _changed(database: ForeignDatabase, change: Callable[[Name, ForeignColumn], ForeignColumn]) -> ForeignDatabase:
    tables = [replace(t, columns=tuple(change(t.name, c) for c in t.columns)) for t in database.tables]
    return replace(database, tables=tuple(tables))
