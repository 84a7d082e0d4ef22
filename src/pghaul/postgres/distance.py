"""How far away a server is, and by how much its clock differs from ours: of any server that can be asked the time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.probe import Distance
from pghaul.model.text import say

ROUNDS = 7  # round trips; the median is told, and the shortest one bounds the clocks' difference best
SLOW = 0.05  # seconds; a chunk costs about a dozen round trips
CLOCK = 2.0  # seconds beyond what the round trip explains


def measured(clock: Callable[[], float]) -> Distance:
    """`clock` asks the server for its seconds since 1970, in one round trip. It is known to half of the shortest."""
    trips = []
    for _ in range(ROUNDS):
        began, at = time.perf_counter(), time.time()
        theirs = clock()
        took = time.perf_counter() - began
        trips.append((took, theirs - (at + took / 2)))
    shortest, ahead = min(trips)
    return Distance(round_trip=statistics.median(t for t, _ in trips), clock_ahead=ahead, clock_within=shortest / 2)


def judged(distance: Distance, object_: str, where: str) -> Iterator[Finding]:
    """What is wrong with it."""
    if abs(distance.clock_ahead) > CLOCK + distance.clock_within:
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.SERVER,
            object=object_,
            what=say("its clock and ours differ by {seconds:.1f} s", seconds=abs(distance.clock_ahead)),
            advice=say("set both by NTP: reports, and spans of time up to now, are read by two clocks"),
            where=where,
            code=5372,
        )
    if distance.round_trip > SLOW:
        yield Finding(
            severity=Severity.NOTE,
            kind=Kind.SERVER,
            object=object_,
            what=say("an answer takes {ms:.0f} ms: many small tables take their time", ms=distance.round_trip * 1000),
            advice=say("run pghaul nearer to the servers, or with more --workers"),
            where=where,
            code=5374,
        )
