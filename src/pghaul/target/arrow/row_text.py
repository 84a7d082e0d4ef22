r"""One row as a line of COPY's text in UTF8: how the quarantine keeps it, byte by byte, and a replay reads it.

Only rows that are refused come here, one by one. A row may be refused because it is not canonical (a number with too
many decimals, a moment in nanoseconds), so that any Arrow type is written here, as PostgreSQL would read it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pghaul.model import copy_text
from pghaul.target.arrow.casts import unwrapped
from pghaul.target.arrow.checks import DAY
from pghaul.target.arrow.csv_form import form_of
from pghaul.target.arrow.kinds import is_bytes

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # in a second


def line_of(batch: pa.RecordBatch, row: int) -> bytes:
    """Without its newline."""
    return copy_text.encode(values_of(batch, row), "UTF8")


def values_of(batch: pa.RecordBatch, row: int) -> tuple[str | None, ...]:
    """Each as the line has it, before it is quoted."""
    return tuple(_text(c.slice(row, 1)) for c in batch.columns)


def _text(array: pa.Array) -> str | None:
    array = unwrapped(array)
    if array.null_count:
        return None
    for test, write in WRITERS:
        if test(array.type):
            return write(array)
    return str(pc.cast(array, pa.string())[0])


def _bytes(array: pa.Array) -> str:
    return "\\x" + bytes(array[0].as_py()).hex()


def _uuid_or_bytes(array: pa.Array) -> str:
    return str(array[0].as_py().hex()) if array.type.byte_width == 16 else _bytes(array)


def _timestamp(array: pa.Array) -> str:
    """In its own unit, whatever PostgreSQL keeps of it; of what has a zone, in UTC."""
    zone = "+00" if array.type.tz else ""
    if array.type.unit == "us":
        return str(pc.cast(form_of(array.type)(array), pa.string())[0]) + zone
    moment = np.datetime64(array.view(pa.int64())[0].as_py(), array.type.unit)
    return str(moment).replace("T", " ") + zone


def _time(array: pa.Array) -> str:
    number = array.view(pa.int32() if array.type.bit_width == 32 else pa.int64())[0].as_py()
    unit = UNITS[array.type.unit]
    if not 0 <= number <= DAY * unit // 10**6:
        return f"{number} {array.type.unit}"  # no time of day at all
    seconds, rest = divmod(number, unit)
    digits = len(str(unit)) - 1
    fraction = f".{rest:0{digits}}" if digits else ""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}"


def _date(array: pa.Array) -> str:
    days = array if pa.types.is_date32(array.type) else None
    if days is None:  # date64 with a time of day
        return str(np.datetime64(array.view(pa.int64())[0].as_py(), "ms")).replace("T", " ")
    return str(pc.cast(form_of(days.type)(days), pa.string())[0])


def _list(array: pa.Array) -> str:
    parts = [_text(array.flatten().slice(n, 1)) for n in range(len(array.flatten()))]
    return "{" + ",".join("NULL" if p is None else _quoted(p) for p in parts) + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_))


def _lenient(array: pa.Array) -> str:
    """A string may hold bytes that are no UTF8, which the target refuses: they are kept as they are."""
    raw = array.cast(pa.large_binary())[0].as_py()
    return bytes(raw).decode("utf-8", "surrogateescape")


WRITERS: tuple[tuple[Callable[[pa.DataType], Any], Callable[[pa.Array], str]], ...] = (
    (pa.types.is_fixed_size_binary, _uuid_or_bytes),
    (is_bytes, _bytes),
    (pa.types.is_timestamp, _timestamp),
    (pa.types.is_time, _time),
    (pa.types.is_date, _date),
    (pa.types.is_duration, lambda array: f"{array.view(pa.int64())[0].as_py()} {array.type.unit}"),
    (_is_list, _list),
    (pa.types.is_string, _lenient),
    (pa.types.is_large_string, _lenient),
)
