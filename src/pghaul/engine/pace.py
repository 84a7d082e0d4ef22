"""What a worker does between two buffers: it holds while the run is paused, and keeps to its share of the rate.

A stream owes the bytes that it has moved, and may go on when its share has paid for them. No stream knows of another:
the runner divides the rate among those that are open, ten times a second.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

from pghaul.engine.control import Control
from pghaul.engine.watch import Pulse

SLICE = 0.05  # seconds between looks while there is something to wait for
CREDIT = 0.1  # seconds of its share that a stream may have saved: more would be a burst


class Pace:
    """Entered for the time of one stream; whoever waits here is not taken for a stalled connection."""

    def __init__(self, control: Control, pulse: Pulse) -> None:
        self._control = control
        self._pulse = pulse
        self._seen = 0
        self._owed = 0.0
        self._at = time.monotonic()

    def __enter__(self) -> Self:
        self._control.set_moving(True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._control.set_moving(False)

    async def between(self, total: int) -> None:
        """Called with the bytes of the stream so far, after each buffer."""
        if self._control.share > 0:
            await self._pay(total - self._seen)
        self._seen = total
        while self._control.holding:
            self._pulse.beat()
            await asyncio.sleep(SLICE)

    async def _pay(self, moved: int) -> None:
        self._earn()
        self._owed += moved
        while (share := self._control.share) > 0 and self._owed >= 1:
            self._pulse.beat()
            await asyncio.sleep(min(SLICE, self._owed / share))
            self._earn()
        if share <= 0:
            self._owed = 0.0

    def _earn(self) -> None:
        share, now = self._control.share, time.monotonic()
        self._owed = max(self._owed - share * (now - self._at), -share * CREDIT)
        self._at = now
