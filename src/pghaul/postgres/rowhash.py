"""The order-independent proof: a sum of row hashes that two servers of any version compute alike.

Integers, booleans, uuids and texts are hashed as they are, one after the other, each with the hash of those before as
its seed; all other values go through the text of one ROW(), where NULL and '' differ, seeded with that chain. So values
that change places between columns or rows are seen. Measured on 4 M rows (int8, int8, varchar, bool), beyond what it
takes to read them: 0.09 µs a row so, 0.11 with a seed for each column and XOR, 0.28 by one ROW's text, more by md5.
Before PostgreSQL 11 there are no 64-bit hashes: 60 bits of md5 over the ROW's text then.

The statement depends on the columns' names and types alone; give both sides the source's columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.sql import SQL, Composable, Identifier, Literal

from pghaul.model.table import Column, Name

if TYPE_CHECKING:
    from pghaul.postgres.server import Server

# Their text is the server's affair (locale, escapes of high bytes), their binary form is not.
ALWAYS_BINARY = {"money": "pg_catalog.cash_send", '"char"': "pg_catalog.charsend"}

# Types that hash without being written as text first: of the value, seeded with the hash before it. NULL is some value
# with another seed. hashint8extended folds its two halves onto each other (1 and 2^32 hash alike), hence the upper half
# in the seed, where no upper half is as large as what stands for NULL.
_NULL = "CASE WHEN {c} IS NULL THEN 1099511627776::int8 ELSE 0::int8 END # {seed}"
_INT4 = "pg_catalog.hashint4extended(coalesce({c}::pg_catalog.int4, 0), " + _NULL + ")"
_INT8 = (
    "pg_catalog.hashint8extended(coalesce({c}::pg_catalog.int8, 0),"
    " coalesce({c}::pg_catalog.int8 >> 32, 1099511627776::int8) # {seed})"
)
_TEXT = "pg_catalog.hashtextextended(coalesce({c}::pg_catalog.text, '') COLLATE \"C\", " + _NULL + ")"
_UUID = (
    "pg_catalog.uuid_hash_extended(coalesce({c}::pg_catalog.uuid, "
    "'00000000-0000-0000-0000-000000000000'::pg_catalog.uuid), " + _NULL + ")"
)
FAST = {
    "smallint": _INT4,
    "integer": _INT4,
    "bigint": _INT8,
    "uuid": _UUID,
    "text": _TEXT,
    "character varying": _TEXT,
}
# A boolean is no more than another seed for what follows.
BOOLEAN = SQL("CASE WHEN {c} THEN {true}::int8 WHEN {c} IS NULL THEN {null}::int8 ELSE {false}::int8 END")
BEGINNING = SQL("1::int8")
# More columns than this are hashed through one ROW(): expressions of a thousand terms are slow to plan.
MOST_FAST_COLUMNS = 100

STATEMENT = SQL("SELECT pg_catalog.count(*)::int8, coalesce(pg_catalog.sum({hash}), 0)::text FROM {rows} AS r")
EXTENDED = SQL('pg_catalog.hashtextextended({row}::text COLLATE "C", {seed})')
MIX = SQL("pg_catalog.hashint4extended(0, {seed})")
MD5 = SQL("('x0' || pg_catalog.left(pg_catalog.md5({bytes}), 15))::pg_catalog.bit(64)::int8")
RECODED = SQL(
    "pg_catalog.convert(pg_catalog.convert_to({row}::text, pg_catalog.getdatabaseencoding()), {encoding}, 'UTF8')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What both can compute alike; `*_recode`: the real encodings of their texts, where they differ."""

    extended: bool
    float_binary: bool
    source_recode: str | None = None
    target_recode: str | None = None


def agree(source: Server, target: Server, encoding: str | None = None) -> Agreement:
    """The one way of hashing that suits both. `encoding`: what a SQL_ASCII source's bytes really are.

    hashtextextended cannot be given converted bytes, md5 can: servers of different encodings use md5.
    """
    here = encoding if source.encoding == "SQL_ASCII" and encoding else source.encoding
    recode = here != target.encoding and "SQL_ASCII" not in {here, target.encoding}
    exact = source.capabilities.exact_float_text, target.capabilities.exact_float_text
    return Agreement(
        extended=not recode and source.capabilities.hash_extended and target.capabilities.hash_extended,
        float_binary=not all(exact),
        source_recode=here if recode else None,
        target_recode=target.encoding if recode else None,
    )


def unhashable(columns: Sequence[Column], *, float_binary: bool) -> list[str]:
    """Columns whose text cannot agree, nor their binary form: composites with floats, across 12."""
    return [c.name for c in columns if float_binary and c.holds_float and not c.portable_binary and not c.generated]


def row_hash_sql(
    columns: Sequence[Column],
    table: Name,
    *,
    extended: bool,
    float_binary: bool,
    recode: str | None = None,
    changes: Mapping[str, str | None] | None = None,
    query: str | None = None,
) -> str:
    """One statement: the number of rows, and the sum of their hashes as text (it outgrows int8).

    `query`, a composed SELECT of the columns, takes the place of the table where only some of its rows are meant, or
    others too. `changes` are the pair's type_changes(), the same for both sides.
    """
    whole = row_hash(columns, extended=extended, float_binary=float_binary, recode=recode, changes=changes)
    rows = SQL("({})").format(SQL(query)) if query else SQL("ONLY {}").format(Identifier(table.schema, table.name))
    return STATEMENT.format(hash=whole, rows=rows).as_string(None)


def row_hash(
    columns: Sequence[Column],
    *,
    extended: bool,
    float_binary: bool,
    recode: str | None = None,
    changes: Mapping[str, str | None] | None = None,
) -> Composable:
    """The hash of one row of whatever goes by the alias `r`."""
    values = [_hashed(c, float_binary, changes or {}) for c in columns if not c.generated]
    return _extended_hash(values) if extended else _md5_hash(values, recode)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hashed:
    """One column: its own name, what of it goes into a ROW(), and how it hashes without one, if it can."""

    column: Composable
    value: Composable
    fast: str | None = None
    boolean: bool = False


def _hashed(column: Column, float_binary: bool, changes: Mapping[str, str | None]) -> _Hashed:
    own = Identifier("r", column.name)
    if column.name in changes:
        wider = changes[column.name]  # a built-in type's name, as format_type() writes it
        return _Hashed(column=own, value=own + SQL(f"::{wider}") if wider else own)
    fast = FAST.get(column.type.partition("(")[0])
    value = _value(column, own, float_binary)
    return _Hashed(column=own, value=value, fast=fast, boolean=column.type == "boolean")


def _value(column: Column, own: Composable, float_binary: bool) -> Composable:
    send = ALWAYS_BINARY.get(column.type)
    if float_binary and column.holds_float:
        send = column.send_function
    return SQL("{}({})").format(Identifier(*send.split(".", 1)), own) if send else own


def _extended_hash(columns: Sequence[_Hashed]) -> Composable:
    use_fast = len(columns) <= MOST_FAST_COLUMNS
    fast = [c for c in columns if use_fast and c.fast]
    slow = [c for c in columns if not (use_fast and (c.fast or c.boolean))]
    booleans = [_boolean(i, c.column) for i, c in enumerate(columns, 1) if use_fast and c.boolean]
    chain: Composable = SQL("({})").format(SQL(" # ").join([BEGINNING, *booleans]))
    for column in fast:
        chain = SQL(column.fast or "").format(c=column.column, seed=chain)
    if slow:
        return EXTENDED.format(row=_row(slow), seed=chain)
    return chain if fast else MIX.format(seed=chain)


def _boolean(number: int, column: Composable) -> Composable:
    """For each value of the column a seed of its own, by chance: combinations of columns do not cancel out."""
    true, false, null = (Literal(str(_chance(f"{number} {value}"))) for value in ("true", "false", "null"))
    return BOOLEAN.format(c=column, true=true, false=false, null=null)


def _chance(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)


def _md5_hash(columns: Sequence[_Hashed], recode: str | None) -> Composable:
    row = _row(columns)
    if recode is None:
        return MD5.format(bytes=row + SQL("::text"))
    return MD5.format(bytes=RECODED.format(row=row, encoding=Literal(recode)))


def _row(columns: Sequence[_Hashed]) -> Composable:
    return SQL("ROW({})").format(SQL(", ").join([c.value for c in columns]))
