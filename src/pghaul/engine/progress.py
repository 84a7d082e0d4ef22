"""Counts what has moved and says so about ten times a second, with a rate and a time left by bytes."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

WINDOW = 10.0  # seconds over which the rate is taken


@dataclass(kw_only=True)
class Progress:
    """Totals of a run. Estimates are heap bytes, what moves is COPY's bytes: the ratio of finished chunks converts."""

    chunks: int
    bytes_estimated: int
    chunks_done: int = 0
    rows: int = 0
    bytes: int = 0
    _estimated_done: int = 0
    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, *, rows: int, size: int, estimated: int) -> None:
        """A chunk is committed."""
        self.chunks_done += 1
        self.rows += rows
        self.bytes += size
        self._estimated_done += estimated

    def remove(self, *, rows: int, size: int, estimated: int) -> None:
        """A chunk that was counted is to be done again."""
        self.add(rows=-rows, size=-size, estimated=-estimated)
        self.chunks_done -= 2

    def snapshot(self, in_flight: int) -> dict[str, Any]:
        """The data of a PROGRESS event; `in_flight` are bytes of unfinished chunks."""
        now, moved = time.monotonic(), self.bytes + in_flight
        self._seen.append((now, moved))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
        elapsed = now - self._seen[0][0]
        rate = (moved - self._seen[0][1]) / elapsed if elapsed > 0 else 0.0
        left = self._left(in_flight)
        return {
            "rows": self.rows,
            "bytes": moved,
            "bytes_estimated": moved + left,
            "rate": round(max(0.0, rate)),
            "eta": round(left / rate, 1) if rate > 0 else None,
            "chunks_done": self.chunks_done,
            "chunks": self.chunks,
        }

    def _left(self, in_flight: int) -> int:
        ratio = self.bytes / self._estimated_done if self._estimated_done > 0 and self.bytes > 0 else 1.0
        return max(0, round((self.bytes_estimated - self._estimated_done) * ratio) - in_flight)
