"""What passes between the runner and its workers beside jobs: wishes, progress, and a sign of life.

Plain shared memory without a lock: a worker that is killed while it holds a queue's lock would stop all the others.
Every slot has one writer (the worker of the job in that slot) and one reader (the runner); wishes have one writer, the
runner.
"""

from __future__ import annotations

import ctypes
from multiprocessing.sharedctypes import RawArray, RawValue
from typing import Any

UNTOLD = -1  # of rows


class Control:
    """Shared by inheritance at spawn; `slots` is the number of jobs in flight."""

    def __init__(self, slots: int) -> None:
        self._stop: Any = RawValue(ctypes.c_bool, False)
        self._hold: Any = RawValue(ctypes.c_bool, False)
        self._share: Any = RawValue(ctypes.c_double, 0.0)
        self._bytes: Any = RawArray(ctypes.c_uint64, slots)
        self._rows: Any = RawArray(ctypes.c_int64, [UNTOLD] * slots)
        self._ticks: Any = RawArray(ctypes.c_uint64, slots)
        self._moving: Any = RawArray(ctypes.c_bool, slots)
        self._slot = 0

    # --- wishes: the runner writes, workers look between two buffers and between two statements ---

    @property
    def stopping(self) -> bool:
        """True once the runner has asked the workers to stop."""
        return bool(self._stop.value)

    def stop(self) -> None:
        """Ask all workers to stop."""
        self._stop.value = True

    @property
    def holding(self) -> bool:
        """True while nothing is to move; what is open stays open."""
        return bool(self._hold.value)

    def hold(self, wanted: bool) -> None:
        """Ask all workers to hold, or to go on."""
        self._hold.value = wanted

    @property
    def share(self) -> float:
        """Bytes per second that each stream may move; 0 sets no bound."""
        return float(self._share.value)

    def set_share(self, share: float) -> None:
        """Each stream's part of the run's rate."""
        self._share.value = share

    # --- in a worker, about its job ---

    def take(self, slot: int) -> None:
        """What follows is about the job in this slot."""
        self._slot = slot
        self._bytes[slot] = 0
        self._rows[slot] = UNTOLD
        self._moving[slot] = False

    def tick(self) -> None:
        """A sign of life, several times a second."""
        self._ticks[self._slot] += 1

    def set_bytes(self, count: int) -> None:
        """The bytes that its job has moved so far."""
        self._bytes[self._slot] = count

    def set_rows(self, count: int) -> None:
        """The rows of them, where the one who moves them can count."""
        self._rows[self._slot] = count

    def set_moving(self, moving: bool) -> None:
        """Whether a stream is open: only such jobs need a share of the rate."""
        self._moving[self._slot] = moving

    # --- in the runner ---

    def clear(self, slot: int) -> None:
        """The job in this slot is counted, or was lost."""
        self._bytes[slot] = 0
        self._rows[slot] = UNTOLD
        self._moving[slot] = False

    def bytes(self, slot: int) -> int:
        """What the job in this slot has moved."""
        return int(self._bytes[slot])

    def rows(self, slot: int) -> int | None:
        """As many rows; None where nobody has counted: COPY between two servers says nothing before its end."""
        told = int(self._rows[slot])
        return None if told == UNTOLD else told

    def ticks(self, slot: int) -> int:
        """A number that changes while the worker lives."""
        return int(self._ticks[slot])

    def moving(self, slot: int) -> bool:
        """Whether the job in this slot has a stream open."""
        return bool(self._moving[slot])
