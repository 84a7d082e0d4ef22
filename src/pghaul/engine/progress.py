"""Counts what has moved and says so about ten times a second, with a rate and a time left by bytes.

Before anything has moved, the time left comes from what earlier runs took for the same tables.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

WINDOW = 10.0  # seconds over which the rate is taken
FIRM = 2.0  # seconds after which a measured rate says more than one of an earlier run


@dataclass(kw_only=True)
class Speed:
    """Bytes per second over the last seconds."""

    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def at(self, moved: int) -> tuple[float, float]:
        """The rate, and the seconds that it was taken over."""
        now = time.monotonic()
        self._seen.append((now, moved))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
        elapsed = now - self._seen[0][0]
        rate = (moved - self._seen[0][1]) / elapsed if elapsed > 0 else 0.0
        return max(0.0, rate), elapsed


@dataclass(kw_only=True)
class Progress:
    """Totals of a run. Estimates are heap bytes, what moves is COPY's bytes: the ratio of finished chunks converts.

    Of tables that an earlier run has moved, COPY's bytes are known: `bytes_known`, at `past_rate` bytes per second.
    """

    chunks: int
    bytes_estimated: int
    bytes_known: int = 0
    past_rate: float = 0.0
    chunks_done: int = 0
    rows: int = 0
    bytes: int = 0
    _estimated_done: int = 0
    _estimated_moved: int = 0
    _known_done: int = 0
    _speed: Speed = field(default_factory=Speed)

    def add(self, *, rows: int, size: int, estimated: int, known: bool = False) -> None:
        """A chunk is committed. `estimated` as it was counted in `bytes_known` or `bytes_estimated`."""
        self.chunks_done += 1
        self.rows += rows
        self.bytes += size
        if known:
            self._known_done += estimated
        else:
            self._estimated_done += estimated
            self._estimated_moved += size

    def remove(self, *, rows: int, size: int, estimated: int, known: bool = False) -> None:
        """A chunk that was counted is to be done again."""
        self.add(rows=-rows, size=-size, estimated=-estimated, known=known)
        self.chunks_done -= 2

    def snapshot(self, in_flight: int) -> dict[str, Any]:
        """The data of a PROGRESS event; `in_flight` are bytes of unfinished chunks."""
        moved = self.bytes + in_flight
        rate, elapsed = self._speed.at(moved)
        left = self._left(in_flight)
        beyond = not left and self.chunks_done < self.chunks  # more than was estimated: nobody knows how much more
        to_come = rate if elapsed >= FIRM or not self.past_rate else self.past_rate
        return {
            "rows": self.rows,
            "bytes": moved,
            "bytes_estimated": moved + left,
            "rate": round(rate),
            "eta": round(left / to_come, 1) if to_come > 0 and not beyond else None,
            "chunks_done": self.chunks_done,
            "chunks": self.chunks,
        }

    def _left(self, in_flight: int) -> int:
        measured = self._estimated_done > 0 and self._estimated_moved > 0
        ratio = self._estimated_moved / self._estimated_done if measured else 1.0
        estimated = round((self.bytes_estimated - self._estimated_done) * ratio)
        return max(0, estimated + self.bytes_known - self._known_done - in_flight)
