"""What a person asks for. A plan is validated here, read and written as TOML by the service."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

HOURS = r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d( \S+)?$"  # 22:00-06:00, with a time zone or without


class OnExisting(StrEnum):
    FAIL = "fail"  # refuse tables that hold rows; the default
    TRUNCATE = "truncate"  # empty them first
    APPEND = "append"  # add to what is there
    SKIP = "skip"  # leave tables that hold rows alone
    REFRESH = "refresh"  # compare, and copy again only what differs
    ASK = "ask"  # call back into the face


class Verify(StrEnum):
    COUNT = "count"  # rows read = rows written, always
    CHECKSUM = "checksum"  # and a content hash of both sides


class Format(StrEnum):
    AUTO = "auto"  # binary where every type's binary form is the same on both servers, else text
    TEXT = "text"
    BINARY = "binary"


class Recipe(StrEnum):
    COPY = "copy"  # COPY of one side into COPY of the other
    INSERT = "insert"  # batches and multi-row INSERTs, where COPY is not permitted or rows may conflict


class OnConflict(StrEnum):
    ERROR = "error"  # a row whose key is there already fails the run
    IGNORE = "ignore"  # it is left out
    UPDATE = "update"  # the row that is there becomes it


class Locks(StrEnum):
    RUN = "run"  # ACCESS SHARE on every table for the whole run, taken before the snapshot
    CHUNK = "chunk"  # taken per chunk, and the relation's filenode compared


class Layout(StrEnum):
    SAME = "same"  # as on the source
    DECLARATIVE = "declarative"  # an inheritance tree becomes declarative partitions
    DAY = "day"  # a flat table becomes partitions by range of its key …
    MONTH = "month"
    LIST = "list"  # … or one for each value


class Unit(StrEnum):
    """What an integer that stands for a moment counts."""

    AUTO = "auto"  # found by the magnitude of the bounds, and shown
    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _implied(said: Any) -> Any:
    """Only INSERT can meet a conflict, and only among rows that stay; saying otherwise contradicts itself."""
    conflict = said.get("on_conflict") if isinstance(said, dict) else None
    if conflict in {None, "error"}:
        return said
    for key, needed in (("recipe", "insert"), ("on_existing", "append")):
        if said.get(key) not in {None, needed}:
            raise ValueError(f"on_conflict = {conflict} goes with {key} = {needed} only")
    return said | {"recipe": "insert", "on_existing": "append"}


class Selection(Model):
    """`name` is `schema.table` with shell wildcards in either part, or `/regex/`; without a dot it means public."""

    name: Annotated[str, Field(min_length=1)]
    """`schema.table` with shell wildcards in either part, or `/regex/`; without a dot, in public."""
    on_existing: OnExisting | None = None
    """What becomes of rows that are there; overrides the plan's."""
    where: str | None = None
    """An SQL condition on the source's rows."""
    columns: Annotated[list[str], Field(min_length=1)] | None = None
    """These columns only."""
    into: str | None = None
    """Where it goes: `schema.table`, or `schema.*` to keep the names."""
    layout: Layout = Layout.SAME
    """What the target's tables look like."""
    key: str | None = None
    """The column that partitions, or that a period is about."""
    larger_than: Annotated[int, Field(ge=0)] | None = None
    """Only tables whose heap is larger, in bytes."""
    smaller_than: Annotated[int, Field(ge=0)] | None = None
    """Only tables whose heap is smaller, in bytes."""
    recipe: Recipe | None = None
    """How rows are written; overrides the plan's."""
    on_conflict: OnConflict | None = None
    """What an insert does with a key that is there; overrides the plan's."""

    @model_validator(mode="before")
    @classmethod
    def _conflicts_are_met_by_inserts(cls, said: Any) -> Any:
        return _implied(said)


class Period(Model):
    """A span of time of the source's rows: `since` belongs to it, `until` does not."""

    since: str | None = None
    """An ISO date or timestamp, local to `timezone` unless it names its own; it belongs to the period."""
    until: str | None = None
    """The same; it does not belong to the period."""
    timezone: str = "UTC"
    """An IANA name."""
    unit: Unit = Unit.AUTO
    """What an integer key counts."""
    registry: str | None = None
    """Schema.table of a registry of partitions; else those are taken that look like one."""


class Options(Model):
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    """Processes that copy at once."""
    on_existing: OnExisting = OnExisting.FAIL
    """What becomes of target tables that hold rows."""
    recipe: Recipe = Recipe.COPY
    """How rows are written: by COPY, or by INSERT."""
    on_conflict: OnConflict = OnConflict.ERROR
    """What an insert does with a key that is there."""
    verify: Verify = Verify.COUNT
    """Count rows, or hash the content of both sides as well."""
    format: Format = Format.AUTO
    """The form of COPY."""
    locks: Locks = Locks.RUN
    """ACCESS SHARE on all tables for the whole run, or only while each is read."""
    split_bytes: Annotated[int, Field(ge=8192)] = 1 << 30
    """A larger table is read in ranges of this many bytes."""
    create: bool = True
    """Create tables that the target lacks."""
    indexes: bool = True
    """Build their indexes and constraints after the rows."""
    owners: bool = False
    """What the run creates belongs to the same roles as on the source."""
    privileges: bool = False
    """What is granted on it is granted on the target, too."""
    analyze: bool = True
    """ANALYZE afterwards."""
    source_encoding: str | None = None
    """What the bytes of a SQL_ASCII source really are, e.g. UHC."""
    retries: Annotated[int, Field(ge=0)] = 8
    """Tries of one chunk after passing faults."""
    give_up_after: Annotated[float, Field(gt=0)] = 300.0
    """Seconds of faults without any progress."""
    stall_timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds of silence before the servers are asked whether they are at work."""
    lock_timeout: Annotated[float, Field(gt=0)] = 10.0
    """Seconds to wait for a lock before trying again."""
    target_free: Annotated[int, Field(ge=0)] | None = None
    """Bytes free for the target, where nobody can ask."""
    pause_hold: Annotated[float, Field(ge=0)] = 300.0
    """Seconds that a pause keeps snapshot and connections."""
    only_between: Annotated[str, Field(pattern=HOURS)] | None = None
    """Hours in which it may work, e.g. "22:00-06:00", "22:00-06:00 Asia/Seoul"."""
    max_rate: Annotated[int, Field(gt=0)] | None = None
    """Bytes per second, of all workers together."""
    max_source_lag: Annotated[float, Field(gt=0)] | None = None
    """Seconds that the source's replicas may lag behind."""
    max_source_sessions: Annotated[int, Field(ge=0)] | None = None
    """Sessions of others at work on the source, beyond which we hold."""
    max_checkpoint_pressure: Annotated[int, Field(ge=0)] | None = None
    """Requested checkpoints of the target a minute, beyond which we hold."""

    @model_validator(mode="before")
    @classmethod
    def _conflicts_are_met_by_inserts(cls, said: Any) -> Any:
        return _implied(said)


class Plan(Model):
    source: str
    """URL or `key=value` words of the database to read, without password."""
    target: str
    """The same of the database to write."""
    tables: list[Selection] = []
    """What to move."""
    exclude: list[str] = []
    """Patterns, as in a selection, of what is left out."""
    whole: bool = False
    """All tables, and everything else that the database holds."""
    period: Period | None = None
    """Only rows of this span of time."""
    options: Options = Options()
    """How."""

    @model_validator(mode="after")
    def _selects_something(self) -> Plan:
        """Nothing selected is a forgotten line, never a wish."""
        if not self.tables and not self.whole:
            raise ValueError("nothing is selected: it takes [[tables]], or whole = true")
        return self
