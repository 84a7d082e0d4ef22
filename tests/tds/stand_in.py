"""A database of fixtures behind the endpoint: answers the statements of sources/sqlserver.py, and no others.

Catalogue queries are known by their text. What stands behind FROM is answered by SQLite, which reads names in brackets,
over a shadow of each table; values are projected from the fixtures (values.py).
"""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from pghaul.sources import _sqlserver_sql as sql
from tests.tds import types as t
from tests.tds.tokens import Answer, Message, Result, row
from tests.tds.values import Native, Shape, shape

HANGS = "'waits' = 'waits'"  # in a condition: the answer never comes
SELECT = re.compile(r"SELECT (?:TOP \((?P<top>\d+)\) )?(?P<what>.*)$", re.DOTALL)
OBJECT_ID = re.compile(r"OBJECT_ID\(N'\[((?:[^\]]|\]\])*)\]\.\[((?:[^\]]|\]\])*)\]'\)", re.DOTALL)
DESCRIBED = re.compile(r"dm_exec_describe_first_result_set\(N'(.*)', NULL, 0\)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One of a table; `native` as CREATE TABLE has it."""

    name: str
    native: str
    not_null: bool = False
    page: str = "cp1252"
    alias: str | None = None
    default: str | None = None
    computed: str | None = None
    next: int | None = None
    comment: str | None = None
    column_set: bool = False
    always: int = 0


@dataclass(frozen=True, kw_only=True)
class Index:
    name: str
    columns: tuple[str, ...]
    type: int = 2
    unique: bool = False
    primary: bool = False
    constraint: bool = False
    disabled: bool = False
    predicate: str | None = None
    descending: tuple[str, ...] = ()
    include: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Reference:
    name: str
    columns: tuple[str, ...]
    table: str
    referenced: tuple[str, ...]
    on_delete: str = "NO_ACTION"
    on_update: str = "NO_ACTION"
    disabled: bool = False


@dataclass(kw_only=True)
class Table:
    """`repeated`: one row, so many times, made once."""

    name: str
    columns: tuple[Column, ...]
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    repeated: int = 0
    schema: str = "dbo"
    indexes: tuple[Index, ...] = ()
    references: tuple[Reference, ...] = ()
    checks: tuple[tuple[str, str | None, int], ...] = ()
    temporal: int = 0
    comment: str | None = None

    @property
    def natives(self) -> dict[str, Native]:
        return {c.name: Native(c.native, c.page) for c in self.columns}


class Stand:
    """The answers of one database. `expressions`: SQL → its type, and what it yields for every row."""

    def __init__(self, tables: Iterable[Table], **options: Any) -> None:
        self.tables = list(tables)
        self.expressions: dict[str, tuple[str, Any]] = options.pop("expressions", {})
        self.views: list[tuple[Any, ...]] = options.pop("views", [])
        self.others: list[tuple[Any, ...]] = options.pop("others", [])
        self.database: str = options.pop("database", "shop")
        self.snapshot: int = options.pop("snapshot", 1)
        self.read_only: int = options.pop("read_only", 0)
        self.cut_after: int | None = options.pop("cut_after", None)
        self.cuts: int = options.pop("cuts", 1_000)  # so many readings are
        self.denied: tuple[str, ...] = options.pop("denied", ())
        self.fails: Message | None = options.pop("fails", None)
        assert not options
        self._lock = threading.Lock()
        self._shadow = sqlite3.connect(":memory:", check_same_thread=False)
        for schema in {x.schema for x in self.tables}:
            self._shadow.execute(f"ATTACH ':memory:' AS [{schema}]")
        for table in self.tables:
            self._fill(table)

    def _fill(self, table: Table) -> None:
        where = f"[{table.schema}].[{table.name}]"
        self._shadow.execute(f"CREATE TABLE {where} ({', '.join(f'[{c.name}]' for c in table.columns)})")
        for values in table.rows:
            self._add(table, values)

    def _add(self, table: Table, values: Sequence[Any]) -> None:
        kept = [v if isinstance(v, int) and abs(v) < 2**63 else None for v in values]
        marks = ", ".join("?" * len(kept))
        self._shadow.execute(f"INSERT INTO [{table.schema}].[{table.name}] VALUES ({marks})", kept)

    def add(self, table: str, values: Sequence[Any]) -> None:
        """Somebody inserts a row."""
        with self._lock:
            found = next(x for x in self.tables if x.name == table)
            found.rows.append(tuple(values))
            self._add(found, values)

    def drop(self, table: str) -> None:
        """Somebody drops a table."""
        with self._lock:
            found = next(x for x in self.tables if x.name == table)
            self.tables.remove(found)
            self._shadow.execute(f"DROP TABLE [{found.schema}].[{found.name}]")

    def answers(self, text: str) -> Sequence[Answer]:
        """Of one batch."""
        with self._lock:
            return self._answers(text)

    def _answers(self, text: str) -> Sequence[Answer]:
        if text.startswith("SET "):
            return []
        if text.lower().startswith("use "):
            name = text[4:].strip().strip("[]")
            if name == self.database:
                return []
            return [
                Message(
                    number=911, text=f"Database '{name}' does not exist. Make sure that the name is entered correctly."
                )
            ]
        if text in _CATALOGUE:
            return [told(_CATALOGUE[text](self))]
        if found := OBJECT_ID.search(text):
            return [told(self._columns_of(*(p.replace("]]", "]").replace("''", "'") for p in found.groups())))]
        if found := DESCRIBED.search(text):
            return [told(self._described(found[1].replace("''", "'")))]
        try:
            return self._select(text)
        except sqlite3.Error as exc:
            missing = str(exc).partition("no such table: ")[2]
            if missing:
                return [Message(number=208, text=f"Invalid object name '{missing}'.")]
            return [Message(number=102, text=f"Incorrect syntax: {exc}.")]

    def _columns_of(self, schema: str, name: str) -> list[tuple[Any, ...]]:
        found = [x for x in self.tables if (x.schema, x.name) == (schema, name)]
        return [(c.name, *n.sys_columns) for x in found for c, n in zip(x.columns, x.natives.values(), strict=True)]

    def _described(self, statement: str) -> list[tuple[Any, ...]]:
        what = SELECT.match(statement)
        assert what is not None
        names = [re.sub(r" AS \[c\d+\]$", "", w)[1:-1] for w in parts(before_from(what["what"])[0])]
        return [(self.expressions[n][0], None) if n in self.expressions else (None, f"{n} is unknown") for n in names]

    def _select(self, text: str) -> Sequence[Answer]:
        match = SELECT.match(text)
        assert match is not None, text
        what, behind = before_from(match["what"])
        if what.startswith("COUNT_BIG(CASE"):
            return [told([self._finer(text)])]
        if what.startswith(("COUNT_BIG(", "MIN(")):
            asked = f"SELECT {what.replace('COUNT_BIG', 'COUNT')} FROM {behind}"
            return [told(self._shadow.execute(asked).fetchall(), t.BIGINT)]
        limit = f" LIMIT {match['top']}" if match["top"] else ""
        places = [n - 1 for (n,) in self._shadow.execute(f"SELECT rowid FROM {behind}{limit}")]
        if self.fails:
            return [self.fails]
        table = next(x for x in self.tables if behind.startswith(f"[{x.schema}].[{x.name}]"))
        hangs = 0 if HANGS in behind else None
        shapes = [self._shape(e, table) for e in parts(what)]
        columns = [(f"c{i}", s.native.wire) for i, s in enumerate(shapes)]
        names = [c.name for c in table.columns]
        if table.repeated:
            token = row(columns, [s.make(None) for s in shapes])
            return [Result(columns=columns, rows=repeat(token, table.repeated), hang_after=hangs)]
        chosen = [names.index(s.column) for s in shapes]
        rows = [[s.make(table.rows[p][c]) for s, c in zip(shapes, chosen, strict=True)] for p in places]
        if hangs is not None:
            rows = [[None] * len(columns)]
        nbc = len(columns) % 2 == 0  # so that both kinds of rows are met
        cut = self.cut_after if self.cuts and len(rows) > (self.cut_after or 0) else None
        self.cuts -= cut is not None
        return [Result(columns=columns, rows=rows, compressed=nbc, cut_after=cut, hang_after=hangs)]

    def _shape(self, expression: str, table: Table) -> Shape:
        for known, (native, value) in self.expressions.items():
            if f"({known})" in expression:
                first = table.columns[0].name
                made = shape(expression.replace(f"({known})", f"[{first}]"), {first: Native(native)})
                return Shape(first, made.native, lambda _, v=value, m=made.make: m(v))  # type: ignore[misc]
        return shape(expression, table.natives)

    def _finer(self, text: str) -> tuple[int, ...]:
        where = re.search(r" FROM \[([^\]]*)\]\.\[([^\]]*)\]\) AS x", text)
        assert where is not None
        table = next(x for x in self.tables if (x.schema, x.name) == where.groups())
        names = [c.name for c in table.columns]
        asked = re.findall(r"nanosecond, \[([^\]]*)\]\)", text)
        values = [[r[names.index(n)] for r in table.rows] for n in asked]
        return tuple(sum(1 for v in c if v is not None and _ticks(v) % 10) for c in values)


def _ticks(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple) else value)


def before_from(text: str) -> tuple[str, str]:
    """What stands before FROM, outside of any parentheses, brackets and strings; and behind it."""
    for place in _plain_places(text):
        if text.startswith(" FROM ", place):
            return text[:place], text[place + 6 :]
    raise AssertionError(text)


def parts(text: str) -> list[str]:
    """Parted by commas, outside of any parentheses."""
    cuts = [p for p in _plain_places(text) if text[p] == ","]
    return [text[a:b].strip() for a, b in zip([0, *(c + 1 for c in cuts)], [*cuts, len(text)], strict=True)]


def _plain_places(text: str) -> Iterable[int]:
    depth, end = 0, ""
    for place, char in enumerate(text):
        if end:
            end = "" if char == end else end
        elif char in "['":
            end = "]" if char == "[" else "'"
        elif char in "()":
            depth += 1 if char == "(" else -1
        elif not depth:
            yield place


def told(rows: Sequence[Sequence[Any]], number: t.Type = t.BIGINT) -> Result:
    """An answer of numbers and texts."""
    width = max((len(r) for r in rows), default=1)
    texts = [any(isinstance(r[i], str) for r in rows) for i in range(width)]
    columns = [(f"c{i}", t.nvarchar(None) if text else number) for i, text in enumerate(texts)]
    return Result(columns=columns, rows=rows)


def _numbered(stand: Stand) -> list[tuple[int, Table]]:
    return list(enumerate(stand.tables, start=100))


def _tables(stand: Stand) -> list[tuple[Any, ...]]:
    return [(i, x.schema, x.name, x.temporal, x.comment) for i, x in _numbered(stand)]


def _columns(stand: Stand) -> list[tuple[Any, ...]]:
    return [
        (
            i, c.name, *Native(c.native).sys_columns, c.alias, int(not c.not_null),
            "Korean_Wansung_CI_AS" if c.page == "cp949" else "Latin1_General_CI_AS", int(c.page[2:]),
            c.default, c.computed, None if c.next is None else str(c.next), 0, 0, int(c.column_set), c.always,
            c.comment,
        )
        for i, x in _numbered(stand) for c in x.columns
    ]  # fmt: skip


def _indexes(stand: Stand) -> list[tuple[Any, ...]]:
    return [
        (
            i, n, x.name, x.type, int(x.unique), int(x.primary), int(x.constraint), int(x.disabled), x.predicate,
            c, int(c in x.descending), int(c in x.include),
        )
        for i, table in _numbered(stand) for n, x in enumerate(table.indexes, start=1)
        for c in ((*x.columns, *x.include) or (None,))
    ]  # fmt: skip


def _references(stand: Stand) -> list[tuple[Any, ...]]:
    return [
        (i, r.name, x.schema, r.table, int(r.disabled), r.on_delete, r.on_update, a, b)
        for i, x in _numbered(stand) for r in x.references for a, b in zip(r.columns, r.referenced, strict=True)
    ]  # fmt: skip


_CATALOGUE: dict[str, Callable[[Stand], Sequence[Sequence[Any]]]] = {
    sql.DATABASE: lambda s: [
        ("16.0.1000.6", "Stand-in", s.database, "Latin1_General_CI_AS", 1252, s.snapshot, s.read_only)
    ],
    sql.FROZEN: lambda s: [(s.read_only,)],
    sql.ABOUT_US: lambda s: [("mover", "dbo", "+09:00", int(not s.denied), 1)],
    sql.SEEN: lambda s: [(x.schema, x.name, int(x.name not in s.denied)) for x in s.tables],
    sql.CLOCK: lambda _: [(int(time.time()) - 946_684_800, 0)],
    sql.TABLES: _tables,
    sql.COLUMNS: _columns,
    sql.INDEXES: _indexes,
    sql.REFERENCES: _references,
    sql.CHECKS: lambda s: [(i, *k) for i, x in _numbered(s) for k in x.checks],
    sql.ROWS: lambda s: [(i, x.repeated or len(x.rows)) for i, x in _numbered(s)],
    sql.SIZES: lambda s: [(i, 8192 * (1 + len(x.rows) // 100)) for i, x in _numbered(s)],
    sql.VIEWS: lambda s: s.views,
    sql.OTHERS: lambda s: [o for o in s.others if len(o) == 4],
    sql.MORE_OTHERS: lambda s: [o for o in s.others if len(o) == 3],
}
