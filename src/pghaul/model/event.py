"""What happened, as frozen records. The faces subscribe; `--json` prints them one a line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Any, TypeAlias

from pghaul.model.redaction import redacted, redacted_data
from pghaul.model.run import RunState

EMPTY = "empty"  # the state of a round that found nothing to do


class EventKind(Enum):
    RUN_STARTED = "run_started"  # data: tables, chunks, bytes_estimated, source, target
    RUN_FINISHED = "run_finished"  # data: state, rows, bytes, seconds
    ATTEMPT = "attempt"  # a new epoch; data: epoch, snapshot
    SCHEMA = "schema"  # data: step, objects
    CHUNK_STARTED = "chunk_started"
    CHUNK_DONE = "chunk_done"  # data: rows, bytes, seconds, proof, source_hash, target_hash
    CHUNK_RETRY = "chunk_retry"  # data: attempt, sqlstate, wait
    CHUNK_FAILED = "chunk_failed"  # data: attempt, sqlstate
    CHUNK_REDO = "chunk_redo"  # re-hash under a new snapshot differed
    INDEX_DONE = "index_done"  # data: step, seconds
    VERIFIED = "verified"  # data: agrees, step, rows, proof, source_hash, target_hash
    # data: rows, bytes, bytes_estimated, rate, eta, chunks_done, chunks, workers, cpu, memory, load
    PROGRESS = "progress"
    PAUSED = "paused"  # data: cause, until, freed
    CUTOVER = "cutover"  # data: step, and what goes with it
    RESUMED = "resumed"  # data: cause, seconds
    ROUND = "round"  # of a series; data: round, state, rows and what became of them, seconds, code, again, wait
    NOTICE = "notice"  # something to know; data: kind, name, why for what is not carried
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    kind: EventKind
    run: str
    table: str | None = None
    chunk: str | None = None
    message: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        """Whoever is told it (a screen, the store, a log, a webhook) is told no password."""
        object.__setattr__(self, "message", redacted(self.message))
        if self.kind is not EventKind.PROGRESS:  # figures, ten times a second
            object.__setattr__(self, "data", redacted_data(self.data))

    def as_json(self) -> dict[str, Any]:
        """Plain values, absent ones left out."""
        out: dict[str, Any] = {"at": self.at.isoformat(), "event": self.kind.value, "run": self.run}
        out |= {k: v for k in ("table", "chunk", "message") if (v := getattr(self, k))}
        return out | self.data


class Level(StrEnum):
    """How much something matters: of events, log lines and what is asked to see."""

    DEBUG = "debug"  # one chunk of many, how far it is
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """The higher, the graver."""
        return list(Level).index(self)


LEVELS = {
    EventKind.CHUNK_STARTED: Level.DEBUG,
    EventKind.CHUNK_DONE: Level.DEBUG,
    EventKind.INDEX_DONE: Level.DEBUG,
    EventKind.PROGRESS: Level.DEBUG,
    EventKind.CHUNK_FAILED: Level.ERROR,
    EventKind.WARNING: Level.WARNING,
    EventKind.CHUNK_RETRY: Level.WARNING,
    EventKind.CHUNK_REDO: Level.WARNING,
}


def level_of(event: Event) -> Level:
    """How much an event matters."""
    if event.kind is EventKind.RUN_FINISHED:
        ends = {RunState.FAILED.value: Level.ERROR, RunState.DIFFERENT.value: Level.WARNING}
        return ends.get(str(event.data.get("state")), Level.INFO)
    if event.kind is EventKind.ROUND:
        return _level_of_round(event)
    if event.kind in {EventKind.VERIFIED, EventKind.CHUNK_DONE} and event.data.get("agrees") is False:
        return Level.INFO if event.data.get("step") == "refresh" else Level.WARNING
    return LEVELS.get(event.kind, Level.INFO)


def _level_of_round(event: Event) -> Level:
    """One that found nothing is worth no line, nor is a fault that is known already."""
    state = event.data.get("state")
    if event.data.get("again") or state == EMPTY:
        return Level.DEBUG
    return Level.WARNING if state in {RunState.FAILED.value, RunState.DIFFERENT.value} else Level.INFO


Listener: TypeAlias = Callable[[Event], None]
