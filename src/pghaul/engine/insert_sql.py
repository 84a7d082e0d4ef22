"""Every statement of the recipe `insert`, composed from names by psycopg.sql. No connection in sight.

A batch travels as one array literal per column: the source makes it with array_agg() over the types' own output
functions, the target takes it apart with unnest(), through their own input functions. So a value takes the very way
that COPY's text takes, casts that somebody has defined play no part, and nobody here touches a single value. The
literals are handed over as bytes in the source's encoding and converted once, by the target.

Where arrays will not do (columns that are arrays themselves, types whose arrays are parted by something else than a
comma), elements travel as texts and are cast one by one. Casts go to the type without its modifier: an explicit cast
with one would cut off silently what the assignment then refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Identifier, Literal

from pghaul.engine.job import ByKey, ByPages, Counts, Write
from pghaul.model.plan import OnConflict
from pghaul.model.table import Column, Name, Table
from pghaul.postgres.versions import Capabilities

BATCH = SQL("SELECT {values} FROM (SELECT {columns} FROM ONLY {table}{where}) AS r")
COUNT: Composable = SQL("pg_catalog.count(*)")
SUM = SQL("pg_catalog.sum({hash})::pg_catalog.text")
NO_SUM: Composable = SQL("NULL::pg_catalog.text")
# Polymorphic output functions take no domains, hence the cast; of all other types it makes nothing.
TEXT = SQL("pg_catalog.textin({out}(r.{column}::{base}))")
CAST = SQL("r.{column}::pg_catalog.text")
LITERAL = SQL("pg_catalog.convert_to(pg_catalog.array_agg({text})::pg_catalog.text, {encoding})")
LAST = SQL("(pg_catalog.array_agg({text}))[pg_catalog.count(*)]")
PLACE = "('(' || {n} / $3::pg_catalog.int8 || ',' || {n} % $3::pg_catalog.int8 || ')')::pg_catalog.tid"
FIRST, END = PLACE.format(n="$1::pg_catalog.int8"), PLACE.format(n="$2::pg_catalog.int8")
# Before 14 a range of places would be a scan of the whole table; a list of them is looked up one by one.
RANGE = SQL(f"ctid >= {FIRST} AND ctid < {END}")
LIST = SQL(
    f"ctid = ANY (ARRAY(SELECT {PLACE.format(n='s.n')}"  # noqa: S608
    " FROM pg_catalog.generate_series($1::pg_catalog.int8, $2::pg_catalog.int8 - 1) AS s (n)))"
)
# No page has more places than rows with empty headers would need (28 bytes each); 0 is none of them.
EXTENT = SQL(
    "SELECT pg_catalog.pg_relation_size({table}::pg_catalog.regclass) / b.size, (b.size - 24) / 28 + 1"
    " FROM (SELECT pg_catalog.current_setting('block_size')::pg_catalog.int8 AS size) AS b"
)

ARRAY = SQL("pg_catalog.unnest(pg_catalog.convert_from(${n}::pg_catalog.bytea, {encoding})::{type}[])")
BATCH_ROWS = SQL("(SELECT {arrays}) AS u")
NO_COLUMNS = SQL("INSERT INTO {table} SELECT FROM pg_catalog.generate_series(1, $1::pg_catalog.int8)")
INSERT = SQL("INSERT INTO {table}{alias} ({columns}) {overriding}SELECT {values} FROM {rows}{rest}")
DO_NOTHING = SQL(" ON CONFLICT DO NOTHING")
DO_UPDATE = SQL(" ON CONFLICT ({key}) DO UPDATE SET {sets} WHERE {differ}")
# xmax of a row that this command has inserted is 0; one that it has updated it had locked before.
COUNTED = SQL(
    "WITH written AS ({insert} RETURNING t.xmax = '0'::pg_catalog.xid AS fresh)"
    " SELECT pg_catalog.count(CASE WHEN fresh THEN 1 END), pg_catalog.count(CASE WHEN NOT fresh THEN 1 END)"
    " FROM written"
)
UPDATE = SQL("UPDATE ONLY {table} AS t SET {sets} FROM {rows} WHERE {same_key} AND {differ}")
NOT_THERE = SQL("NOT EXISTS (SELECT 1 FROM ONLY {table} AS t WHERE {same_key})")
MISSING = SQL("(SELECT u.* FROM {rows} WHERE {absent}) AS u")
FIRST_ONES = SQL(
    "(SELECT DISTINCT ON ({key}) u.* FROM (SELECT u.*, pg_catalog.row_number() OVER () AS n FROM {rows}) AS u"
    " ORDER BY {key}, u.n) AS u"
)
LOCK = SQL("LOCK TABLE ONLY {table} IN SHARE ROW EXCLUSIVE MODE")
POLICIES_APPLY = "SET LOCAL row_security = on"
FOUND = SQL(
    "SELECT pg_catalog.count(*), coalesce(pg_catalog.sum({hash}), 0)::pg_catalog.text"
    " FROM ONLY {table} AS r JOIN {rows} ON {same_key}"
)
COMMA, AND = SQL(", "), SQL(" AND ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One relation as it is read. `where` is a complete condition; `hash` is a row's, over the alias r, if wanted."""

    table: Name
    columns: tuple[Column, ...]
    encoding: str
    where: str = ""
    hash: Composable | None = None


def by_key(reading: Reading, key: Sequence[Column]) -> ByKey:
    """In the order of a key of columns that are never NULL."""
    names = COMMA.join([Identifier(c.name) for c in key])
    after = COMMA.join([SQL(f"${i}::pg_catalog.text::{c.base}") for i, c in enumerate(key, 2)])
    later = SQL("({}) > ({})" if len(key) > 1 else "{} > {}").format(names, after)
    limit = SQL(" ORDER BY {} LIMIT $1::pg_catalog.int8").format(names)
    return ByKey(first=_batch(reading, key, None, limit), following=_batch(reading, key, later, limit))


def by_pages(reading: Reading, can: Capabilities, *, first_page: int = 0, end_page: int | None = None) -> ByPages:
    """In ranges of places, in whatever order."""
    name = Identifier(reading.table.schema, reading.table.name).as_string(None)
    return ByPages(
        batch=_batch(reading, (), RANGE if can.tid_range_scan else LIST, SQL("")),
        extent=EXTENT.format(table=Literal(name)).as_string(None),
        first_page=first_page,
        end_page=end_page,
    )


def _batch(reading: Reading, key: Sequence[Column], part: Composable | None, limit: Composable) -> str:
    total: Composable = SUM.format(hash=reading.hash) if reading.hash else NO_SUM
    values: list[Composable] = [COUNT, total]
    values += [LITERAL.format(text=_text(c), encoding=Literal(reading.encoding)) for c in reading.columns]
    values += [LAST.format(text=_text(c)) for c in key]
    conditions: list[Composable] = [SQL(f"(\n{reading.where}\n)")] if reading.where else []
    conditions += [part] if part else []
    needed = dict.fromkeys([c.name for c in (*reading.columns, *key)])
    statement = BATCH.format(
        values=COMMA.join(values),
        columns=COMMA.join([Identifier(n) for n in needed]),
        table=Identifier(reading.table.schema, reading.table.name),
        where=(SQL(" WHERE ") + AND.join(conditions) if conditions else SQL("")) + limit,
    )
    return statement.as_string(None)


def _text(column: Column) -> Composable:
    if not column.output_function:
        return CAST.format(column=Identifier(column.name))
    out = Identifier(*column.output_function.split(".", 1))
    return TEXT.format(out=out, column=Identifier(column.name), base=SQL(column.base))


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """The target's side: `columns` are its own descriptions of what is copied, in the source's order.

    `keys` are the column names of all its unique keys, the one that decides about updates first.
    """

    table: Table
    columns: tuple[Column, ...]
    encoding: str
    can: Capabilities
    on_conflict: OnConflict = OnConflict.ERROR
    keys: tuple[tuple[str, ...], ...] = ()

    @property
    def name(self) -> Composable:
        """Quoted, qualified."""
        return Identifier(self.table.name.schema, self.table.name.name)

    @property
    def others(self) -> list[Column]:
        """What an update writes: all but the key."""
        return [c for c in self.columns if c.name not in self.keys[0]]


def before(writing: Writing, *, row_security: bool) -> tuple[str, ...]:
    """What the loading transaction does on the target before its first batch."""
    steps = [POLICIES_APPLY] if row_security else []
    if writing.on_conflict is not OnConflict.ERROR and not writing.can.on_conflict:
        steps.append(LOCK.format(table=writing.name).as_string(None))
    return tuple(steps)


def writes(writing: Writing) -> tuple[Write, ...]:
    """The statements that one batch takes, in this order."""
    if not writing.columns:
        return (
            Write(sql=NO_COLUMNS.format(table=writing.name).as_string(None), parameters=(), counts=Counts.INSERTED),
        )
    if writing.on_conflict is OnConflict.ERROR:
        return (_write(writing, _insert(writing)),)
    if writing.can.on_conflict:
        return (_on_conflict(writing),)
    if writing.on_conflict is OnConflict.IGNORE:
        return (_write(writing, _insert_missing(writing, writing.keys)),)
    insert = _write(writing, _insert_missing(writing, writing.keys[:1]))
    return (_write(writing, _update(writing), Counts.UPDATED), insert) if writing.others else (insert,)


def found(writing: Writing, row_hash: Composable) -> Write:
    """Counts and hashes the target's rows that have a key of the batch."""
    places = [i for i, c in enumerate(writing.columns) if c.name in writing.keys[0]]
    key = [writing.columns[i] for i in places]
    statement = FOUND.format(
        hash=row_hash, table=writing.name, rows=_rows(writing, key), same_key=_same_key(key, range(len(key)), "r")
    )
    return Write(sql=statement.as_string(None), parameters=tuple(places), counts=Counts.FOUND)


def _write(writing: Writing, statement: Composable, counts: Counts = Counts.INSERTED) -> Write:
    return Write(sql=statement.as_string(None), parameters=tuple(range(len(writing.columns))), counts=counts)


def _insert(
    writing: Writing,
    *,
    alias: str = "",
    rows: Composable | None = None,
    rest: Composable = SQL(""),  # noqa: B008 -- immutable
) -> Composable:
    identity = writing.can.identity and any(c.identity for c in writing.columns)
    return INSERT.format(
        table=writing.name,
        alias=SQL(alias),
        columns=COMMA.join([Identifier(c.name) for c in writing.columns]),
        overriding=SQL("OVERRIDING SYSTEM VALUE " if identity else ""),
        values=COMMA.join([_value(c, i) for i, c in enumerate(writing.columns)]),
        rows=rows or _rows(writing, writing.columns),
        rest=rest,
    )


def _rows(writing: Writing, columns: Sequence[Column]) -> Composable:
    """Arrays of equal length go side by side in a select list, on all versions; composites stay whole there."""
    arrays = [
        ARRAY.format(n=SQL(str(i + 1)), encoding=Literal(writing.encoding), type=SQL(_element(c)))
        + SQL(" AS ")
        + Identifier(f"c{i}")
        for i, c in enumerate(columns)
    ]
    return BATCH_ROWS.format(arrays=COMMA.join(arrays))


def _element(column: Column) -> str:
    return column.base if column.unnests else "pg_catalog.text"


def _value(column: Column, number: int) -> Composable:
    value = SQL("u.") + Identifier(f"c{number}")
    return value if column.unnests else value + SQL(f"::{column.base}")


def _on_conflict(writing: Writing) -> Write:
    if writing.on_conflict is OnConflict.IGNORE or not writing.others:
        return _write(writing, _insert(writing, rest=DO_NOTHING))
    excluded = [SQL("excluded.") + Identifier(c.name) for c in writing.others]
    clause = DO_UPDATE.format(
        key=COMMA.join([Identifier(n) for n in writing.keys[0]]),
        sets=_sets(writing.others, excluded),
        differ=_differ(writing, excluded),
    )
    return _write(writing, COUNTED.format(insert=_insert(writing, alias=" AS t", rest=clause)), Counts.BOTH)


def _update(writing: Writing) -> Composable:
    numbers = [i for i, c in enumerate(writing.columns) if c.name not in writing.keys[0]]
    values = [_value(writing.columns[i], i) for i in numbers]
    # Compared as the column would hold them: with its own modifier.
    held = [v + SQL(f"::{c.type}") for v, c in zip(values, writing.others, strict=True)]
    return UPDATE.format(
        table=writing.name,
        sets=_sets(writing.others, values),
        rows=_rows(writing, writing.columns),
        same_key=_same_key(*_key(writing, writing.keys[0])),
        differ=_differ(writing, held),
    )


def _insert_missing(writing: Writing, keys: Sequence[tuple[str, ...]]) -> Composable:
    """What no key is there of. Of rows that share one within the batch the first counts, as ON CONFLICT DO NOTHING does
    it; sharing another of several keys is an error, since which of them comes to lie there hangs on the order.
    """
    absent = [NOT_THERE.format(table=writing.name, same_key=_same_key(*_key(writing, k))) for k in keys]
    rows = MISSING.format(rows=_rows(writing, writing.columns), absent=AND.join(absent))
    if writing.on_conflict is OnConflict.IGNORE:
        rows = FIRST_ONES.format(
            key=COMMA.join([_value(c, i) for c, i in zip(*_key(writing, keys[0]), strict=True)]), rows=rows
        )
    return _insert(writing, rows=rows)


def _key(writing: Writing, names: Sequence[str]) -> tuple[list[Column], list[int]]:
    places = [i for i, c in enumerate(writing.columns) if c.name in names]
    return [writing.columns[i] for i in places], places


def _same_key(key: Sequence[Column], places: Sequence[int], alias: str = "t") -> Composable:
    return AND.join(
        [SQL(f"{alias}.") + Identifier(c.name) + SQL(" = ") + _value(c, i) for c, i in zip(key, places, strict=True)]
    )


def _sets(columns: Sequence[Column], values: Sequence[Composable]) -> Composable:
    return COMMA.join([Identifier(c.name) + SQL(" = ") + v for c, v in zip(columns, values, strict=True)])


def _differ(writing: Writing, values: Sequence[Composable]) -> Composable:
    """Rows are told apart as they are stored: 1.0 and 1.00 are equal, and yet not the same content."""
    ours = [SQL("t.") + Identifier(c.name) for c in writing.others]
    kind = SQL("({} OPERATOR(pg_catalog.*<>) {})" if writing.can.record_image else "({} IS DISTINCT FROM {})")
    return kind.format(_row(writing, ours), _row(writing, values))


def _row(writing: Writing, values: Sequence[Composable]) -> Composable:
    form = "pg_catalog.record" if writing.can.record_image else "pg_catalog.text"
    return SQL("ROW({})").format(COMMA.join(values)) + SQL(f"::{form}")
