"""Databases that are not PostgreSQL: how to reach one, and what a source says of its tables, in its own words.

A source describes; what becomes of it on the target (names, types, keys) is decided by the engine's mapping.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import quote, urlencode

from pghaul.model.finding import Finding
from pghaul.model.redaction import know
from pghaul.model.table import Name, Unsupported


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignEndpoint:
    """One database or folder of files. `params` are host, port, user, database, path and the engine's own.

    `password` is kept out of repr, str, logs and pickles of anything but the worker's initialiser.
    """

    engine: str  # the name of its entry point: "sqlite", "mysql", "sqlserver", "oracle", "files" …
    params: tuple[tuple[str, str], ...]
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.keep_secret()

    def keep_secret(self) -> None:
        """From now on no word of this process shows the password."""
        know(self.password, public=[self.get(keyword) for keyword in ("user", "database", "host")])

    def get(self, keyword: str, default: str = "") -> str:
        """One parameter, or the default."""
        return dict(self.params).get(keyword, default)

    @property
    def display(self) -> str:
        """A URL without password, for plans, logs and the screen; it can be read again."""
        known = dict(self.params)
        rest = {k: v for k, v in known.items() if k not in {"host", "port", "user", "database", "path"}}
        query = f"?{urlencode(rest, quote_via=quote)}" if rest else ""
        if path := known.get("path"):
            return f"{self.engine}://{quote(path)}{query}"
        user = f"{quote(known['user'], safe='')}@" if known.get("user") else ""
        port = f":{known['port']}" if known.get("port") else ""
        database = quote(known.get("database", ""), safe="")
        host = known.get("host", "")
        host = f"[{host}]" if ":" in host else host
        return f"{self.engine}://{user}{host}{port}/{database}{query}"


class Consistency(Enum):
    """What all reads of a run have seen together."""

    SNAPSHOT = "snapshot"  # one moment of the whole database
    TABLE = "table"  # each table as it was at one moment
    STATEMENT = "statement"  # each chunk as it was at one moment: who writes meanwhile is seen in part


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantees:
    """What a source promises; shown in the plan and in the report."""

    consistency: Consistency
    parallel: bool = True  # several workers may read at once
    ranges: bool = True  # a part of a table can be read, by a range of an integer key
    where: bool = True  # a condition in the source's SQL can be given
    loose: bool = False  # a value that cannot be read as it is asked for is set apart, where that is asked for
    # What its SQL says behind a table's name, so that a condition sees other tables as at the moment held, too.
    moment: str = ""
    sees_changes: bool = False  # check() tells whether somebody has written since the source was opened


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignColumn:
    """`native` is the type as the source spells it, whole: "decimal(65,30) unsigned", "datetimeoffset(7)"."""

    name: str
    native: str
    not_null: bool = False
    default: str | None = None  # the source's own SQL
    identity: bool = False  # the source makes the value: AUTO_INCREMENT, IDENTITY, INTEGER PRIMARY KEY of SQLite
    identity_next: int | None = None  # the value that comes next, where the source knows
    generated: str | None = None  # the source's own SQL of a generated column
    collation: str | None = None
    charset: str | None = None
    comment: str = ""
    values: tuple[str, ...] = ()  # labels of an enum or set
    pg_type: str = ""  # what the source's type table proposes, format_type() spelling: "numeric(65,30)"
    note: str = ""  # why, where the proposal is not obvious: say() text
    unread: bool = False  # the source cannot read it, but by an expression of the plan
    seems: str = ""  # what the bytes of its text seem to be, where its character set says otherwise: "cp949"
    refused: bool = False  # the note tells of values that the source will not hand out as pg_type
    observed: str = ""  # what was found in it, where types are per value (SQLite): "integer, text (12 of 40)"
    seen: str = ""  # what the source has found out and will need to read it, in words of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignIndex:
    """`columns` with their direction; an expression stands in `expression`, in the source's SQL."""

    name: str
    columns: tuple[str, ...]
    unique: bool = False
    primary: bool = False
    descending: tuple[bool, ...] = ()
    predicate: str | None = None  # of a partial one, the source's SQL
    expression: str | None = None
    constraint: bool = False  # made by a UNIQUE or PRIMARY KEY constraint
    kind: str = ""  # "fulltext", "spatial" …: empty for a B-tree
    include: tuple[str, ...] = ()
    prefix: tuple[int | None, ...] = ()  # only so many characters of the column are indexed


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignReference:
    """A foreign key. Actions as SQL says them: "CASCADE", "SET NULL", "NO ACTION" …"""

    name: str
    columns: tuple[str, ...]
    table: Name
    referenced: tuple[str, ...]
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignCheck:
    name: str
    expression: str  # the source's SQL


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignTable:
    """`name` is the source's: its schema is "" where the source has none (SQLite, files)."""

    name: Name
    columns: tuple[ForeignColumn, ...]
    indexes: tuple[ForeignIndex, ...] = ()
    references: tuple[ForeignReference, ...] = ()
    checks: tuple[ForeignCheck, ...] = ()
    comment: str = ""
    rows: int | None = None  # estimate, or exact where counting is cheap
    bytes: int = 0  # estimate
    exact_rows: bool = False
    trouble: Finding | None = None  # why it cannot be read; of such a one nothing else need be known

    @property
    def primary(self) -> ForeignIndex | None:
        """The primary key."""
        return next((i for i in self.indexes if i.primary), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignView:
    name: Name
    definition: str  # the query alone, in the source's SQL
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignDatabase:
    """All that a source holds. `others` nobody can carry: triggers, procedures, events …, with the reason."""

    engine: str
    product: str  # "MariaDB 10.11.6", "SQLite 3.45.1"
    identity: str  # tells this database from another one on resume: host, port and name, or path; no password
    dialect: str  # of sqlglot: "mysql", "sqlite", "tsql", "oracle"; "" where there is no SQL
    tables: tuple[ForeignTable, ...]
    views: tuple[ForeignView, ...] = ()
    others: tuple[Unsupported, ...] = ()
    encoding: str = ""
    timezone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRange:
    """A part of a table: `low` belongs to it, `high` does not; None is open. A NULL key belongs to the first."""

    column: str
    low: int | None
    high: int | None


VECTORS = frozenset({"vector", "halfvec"})


def is_vector(pg_type: str) -> bool:
    """pgvector's, in whatever schema: it takes float32 as they are stored, and arrays of numbers as text."""
    return pg_type.partition("(")[0].strip().rpartition(".")[2] in VECTORS and not pg_type.endswith("]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadColumn:
    """One column to read, and the PostgreSQL type that its values are meant for.

    A source delivers it as the Arrow type that fits `pg_type` best, or as a string in PostgreSQL's input syntax, which
    is right for every type; as binary where `encoding` says that its bytes are to be decoded by us.
    """

    name: str
    native: str
    pg_type: str
    encoding: str | None = None
    expression: str | None = None  # SQL on the source's side instead of the column
    seen: str = ""  # what the source said of it when it was described, so that it need not look again


@dataclass(frozen=True, slots=True)
class Misfit:
    """A value of a batch's row, from 0, that could not be read as it was asked for: what it is, as text."""

    row: int
    column: str
    text: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is to be read of one table. `ordered`: by these columns (a unique key), ascending; empty: as it comes."""

    table: Name
    columns: tuple[ReadColumn, ...]
    where: str | None = None
    range: KeyRange | None = None
    ordered: tuple[str, ...] = ()
    limit: int | None = None
    loose: bool = (
        False  # a value that cannot be read so is set apart (sources/misfits.py), where the source can do that
    )
    batch_rows: int = 65_536  # at most; a source makes smaller batches of wide rows
    batch_bytes: int = 16 << 20
