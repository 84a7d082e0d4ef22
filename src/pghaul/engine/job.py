"""What a worker is handed: one chunk or step with every statement composed, and nothing secret.

Statements are composed by the planner (psycopg.sql), so that a worker needs no SQL composer, no catalogue and no store.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from pghaul.model.receipt import Receipt
from pghaul.model.text import Text

if TYPE_CHECKING:  # of other databases: pydantic is nothing that every worker needs
    from pghaul.model.foreign import Reading
    from pghaul.model.plan import Mapping, Selection
    from pghaul.model.transforming import Transform
    from pghaul.model.verification import TableVerdict
    from pghaul.target.arrow.facts import Pair


class JobKind(Enum):
    COPY = "copy"  # load a chunk; a leaf also gets its indexes
    READY = "ready"  # empty (or accept) a table that several chunks will fill
    STEP = "step"  # one statement after the load: an index, a constraint, ANALYZE
    BATCH = "batch"  # load several small leaves in one transaction
    KEEP = "keep"  # hash both sides; where they are equal, mark the table as done and leave it alone
    CHECK = "check"  # hash both sides of what is there, change nothing
    INSERT = "insert"  # as COPY, by INSERT in batches
    ARROW = "arrow"  # as COPY, from a source that is not PostgreSQL
    VACUUM = "vacuum"  # of some tables, outside of any transaction
    EMPTY = "empty"  # take out again what chunks had loaded, with their markers

    @property
    def loads(self) -> bool:
        """Does it fill a chunk?"""
        return self in {JobKind.COPY, JobKind.INSERT, JobKind.ARROW}


class Readiness(Enum):
    KEEP = "keep"  # append: take the table as it is
    TRUNCATE = "truncate"  # empty it in the loading transaction
    MUST_BE_EMPTY = "must_be_empty"  # on_existing = fail: a row is an error; then as TRUNCATE


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySide:
    """One side of a relay. `query` (source only) replaces the table where a part of it is read.

    `columns` None lets the server take all but the generated ones (a table without columns has no list to give).
    """

    schema: str
    table: str
    columns: tuple[str, ...] | None
    format: Literal["text", "binary"]
    encoding: str | None
    query: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HashPlan:
    """How to compare both sides. The stream hash is tried first where order is guaranteed; rows decide."""

    stream: bool
    source_rows: tuple[str, ...] = ()  # statements giving (count, sum); their sums are added up
    target_rows: str = ""  # empty where rows cannot be hashed alike on both servers
    known_source: tuple[int, int] | None = None  # (count, sum) from the chunks' receipts instead of source_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class ByKey:
    """One relation read in the order of a unique key.

    `first` takes the number of rows; `following` takes it too, and the key of the last row so far, as texts. Every
    batch is one row: count, sum of row hashes (or NULL), one array literal per column, the key of its last row.
    """

    first: str
    following: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ByPages:
    """One relation read by places in its heap: `batch` takes two places, from the first up to the second.

    `statement` takes two of them as page and offset; `extent` says how many pages there are, and places in a page.
    """

    batch: str
    extent: str
    first_page: int = 0
    end_page: int | None = None


class Counts(Enum):
    INSERTED = "inserted"  # the rows of this statement's command tag are new
    UPDATED = "updated"  # … were there, and are changed
    BOTH = "both"  # it answers with both numbers
    FOUND = "found"  # it writes nothing: it answers with the number and the hashes of rows that are there


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One statement for a batch; `parameters` are the numbers of the columns whose arrays it takes."""

    sql: str
    parameters: tuple[int, ...]
    counts: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class InsertPlan:
    """How a chunk is inserted. `columns` is how many there are; a table without any takes a number of rows."""

    columns: int
    readers: tuple[ByKey | ByPages, ...]
    before: tuple[str, ...]  # on the target, once
    writes: tuple[Write, ...]
    on_conflict: Literal["error", "ignore", "update"] = "error"
    found: Write | None = None  # (count, sum of hashes) of the target's rows with the keys of a batch
    hashed: bool = False  # batches carry the sum of their hashes


MEMORY = 64 << 20  # bytes that a worker takes for rows in hand, if nothing is said


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    """What becomes of rows that the target refuses. `columns` are those of COPY's lines."""

    limit: str = "0"  # as it was asked for, of the whole table; "0": the job fails, and names the first
    most: int | None = None  # rows that this job may set aside at most; None: nobody can say before it has read all
    whole: bool = False  # it loads all of its table: a share is one of the rows that it has read
    memory: int = MEMORY
    columns: tuple[str, ...] = ()
    key: tuple[int, ...] = ()  # which of them are the source's primary key
    hash_by_key: str = ""  # (count, sum of hashes) of the source's rows with these keys: an array of texts for each
    skip: int = 0  # lines that are known to be taken: where nothing is loaded, they need not be tried

    @property
    def only_looking(self) -> bool:
        """Nothing may be set aside."""
        return Fraction(self.limit.removesuffix("%")) == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """What becomes of rows that a unique index will not have twice; all of them are found by one query.

    `look` tells how many are to go, and the first of their keys; `move` sets them aside ($1 run, $2 table, $3 chunk).
    """

    index: str
    rule: Literal["fail", "first", "last", "none"]  # which of the rows with one key stays
    limit: str  # how many rows of the table may be set aside, as it was asked for
    lock: str
    look: str
    move: str
    count: str  # the rows of the table


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """`exists` is a query for a boolean: the statement has been done already (by an earlier epoch)."""

    name: str
    sql: str
    exists: str | None = None
    duplicates: Duplicates | None = None  # of a unique index


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A column of the target that is written, in the order in which the source is read."""

    name: str
    type: str  # format_type()
    oid: int
    enum: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """Which of the target's rows are those of this chunk, and in which order: as the source gives them.

    `own`: the relation's own rows, none of tables that inherit from it; a partitioned one has none.
    """

    where: str = ""
    order: tuple[str, ...] = ()  # none: as they lie, which is as one stream has loaded them
    own: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """How rows that differ are found: the source's are put into a temporary table, and the target compares.

    `counts` answers with the numbers of missing, extra and different rows, `rows` with the first of them.
    """

    table: str
    create: str
    counts: str
    rows: str
    key: tuple[str, ...]
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrowPlan:
    """How a chunk comes from a source that is not PostgreSQL. Job.snapshot is what the source's hold() has given."""

    reading: Reading
    fields: tuple[Field, ...]
    mapping: Mapping
    selection: Selection | None  # what the plan says of this table
    carried: tuple[str, ...] = ()  # the source's names of `fields`, or those that a transform makes
    transforms: tuple[Transform, ...] = ()
    back: ReadBack | None = None  # the proof is by content; None: by count
    narrowing: Narrowing | None = None  # of a comparison
    known: str | None = None  # of a chunk that an earlier attempt has loaded: its receipt's hash, or "" without one


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    run: str
    epoch: int
    kind: JobKind
    relation: str  # str(Name): the ledger's key
    chunk: str
    snapshot: str
    marker: str
    slot: int = 0  # where progress is written
    helpers: int = 0  # parallel workers that the target may use for an index
    source: CopySide | None = None
    target: CopySide | None = None
    lock_target: str = ""
    lock_source: str = ""  # with locks = chunk
    filenodes: tuple[tuple[str, int], ...] = ()  # queries of the source's files, and what each was under the snapshot
    is_empty_sql: str = ""
    truncate_sql: str = ""
    readiness: Readiness = Readiness.KEEP
    replica_role: bool = False  # triggers of the user are not to fire
    redo: bool = False  # drop the marker of an earlier load first
    statements: tuple[Statement, ...] = ()
    hash: HashPlan | None = None
    freeze: bool = False
    covers: tuple[str, ...] = ()  # KEEP: what else of the table is done with it
    count_sql: str = ""  # KEEP: of the target, where the proof does not count
    insert: InsertPlan | None = None
    arrow: ArrowPlan | None = None
    care: Care | None = None  # None: a row that is refused ends it
    careful: bool = False  # rows have been refused: it is done again, and looks for them
    batch: tuple[Job, ...] = ()  # the leaves; what they have in common or can do at once stands in the job around them


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    receipt: Receipt
    adopted: bool = False  # an earlier epoch, or a twin, had committed it already
    agrees: bool = True
    parts: tuple[JobResult, ...] = ()  # of a batch
    reasons: tuple[Text, ...] = ()  # of the first rows that were set aside
    unproven: tuple[str, ...] = ()  # columns that its hashes leave out
    replaced: tuple[tuple[str, int], ...] = ()  # values that were changed to be held at all, as the plan allows
    verdict: TableVerdict | None = None  # of a comparison with another kind of database: of a part of a table
    columns: tuple[Pair, ...] = ()  # and what is in its columns, on both sides
    watermark: str = ""  # of a merge: up to where the source has been read
