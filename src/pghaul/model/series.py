"""A series: a merge plan that is done again and again, a round at each beat of its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pghaul.model.run import LIVING, RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """`rounds` are all of them; of these `empty_rounds` found nothing to do and `failed_rounds` came to nothing.

    A round that moved rows is a run of its own, which names its series.
    """

    id: str
    state: RunState
    source: str  # URL without password
    target: str
    every: float  # seconds between two beats
    started: datetime
    finished: datetime | None = None
    rounds: int = 0
    empty_rounds: int = 0
    failed_rounds: int = 0
    different_rounds: int = 0  # set rows aside
    rows: int = 0  # inserted, updated and deleted in total
    last_round: datetime | None = None  # when it ended
    read_at: datetime | None = None  # when the source was looked at, by the last round that was not in vain
    last_run: str | None = None  # the last round that is in the history
    error: str | None = None  # the last one
    error_at: datetime | None = None
    failures: int = 0  # in a row: 0 where the last round went well
    marks: Mapping[str, str] = field(default_factory=dict)  # by table, the greatest watermark that was merged
    pid: int = 0
    note: str | None = None  # why it is paused

    @property
    def lives(self) -> bool:
        """Some process works on it, or should."""
        return self.state in LIVING

    def lag(self, now: datetime) -> float | None:
        """Seconds by which the target is behind the source at most; None before the first round has succeeded."""
        return None if self.read_at is None else max(0.0, (now - self.read_at).total_seconds())
