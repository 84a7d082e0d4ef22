"""What is told of the rounds of a series: of one that finds nothing, nothing; of a fault that lasts, once.

A loop of a round every thirty seconds would else say thousands of times a day what a run says once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from pghaul.model.event import Event, EventKind, Listener

LONG = 2.0  # seconds after which what a round does is told while it does it
MOST_HELD = 500  # events of one round
MOST_KNOWN = 5000  # sentences of a series; then it begins to repeat itself
INSTEAD = {EventKind.RUN_STARTED, EventKind.RUN_FINISHED}  # ROUND says so
AT_ONCE = {EventKind.PAUSED, EventKind.RESUMED, EventKind.CHUNK_FAILED, EventKind.CHUNK_REDO}
ONCE = {EventKind.WARNING, EventKind.NOTICE, EventKind.CHUNK_RETRY}
FIGURES = ("rows", "inserted", "updated", "unchanged", "ignored", "deleted", "rejected", "bytes")
CHANGES = ("inserted", "updated", "deleted", "rejected")


class RoundTelling:
    """A listener for all rounds of a series; `begin` and `settle` stand around each of them."""

    def __init__(self, told: Listener, clock: Callable[[], float] = time.monotonic) -> None:
        self._told = told
        self._clock = clock
        self._known: set[Any] = set()
        self._faults: set[Any] = set()
        self._held: list[Event] = []
        self._since = 0.0
        self._open = False
        self._figures: Counter[str] = Counter()
        self.marks: dict[str, str] = {}

    def begin(self) -> None:
        """A new round."""
        self._held.clear()
        self._figures.clear()
        self._open = False
        self._since = self._clock()

    def __call__(self, event: Event) -> None:
        """One event of the round's run."""
        if event.kind is EventKind.CHUNK_DONE:
            self._count(event)
        if event.kind in INSTEAD or (event.kind in ONCE and self._is_known(event)):
            return
        if event.kind in ONCE or event.kind in AT_ONCE:
            self._told(event)
            return
        if not self._open and (self.changed or self._clock() - self._since >= LONG):
            self.open()
        if self._open:
            self._told(event)
        elif event.kind is not EventKind.PROGRESS and len(self._held) < MOST_HELD:
            self._held.append(event)

    def open(self) -> None:
        """There is something to tell of this round: all that was held, and what comes."""
        self._open = True
        held, self._held = self._held, []
        for event in held:
            self._told(event)

    @property
    def changed(self) -> bool:
        """The round has inserted, updated, deleted or set aside a row."""
        return any(self._figures[k] for k in CHANGES)

    @property
    def figures(self) -> dict[str, int]:
        """What became of the round's rows."""
        return {k: self._figures[k] for k in FIGURES}

    @property
    def moved(self) -> int:
        """Rows of the target that are not as they were."""
        return sum(self._figures[k] for k in ("inserted", "updated", "deleted"))

    def recovered(self) -> None:
        """A round went well: faults that come after it are new ones."""
        self._faults.clear()

    def _count(self, event: Event) -> None:
        for key in FIGURES:
            self._figures[key] += int(event.data.get(key) or 0)
        if event.table and event.data.get("watermark") is not None:
            self.marks[event.table] = str(event.data["watermark"])

    def _is_known(self, event: Event) -> bool:
        """A passing fault is known by its code: how long it is waited for differs."""
        passing = event.kind is EventKind.CHUNK_RETRY or "wait" in event.data
        known = self._faults if passing else self._known
        key: tuple[Any, ...] = (event.kind, event.table)
        if passing:
            key += (event.data.get("code"), event.data.get("sqlstate"))
        elif "name" in event.data:  # of what: how many rows, and which is the first of them, the round says
            key += (event.data.get("kind"), event.data["name"])
        else:
            key += (event.message,)
        if len(known) >= MOST_KNOWN:
            known.clear()
        if key in known:
            return True
        known.add(key)
        return False
