"""Batches that a thread of their own makes ahead, and that somebody else may stop.

For a driver that cannot be interrupted: who is told to stop leaves the thread behind, which ends with what it is in.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pghaul.model.errors import PghaulError, StoppedError
from pghaul.model.text import say

if TYPE_CHECKING:
    import pyarrow as pa

LOOKED_AT = 0.1  # seconds between looks at the wish to stop


def stopped(where: str) -> StoppedError:
    """Somebody asked for it."""
    return StoppedError(say("reading was stopped"), where=where, code=4020)


class Ahead:
    """From the thread that makes them to the one that iterates. The last item is None, or the error that ended it."""

    def __init__(self, where: str, most: int) -> None:
        """`most` wait to be taken."""
        self._where = where
        self._ready: queue.Queue[pa.RecordBatch | PghaulError | None] = queue.Queue(maxsize=most)
        self.end = threading.Event()  # nobody wants the rest
        self.stopped = threading.Event()  # and somebody has asked for that

    def give(self, item: pa.RecordBatch | PghaulError | None) -> bool:
        """In the thread that makes them. False when nobody wants it any more."""
        while not self.end.is_set():
            try:
                self._ready.put(item, timeout=LOOKED_AT)
            except queue.Full:
                continue
            return True
        return False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        while not self.end.is_set():
            try:
                item = self._ready.get(timeout=LOOKED_AT)
            except queue.Empty:
                continue
            if self.stopped.is_set():
                break
            if item is None:
                return
            if isinstance(item, PghaulError):
                raise item
            yield item
        if self.stopped.is_set():
            raise stopped(self._where)

    def stop(self) -> None:
        """From any thread."""
        self.stopped.set()
        self.end.set()
