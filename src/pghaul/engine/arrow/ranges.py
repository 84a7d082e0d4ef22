"""Large tables in ranges of their integer key, so that several workers read at once and a fault costs little."""

from __future__ import annotations

from itertools import pairwise

from pghaul.model.chunk import Chunk, ChunkKind
from pghaul.model.mapped import MappedTable
from pghaul.sources.protocol import Source

LEAST = 64 << 20  # bytes of a range at least: a chunk's transaction costs some milliseconds, its index pages more
SHARE = 4  # ranges for each worker, so that none waits long for the last one
INTEGERS = frozenset({"smallint", "integer", "bigint"})


def chunks(table: MappedTable, source: Source, *, split_bytes: int, workers: int, whole: bool) -> list[Chunk]:
    """One for all of it, or one for each range. `whole`: it may not be cut."""
    size, rows = table.source.bytes, table.source.rows
    each = min(split_bytes, max(LEAST, size // (workers * SHARE)))
    key = key_of(table)
    parts = 1 if whole or key is None or not source.guarantees.ranges else max(1, size // each)
    bounds = source.bounds(table.source.name, key) if parts > 1 and key is not None else None
    cuts = _cuts(*bounds, parts) if bounds else []
    if not cuts or key is None:
        return [Chunk(table=table.name, kind=ChunkKind.LEAF, bytes=size, rows=rows)]
    ends = [None, *cuts, None]
    return [
        Chunk(
            table=table.name,
            kind=ChunkKind.RANGE,
            column=key,
            low=low,
            high=high,
            bytes=size // (len(ends) - 1),
            rows=None if rows is None else rows // (len(ends) - 1),
        )
        for low, high in pairwise(ends)
    ]


def key_of(table: MappedTable) -> str | None:
    """The column of an integer primary key, by the source's name; None where it has none."""
    key = table.source.primary
    if key is None or len(key.columns) != 1:
        return None
    column = next((c for c in table.carried if c.source.name == key.columns[0]), None)
    if column is None or column.changed:  # what is behind a transform has no range on the target
        return None
    return column.source.name if column.type in INTEGERS else None


def _cuts(low: int, high: int, parts: int) -> list[int]:
    """Of equal width; fewer where the key is narrower than that."""
    width = high - low + 1
    return sorted({low + width * i // parts for i in range(1, parts)} - {low})
