"""Two streams of batches side by side, whatever batches each of them comes in: which rows differ, in which columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pghaul.target.arrow.checks import Mask


def pairs(
    ours: Iterable[pa.RecordBatch], theirs: Iterable[pa.RecordBatch]
) -> Iterator[tuple[pa.RecordBatch | None, pa.RecordBatch | None]]:
    """Slices of equal length; None on one side for what only the other has, at the end."""
    left, right = (_filled(side) for side in (ours, theirs))
    mine, other = next(left, None), next(right, None)
    while mine is not None and other is not None:
        rows = min(mine.num_rows, other.num_rows)
        yield mine.slice(0, rows), other.slice(0, rows)
        mine = mine.slice(rows) if mine.num_rows > rows else next(left, None)
        other = other.slice(rows) if other.num_rows > rows else next(right, None)
    while mine is not None:
        yield mine, None
        mine = next(left, None)
    while other is not None:
        yield None, other
        other = next(right, None)


def _filled(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return (b for b in batches if b.num_rows)


def differing(ours: pa.RecordBatch, theirs: pa.RecordBatch) -> Mapping[str, Mask]:
    """Of two batches with one schema and as many rows: by column, which rows are not the same."""
    found: dict[str, Mask] = {}
    for name, mine, other in zip(ours.schema.names, ours.columns, theirs.columns, strict=True):
        if not mine.equals(other) or pa.types.is_floating(mine.type):
            mask = _unequal(mine, other)
            if mask.any():
                found[name] = mask
    return found


def _unequal(mine: pa.Array, other: pa.Array) -> Mask:
    if pa.types.is_floating(mine.type):
        mine, other = _bits(mine), _bits(other)
    same = pc.fill_null(pc.equal(mine, other), False).to_numpy(zero_copy_only=False)
    neither = pc.and_(mine.is_null(), other.is_null()).to_numpy(zero_copy_only=False)
    mask: Mask = np.logical_not(same | neither)
    return mask


def _bits(array: pa.Array) -> pa.Array:
    """-0 is not 0 here, and every NaN is NaN."""
    one = pc.if_else(pc.is_nan(array), pa.scalar(float("nan"), array.type), array)
    return one.view(pa.int64() if array.type.bit_width == 64 else pa.int32())
