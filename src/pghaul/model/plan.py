"""What a person asks for. A plan is validated here, read and written as TOML by the service."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pghaul.model.text import say
from pghaul.model.transforming import Transform

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
    MERGE = "merge"  # into a staging table on the target, and from there in one transaction


class OnConflict(StrEnum):
    ERROR = "error"  # a row whose key is there already fails the run
    IGNORE = "ignore"  # it is left out
    UPDATE = "update"  # the row that is there becomes it


class MergeMode(StrEnum):
    UPSERT = "upsert"  # new rows are inserted, rows that differ are updated
    INSERT_ONLY = "insert-only"  # rows that are there stay as they are
    UPDATE_ONLY = "update-only"  # rows that are not there stay away
    FULL_SYNC = "full-sync"  # as upsert; what the source no longer has is deleted, or marked as deleted
    SCD2 = "scd2"  # every version of a row is kept, with the time from and until which it was the current one


class NullKeys(StrEnum):
    REFUSE = "refuse"  # a row with a NULL in its key fails the merge
    MATCH = "match"  # NULL is a value like any other


class NullWatermarks(StrEnum):
    FAIL = "fail"  # rows without a watermark fail the run: nobody could say when they changed
    INCLUDE = "include"  # they are read every time
    EXCLUDE = "exclude"  # they are never read


class OnDrift(StrEnum):
    FAIL = "fail"  # a column that only one side has, or of another type, is refused
    ADD = "add"  # columns are added, types widened where nothing can be lost
    IGNORE = "ignore"  # what both sides have is merged


class Duplicates(StrEnum):
    """Rows that a unique index of the target will not have twice, once they are loaded: which one stays."""

    FAIL = "fail"
    FIRST = "first"  # the one that comes first: by `duplicates_by`, else as they lie on the target
    LAST = "last"
    NONE = "none"  # all of them are set aside


class Locks(StrEnum):
    RUN = "run"  # ACCESS SHARE on every table for the whole run, taken before the snapshot
    CHUNK = "chunk"  # taken per chunk, and the relation's filenode compared


class Layout(StrEnum):
    SAME = "same"  # as on the source
    DECLARATIVE = "declarative"  # an inheritance tree becomes declarative partitions
    DAY = "day"  # a flat table becomes partitions by range of its key …
    MONTH = "month"
    LIST = "list"  # … or one for each value


class Names(StrEnum):
    """How names of another kind of database become names of PostgreSQL."""

    AS_IS = "as-is"
    LOWER = "lower"  # OrderDetails → orderdetails
    SNAKE = "snake_case"  # OrderDetails → order_details


class Undecodable(StrEnum):
    """What becomes of a row with bytes that are no characters of their encoding, or with a NUL character."""

    FAIL = "fail"
    QUARANTINE = "quarantine"
    REPLACE = "replace"  # by U+FFFD (a NUL character: by nothing), and counted


class OrphanRule(StrEnum):
    """What becomes of rows whose foreign key leads nowhere."""

    FAIL = "fail"
    QUARANTINE = "quarantine"
    SET_NULL = "set-null"


class ReadConsistency(StrEnum):
    """What all reads of another kind of database are to see together."""

    AUTO = "auto"  # the best that costs no speed
    SNAPSHOT = "snapshot"  # one moment, or the run is refused


class Unit(StrEnum):
    """What an integer that stands for a moment counts."""

    AUTO = "auto"  # found by the magnitude of the bounds, and shown
    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"


class NotifyOn(StrEnum):
    """What somebody may be told of."""

    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    PAUSED = "paused"
    RESUMED = "resumed"


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _merged(said: Any) -> Any:
    """A table about merging (an empty one, too), or a query, means the recipe; another one contradicts it."""
    if not isinstance(said, dict) or (said.get("merge") is None and not said.get("query")):
        return said
    if said.get("recipe") not in {None, "merge"}:
        raise ValueError(say("merge and query go with recipe = merge only"))
    return said | {"recipe": "merge"}


def _tolerated(said: Any) -> Any:
    """A number, also as text, or a share."""
    if isinstance(said, bool) or not re.fullmatch(r"\d+(\.\d+)?%|\d+", str(said), re.ASCII):
        raise ValueError(say("{words} is neither a number of rows nor a share of them", words=str(said)))
    return said


def _implied(said: Any) -> Any:
    """Only INSERT can meet a conflict, and only among rows that stay; saying otherwise contradicts itself."""
    conflict = said.get("on_conflict") if isinstance(said, dict) else None
    if conflict in {None, "error"}:
        return said
    for key, needed in (("recipe", "insert"), ("on_existing", "append")):
        if said.get(key) not in {None, needed}:
            words = say(
                "on_conflict = {conflict} goes with {key} = {needed} only", conflict=conflict, key=key, needed=needed
            )
            raise ValueError(words)
    return said | {"recipe": "insert", "on_existing": "append"}


class Merge(Model):
    """How increments of one table (or of each that a pattern selects) are read and merged."""

    mode: MergeMode = MergeMode.UPSERT
    """`"upsert"`, `"insert-only"`, `"update-only"`, `"full-sync"` (what the source no longer has is deleted, or marked
    in the column `deleted`), `"scd2"` (every version is kept, see `valid_from` and `valid_to`).
    """
    key: Annotated[list[str], Field(min_length=1)] | None = None
    """The columns by which a row is known on both sides; the primary key if nothing is said."""
    null_keys: NullKeys = NullKeys.REFUSE
    """A NULL in the key: `"refuse"`, or `"match"`: NULL equals NULL."""
    latest_by: str | None = None
    """Of several rows with one key in the same increment, the one with the greatest value of this column is merged. If
    nothing is said, such rows fail the run.
    """
    watermark: str | None = None
    """The column that tells which rows are new or changed: a timestamp, date, integer, numeric, uuid of version 7, a
    text with `watermark_format`; or `"xmin"`: PostgreSQL's own, which reads the whole table and sees no deletions. If
    nothing is said, all rows are read every time.
    """
    watermark_format: str | None = None
    """Of a text: `"YYYYMMDD"`, `"YYYY-MM-DD"` or `"YYYYMMDDHH24MISS"`."""
    watermark_zone: str | None = None
    """An IANA name: the time zone of watermarks that do not name their own."""
    lookback: Annotated[str, Field(min_length=1)] | None = None
    """How far behind the watermark rows are read once more: `"10m"` (s, m, h, d), or a number for numbers. Required
    where the source cannot tell how old its oldest transaction is.
    """
    null_watermarks: NullWatermarks = NullWatermarks.FAIL
    """Rows whose watermark is NULL: `"fail"`, `"include"` (every time) or `"exclude"`."""
    deleted: str | None = None
    """With `full-sync`: the column (boolean or a time) that marks a row as deleted, instead of a DELETE."""
    allow_empty: bool = False
    """With `full-sync`: a source without any row empties the target, too; else it is refused."""
    valid_from: str = "valid_from"
    """With `scd2`: the target's column with the time from which a version was the current one."""
    valid_to: str = "valid_to"
    """With `scd2`: the one with the time until which it was; NULL in the current version."""
    reload: bool = False
    """Read all rows, whatever the watermark of earlier runs says; it is set anew."""
    on_drift: OnDrift = OnDrift.FAIL
    """Columns that differ: `"fail"`; `"add"` adds what the target lacks and widens types where nothing can be lost;
    `"ignore"` merges what both sides have.
    """

    @model_validator(mode="after")
    def _goes_together(self) -> Merge:
        """Keys that only mean something with another."""
        for said, needs in (
            (self.deleted is not None, ("deleted", "mode", "full-sync", self.mode is MergeMode.FULL_SYNC)),
            (self.allow_empty, ("allow_empty", "mode", "full-sync", self.mode is MergeMode.FULL_SYNC)),
            (self.lookback is not None, ("lookback", "watermark", "…", self.watermark is not None)),
            (self.watermark_format is not None, ("watermark_format", "watermark", "…", self.watermark is not None)),
        ):
            key, other, value, there = needs
            if said and not there:
                raise ValueError(say("{key} goes with {other} = {value} only", key=key, other=other, value=value))
        if self.watermark is not None and self.mode is MergeMode.FULL_SYNC:
            raise ValueError(say("full-sync reads all rows: it takes no watermark"))
        return self


class Selection(Model):
    """`name` is `schema.table` with shell wildcards in either part, or `/regex/`; without a dot it means public."""

    name: str = ""
    """`schema.table`, with the shell's wildcards in either part, or `/regex/` that fits all of it; without a dot, in
    `public`. A partitioned table or an inheritance parent brings its descendants.
    """
    on_existing: OnExisting | None = None
    """For this selection only; otherwise that of `[options]`."""
    where: str | None = None
    """An SQL condition: only the source's rows that fulfil it. Names of functions and operators outside `pg_catalog`
    need their schema.
    """
    columns: Annotated[list[str], Field(min_length=1)] | None = None
    """List of columns: only these. What needs one that is gone (a key, an index, a CHECK) goes with it, and is named.
    """
    into: str | None = None
    """Another place on the target: `schema.table`, or `schema.*` to keep the names. Descendants follow: with `h` into
    `x.k`, `h_1` becomes `x.k_1`.
    """
    layout: Layout = Layout.SAME
    """`"same"` as on the source; `"declarative"`: an inheritance tree becomes declarative partitions; a flat table
    becomes partitions by `"day"`, `"month"` or `"list"` of its `key`. See [layouts](../layouts.md).
    """
    key: str | None = None
    """The column that partitions, or that a period is about, where the catalogue does not tell."""
    larger_than: Annotated[int, Field(ge=0)] | None = None
    """Only tables whose heap has more bytes than this; a partitioned table or a parent counts with all that is below
    it.
    """
    smaller_than: Annotated[int, Field(ge=0)] | None = None
    """The same for fewer bytes."""
    query: str | None = None
    """Instead of `name`, for a merge: one SQL query of the source that only reads; `into` names the table that its rows
    go to. Names outside `pg_catalog` need their schema.
    """
    merge: Merge | None = None
    """The table `[tables.merge]`; it means `recipe = "merge"`."""
    types: dict[str, str] | None = None
    """Of another kind of database: the PostgreSQL type of a column, by the column's name; over those of `[mapping]`."""
    encodings: dict[str, str] | None = None
    """Of another kind of database: what the bytes of a text column really are, by its name: `"cp949"`, `"latin-1"`."""
    orphans: OrphanRule | None = None
    """Of another kind of database: rows whose foreign key leads nowhere; over that of `[mapping]`."""
    transform: list[Transform] | None = None
    """Of another kind of database: `[[tables.transform]]`, what is done with values on their way, in this order; see
    [transforms](../transforms.md).
    """
    recipe: Recipe | None = None
    """How rows are written; overrides the plan's."""
    on_conflict: OnConflict | None = None
    """What an insert does with a key that is there; overrides the plan's."""

    @model_validator(mode="before")
    @classmethod
    def _implies_a_recipe(cls, said: Any) -> Any:
        return _merged(_implied(said))

    @model_validator(mode="after")
    def _names_its_rows(self) -> Selection:
        if bool(self.name) == bool(self.query):
            raise ValueError(say("a selection takes a name, or a query and a table that it goes into"))
        if self.query and not self.into:
            raise ValueError(say('a query needs a table that its rows go to: into = "schema.table"'))
        return self


class Period(Model):
    """A span of time of the source's rows: `since` belongs to it, `until` does not."""

    since: str | None = None
    """The first moment: an ISO date or timestamp, local to `timezone` unless it names its own."""
    until: str | None = None
    """The end: this moment is not included."""
    timezone: str = "UTC"
    """An IANA name such as `"Asia/Seoul"`; `"UTC"` if nothing is said."""
    unit: Unit = Unit.AUTO
    """What integer keys count: `"s"`, `"ms"`, `"us"`, or `"auto"`: found by the magnitude of the bounds."""
    registry: str | None = None
    """`schema.table` of the application's own list of partitions, where it is not recognised by its columns."""


class Mapping(Model):
    """How a database that is not PostgreSQL becomes one."""

    target_schema: str = "public"
    """The target's schema for tables of a source that has none, or one only."""
    names: Names = Names.AS_IS
    """`"as-is"`, `"lower"`, or `"snake_case"`: OrderDetails becomes order_details. Two names that become one are
    refused.
    """
    types: dict[str, str] = {}
    """PostgreSQL's type for a type of the source, as `pghaul types ENGINE` spells it: `"tinyint(1)" = "boolean"`."""
    encoding: str | None = None
    """What the bytes of the source's text really are, where it says something else: `"cp949"`."""
    undecodable: Undecodable = Undecodable.FAIL
    """Rows with bytes that do not decode: `"fail"`, `"quarantine"`, or `"replace"` (by U+FFFD, and counted)."""
    nul: Undecodable = Undecodable.FAIL
    """Rows with a NUL character in a text, which PostgreSQL cannot hold: the same; `"replace"` leaves it out."""
    orphans: OrphanRule = OrphanRule.FAIL
    """Rows whose foreign key leads nowhere: `"fail"`, `"quarantine"`, or `"set-null"`."""
    views: bool = True
    """Carry views that translate; the others are listed with their text."""
    vacuum: bool = True
    """VACUUM loaded tables when all is there, with ANALYZE unless `analyze = false`; without it, ANALYZE only."""
    ddl: str | None = None
    """A file with our own CREATE statements, run in place of what would be made; columns are matched by name."""
    batch_rows: Annotated[int, Field(ge=1, le=65_536)] = 65_536
    """Rows of a batch, at most; wide rows make smaller ones by themselves."""
    consistency: ReadConsistency = ReadConsistency.AUTO
    """`"auto"`, or `"snapshot"`: all reads see one moment, by a slower reader or under locks, or the run is refused."""


class Options(Model):
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    """How many tables (or ranges) at a time, 1 to 64."""
    on_existing: OnExisting = OnExisting.FAIL
    """Target tables that hold rows: `"fail"` refuses before anything is written, `"truncate"` empties them, `"append"`
    adds to them, `"skip"` leaves them alone, `"refresh"` compares them and copies again only what differs, `"ask"`
    asks at the terminal.
    """
    recipe: Recipe = Recipe.COPY
    """`"copy"`; `"insert"`: rows in batches, by multi-row INSERTs, for targets where COPY is not permitted or rows may
    conflict; `"merge"`: into a staging table on the target, and from there in one transaction (see
    [merging](../merging.md)).
    """
    on_conflict: OnConflict = OnConflict.ERROR
    """With `recipe = "insert"`, a row whose key the target has already: `"error"` fails the run, `"ignore"` leaves it
    out, `"update"` makes the target's row the same. The last two imply the recipe and `on_existing = "append"`.
    """
    verify: Verify = Verify.COUNT
    """`"count"`: rows read = rows written; `"checksum"`: a hash of the content of both sides as well."""
    format: Format = Format.AUTO
    """`"auto"`: binary where every column's binary form is the same on both servers and a column (a time, a float, a
    numeric …) makes it pay, else text; `"text"`; `"binary"`: refuse where it is not safe.
    """
    locks: Locks = Locks.RUN
    """`"run"`: ACCESS SHARE on all tables for the whole run; `"chunk"`: only while each is read, and its file number
    is compared.
    """
    split_bytes: Annotated[int, Field(ge=8192)] = 1 << 30
    """A larger table is read in ranges of this many bytes (source 14 or later), at least 8192."""
    create: bool = True
    """Create tables that the target lacks."""
    indexes: bool = True
    """And build their indexes and constraints after the rows; tables that were there keep the ones they have."""
    owners: bool = False
    """What the run creates belongs to the same roles as on the source. Roles that the target lacks are named before
    anything is written.
    """
    privileges: bool = False
    """What is granted on it is granted on the target, too."""
    analyze: bool = True
    """ANALYZE afterwards."""
    source_encoding: str | None = None
    """What the bytes of a SQL_ASCII source really are, e.g. `"UHC"`."""
    retries: Annotated[int, Field(ge=0)] = 8
    """Tries of one chunk after passing faults."""
    give_up_after: Annotated[float, Field(gt=0)] = 300.0
    """Seconds of faults without any progress until the run fails."""
    stall_timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds of silence until the servers are asked whether they are at work."""
    lock_timeout: Annotated[float, Field(gt=0)] = 10.0
    """Seconds to wait for a lock before trying again."""
    max_rejects: Annotated[int | Annotated[str, Field(pattern=r"^\d+(\.\d+)?%$")], BeforeValidator(_tolerated)] = 0
    """Rows of a table that the target may refuse and that are then set aside, in `pghaul.quarantine`: a number, or a
    share of its rows (`"0.1%"`). One more fails the run; so does the first, if nothing is said. See
    [quarantine](../quarantine.md).
    """
    duplicates: Duplicates = Duplicates.FAIL
    """Of rows that a unique index will not have twice, when it is built after the load, `"first"`, `"last"` or `"none"`
    stays, and the others are set aside; `"fail"` fails the run.
    """
    duplicates_by: str | None = None
    """The column whose order says which duplicate is the first and which the last."""
    memory_limit: Annotated[int, Field(ge=32 << 20)] | None = None
    """Bytes of memory that a worker may take for rows in hand, where it has to look at them one by one."""
    target_free: Annotated[int, Field(ge=0)] | None = None
    """Bytes free on the target's disk, where it is on another machine; a run that needs more is refused."""
    pause_hold: Annotated[float, Field(ge=0)] = 300.0
    """Seconds that a pause keeps snapshot, locks and connections."""
    only_between: Annotated[str, Field(pattern=HOURS)] | None = None
    """The hours in which rows move, `"22:00-06:00"`: in the time zone that follows (`"22:00-06:00 Asia/Seoul"`), else
    in that of `period`, if it names one, else in this machine's. Outside, the run is paused.
    """
    max_rate: Annotated[int, Field(gt=0)] | None = None
    """Bytes per second of all workers together."""
    max_source_lag: Annotated[float, Field(gt=0)] | None = None
    """Hold while a replica of the source is more seconds behind. On a primary: the greatest `replay_lag` in
    `pg_stat_replication` (10 or later); where the source is a standby itself: the age of what it replayed last, 0
    when it has replayed all that it received.
    """
    max_source_sessions: Annotated[int, Field(ge=0)] | None = None
    """Hold while more sessions of others are `active` on the source server, in any database; sessions of pghaul and
    the server's own processes do not count.
    """
    max_checkpoint_pressure: Annotated[int, Field(ge=0)] | None = None
    """Hold while more checkpoints than that were *requested* on the target within the last minute
    (`pg_stat_checkpointer`, before 17 `pg_stat_bgwriter`): by too much WAL for `max_wal_size`, or by somebody's
    CHECKPOINT.
    """
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """While the run goes on, Prometheus may ask here how it is: `http://HOST:PORT/metrics`. 0: nobody may."""
    metrics_host: str | None = None
    """The address of this machine that `metrics_port` listens on; this machine alone (`127.0.0.1`) if nothing is said.
    Nobody is asked who he is: name the address of a network that you trust.
    """
    metrics_file: str | None = None
    """The same figures as a file for node_exporter's textfile collector, ending in `.prom`; replaced whole every ten
    seconds and at the end, readable by all users.
    """
    notify: list[str] | None = None
    """Who is told of the run: `"https://…"` (a webhook), `"mailto:ops@example.com"`, `"desktop"`, or `"env:NAME"`: one
    of these, standing in that variable, so that a webhook's token is in no plan.
    """
    notify_on: list[NotifyOn] | None = None
    """Of what: a list of `"started"`, `"finished"`, `"failed"`, `"stopped"`, `"paused"`, `"resumed"`; of `"finished"`,
    `"failed"` and `"paused"` if nothing is said. A run that ends with differences is told for `finished` and `failed`.
    """

    @model_validator(mode="before")
    @classmethod
    def _conflicts_are_met_by_inserts(cls, said: Any) -> Any:
        return _implied(said)


class Plan(Model):
    source: str
    """Profile, URL or `key=value` words of the database to read, without password."""
    target: str
    """The same of the database to write."""
    tables: list[Selection] = []
    """One `[[tables]]` for each selection; at least one, unless `whole`."""
    exclude: list[str] = []
    """List of patterns as in `name`: what they match is left out, with all that is below it."""
    whole: bool = False
    """`true`: all tables, and everything else that the database holds."""
    period: Period | None = None
    """The table `[period]`; may be left out."""
    mapping: Mapping = Mapping()
    """The table `[mapping]`, for a source that is not PostgreSQL; may be left out."""
    options: Options = Options()
    """The table `[options]`; may be left out."""

    @model_validator(mode="after")
    def _selects_something(self) -> Plan:
        """Nothing selected is a forgotten line, never a wish."""
        if not self.tables and not self.whole:
            raise ValueError(say("nothing is selected: it takes [[tables]], or whole = true"))
        return self

    def once_read(self) -> Plan:
        """As it is repeated: `reload` is for the first round."""
        tables = [
            s.model_copy(update={"merge": s.merge.model_copy(update={"reload": False})}) if s.merge else s
            for s in self.tables
        ]
        return self.model_copy(update={"tables": tables})

    @property
    def merges(self) -> bool:
        """Whether any of it goes by the recipe merge."""
        said = [s.recipe or self.options.recipe for s in self.tables]
        return Recipe.MERGE in [*said, *([self.options.recipe] if self.whole else [])]
