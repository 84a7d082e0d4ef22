"""What the client itself takes: CPU and memory of this process and its workers.

Read from /proc, which costs nothing; elsewhere psutil is asked, where it is installed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """`seconds` of CPU since each process began; `memory` in bytes, shared pages counted for each process."""

    seconds: float
    memory: int


class Footprint:
    """CPU as a share of one core since the last look, and memory now."""

    def __init__(self) -> None:
        self._last: dict[int, Taken] = {}
        self._at = time.monotonic()

    def look(self, pids: Iterable[int]) -> dict[str, float]:
        """`cpu` (1.0 is one core) and `memory` in bytes; empty where this system does not tell."""
        now, found = time.monotonic(), {pid: t for pid in pids if (t := taken(pid)) is not None}
        if not found:
            return {}
        used = sum(t.seconds - self._last[pid].seconds for pid, t in found.items() if pid in self._last)
        elapsed, self._at, self._last = now - self._at, now, found
        return {
            "cpu": round(used / elapsed, 2) if elapsed > 0 else 0.0,
            "memory": sum(t.memory for t in found.values()),
        }


def taken(pid: int) -> Taken | None:
    """What a process has taken so far; None where it is gone or nobody can say."""
    return _of_linux(pid) if PROC.is_dir() else _of_psutil(pid)


def _of_linux(pid: int) -> Taken | None:
    try:
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    if len(fields) < 22:
        return None
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    return Taken(seconds=(int(fields[11]) + int(fields[12])) / ticks, memory=int(fields[21]) * page)


def _of_psutil(pid: int) -> Taken | None:
    try:
        import psutil  # noqa: PLC0415 -- an extra
    except ImportError:
        return None
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return Taken(seconds=times.user + times.system, memory=process.memory_info().rss)
    except psutil.Error:
        return None
