"""The query that reads a loaded table back, composed where psycopg is at hand; workers only run it.

Numbers with bits of their own (floats, moments) come as their binary form in digits: exact on every version, whatever
its text is like, and quicker to make and to read. Everything else comes as its text.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from psycopg.sql import SQL, Composable, Identifier

from pghaul.model.table import Name
from pghaul.target.arrow.encoding import Encoding
from pghaul.target.arrow.way import Way

SELECT = SQL("SELECT {columns} FROM {only}{table}{where}{order}")
COPY_OUT = SQL("COPY ({query}) TO STDOUT (FORMAT csv, FORCE_QUOTE *, ENCODING 'UTF8')")
IN_DIGITS = SQL("pg_catalog.encode(pg_catalog.{send}({column}), 'hex')")
DIGITS = SQL("pg_catalog.encode({column}, 'hex')")

SENDERS = (
    (pa.types.is_float32, "float4send"),
    (pa.types.is_float64, "float8send"),
    (pa.types.is_date, "date_send"),
    (pa.types.is_time, "time_send"),
    (pa.types.is_fixed_size_binary, "uuid_send"),
)


def query(
    encoding: Encoding, table: Name, *, own: bool = True, where: str | None = None, order: Sequence[str] = ()
) -> str:
    """SELECT of the encoding's columns, in its order. `own`: without what inherits from it, or is a partition of it.

    `where` is SQL of somebody who may say it; `order` are columns.
    """
    columns = [_expression(w) for w in encoding.ways]
    return SELECT.format(
        columns=SQL(", ").join(columns),
        only=SQL("ONLY ") if own else SQL(""),
        table=Identifier(table.schema, table.name),
        where=SQL(" WHERE ({})").format(_trusted(where)) if where else SQL(""),
        order=SQL(" ORDER BY {}").format(SQL(", ").join(Identifier(c) for c in order)) if order else SQL(""),
    ).as_string(None)


def copy_out(select: str) -> str:
    """The whole command, for who does not use asyncpg's copy_from_query with WORDS."""
    return COPY_OUT.format(query=_trusted(select)).as_string(None)


def _trusted(text: str) -> Composable:
    """SQL of ours, or of the plan. A comment at its end must not hide what follows."""
    return SQL(text.replace("{", "{{").replace("}", "}}") + "\n").format()


def _expression(way: Way) -> Composable:
    column = Identifier(way.column.name)
    if pa.types.is_timestamp(way.type):
        return IN_DIGITS.format(send=SQL("timestamptz_send" if way.type.tz else "timestamp_send"), column=column)
    if pa.types.is_binary(way.type):
        return DIGITS.format(column=column)
    for test, function in SENDERS:
        if test(way.type):
            return IN_DIGITS.format(send=SQL(function), column=column)
    return column
