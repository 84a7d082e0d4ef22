"""The SQL of a reading, and how many rows of it make a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pghaul.model.foreign import ReadColumn, Reading
from pghaul.sources._mysql_projection import FIXED, Projected, quoted
from pghaul.sources.reading_sql import where_clause

TYPICAL = 4 << 20  # bytes of a batch as it comes; what is wider than its table says is cut at the limit
FEWEST = 16  # rows: below, a batch costs more than its rows


def select(table: str, columns: Sequence[Projected], reading: Reading) -> str:
    """`table` is quoted."""
    terms = ", ".join(f"{c.sql} AS {quoted(c.name)}" for c in columns)
    query = f"SELECT {terms} FROM {table}{where_clause(reading.where, reading.range, quoted)}"  # noqa: S608
    if reading.ordered:
        query += f" ORDER BY {', '.join(quoted(c) for c in reading.ordered)}"
    return query if reading.limit is None else f"{query} LIMIT {reading.limit}"


def rows_of_a_batch(reading: Reading, size: Mapping[str, Any]) -> int:
    """A power of two. `size`: the table's row of information_schema; an average, so that it only is a first guess."""
    widest = max(int(size.get("AVG_ROW_LENGTH") or 0), sum(_width(c) for c in reading.columns), 16)
    most = max(min(min(TYPICAL, reading.batch_bytes) // widest, reading.batch_rows), min(FEWEST, reading.batch_rows), 1)
    return 1 << (most.bit_length() - 1)


def _width(column: ReadColumn) -> int:
    """What it takes at least in a batch, also where it is NULL."""
    return FIXED.get(column.pg_type, 8)
