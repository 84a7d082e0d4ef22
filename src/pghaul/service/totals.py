"""What the events of a run add up to: figures that only this process has counted, and the run's own as last said.

Fed from the runner's thread, read from others (a scrape, a file's writer); nothing here knows Prometheus.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pghaul.model.chunk import ChunkState
from pghaul.model.event import EMPTY, Event, EventKind
from pghaul.model.run import Run, RunState

MOST_SQLSTATES = 50  # distinct ones; more share OTHER, so that no server can blow up the number of series
NONE, OTHER = "none", "other"
CAUSES = ("asked", "hours", "load")  # of a pause
ROUNDS = ("done", EMPTY, "different", "failed")  # how a round of a series ends
OUTCOMES = ("inserted", "updated", "unchanged", "ignored", "deleted", "rejected")  # what becomes of merged rows


@dataclass(kw_only=True)
class Figures:
    """Totals rise only: `rows`, `bytes`, `retries`, `pauses`, `warnings`. The rest is as it is now."""

    run: Run
    state: RunState = RunState.RUNNING
    attempt: int = 0
    rows: int = 0
    bytes: int = 0
    # Both begin with a series that is 0: what appears with its first increase is an increase that no one sees.
    retries: Counter[str] = field(default_factory=lambda: Counter({NONE: 0}))
    pauses: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(CAUSES, 0)))
    paused_seconds: float = 0.0
    warnings: int = 0
    chunks: dict[ChunkState, int] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)
    progressed: datetime | None = None
    rounds: Counter[str] | None = None  # of a series: by how they ended
    outcomes: Counter[str] = field(default_factory=Counter)
    every: float = 0.0
    succeeded: datetime | None = None  # when the last round that went well had ended
    read_at: datetime | None = None  # when it looked at the source


class Totals:
    """One per run. Read `figures` under `lock`."""

    def __init__(self, run: Run) -> None:
        self.lock = threading.Lock()
        self.figures = Figures(run=run)
        self._committed = 0  # bytes of chunks that this process has seen committed
        self._flying: set[tuple[str | None, str | None]] = set()
        self._failed: set[tuple[str | None, str | None]] = set()
        self._take: dict[EventKind, Callable[[Event], None]] = {
            EventKind.RUN_STARTED: self._started,
            EventKind.RUN_FINISHED: self._finished,
            EventKind.ATTEMPT: self._attempt,
            EventKind.CHUNK_STARTED: lambda e: self._flying.add((e.table, e.chunk)),
            EventKind.CHUNK_DONE: self._done,
            EventKind.CHUNK_RETRY: self._retried,
            EventKind.CHUNK_FAILED: self._gave_up,
            EventKind.PROGRESS: self._progress,
            EventKind.PAUSED: self._paused,
            EventKind.RESUMED: self._resumed,
            EventKind.CUTOVER: self._cutover,
            EventKind.WARNING: self._warned,
            EventKind.ROUND: self._round,
        }

    def add(self, event: Event) -> None:
        """One event; most kinds say nothing that is counted."""
        take = self._take.get(event.kind)
        if take is not None:
            with self.lock:
                take(event)
                self._sort_chunks()

    def _started(self, event: Event) -> None:
        if "every" in event.data:
            self.figures.every = event.data["every"]
            self.figures.rounds = Counter(dict.fromkeys(ROUNDS, 0))
            self.figures.outcomes = Counter(dict.fromkeys(OUTCOMES, 0))
        self.figures.progress.setdefault("chunks", event.data.get("chunks", 0))
        self.figures.progress.setdefault("bytes_estimated", event.data.get("bytes_estimated", 0))

    def _finished(self, event: Event) -> None:
        self.figures.state = RunState(event.data["state"])
        self._flying.clear()
        self.figures.progress |= {"rate": 0, "eta": None, "workers": []}
        # A run that ended before it was planned has neither.
        self.figures.progress |= {k: event.data[k] for k in ("rows", "bytes") if k in event.data}

    def _round(self, event: Event) -> None:
        """Of a series; chunks are those of the round that is going on."""
        if self.figures.rounds is None:
            return
        self.figures.rounds[event.data["state"]] += 1
        if event.data["state"] != RunState.FAILED.value:
            self.figures.succeeded = event.at
            self.figures.read_at = event.at - timedelta(seconds=event.data.get("seconds", 0.0))
        for outcome in OUTCOMES:
            self.figures.outcomes[outcome] += event.data.get(outcome, 0)
        self._flying.clear()
        self._failed.clear()
        self.figures.progress |= {"rate": 0, "eta": None, "workers": [], "chunks": 0, "chunks_done": 0}

    def _attempt(self, event: Event) -> None:
        self.figures.attempt = event.data.get("epoch", 0)
        self.figures.state = RunState.RUNNING
        self._flying.clear()

    def _done(self, event: Event) -> None:
        self._flying.discard((event.table, event.chunk))
        self._failed.discard((event.table, event.chunk))
        progress = self.figures.progress
        progress["chunks_done"] = progress.get("chunks_done", 0) + 1  # until the next PROGRESS knows better
        if not event.data.get("kept"):  # compared, and not copied
            self.figures.rows += event.data.get("rows", 0)
            self._committed += event.data.get("bytes", 0)
            self.figures.bytes = max(self.figures.bytes, self._committed)
        self.figures.progressed = event.at

    def _retried(self, event: Event) -> None:
        self._flying.discard((event.table, event.chunk))
        self._count_retry(event)

    def _gave_up(self, event: Event) -> None:
        self._flying.discard((event.table, event.chunk))
        self._failed.add((event.table, event.chunk))

    def _progress(self, event: Event) -> None:
        before = self.figures.progress
        self.figures.progress = dict(event.data)
        if any(before.get(k) != event.data.get(k) for k in ("bytes", "rows", "chunks_done")):
            self.figures.progressed = event.at
        in_flight = sum(w.get("bytes", 0) for w in event.data.get("workers", ()))
        self.figures.bytes = max(self.figures.bytes, self._committed + in_flight)

    def _paused(self, event: Event) -> None:
        self.figures.state = RunState.PAUSED
        if not event.data.get("freed"):
            self.figures.pauses[event.data.get("cause", OTHER)] += 1

    def _resumed(self, event: Event) -> None:
        self.figures.state = RunState.RUNNING
        self.figures.paused_seconds += event.data.get("seconds", 0.0)

    def _cutover(self, event: Event) -> None:
        if event.data.get("step") == RunState.DIFFERENT.value:
            self.figures.state = RunState.DIFFERENT

    def _warned(self, event: Event) -> None:
        self.figures.warnings += 1
        if "wait" in event.data:  # a whole attempt is begun again
            self._count_retry(event)

    def _count_retry(self, event: Event) -> None:
        state, seen = event.data.get("sqlstate") or NONE, self.figures.retries
        seen[state if state in seen or len(seen) < MOST_SQLSTATES else OTHER] += 1

    def _sort_chunks(self) -> None:
        progress, flying = self.figures.progress, len(self._flying)
        total, done = progress.get("chunks", 0), progress.get("chunks_done", 0)
        failed = len(self._failed)
        self.figures.chunks = {
            ChunkState.DONE: done,
            ChunkState.RUNNING: flying,
            ChunkState.FAILED: failed,
            ChunkState.PENDING: max(0, total - done - flying - failed),
        }
