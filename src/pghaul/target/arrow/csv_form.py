r"""Canonical arrays as COPY's csv takes them: what pyarrow's writer would misspell is made text here, column by column.

Every value is quoted and NULL is an unquoted nothing, so '' and NULL stay apart, and neither `\.` nor a newline in a
value ends anything. Sessions of ours have TimeZone = UTC, so that a moment is written without its zone: pyarrow takes
1.2 s for a million zones, and 0.05 s for none.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from pghaul.target.arrow.checks import DAY, integers

Form: TypeAlias = Callable[[pa.Array], pa.Array]

# Rows that pyarrow makes text of at once; 256 cost a tenth more, more than 4096 gain nothing.
ROWS = 4096
OPTIONS = pyarrow.csv.WriteOptions(include_header=False, quoting_style="all_valid", batch_size=ROWS)
WIDE = 1 << 20  # bytes of a row that is written by itself, in portions
PORTION = 1 << 18
JULIAN = 2_440_588  # the Julian day of 1970-01-01
YEAR_1, YEAR_10000 = -719_162, 2_932_897  # days from 1970: between them, pyarrow writes dates as PostgreSQL does


class Pieces:
    """A file for pyarrow. What it hands over is its own buffer, which it fills again: it is to be copied."""

    def __init__(self) -> None:
        self._written: list[bytes] = []
        self.closed = False

    def write(self, data: pa.Buffer) -> int:
        """Keep it."""
        self._written.append(data.to_pybytes())
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """What was kept stays."""
        self.closed = True

    def readable(self) -> bool:
        """It is for writing."""
        return False

    def writable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It goes on only."""
        return False

    def taken(self) -> list[bytes]:
        """What was written, once."""
        written, self._written = self._written, []
        return written


def lines(batch: pa.RecordBatch) -> Iterator[bytes]:
    """The rows of a canonical batch, as csv."""
    if not batch.num_rows:
        return
    if batch.num_rows == 1 and batch.nbytes > WIDE:
        yield from _wide(batch)
        return
    arrays = [form_of(c.type)(c) for c in batch.columns]
    pieces = Pieces()
    pyarrow.csv.write_csv(pa.RecordBatch.from_arrays(arrays, names=batch.schema.names), pieces, OPTIONS)
    yield from pieces.taken()


def _wide(batch: pa.RecordBatch) -> Iterator[bytes]:
    """One row, in portions: pyarrow would hold six times its size."""
    for number, array in enumerate(batch.columns):
        if number:
            yield b","
        if array.null_count:
            continue
        yield b'"'
        if pa.types.is_binary(array.type):
            yield b"\\x"
            yield from map(binascii.hexlify, portions(array))
        else:
            text = array if pa.types.is_string(array.type) else pc.cast(form_of(array.type)(array), pa.string())
            yield from (bytes(part).replace(b'"', b'""') for part in portions(text))
        yield b'"'
    yield b"\n"


def portions(array: pa.Array) -> Iterator[memoryview]:
    """The bytes of its only value."""
    _, offsets, data = array.buffers()
    first, last = (int(n) for n in np.frombuffer(offsets, np.int32)[array.offset : array.offset + 2])
    return (memoryview(data)[at : min(last, at + PORTION)] for at in range(first, last, PORTION))


def form_of(type_: pa.DataType) -> Form:
    """What makes a column ready for pyarrow's writer."""
    for test, form in FORMS:
        if test(type_):
            return form
    return lambda array: array


# --- moments -----------------------------------------------------------------------------------------------------


def _within(numbers: pa.Array, unit: int) -> bool:
    bounds = pc.min_max(numbers)
    least, most = bounds["min"].as_py(), bounds["max"].as_py()
    return least is None or (least >= YEAR_1 * unit and most < YEAR_10000 * unit)


def _dates(array: pa.Array) -> pa.Array:
    numbers = integers(array)
    return array if _within(numbers, 1) else _julian(pc.cast(numbers, pa.int64()))


def _julian(days: pa.Array) -> pa.Array:
    """Far dates by their Julian day, which PostgreSQL reads as a date; pyarrow has no BC, nor five digits of a year."""
    return pc.binary_join_element_wise("J", pc.cast(pc.add(days, JULIAN), pa.string()), "")


def _timestamps(array: pa.Array) -> pa.Array:
    numbers = integers(array)
    if _within(numbers, DAY):
        return numbers.view(pa.timestamp("us"))
    filled = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False)
    days, rest = np.divmod(filled, DAY)
    clock = pc.cast(pa.array(rest, pa.int64()).view(pa.time64("us")), pa.string())
    text = pc.binary_join_element_wise(_julian(pa.array(days)), clock, " ")
    return text if not array.null_count else pc.if_else(array.is_valid(), text, pa.scalar(None, pa.string()))


def _times(array: pa.Array) -> pa.Array:
    """24:00:00 is a time to PostgreSQL, and none to pyarrow."""
    numbers = integers(array)
    last = pc.equal(numbers, DAY)
    if not last.true_count:
        return array
    known = pc.if_else(last, pa.scalar(0, pa.int64()), numbers).view(pa.time64("us"))
    return pc.if_else(last, "24:00:00", pc.cast(known, pa.string()))


# --- bytes -------------------------------------------------------------------------------------------------------


def _bytes(array: pa.Array) -> pa.Array:
    r"""\x and two digits a byte: all of a column at once."""
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1].astype(np.int64)
    first, last = int(bounds[0]), int(bounds[-1])
    digits = binascii.hexlify(memoryview(data)[first:last]) if data is not None else b""
    places = pa.py_buffer((bounds - first) * 2)
    text = pa.LargeStringArray.from_buffers(len(array), places, pa.py_buffer(digits))
    text = pc.binary_join_element_wise(pa.scalar("\\x", pa.large_string()), text, pa.scalar("", pa.large_string()))
    return text if not array.null_count else pc.if_else(array.is_valid(), text, pa.scalar(None, pa.large_string()))


def _sixteen(array: pa.Array) -> pa.Array:
    """Uuids: 32 digits without hyphens are one."""
    width = array.type.byte_width
    data = memoryview(array.buffers()[1])[array.offset * width : (array.offset + len(array)) * width]
    places = pa.py_buffer(np.arange(len(array) + 1, dtype=np.int64) * width * 2)
    text = pa.LargeStringArray.from_buffers(len(array), places, pa.py_buffer(binascii.hexlify(data)))
    return text if not array.null_count else pc.if_else(array.is_valid(), text, pa.scalar(None, pa.large_string()))


# --- lists -------------------------------------------------------------------------------------------------------


def literals(array: pa.Array, opening: str = "{", closing: str = "}", *, quoted: bool = True) -> pa.Array:
    """Array literals: each element in quotes, NULL without them."""
    values = array.flatten()
    text = pc.cast(form_of(values.type)(values), pa.string())
    if quoted:
        for sign in ("\\", '"'):
            text = pc.replace_substring(text, sign, "\\" + sign)
        text = pc.binary_join_element_wise('"', text, '"', "")
    text = pc.fill_null(text, "NULL")
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate(([0], np.cumsum(lengths))), pa.int32())
    whole = pc.binary_join_element_wise(
        opening, pc.binary_join(pa.ListArray.from_arrays(offsets, text), ","), closing, ""
    )
    return whole if not array.null_count else pc.if_else(array.is_valid(), whole, pa.scalar(None, pa.string()))


FORMS: tuple[tuple[Callable[[pa.DataType], Any], Form], ...] = (
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_date32, _dates),
    (pa.types.is_time64, _times),
    (pa.types.is_fixed_size_binary, _sixteen),
    (pa.types.is_binary, _bytes),
    (pa.types.is_list, literals),
)
