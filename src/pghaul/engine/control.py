"""What passes between the runner and its workers beside jobs: a wish to stop, and progress.

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

    @property
    def stopping(self) -> bool:
        """True once the runner has asked the workers to stop."""
        return bool(self._stop.value)

    def stop(self) -> None:
        """Ask all workers to stop; looked at between buffers."""
        self._stop.value = True

    def set_bytes(self, slot: int, count: int) -> None:
        """The bytes that the job in this slot has moved so far."""
        self._bytes[slot] = count

    def bytes(self, slot: int) -> int:
        """What the job in this slot has moved."""
        return int(self._bytes[slot])
