"""How a run went over time, and what earlier runs of the same tables took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Totals of a run at one moment. `in_flight` are bytes of chunks that are not committed yet."""

    at: datetime
    rows: int
    bytes: int
    in_flight: int
    chunks_done: int

    @property
    def moved(self) -> int:
        """Everything that has passed: committed or not."""
        return self.bytes + self.in_flight


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRate:
    """What one table took when it was last moved whole: COPY's bytes, and worker seconds summed over its chunks."""

    rows: int
    bytes: int
    seconds: float


def rates(samples: Sequence[Sample], width: int) -> list[float]:
    """Bytes per second in equal spans of time, at most `width`; empty where there is no span of time.

    What moved between two samples is spread evenly over the time between them. A chunk that was rolled back takes away
    nothing: its bytes were moved.
    """
    if len(samples) < 2:
        return []
    begin = samples[0].at
    points = [((s.at - begin).total_seconds(), s.moved) for s in samples]
    total = points[-1][0]
    if total <= 0:
        return []
    span = total / width
    out = [0.0] * width
    for (start, before), (end, after) in pairwise(points):
        if end > start and after > before:
            _spread(out, span, start, end, (after - before) / (end - start))
    return [moved / span for moved in out]


def _spread(out: list[float], span: float, start: float, end: float, rate: float) -> None:
    for place in range(int(start / span), min(len(out), int(end / span) + 1)):
        overlap = min(end, (place + 1) * span) - max(start, place * span)
        out[place] += max(0.0, overlap) * rate
