"""How a column of a file is delivered: as the Arrow type that fits the target's, or as text in PostgreSQL's syntax."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from pghaul.model.errors import SourceError
from pghaul.model.foreign import Misfit, ReadColumn, is_vector
from pghaul.model.text import say
from pghaul.sources import misfits

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 60  # characters of a value
DOUBLE = 64  # bits


def natural(column: ReadColumn, kind: pa.DataType) -> pa.DataType:
    """What is delivered of a column that the file holds as `kind`."""
    import pyarrow as pa  # noqa: PLC0415

    base = column.pg_type.split("(")[0].strip().removesuffix(" without time zone").removesuffix(" with time zone")
    if column.encoding and not pa.types.is_string(kind):
        return pa.binary()
    if base in {"timestamp", "time"}:
        zoned = column.pg_type.endswith("with time zone")
        if base == "time":
            return pa.time64("us") if pa.types.is_time(kind) and not zoned else pa.string()
        return pa.timestamp("us", "UTC" if zoned else None) if _same_moments(kind, zoned=zoned) else pa.string()
    plain = {
        "smallint": pa.int16(),
        "integer": pa.int32(),
        "bigint": pa.int64(),
        "real": pa.float32(),
        "double precision": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "bytea": pa.binary(),
    }.get(base)
    if plain is not None and _goes(kind, plain):
        return plain
    if base == "numeric" and pa.types.is_decimal128(kind):
        return kind
    return pa.string()


def _same_moments(kind: pa.DataType, *, zoned: bool) -> bool:
    import pyarrow as pa  # noqa: PLC0415

    return pa.types.is_timestamp(kind) and (kind.tz is not None) == zoned


def _goes(kind: pa.DataType, plain: pa.DataType) -> bool:
    """Numbers among themselves, with a check of every value; anything else has to be of the same family."""
    import pyarrow as pa  # noqa: PLC0415

    is_a = pa.types
    if is_a.is_integer(plain):
        return bool(is_a.is_integer(kind))
    if is_a.is_floating(plain):
        return bool(is_a.is_floating(kind) and kind.bit_width <= plain.bit_width)
    if is_a.is_binary(plain):
        return bool(is_a.is_binary(kind) or is_a.is_large_binary(kind) or is_a.is_fixed_size_binary(kind))
    if is_a.is_date(plain):
        return bool(is_a.is_date(kind))
    return bool(kind == plain)


def strictly(
    batch: pa.RecordBatch, columns: Sequence[ReadColumn], schema: pa.Schema, where: str, again: Collection[str]
) -> pa.RecordBatch:
    """All of its columns converted. Raises SourceError for the first value that cannot be.

    `again`: columns whose numbers have to be spelled as they would be written again.
    """
    import pyarrow as pa  # noqa: PLC0415

    pairs = zip(columns, schema, strict=True)
    arrays = [converted(batch.column(c.name), c, field.type, where, again=c.name in again) for c, field in pairs]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def loosely(
    batch: pa.RecordBatch, columns: Sequence[ReadColumn], schema: pa.Schema, where: str, again: Collection[str]
) -> pa.RecordBatch:
    """The same, with NULL for values that cannot be, and told which these are."""
    import pyarrow as pa  # noqa: PLC0415

    found, arrays = [], []
    for column, field in zip(columns, schema, strict=True):
        array = batch.column(column.name)
        bad = misfits.failing(array, partial(_fails, column, field.type, column.name in again))
        for row in bad:
            text = str(array[row].as_py())
            shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
            message = say("{value} is no {type}", value=repr(shown), type=column.pg_type)
            found.append(Misfit(row, column.name, text, message))
        arrays.append(converted(misfits.without(array, bad) if bad else array, column, field.type, where, again=False))
    return misfits.marked(pa.RecordBatch.from_arrays(arrays, schema=schema), found)


def _fails(column: ReadColumn, wanted: pa.DataType, again: bool, array: pa.Array) -> bool:
    try:
        converted(array, column, wanted, "", again=again)
    except SourceError:
        return True
    return False


def converted(array: pa.Array, column: ReadColumn, wanted: pa.DataType, where: str, *, again: bool = False) -> pa.Array:
    """Exactly, or SourceError that names the column. `again`: 007 is no number, for it would come back as 7."""
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    try:
        if pa.types.is_string(wanted) and not _is_text(array.type):
            return _texts(array, column)
        return _cast(array, wanted, again=again)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError, OverflowError) as exc:
        raise SourceError(
            say(
                "column {column} holds a value that cannot become {type}: {error}",
                column=column.name,
                type=column.pg_type,
                error=str(exc)[:200],
            ),
            where=where,
            advice=say("give the column another type in the plan: text holds everything that is text"),
            sqlstate=misfits.SQLSTATE,
            code=6973,
        ) from exc


def _cast(array: pa.Array, wanted: pa.DataType, *, again: bool) -> pa.Array:
    made = array.cast(wanted) if array.type != wanted else array
    if again and not made.cast(array.type).equals(array):
        raise ValueError(say("it would be written in another way"))
    return made


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa  # noqa: PLC0415

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _texts(array: pa.Array, column: ReadColumn) -> pa.Array:  # noqa: PLR0911 -- a type each
    """In Arrow where its spelling is PostgreSQL's; else value by value, which nested types need."""
    import pyarrow as pa  # noqa: PLC0415

    kind, is_a = array.type, pa.types
    if is_a.is_binary(kind) or is_a.is_large_binary(kind) or is_a.is_fixed_size_binary(kind):
        if is_vector(column.pg_type):
            return _by_value(array, lambda v: f"\\x{v.hex()}")
        return _by_value(array, _bytes_as(column.pg_type))
    if any(a(kind) for a in _spelled_alike(is_a)):
        return array.cast(pa.string())
    if is_a.is_floating(kind):
        return _by_value(array.cast(pa.float64()) if kind.bit_width < DOUBLE else array, _float)
    if is_a.is_duration(kind):
        return _by_value(array.cast(pa.duration("us")).cast(pa.int64()), lambda v: f"{v} microseconds")
    if column.pg_type.endswith("[]"):
        return _by_value(array, _array)
    if is_vector(column.pg_type):
        return _by_value(array, lambda v: "[" + ",".join(_float(x) for x in v) + "]")
    return _by_value(array, lambda v: json.dumps(_plain(v), ensure_ascii=False, allow_nan=False))


def _spelled_alike(is_a: Any) -> tuple[Callable[[pa.DataType], bool], ...]:
    """Whose text in Arrow is PostgreSQL's."""
    return (
        is_a.is_integer,
        is_a.is_boolean,
        is_a.is_decimal,
        is_a.is_date,
        is_a.is_null,
        is_a.is_timestamp,
        is_a.is_time,
    )


def _bytes_as(pg_type: str) -> Callable[[bytes], str]:
    if pg_type == "uuid":
        return lambda v: v.hex() if len(v) == 16 else v.decode()
    return lambda v: v.decode()


def _by_value(array: pa.Array, spell: Callable[[Any], str]) -> pa.Array:
    import pyarrow as pa  # noqa: PLC0415

    return pa.array([None if v is None else spell(v) for v in array.to_pylist()], pa.string())


def _float(value: float) -> str:
    return repr(value).replace("inf", "Infinity").replace("nan", "NaN")


def _array(value: list[Any]) -> str:
    return "{" + ",".join("NULL" if v is None else _element(v) for v in value) + "}"


def _element(value: Any) -> str:
    text = (
        f"\\x{value.hex()}" if isinstance(value, bytes) else _float(value) if isinstance(value, float) else str(value)
    )
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _plain(value: Any) -> Any:
    """What JSON has; anything else as its text."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
