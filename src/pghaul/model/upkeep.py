"""What `pghaul target` tells: how a server answers, what was made on it, what was removed, what could be better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from pghaul.model.finding import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One look at a server. Times are in seconds; None: nobody could say."""

    ok: bool
    url: str
    version: str | None = None
    version_num: int | None = None
    encoding: str | None = None
    in_recovery: bool | None = None
    lag_seconds: float | None = None  # of a standby its own, of a primary that of its slowest standby
    read_only: bool | None = None
    connections: int | None = None
    max_connections: int | None = None
    connect_seconds: float | None = None
    read_seconds: float | None = None
    problem: str | None = None
    advice: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`password` is asked for only where a role is to be made; None makes one that cannot log in by password."""

    database: str
    owner: str | None = None
    schemas: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    encoding: str = "UTF8"
    collation: str | None = None
    ctype: str | None = None
    template0: bool = False
    password: Callable[[], str | None] = lambda: None
    only_print: bool = False


class Fate(StrEnum):
    THERE = "there"  # as it was asked for
    MADE = "made"
    TO_DO = "to-do"  # shown only, as it was asked for
    REFUSED = "refused"  # somebody else has to do it
    DIFFERENT = "different"  # it is there, and is not what was asked for
    MISSING = "missing"  # the server cannot make it: no such extension


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that a target needs. `sql` is for psql, in `database`, and never holds a password."""

    kind: str  # role | membership | database | privilege | schema | extension
    name: str
    fate: Fate
    sql: str = ""
    database: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """All of them, in their order."""

    url: str  # of the prepared database, without a password
    steps: tuple[Step, ...] = ()
    sql: str = ""  # for psql: what is left to be done

    @property
    def ready(self) -> bool:
        """Nothing is left to be done by somebody else."""
        return all(s.fate in {Fate.THERE, Fate.MADE} for s in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """What was removed of a ledger."""

    url: str
    runs: tuple[str, ...] = ()
    rows_set_aside: int = 0
    staging_tables: int = 0
    schema: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A file that was read back to its end, and those that made room for it."""

    url: str
    file: str
    bytes: int
    entries: int
    seconds: float
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Something that could be better. `sql` mends it, and nobody but a person runs it."""

    severity: Severity
    kind: str  # stable words, for programs: foreign-key-index, unused-index …
    object: str
    what: str
    sql: str = ""
    bytes: int | None = None
    figures: dict[str, float | int | str] = field(default_factory=dict)
