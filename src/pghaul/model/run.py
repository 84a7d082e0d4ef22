"""A run: one execution of a plan, over all its attempts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class RunState(Enum):
    RUNNING = "running"
    PAUSED = "paused"  # its process lives and waits: by wish, for its hours, or for a server under load
    STOPPED = "stopped"  # by wish, by signal, or its process died
    FAILED = "failed"  # a terminal error; can be resumed once the cause is mended
    DONE = "done"
    DIFFERENT = "different"  # done, but verification found differences or something was set aside


LIVING = frozenset({RunState.RUNNING, RunState.PAUSED})  # some process works on it, or should
FINISHED = frozenset({RunState.DONE, RunState.DIFFERENT})


class Wish(Enum):
    """What somebody asked of a run, from any process; kept in the store."""

    NONE = "none"
    PAUSE = "pause"
    FREE = "free"  # pause, and let everything go at once
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    id: str
    state: RunState
    source: str  # URL without password
    target: str
    started: datetime
    finished: datetime | None = None
    epoch: int = 0
    chunks: int = 0
    chunks_done: int = 0
    rows: int = 0
    bytes: int = 0
    bytes_estimated: int = 0
    error: str | None = None
    pid: int = 0
    note: str | None = None  # why it is paused
    series: str | None = None  # that it is a round of


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRun:
    """A run as a target's ledger knows it: all that is left where the state store is lost."""

    id: str
    state: str  # as last written on the target; `running` also of a run whose process was killed
    epoch: int
    started: datetime
    finished: datetime | None
    tables: int  # that it still claims: of a finished run none
    chunks: int  # done
    rows: int
    bytes: int
