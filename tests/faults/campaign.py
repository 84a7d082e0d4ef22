"""Hundreds of faults, counted: `python -m tests.faults.campaign --seed 1 --count 780 --out build/faults.json`.

One case is played again with `--seed N --only INDEX`, one of a story with its `--recipe` beside it; `--kind KIND`
plays only cases of that kind.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.case import Result, play
from tests.faults.lane import Lane, open_lane, why_no_small_disk
from tests.faults.schedule import SHARES, Case, by, case_at, story_at
from tests.faults.stories import STORIES
from tests.memory import files_in_memory

FIELDS = ("faults", "recovered_without_help", "recovered_by_resume", "lost_rows", "doubled_rows")


@dataclass
class Tally:
    """What was counted so far. Cases whose fault found no moment to strike count nowhere but in `not_injected`."""

    total: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FIELDS, 0))
    by_kind: dict[str, dict[str, int]] = field(default_factory=dict)
    by_phase: dict[str, dict[str, int]] = field(default_factory=dict)
    by_recipe: dict[str, dict[str, int]] = field(default_factory=dict)
    not_injected: list[dict[str, Any]] = field(default_factory=list)
    helped: list[dict[str, Any]] = field(default_factory=list)  # a resume was needed where none should be
    failures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count it everywhere."""
        case = result.case
        told = {"seed": case.seed, "index": case.index, "kind": case.kind, "phase": describe(case)}
        told |= {"exit_codes": result.exit_codes, "notes": result.notes}
        if result.wrong:
            self.failures.append(told | {"wrong": result.wrong})
        elif result.helped and not case.needs_resume:
            self.helped.append(told)
        if not result.injected:
            self.not_injected.append(told)
            if not result.wrong:
                return
        kinds = self.by_kind.setdefault(case.kind, dict.fromkeys(FIELDS, 0))
        phases = self.by_phase.setdefault(case.mode or case.phase, dict.fromkeys(FIELDS, 0))
        recipes = self.by_recipe.setdefault(case.recipe, dict.fromkeys(FIELDS, 0))
        for counts in (self.total, kinds, phases, recipes):
            counts["faults"] += 1
            counts["recovered_without_help"] += not result.wrong and result.helped == 0
            counts["recovered_by_resume"] += not result.wrong and result.helped > 0
            counts["lost_rows"] += result.lost
            counts["doubled_rows"] += result.doubled


def describe(case: Case) -> str:
    """Where and how it strikes, in words."""
    inner = case.inner if case.inner != case.phase else ""
    return " ".join(filter(None, (case.recipe, case.mode, case.phase, inner, case.side)))


def cases(seed: int, count: int, kind: str | None, recipes: list[str], only: int | None) -> Iterator[Case]:
    """The cases to play, in order; without disk_full where it cannot be had."""
    if only is not None:
        yield by(case_at(seed, only), recipes[0]) if len(recipes) == 1 else case_at(seed, only)
        return
    wanted = (c for i in itertools.count() for c in (case_at(seed, i), story_at(seed, i)) if c is not None)
    no_disk = why_no_small_disk() is not None
    asked = (c for c in wanted if kind in (None, c.kind) and c.recipe in recipes)
    fit = (c for c in asked if not (no_disk and c.kind == "disk_full"))
    yield from itertools.islice(fit, count)


class Campaign:
    """Shares the cases among lanes, and their results in one tally."""

    def __init__(self, queue: Iterator[Case], keep: Path) -> None:
        self.tally = Tally()
        self._queue = queue
        self._keep = keep
        self._lock = threading.RLock()  # stop() may be called by a signal
        self._started = time.monotonic()
        self._played = 0

    def work(self, _number: int) -> None:
        """Play cases on a lane of one's own until there are no more; a lane that broke is made anew."""
        more = True
        while more:
            with open_lane() as lane:
                more = self._work_on(lane)

    def stop(self) -> None:
        """Play no further case; what is being played is finished and cleaned up."""
        with self._lock:
            self._queue = iter(())

    def _work_on(self, lane: Lane) -> bool:
        while (case := self._take()) is not None:
            result = play(lane, case, keep=self._keep)
            self._record(result)
            if result.broken:
                return True
        return False

    def _take(self) -> Case | None:
        with self._lock:
            return next(self._queue, None)

    def _record(self, result: Result) -> None:
        with self._lock:
            self.tally.add(result)
            self._played += 1
            spent = time.monotonic() - self._started
            case = result.case
            verdict = "; ".join(result.wrong) or ("ok" if result.injected else "not injected")
            if (result.helped and not case.needs_resume) or not result.injected:
                verdict += f" {result.notes}"
            sys.stdout.write(
                f"{self._played:4} {spent:6.1f}s #{case.index} {case.kind}: {describe(case)}"
                f" exits {result.exit_codes} {verdict}\n"
            )
            sys.stdout.flush()


def report(tally: Tally, seed: int, seconds: float) -> dict[str, Any]:
    """What is written to the file."""
    out: dict[str, Any] = {"seed": seed, "seconds": round(seconds), "total": tally.total}
    out |= {"by_kind": dict(sorted(tally.by_kind.items())), "by_phase": dict(sorted(tally.by_phase.items()))}
    out |= {"by_recipe": tally.by_recipe}
    out |= {"failures": tally.failures, "helped": tally.helped, "not_injected": tally.not_injected}
    reason = why_no_small_disk()
    return out | ({"not_run": {"disk_full": reason}} if reason else {})


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=780)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--kind")
    parser.add_argument("--recipe", action="append", choices=[*SHARES, *STORIES], help="this one only; again for more")
    parser.add_argument("--only", type=int)
    parser.add_argument("--out", type=Path, default=Path("build/faults.json"))
    return parser.parse_args()


def main() -> int:
    """Play the campaign; 1 when a case failed or the bars were missed."""
    asked = arguments()
    files_in_memory()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    campaign = Campaign(
        cases(asked.seed, asked.count, asked.kind, asked.recipe or [*SHARES, *STORIES], asked.only),
        asked.out.parent / f"{asked.out.stem}-failures",
    )
    for number in (signal.SIGINT, signal.SIGTERM):  # servers and mounts must not be left
        signal.signal(number, lambda *_: campaign.stop())
    started = time.monotonic()
    lanes = 1 if asked.only is not None else asked.lanes
    with ThreadPoolExecutor(lanes) as pool:
        list(pool.map(campaign.work, range(lanes)))
    tally = campaign.tally
    asked.out.write_text(
        json.dumps(report(tally, asked.seed, time.monotonic() - started), indent=1, default=str) + "\n"
    )
    sys.stdout.write(json.dumps(tally.total) + "\n")
    if reason := why_no_small_disk():
        sys.stdout.write(f"disk_full was not run: {reason}\n")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
