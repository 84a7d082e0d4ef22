"""Large tables in ranges of their integer key, so that several workers read at once and a fault costs little."""

from __future__ import annotations

from itertools import pairwise

from pghaul.model.chunk import Chunk, ChunkKind
from pghaul.model.mapped import MappedTable
from pghaul.model.table import Table
from pghaul.sources.protocol import Source

WHOLE = 64 << 20  # bytes up to which a table is read by one worker
LEAST = 16 << 20  # bytes of a range at least: each costs a transaction and a query, some hundredths of a second
SHARE = 4  # ranges for each worker, so that none waits long for the last one
INTEGERS = frozenset({"smallint", "integer", "bigint"})


def chunks(
    table: MappedTable, source: Source, there: Table | None, *, split_bytes: int, workers: int, whole: bool
) -> list[Chunk]:
    """One for all of it, or one for each range. `there`: the target's, where it has one. `whole`: it may not be cut."""
    size, rows = table.source.bytes, table.source.rows
    each = min(split_bytes, max(LEAST, size // (workers * SHARE)))
    key = key_of(table, there)
    one = whole or key is None or size < min(WHOLE, split_bytes) or not source.guarantees.ranges
    parts = 1 if one else _shared(size // each, workers)
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


def _shared(parts: int, workers: int) -> int:
    """As many for each worker: a last one that is read alone costs as long as those that are read side by side."""
    return -(-max(parts, 1) // workers) * workers if parts > 1 else parts


def key_of(table: MappedTable, there: Table | None) -> str | None:
    """The column of an integer primary key, by the source's name; None where it has none.

    It has to be one on both sides: 5 and 10 as texts lie in another order, and in other ranges. And without NULLs: they
    come first here and last there (SQLite's INT PRIMARY KEY may hold them).
    """
    key = table.source.primary
    if key is None or len(key.columns) != 1:
        return None
    column = next((c for c in table.carried if c.source.name == key.columns[0]), None)
    if column is None or column.changed:  # what is behind a transform has no range on the target
        return None
    if not column.not_null or not _is_whole(column.source.pg_type):
        return None
    found = next((c.type for c in there.columns if c.name == column.name), None) if there else None
    return column.source.name if (found or column.type) in INTEGERS else None


def _is_whole(pg_type: str) -> bool:
    """Of what the source holds: MySQL's bigint unsigned is a numeric(20,0)."""
    return pg_type in INTEGERS or (pg_type.startswith("numeric(") and pg_type.endswith(",0)"))


def _cuts(low: int, high: int, parts: int) -> list[int]:
    """Of equal width; fewer where the key is narrower than that."""
    width = high - low + 1
    return sorted({low + width * i // parts for i in range(1, parts)} - {low})
