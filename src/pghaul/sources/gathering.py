"""What a driver hands out piece by piece: put together to batches; and the value among many that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pghaul.model.errors import SourceError
from pghaul.model.text import say

if TYPE_CHECKING:
    import pyarrow as pa


def gathered(pieces: Iterable[pa.RecordBatch], *, rows: int, size: int) -> Iterator[pa.RecordBatch]:
    """So many rows and bytes in each at most, but for a single piece that is larger."""
    import pyarrow as pa  # noqa: PLC0415

    waiting: list[pa.RecordBatch] = []
    count = held = 0
    for piece in pieces:
        if waiting and (count + piece.num_rows > rows or held + piece.nbytes > size):
            yield pa.concat_batches(waiting)
            waiting, count, held = [], 0, 0
        waiting.append(piece)
        count, held = count + piece.num_rows, held + piece.nbytes
    if waiting:
        yield pa.concat_batches(waiting)


def first_failing(values: Any, fails: Callable[[Any], bool]) -> Any:
    """Of a sequence or an array that fails: halved until it has one value."""
    while len(values) > 1:
        middle = len(values) // 2
        values = values[:middle] if fails(values[:middle]) else values[middle:]
    return values


def unreadable(column: str, pg_type: str, *, shown: str, why: Exception, where: str) -> SourceError:
    """A value that is none of the type it is meant for."""
    return SourceError(
        say(
            "column {column} holds {value}, which is no {type}: {why}",
            column=column,
            value=shown,
            type=pg_type,
            why=str(why)[:100],
        ),
        where=where,
        advice=say("give the column another type in the plan (text holds it), or an expression that rounds it"),
        code=6948,
    )
