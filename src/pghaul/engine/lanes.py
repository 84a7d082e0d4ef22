"""What each worker has in hand, told with a rate of its own: the part of a PROGRESS event that is about workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pghaul.engine.dispatch import InFlight
from pghaul.engine.job import JobKind
from pghaul.engine.progress import Speed

DOING = {
    **{kind: "finish" for kind in JobKind if kind.loads},
    JobKind.READY: "empty",
    JobKind.EMPTY: "empty",
    JobKind.CHECK: "compare",
}


class Lanes:
    """Rates of the jobs in flight; a job that has ended is forgotten."""

    def __init__(self) -> None:
        self._speeds: dict[tuple[str, str], Speed] = {}

    def tell(self, flying: Sequence[InFlight]) -> list[dict[str, Any]]:
        """One entry per job, the largest first: table, chunk, doing, bytes, rate."""
        old, self._speeds = self._speeds, {}
        told = []
        for flight in sorted(flying, key=lambda f: -f.task.size):
            key = (str(flight.task.table), flight.task.job.chunk)
            speed = self._speeds[key] = old.get(key) or Speed()
            rate, _ = speed.at(flight.bytes)
            told.append(
                {"table": key[0], "chunk": key[1], "doing": _doing(flight), "bytes": flight.bytes, "rate": round(rate)}
            )
        return told


def _doing(flight: InFlight) -> str:
    """`copy`, `finish` (indexes and proof of the same chunk), `compare`, `empty`, or the step's own name."""
    job = flight.task.job
    if job.kind.loads and flight.moving:
        return "copy"
    return DOING.get(job.kind, job.chunk)
