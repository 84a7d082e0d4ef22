"""What a stream of batches holds, in one number per column: BLAKE2b, whatever batches the rows come in.

A column's number is made of three: where its NULLs are, how long its values are, and their bytes. What lies below a
NULL does not count. Floats are their bits, but for NaN, of which PostgreSQL has one; decimals are numbers at the
column's scale. The order of the rows counts: both sides are read in the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pghaul.target.arrow.facts import ColumnFacts, Facts

Bytes: TypeAlias = "np.ndarray[Any, Any]"
SIZE = 16  # bytes of a digest: as many as a uuid's; nobody forges rows here


class Digest:
    """Of batches with this schema."""

    def __init__(self, schema: pa.Schema, *, facts: bool = False) -> None:
        self.rows = 0
        self.schema = schema
        self._columns = [_Column(f.type) for f in schema]
        self._facts = [Facts(f.name, f.type) for f in schema] if facts else []

    def update(self, batch: pa.RecordBatch) -> None:
        """The next rows."""
        for column, array in zip(self._columns, batch.columns, strict=True):
            column.update(array, self.rows)
        for told, array in zip(self._facts, batch.columns, strict=False):
            told.update(array)
        self.rows += batch.num_rows

    def columns(self) -> Mapping[str, str]:
        """One digest for each."""
        return {f.name: c.hexdigest() for f, c in zip(self.schema, self._columns, strict=True)}

    def hexdigest(self) -> str:
        """Of all columns, their names and the number of rows."""
        whole = blake2b(str(self.rows).encode(), digest_size=SIZE)
        for name, digest in self.columns().items():
            whole.update(f"\n{digest} {name}".encode())
        return whole.hexdigest()

    def facts(self) -> tuple[ColumnFacts, ...]:
        """Of each column, where they were asked for."""
        return tuple(f.told() for f in self._facts)

    def collected(self) -> tuple[Facts, ...]:
        """The same, to be added to those of another part."""
        return tuple(self._facts)

    def differing(self, other: Digest) -> tuple[str, ...]:
        """Columns that are not the same; all of them where one side has more rows."""
        theirs = other.columns()
        return tuple(n for n, d in self.columns().items() if self.rows != other.rows or theirs.get(n) != d)


class _Column:
    def __init__(self, type_: pa.DataType) -> None:
        self._nulls, self._lengths, self._values = (blake2b(digest_size=SIZE) for _ in range(3))
        self._fixed = not (pa.types.is_string(type_) or pa.types.is_binary(type_))

    def update(self, array: pa.Array, first: int) -> None:
        if not len(array):
            return
        missing = None
        if array.null_count:
            missing = array.is_null().to_numpy(zero_copy_only=False)
            self._nulls.update((np.flatnonzero(missing) + first).data)
        if self._fixed:
            self._values.update(_values(array, missing).data)
            return
        lengths, data = _text(array)
        if missing is not None and lengths[missing].any():  # bytes below a NULL
            lengths, data = _text(pc.fill_null(array, b"" if pa.types.is_binary(array.type) else ""))
        self._lengths.update(lengths.data)
        self._values.update(data.data)

    def hexdigest(self) -> str:
        whole = blake2b(digest_size=SIZE)
        for part in (self._nulls, self._lengths, self._values):
            whole.update(part.digest())
        return whole.hexdigest()


def _text(array: pa.Array) -> tuple[Bytes, Bytes]:
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    whole = np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return np.diff(bounds), whole[bounds[0] : bounds[-1]]


def _values(array: pa.Array, missing: Bytes | None) -> Bytes:
    """One number, or several, for each row; 0 for NULL."""
    if pa.types.is_boolean(array.type):
        bits = pc.fill_null(array, False).to_numpy(zero_copy_only=False)
        flags: Bytes = bits.astype(np.uint8)
        return flags
    width = array.type.bit_width // 8
    unit = min(width, 8)
    whole = np.frombuffer(array.buffers()[1], f"i{unit}").reshape(-1, width // unit)
    values = whole[array.offset : array.offset + len(array)]
    odd = np.isnan(values.view(f"f{unit}")) if pa.types.is_floating(array.type) else None
    if missing is None and (odd is None or not odd.any()):
        return np.ascontiguousarray(values)
    values = values.copy()
    if odd is not None:
        values[odd] = np.array(np.nan, f"f{unit}").view(f"i{unit}")
    if missing is not None:
        values[missing] = 0
    return values
