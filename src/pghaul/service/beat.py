"""When the rounds of a series begin: on the beat of its interval, without drift, and never two at once."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from pghaul.model.errors import UsageError
from pghaul.model.text import say

UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
WRITTEN = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
SHORTEST, LONGEST = 0.05, 7 * 86_400.0  # seconds
FIRST_PUT_OFF, LONGEST_PUT_OFF = 5.0, 300.0  # seconds after a round that failed; twice as long each time


def parse_interval(text: str) -> float:
    """Seconds: 30s, 5m, 1.5h, 1d, 500ms, or a number of seconds. UsageError."""
    found = WRITTEN.fullmatch(text.strip().lower())
    seconds = float(found[1]) * UNITS.get(found[2], 0.0) if found else 0.0
    if not SHORTEST <= seconds <= LONGEST:
        raise UsageError(
            say("an interval is written 30s, 5m, 1h or 90 (seconds), from 50ms to 7d"),
            where=text,
            advice=say("e.g. --every 30s"),
            code=1093,
        )
    return seconds


def interval(seconds: float) -> str:
    """As a person would write it."""
    for unit, size in (("d", 86_400.0), ("h", 3600.0), ("m", 60.0)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"


class Beat:
    """The first round is due at once."""

    def __init__(self, every: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._every = every
        self._clock = clock
        self._due = clock()

    def left(self) -> float:
        """Seconds until the next round is due; 0 where it is."""
        return max(0.0, self._due - self._clock())

    def done(self) -> bool:
        """A round has ended; False where it took longer than the interval: the next one is due at once, then."""
        now = self._clock()
        self._due += self._every
        in_time = self._due >= now
        self._due = max(self._due, now)  # beats that were missed are not made up for
        return in_time

    def put_off(self, seconds: float) -> None:
        """Not before so many seconds have passed."""
        self._due = max(self._due, self._clock() + seconds)

    def at_once(self) -> None:
        """After a pause: the beat begins anew."""
        self._due = self._clock()


def patience(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return min(LONGEST_PUT_OFF, FIRST_PUT_OFF * 2.0 ** min(failures - 1, 10))
