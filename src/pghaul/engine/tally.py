"""How far a run is: its chunks, those that are counted, and what earlier runs of the same tables say of the rest.

Nothing is counted twice, whatever the ledger, a retry or a comparison says of the same chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from pghaul.engine.progress import Progress
from pghaul.model.chunk import Chunk
from pghaul.model.receipt import Receipt
from pghaul.model.run import Run
from pghaul.model.sample import PastRate, Sample
from pghaul.model.table import Name

Key: TypeAlias = tuple[Name, str]


class Tally:
    """One per run; each attempt begins it anew."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._chunks: dict[Key, Chunk] = {}
        self._counted: dict[Key, tuple[int, int]] = {}
        self._known: dict[Key, int] = {}  # COPY's bytes, where an earlier run has moved the table
        self._past_rate = 0.0
        self._expected = (0, 0)  # rows and bytes of the chunks whose rows the catalogue knows
        self._progress = Progress(chunks=0, bytes_estimated=0)

    @property
    def keys(self) -> Iterable[Key]:
        """Of all chunks, in the order of the plan."""
        return self._chunks.keys()

    def know(self, chunks: Iterable[Chunk]) -> dict[Name, int]:
        """The chunks of the run. Returns the heap's bytes of each table."""
        self._chunks = {(c.table, c.key): c for c in chunks}
        told = [c for c in self._chunks.values() if c.rows is not None]
        self._expected = (sum(c.rows or 0 for c in told), sum(c.bytes for c in told))
        heap: dict[Name, int] = {}
        for chunk in self._chunks.values():
            heap[chunk.table] = heap.get(chunk.table, 0) + chunk.bytes
        return heap

    def recall(self, past: Mapping[Name, PastRate], heap: Mapping[Name, int]) -> None:
        """What earlier runs took for the same tables: better than the size of the heap."""
        self._known = {
            key: round(past[key[0]].bytes * chunk.bytes / heap[key[0]])
            for key, chunk in self._chunks.items()
            if key[0] in past and heap[key[0]]
        }
        seconds = sum(p.seconds for p in past.values())
        moved = sum(p.bytes for p in past.values())
        self._past_rate = moved / seconds * self._workers if seconds > 0 else 0.0

    def begin(self) -> None:
        """Count from nothing: what is done is found in the ledger."""
        self._counted = {}
        self._progress = Progress(
            chunks=len(self._chunks),
            bytes_estimated=sum(c.bytes for key, c in self._chunks.items() if key not in self._known),
            bytes_known=sum(self._known.values()),
            past_rate=self._past_rate,
        )

    def count(self, key: Key, receipt: Receipt) -> None:
        """A chunk is done; counted once."""
        if key not in self._counted:
            self._counted[key] = (receipt.rows, receipt.bytes)
            self._progress.add(rows=receipt.rows, size=receipt.bytes, **self._estimate(key))

    def uncount(self, key: Key) -> bool:
        """It is to be done again; False where it was not counted."""
        counted = self._counted.pop(key, None)
        if counted is not None:
            self._progress.remove(rows=counted[0], size=counted[1], **self._estimate(key))
        return counted is not None

    def snapshot(self, in_flight: int) -> dict[str, Any]:
        """The data of a PROGRESS event."""
        return self._progress.snapshot(in_flight)

    def rows_in(self, in_flight: int) -> int:
        """COPY says nothing of rows before it ends: as many as finished chunks (or else all) have in as many bytes."""
        p = self._progress
        rows, size = (p.rows, p.bytes) if p.bytes > 0 else self._expected
        return round(in_flight * rows / size) if size > 0 else 0

    def sample(self, in_flight: int) -> Sample:
        """This moment."""
        p = self._progress
        return Sample(at=datetime.now(UTC), rows=p.rows, bytes=p.bytes, in_flight=in_flight, chunks_done=p.chunks_done)

    def totals(self, run: Run) -> Run:
        """The run with its totals."""
        p = self._progress
        return replace(run, rows=p.rows, bytes=p.bytes, chunks_done=p.chunks_done)

    def _estimate(self, key: Key) -> dict[str, Any]:
        known = self._known.get(key)
        return {"estimated": self._chunks[key].bytes if known is None else known, "known": known is not None}
