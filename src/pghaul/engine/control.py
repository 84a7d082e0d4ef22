"""What passes between the runner and its workers beside jobs: a wish to stop, progress, and a sign of life.

Plain shared memory without a lock: a worker that is killed while it holds a queue's lock would stop all the others.
Every slot has one writer (the worker of the job in that slot) and one reader (the runner).
"""

from __future__ import annotations

import ctypes
from multiprocessing.sharedctypes import RawArray, RawValue
from typing import Any


class Control:
    """Shared by inheritance at spawn; `slots` is the number of jobs in flight."""

    def __init__(self, slots: int) -> None:
        self._stop: Any = RawValue(ctypes.c_bool, False)
        self._bytes: Any = RawArray(ctypes.c_uint64, slots)
        self._ticks: Any = RawArray(ctypes.c_uint64, slots)
        self._slot = 0

    @property
    def stopping(self) -> bool:
        """True once the runner has asked the workers to stop."""
        return bool(self._stop.value)

    def stop(self) -> None:
        """Ask all workers to stop; looked at between buffers."""
        self._stop.value = True

    def take(self, slot: int) -> None:
        """In the worker: what follows is about the job in this slot."""
        self._slot = slot
        self._bytes[slot] = 0

    def tick(self) -> None:
        """In the worker: a sign of life, several times a second."""
        self._ticks[self._slot] += 1

    def set_bytes(self, count: int) -> None:
        """In the worker: the bytes that its job has moved so far."""
        self._bytes[self._slot] = count

    def clear(self, slot: int) -> None:
        """In the runner: the job in this slot is counted, or was lost."""
        self._bytes[slot] = 0

    def bytes(self, slot: int) -> int:
        """What the job in this slot has moved."""
        return int(self._bytes[slot])

    def ticks(self, slot: int) -> int:
        """A number that changes while the worker lives."""
        return int(self._ticks[slot])
