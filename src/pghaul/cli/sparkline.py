"""A run's rate over its time, drawn with eight heights of characters."""

from __future__ import annotations

from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-~=+*#"
WIDTH = 60


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
