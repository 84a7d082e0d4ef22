"""A database behind python-oracledb's own surface: recorded answers to the statements of the source, and to no others.

No Oracle can be had here. What one answers to an expression was written down from its documentation and the driver's,
column by column, beside the text of the expression: who changes a text has to look at what a server would answer to
the new one, and to record that. Which rows a condition, a moment (AS OF SCN) or an order chooses is told by SQLite,
which reads quoted names as Oracle does. Frames and errors are the driver's own.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import oracledb
import pyarrow as pa

from tests.oracle import catalogue
from tests.oracle.server import complaint
from tests.oracle.tables import Table

HANGS = "'waits' = 'waits'"  # in a condition: nothing ever comes
PATIENCE = 30.0  # seconds until a statement that hangs ends by itself
CREATED = 1_000  # the moment of which everything is that is there when the test begins
NAME = '"[^"]+"'
STATEMENT = re.compile(
    rf"SELECT (?P<what>.+?) FROM (?P<table>{NAME}\.{NAME})(?P<moment> AS OF SCN :scn)? t"
    rf"(?P<behind>(?: WHERE .+?)?(?: ORDER BY t\.{NAME}(?:, t\.{NAME})*)?)(?: FETCH FIRST (?P<most>\d+) ROWS ONLY)?",
    re.DOTALL,
)
OTHER = re.compile(rf"({NAME}\.{NAME}) AS OF SCN (\d+) ")  # a table that a condition looks into
COUNT = re.compile(r"TO_CHAR\(COUNT\(\*\)\)")
ENDS = re.compile(rf"TO_CHAR\(MIN\((t\.{NAME})\), 'TM9'\), TO_CHAR\(MAX\(\1\), 'TM9'\)")
WIDEST = re.compile(r"NVL\(MAX\((NVL\(DBMS_LOB\.GETLENGTH\(.*)\), 0\)", re.DOTALL)
SIZE = re.compile(r"NVL\(DBMS_LOB\.GETLENGTH\((.*?)\), 0\)(?: \+ |$)", re.DOTALL)
PART = re.compile(r"(.*?) AS C\d+(?:, |$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Asked:
    """A statement about one table, taken apart."""

    what: str
    owner: str
    table: str
    moment: int | None
    behind: str
    most: int | None

    @classmethod
    def of(cls, text: str, values: Mapping[str, Any]) -> Asked:
        found = STATEMENT.fullmatch(text)
        assert found, f"not recorded ({catalogue.digest(text)}): {text}"
        assert ("scn" in values) is bool(found["moment"]), "ORA-01008: not all variables bound"
        _, owner, _, table, _ = found["table"].split('"')
        most = int(found["most"]) if found["most"] else None
        return cls(found["what"], owner, table, values.get("scn"), found["behind"], most)


@dataclass(kw_only=True)
class StandIn:
    """`made`: of an expression that a plan gives: the type that the driver tells, and the value of every row.

    `breaks_after`: so many rows of a reading, and the connection is lost.
    """

    tables: list[Table]
    owner: str = "SHOP"
    service: str = "shop"
    password: str = "Tiger-77-x"
    flashback: bool = True
    made: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    breaks_after: int | None = None
    scn: int = CREATED
    statements: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._shadow = sqlite3.connect(":memory:", check_same_thread=False)
        self._shadow.create_function("TO_CHAR", -1, lambda value, *_: None if value is None else str(value))
        self._shadow.execute(f"ATTACH ':memory:' AS \"{self.owner}\"")
        for table in self.tables:
            names = ", ".join(f'"{c.name}"' for c in table.columns)
            self._shadow.execute(f'CREATE TABLE "{self.owner}"."{table.name}" (ora_rowscn, {names})')
            self._insert(table, table.rows)

    def _insert(self, table: Table, rows: Iterable[Sequence[Any]]) -> None:
        marks = ", ".join("?" * (len(table.columns) + 1))
        statement = f'INSERT INTO "{self.owner}"."{table.name}" VALUES ({marks})'
        self._shadow.executemany(statement, ((self.scn, *row) for row in rows))

    def add(self, table: str, row: tuple[Any, ...]) -> None:
        """Somebody inserts a row, and commits."""
        with self._lock:
            self.scn += 1
            found = self.table(table)
            found.rows.append(row)
            self._insert(found, [row])

    def drop(self, table: str) -> None:
        """Somebody drops a table."""
        with self._lock:
            self.tables.remove(self.table(table))
            self._shadow.execute(f'DROP TABLE "{self.owner}"."{table}"')

    def table(self, name: str) -> Table:
        """One of them."""
        return next(t for t in self.tables if t.name == name)

    def connect(self, **login: Any) -> Session:
        """The driver's."""
        service = login.get("service_name")
        if service != self.service:
            raise complaint("DPY-6001", f'Service "{service}" is not registered. (Similar to ORA-12514)')
        if login.get("password") != self.password:
            raise complaint("ORA-01017", "invalid credential or not authorized; logon denied")
        return Session(self)

    def answer(self, text: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """To a statement that is no reading."""
        self.statements.append(text)
        if known := catalogue.ANSWERS.get(catalogue.digest(text)):
            return known(self, values)
        asked = Asked.of(text, values)
        if COUNT.fullmatch(asked.what) or ENDS.fullmatch(asked.what):
            return self._chosen(asked, asked.what)
        found = WIDEST.fullmatch(asked.what)
        assert found, f"not recorded: {text}"
        places = self.places(asked)
        few = places[:1] if self.table(asked.table).repeated else places
        lobs = self.columns(asked, SIZE.findall(found[1]), few)
        return [(max((sum(len(v.as_py() or "") for v in row) for row in zip(*lobs, strict=True)), default=0),)]

    def _chosen(self, asked: Asked, what: str) -> list[tuple[Any, ...]]:
        """Of the rows that were there at the moment that is asked for."""
        until = self.scn if asked.moment is None else asked.moment
        there = f'SELECT rowid AS ora_place, * FROM "{asked.owner}"."{asked.table}" WHERE ora_rowscn <= {until}'
        limit = "" if asked.most is None else f" LIMIT {asked.most}"
        behind = OTHER.sub(r"(SELECT * FROM \1 WHERE ora_rowscn <= \2) ", asked.behind)
        try:
            with self._lock:
                return self._shadow.execute(f"SELECT {what} FROM ({there}) t{behind}{limit}").fetchall()
        except sqlite3.Error as exc:
            if "no such table" in str(exc):
                raise complaint("ORA-00942", "table or view does not exist") from None
            raise complaint("ORA-00936", "missing expression") from None

    def places(self, asked: Asked) -> list[int]:
        """Of the chosen rows, in the table's list."""
        table = self.table(asked.table)
        return [0] * table.repeated or [n - 1 for (n,) in self._chosen(asked, "t.ora_place")]

    def columns(self, asked: Asked, expressions: Iterable[str], places: Sequence[int]) -> list[pa.Array]:
        """As the driver hands them over."""
        return [self._column(self.table(asked.table), e, places) for e in expressions]

    def _column(self, table: Table, expression: str, places: Sequence[int]) -> pa.Array:
        inner = expression.removeprefix("(").removesuffix(")")
        if inner in self.made:
            return pa.repeat(self.made[inner][1], len(places))
        if expression in table.recorded:
            return table.recorded[expression].take(pa.array(places, pa.int64()))
        plain = [i for i, c in enumerate(table.columns) if expression == f't."{c.name}"']
        assert plain, f"not recorded of {table.name}: {expression}"
        return pa.array([table.rows[p][plain[0]] for p in places], table.columns[plain[0]].arrow)


class Session:
    """A connection, and its cursor."""

    def __init__(self, stand: StandIn) -> None:
        self._stand = stand
        self._cancelled = threading.Event()
        self._rows: list[tuple[Any, ...]] = []
        self.description: list[Described] = []

    def cursor(self) -> Session:
        return self

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def execute(self, text: str, values: Mapping[str, Any] | None = None) -> None:
        self._rows = self._stand.answer(text, values or {})

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows

    def parse(self, text: str) -> None:
        """A query that is described, and not run."""
        self._stand.statements.append(text)
        inner = [e.removeprefix("(").removesuffix(")") for e in PART.findall(Asked.of(text, {}).what)]
        if any(e not in self._stand.made for e in inner):
            raise complaint("ORA-00904", "invalid identifier")
        self.description = [Described(getattr(oracledb, self._stand.made[e][0])) for e in inner]

    def fetch_df_batches(
        self, text: str, values: Mapping[str, Any], *, size: int, fetch_decimals: bool
    ) -> Iterator[Any]:
        """As the driver: at least one frame, and none that is larger than `size`."""
        assert fetch_decimals
        self._stand.statements.append(text)
        asked = Asked.of(text, values)
        if HANGS in asked.behind:
            self._cancelled.wait(PATIENCE)
        self._look()
        places = self._stand.places(asked)
        expressions = PART.findall(asked.what)
        for first in range(0, len(places), size) or [0]:
            if self._stand.breaks_after is not None and first >= self._stand.breaks_after:
                raise complaint("DPY-4011", "the database or network closed the connection")
            arrays = self._stand.columns(asked, expressions, places[first : first + size])
            frame = pa.table(arrays, [f"C{i}" for i in range(len(arrays))])
            yield oracledb.from_arrow(frame) if frame.num_rows else frame  # from_arrow() makes nothing of no rows
            self._look()

    def _look(self) -> None:
        if self._cancelled.is_set():
            self._cancelled.clear()
            raise complaint("ORA-01013", "user requested cancel of current operation")

    def cancel(self) -> None:
        self._cancelled.set()

    def close(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class Described:
    """What the driver tells of a column of a query."""

    type_code: Any
    precision: int | None = None
    scale: int | None = None
