"""What a report holds, whichever way it is told. Words in it are Texts: each way speaks its reader's language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from pghaul.model.event import Event
from pghaul.model.plan import Plan
from pghaul.model.receipt import Proof, Sum, sum_of
from pghaul.model.run import Run
from pghaul.model.sample import Sample
from pghaul.model.table import Unsupported
from pghaul.model.verification import Verification

if TYPE_CHECKING:
    from pghaul.store.repository import ChunkRecord


class Outcome(Enum):
    DONE = "done"
    DIFFERENT = "different"  # all of it was done, and source and target differ somewhere
    INCOMPLETE = "incomplete"  # of a verification: something could not be compared
    FAILED = "failed"
    STOPPED = "stopped"
    RUNNING = "running"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`reasons` are whole sentences; none where everything is as it should be."""

    outcome: Outcome
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableProof:
    """One target table: what its receipts come to, and how it was proven.

    `family` is the source's tree that it belongs to, or its own name. `agrees` None: not everything is done, so nobody
    knows. The hashes are those of the whole table, where there are such: a table in one chunk, or compared as a whole.
    """

    name: str
    family: str
    sum: Sum
    proofs: tuple[Proof, ...]
    agrees: bool | None
    source_hash: str
    target_hash: str
    chunks: tuple[ChunkRecord, ...]

    @property
    def done(self) -> int:
        """Chunks that have their receipt."""
        return sum(c.receipt is not None for c in self.chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Tables of one tree, or one table by itself."""

    name: str
    tables: tuple[TableProof, ...]

    @property
    def sum(self) -> Sum:
        """Of all its tables."""
        return sum_of(c.receipt for t in self.tables for c in t.chunks if c.receipt)

    @property
    def alone(self) -> bool:
        """One table, which is no tree's."""
        return len(self.tables) == 1

    @property
    def differs(self) -> bool:
        """Some table of it."""
        return any(t.agrees is False for t in self.tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """`facts`: who, pghaul, python, platform; empty of a run of an older version."""

    epoch: int
    at: datetime
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """`until` None: it lasts, or the process ended in it."""

    since: datetime
    until: datetime | None
    why: str

    @property
    def seconds(self) -> float | None:
        """None while it lasts."""
        return None if self.until is None else (self.until - self.since).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Downtime:
    """Of a cutover: its steps, and how long nobody could write, where that is known."""

    steps: tuple[Event, ...]
    seconds: float | None
    since: str
    until: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Everything that is known of a run; `tables` with the biggest first."""

    run: Run
    plan: Plan
    plan_toml: str
    servers: Mapping[str, Mapping[str, Any]]  # source, target; as facts have them
    attempts: tuple[Attempt, ...]
    tables: tuple[TableProof, ...]
    sum: Sum
    samples: Sequence[Sample]
    pauses: tuple[Pause, ...]
    retries: tuple[Event, ...]
    redone: tuple[Event, ...]
    warnings: tuple[Event, ...]
    notes: tuple[Event, ...]
    failed: tuple[ChunkRecord, ...]
    not_carried: Sequence[Unsupported]
    downtime: Downtime | None

    def seen(self, most: int) -> tuple[TableProof, ...]:
        """Those to show without unfolding: what differs, then the biggest."""
        return tuple(sorted(self.tables, key=lambda t: t.agrees is not False)[:most])

    @property
    def seconds(self) -> float | None:
        """From the beginning to the end, with whatever lay between attempts; None before the end."""
        return None if self.run.finished is None else (self.run.finished - self.run.started).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Of a run with its verifications, or of one verification alone (`story` None)."""

    id: str
    verdict: Verdict
    story: Story | None
    verifications: tuple[Verification, ...]  # the earliest first

    @property
    def kind(self) -> str:
        """run, or verification."""
        return "run" if self.story else "verification"

    @property
    def ends(self) -> tuple[str, str]:
        """URLs of source and target, without passwords."""
        one = self.story.run if self.story else self.verifications[0]
        return one.source, one.target
