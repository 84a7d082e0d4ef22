"""What a run would do, as it was found without touching anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pghaul.model.finding import Finding, Severity
from pghaul.model.table import Name, Unsupported


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Bytes on the target. `free` is None where nobody knows; `at` says where that was found."""

    heap: int = 0
    indexes: int = 0
    returned: int = 0  # what is emptied, and comes back only when its transaction ends
    needed: int = 0
    free: int | None = None
    at: str = ""
    exact: bool = True  # False: only parts of tables are taken, so it may be less
    estimated: bool = False  # from rows and widths of types, not measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Merging:
    """How one target is merged: in words that are stable for programs, but for `promise` and `changes`."""

    mode: str
    key: tuple[str, ...]
    query: str = ""  # instead of a table
    watermark: str = ""
    kind: str = ""  # of the watermark
    since: str | None = None  # where the next reading begins; None: with all rows
    guarantee: str = ""  # whole | exact | lookback; empty where it cannot be read
    promise: str = ""  # the same for a person, with the reason
    locked: bool = False  # nobody else writes to the table while it is merged
    changes: tuple[str, ...] = ()  # of the table's columns, before the merge


@dataclass(frozen=True, slots=True, kw_only=True)
class Becomes:
    """A column of a source that is not PostgreSQL, and the one it becomes; `note`: why, where that is not obvious."""

    source: str
    native: str
    name: str
    type: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """One target relation with rows: what fills it, and what becomes of what is there."""

    table: Name
    source: Name
    disposition: str  # created | empty | truncate | append | skip | refresh | ask | fail | merge
    chunks: int = 0
    bytes: int = 0  # of the source's heap, estimated
    rows: int | None = None  # None: the catalogue does not know
    there_bytes: int = 0
    there_rows: int | None = None
    merge: Merging | None = None
    columns: tuple[Becomes, ...] = ()  # of a source that is not PostgreSQL
    seconds: float | None = None  # of a worker, from a timed sample; None: there was none


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How long it may take, as an estimate: `known` of the tables were moved before, the others are reckoned."""

    seconds: float
    known: int
    tables: int
    basis: Literal["runs", "sample", "runs and sample"] = "runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What was read and encoded for an estimate: so many rows of so many tables, and the time it took."""

    tables: int
    rows: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Everything that `plan` shows."""

    source: str
    target: str
    versions: tuple[str, str]
    workers: int
    tables: tuple[Outlook, ...] = ()
    creates: Mapping[str, list[str]] = field(default_factory=dict)  # names by kind
    space: Space = Space()
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # of our sessions, by side
    not_carried: tuple[Unsupported, ...] = ()
    vanished: tuple[Name, ...] = ()  # partitions on the target that the source does not have
    forecast: Forecast | None = None
    sampled: Sampled | None = None  # behind the estimates of tables that were never moved before
    findings: tuple[Finding, ...] = ()
    product: str = ""  # of the source and its version, where it is not PostgreSQL

    @property
    def ok(self) -> bool:
        """Whether nothing would stop the run."""
        return all(f.severity is not Severity.ERROR for f in self.findings)

    @property
    def chunks(self) -> int:
        """Units of work."""
        return sum(t.chunks for t in self.tables)

    @property
    def bytes(self) -> int:
        """Of what would be copied, estimated."""
        return sum(t.bytes for t in self.tables if t.chunks)
