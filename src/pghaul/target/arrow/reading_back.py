r"""What the target holds, as record batches in the form that Encoding.cast() gives: so both sides can be compared.

    back = BackReader(encoding)
    await connection.copy_from_query(query, output=sink, **WORDS)     # sink: for batch in back.feed(data): …
    for batch in back.end(): …

Columns whose values the server spells in its own way (jsonb, lists, strings for a type that is no text) come as the
server's text: `spelled_by_server(encoding)` names them. Of those, equal texts are equal values; different ones may be:
only the server can tell, when it is given the source's values, too (engine/arrow/comparing.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from pghaul.target.arrow.casts import without_end
from pghaul.target.arrow.csv_form import literals
from pghaul.target.arrow.encoding import Encoding
from pghaul.target.arrow.way import Way

Decode: TypeAlias = Callable[[pa.Array], pa.Array]

WORDS: dict[str, Any] = {"format": "csv", "force_quote": True, "encoding": "UTF8"}  # of asyncpg's copy_from_query
ENOUGH = 1 << 20  # bytes that are parsed at once
SINCE_2000 = 946_684_800_000_000  # microseconds from 1970: binary forms count from 2000
DAYS_2000 = 10_957


def spelled_by_server(encoding: Encoding) -> tuple[str, ...]:
    """Columns whose text may differ although the value is the same."""
    return tuple(w.column.name for w in encoding.ways if not w.exact)


def compared_schema(encoding: Encoding) -> pa.Schema:
    """That of batches to be compared: the canonical one, but lists are texts."""
    return pa.schema([pa.field(w.column.name, _compared(w.type)) for w in encoding.ways])


def ours(encoding: Encoding, batch: pa.RecordBatch) -> pa.RecordBatch:
    """A canonical batch, in that schema."""
    schema = compared_schema(encoding)
    if schema == batch.schema:
        return batch
    arrays = [literals(c) if pa.types.is_list(c.type) else c for c in batch.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _compared(type_: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_list(type_) else type_


class BackReader:
    """Of one stream."""

    def __init__(self, encoding: Encoding) -> None:
        self.schema = compared_schema(encoding)
        self._decoders = [_decoder(w) for w in encoding.ways]
        names = [str(n) for n in range(len(encoding.ways))]
        self._read = pyarrow.csv.ReadOptions(column_names=names, use_threads=False)
        self._parse = pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
        self._convert = pyarrow.csv.ConvertOptions(
            column_types={n: _as_read(w) for n, w in zip(names, encoding.ways, strict=True)},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        )
        self._held: list[bytes] = []
        self._size = 0
        self._odd = False  # within quotes

    def feed(self, data: bytes | memoryview) -> Iterator[pa.RecordBatch]:
        """More of the stream, cut anywhere; servers cut it between rows."""
        data = bytes(data)
        self._held.append(data)
        self._size += len(data)
        self._odd ^= bool(data.count(b'"') % 2)
        if self._size >= ENOUGH and not self._odd and data.endswith(b"\n"):
            yield self._taken()

    def end(self) -> Iterator[pa.RecordBatch]:
        """What is left."""
        if self._size:
            yield self._taken()

    def _taken(self) -> pa.RecordBatch:
        whole = b"".join(self._held)
        self._held, self._size = [], 0
        if not self._decoders:
            return pa.RecordBatch.from_struct_array(pa.array([{}] * whole.count(b"\n"), pa.struct([])))
        self._read.block_size = len(whole) + 1
        table = pyarrow.csv.read_csv(pa.py_buffer(whole), self._read, self._parse, self._convert)
        columns = [c.combine_chunks() for c in table.columns]
        arrays = [decode(c) for decode, c in zip(self._decoders, columns, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _as_read(way: Way) -> pa.DataType:
    plain = pa.types.is_integer(way.type) or pa.types.is_boolean(way.type)
    return way.type if plain else pa.string()


def _decoder(way: Way) -> Decode:
    type_ = way.type
    for test, decode in DECODERS:
        if test(type_):
            return lambda array: decode(array, type_)
    trimmed = way.column.spelled.name == "character" and way.column.spelled.args
    return without_end if trimmed else lambda array: array


def _digits(array: pa.Array) -> memoryview:
    """The digits of all values, one behind the other; NULL has none."""
    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return memoryview(b"")
    bounds = np.frombuffer(offsets, np.int32)
    return memoryview(data)[bounds[array.offset] : bounds[array.offset + len(array)]]


def _fixed(array: pa.Array, width: int) -> pa.Array:
    """Values of so many bytes, from digits."""
    filled = pc.fill_null(array, "0" * (2 * width)) if array.null_count else array
    raw = bytes.fromhex(bytes(_digits(filled)).decode())
    made = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(array), [None, pa.py_buffer(raw)])
    return made if not array.null_count else pc.if_else(array.is_valid(), made, pa.scalar(None, pa.binary(width)))


def _numbers(array: pa.Array, width: int) -> pa.Array:
    """Integers, from digits in the network's order of bytes."""
    fixed = _fixed(array, width)
    raw = np.frombuffer(fixed.buffers()[1], f">i{width}")[: len(array)].astype(f"=i{width}")
    return pa.array(raw, mask=array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None)


def _floats(array: pa.Array, type_: pa.DataType) -> pa.Array:
    return _numbers(array, type_.bit_width // 8).view(type_)


def _dates(array: pa.Array, type_: pa.DataType) -> pa.Array:
    return pc.add(_numbers(array, 4), pa.scalar(DAYS_2000, pa.int32())).view(type_)


def _times(array: pa.Array, type_: pa.DataType) -> pa.Array:
    return _numbers(array, 8).view(type_)


def _timestamps(array: pa.Array, type_: pa.DataType) -> pa.Array:
    return pc.add(_numbers(array, 8), pa.scalar(SINCE_2000, pa.int64())).view(type_)


def _uuids(array: pa.Array, _type: pa.DataType) -> pa.Array:
    return _fixed(array, 16)


def _binary(array: pa.Array, _type: pa.DataType) -> pa.Array:
    bounds = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
    raw = bytes.fromhex(bytes(_digits(array)).decode())
    places = pa.py_buffer(((bounds - bounds[0]) // 2).astype(np.int32))
    made = pa.BinaryArray.from_buffers(pa.binary(), len(array), [None, places, pa.py_buffer(raw)])
    return made if not array.null_count else pc.if_else(array.is_valid(), made, pa.scalar(None, pa.binary()))


DECODERS: tuple[tuple[Callable[[pa.DataType], Any], Callable[[pa.Array, pa.DataType], pa.Array]], ...] = (
    (pa.types.is_decimal, pc.cast),
    (pa.types.is_fixed_size_binary, _uuids),
    (pa.types.is_binary, _binary),
    (pa.types.is_floating, _floats),
    (pa.types.is_date, _dates),
    (pa.types.is_time, _times),
    (pa.types.is_timestamp, _timestamps),
)
