"""A batch that holds rows which the target refuses: those are found, one by one, all others are loaded, in their order.

    tries = Tries(encoding, copy=…, keep=…, undo=…, named=…)
    async for found in tries.of(canonical):        # a batch of Encoding.sift(): what did not fit is known already
        if isinstance(found, Loaded): …            # found.batch is on the target, behind the savepoint
        else: …                                    # found.row of `canonical`, from 0, and what the server said

`copy` is one whole COPY of a stream of bytes, which raises Refusal where the server refuses a row of it; `keep` makes
what it has loaded safe and `undo` takes it back (RELEASE and ROLLBACK TO a savepoint). `named` is the line that the
server's words name, from 1, or None; `certain` says that this line alone can be meant, whatever rows there are. Else
that is a hint, and a row is refused when it has been refused by itself. row_text.line_of(canonical, row) makes the line
for the quarantine.

How many rows go at once is decided by how far apart the last ones at fault were: a batch costs some round trips, a row
at fault half a batch.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from math import isqrt
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pghaul.target.arrow.encoding import Encoding

FIRST = 8192  # rows
COST = 400  # rows that could be loaded in the time that a batch takes for itself
LARGEST = 65_536


class Refusal(Exception):  # noqa: N818 -- of a row; no error of ours
    """What the server said of some row of a COPY."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Rows that the target has taken."""

    batch: pa.RecordBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """One that it has not: its place in the batch that was given, and the server's words."""

    row: int
    error: Exception


Copy: TypeAlias = Callable[[AsyncIterator[bytes]], Awaitable[None]]
Step: TypeAlias = Callable[[], Awaitable[None]]
Named: TypeAlias = Callable[[Exception], "int | None"]


class Tries:
    """Of one table, over all of its batches: what the last ones were like tells how large the next are."""

    def __init__(
        self,
        encoding: Encoding,
        *,
        copy: Copy,
        keep: Step,
        undo: Step,
        named: Named,
        certain: Callable[[Exception], bool] = lambda _: False,
    ) -> None:
        self._encoding = encoding
        self._copy = copy
        self._keep = keep
        self._undo = undo
        self._named = named
        self._certain = certain
        self._distance = FIRST * FIRST // COST // 2  # of rows at fault
        self._since = 0  # rows since the last one

    async def of(self, batch: pa.RecordBatch) -> AsyncIterator[Loaded | RefusedRow]:
        """Every row of a canonical batch, in order."""
        waiting = [(0, batch.num_rows)]  # from where to where; the last comes next
        while waiting:
            start, end = waiting.pop()
            middle = min(end, start + self._size())
            if middle < end:
                waiting.append((middle, end))
            if middle == start:
                continue
            part = batch.slice(start, middle - start)
            try:
                await self._copy(self._pieces(part))
            except Refusal as refusal:
                await self._undo()
                row, sure = self._meant(part, refusal.error)
                if part.num_rows == 1 or (sure and row is not None):
                    at = start + (row or 0)
                    self._found(at - start)
                    yield RefusedRow(row=at, error=refusal.error)
                    waiting += _both(start, at, at + 1, middle)
                else:
                    waiting += _parts(start, middle, row)
                continue
            await self._keep()
            self._since += middle - start
            self._distance = max(self._distance, self._since)
            yield Loaded(batch=part)

    async def _pieces(self, part: pa.RecordBatch) -> AsyncIterator[bytes]:
        """A whole stream. What an earlier one has left in the encoder goes with its end."""
        self._encoding.begin()
        for piece in self._encoding.encode(part):
            yield piece
        yield self._encoding.finish()

    def _meant(self, part: pa.RecordBatch, error: Exception) -> tuple[int | None, bool]:
        """The row of a part, from 0, that the server means, and whether nothing else can be meant."""
        line = self._named(error)
        if line is None:
            return None, False
        if self._encoding.format == "binary":
            row, sure = line - 1, True
        else:
            row, sure = _of_line(part, line)
        return (row, sure and self._certain(error)) if 0 <= row < part.num_rows else (None, False)

    def _found(self, before: int) -> None:
        self._distance = (self._distance + self._since + before) // 2
        self._since = 0

    def _size(self) -> int:
        return max(1, min(LARGEST, isqrt(2 * self._distance * COST)))


def _both(start: int, end: int, behind: int, last: int) -> list[tuple[int, int]]:
    """What is before a row, and what is behind it; the first of them last."""
    return [(a, b) for a, b in ((behind, last), (start, end)) if a < b]


def _parts(start: int, end: int, row: int | None) -> list[tuple[int, int]]:
    """Around the row that is named, or in halves; the first of them last."""
    if row is None:
        middle = (start + end) // 2
        return [(middle, end), (start, middle)]
    at = start + row
    return [(a, b) for a, b in ((at + 1, end), (at, at + 1), (start, at)) if a < b]


def _of_line(part: pa.RecordBatch, line: int) -> tuple[int, bool]:
    """csv's lines are counted with those within values; then they are a hint at most."""
    texts = [c for c in part.columns if pa.types.is_string(c.type)]
    counted = [pc.fill_null(pc.count_substring(c, "\n"), 0).to_numpy(zero_copy_only=False) for c in texts]
    within = np.sum(counted, axis=0) if counted else np.zeros(part.num_rows, np.int64)
    if not within.any():
        return line - 1, True
    return int(np.searchsorted(np.cumsum(within + 1), line)), False
