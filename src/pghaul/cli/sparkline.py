"""A run's rate over its time, drawn with eight heights of characters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pghaul.model.sample import Sample

BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-~=+*#"
WIDTH = 60


def rates(samples: Sequence[Sample], width: int = WIDTH) -> list[float]:
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


def draw(heights: Sequence[float], encoding: str) -> str:
    """One character for each; plain ones where the encoding has no others. The lowest means nothing moved."""
    bars = BARS if _can(encoding) else ASCII_BARS
    most = max(heights, default=0.0)
    return "".join(bars[_step(h, most, len(bars))] for h in heights)


def _step(height: float, most: float, steps: int) -> int:
    if height <= 0 or most <= 0:
        return 0
    return max(1, min(steps - 1, round(height / most * (steps - 1))))


def _can(encoding: str) -> bool:
    try:
        BARS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
