"""Ours against several programs at once: which run of ours stands against which peer, and against the best of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from benchmarks.bench import Bench
from benchmarks.measure import Command, Usage, interleave, median
from benchmarks.result import Result, compared

OURS, OURS_ANALYZED, PGCOPYDB = "pghaul", "pghaul with ANALYZE", "pgcopydb"

Subject: TypeAlias = Callable[[], Usage]


def optional(
    bench: Bench, subjects: Mapping[str, Subject], builds: Mapping[str, Callable[[], Command | None]]
) -> dict[str, Subject]:
    """Those that are installed."""
    found: dict[str, Subject] = {}
    for name, subject in subjects.items():
        if builds[name]() is None:
            bench.say(f"  {name}: not installed, left out")
        else:
            found[name] = subject
    return found


def against(
    bench: Bench,
    name: str,
    rows: int,
    subjects: Mapping[str, Subject],
    *,
    bars: Mapping[str, float],
    best_bar: float | None = None,
) -> Iterator[Result]:
    """A result for each peer. `best_bar` stands against each of them, which is the same as against the best.

    None runs ANALYZE, but for pgcopydb, which cannot leave its VACUUM ANALYZE out: ours runs ANALYZE against it.
    """
    used = interleave(subjects, bench.runs, bench.say)
    theirs = {peer: usages for peer, usages in used.items() if peer not in {OURS, OURS_ANALYZED}}
    for peer in sorted(theirs, key=lambda p: median(theirs[p], lambda u: u.wall_s)):
        analyzed = peer == PGCOPYDB
        note = "ANALYZE in both (theirs with VACUUM, which it cannot leave out)" if analyzed else "ANALYZE in neither"
        ours = used[OURS_ANALYZED if analyzed else OURS]
        yield compared(name, peer, rows, ours, theirs[peer], bar=bars.get(peer, best_bar), note=note)
