"""A SQL Server database in our words, as its catalogue has it.

Rows are looked at for one thing only, and only the first ones: whether columns of 100 ns hold any.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

from pghaul.model.errors import AccessError, NotFoundError, ServerBusyError
from pghaul.model.foreign import (
    ForeignCheck,
    ForeignColumn,
    ForeignDatabase,
    ForeignIndex,
    ForeignReference,
    ForeignTable,
    ForeignView,
)
from pghaul.model.table import Name, Unsupported
from pghaul.model.text import say
from pghaul.sources import _sqlserver_sql as sql
from pghaul.sources._sqlserver_connection import Connection, quoted
from pghaul.sources._sqlserver_types import DOUBLE_BYTE, FINE, LIKE_TEXT, native, propose, resolved
from pghaul.sources._sqlserver_views import query_of

DIALECT = "tsql"
LOOKED_AT = 20_000  # rows of a table, for digits below a microsecond
VERSIONED = 2  # of TableTemporalType
PLAIN_INDEXES = frozenset({1, 2, 7})  # clustered, nonclustered, hash
INDEX_KINDS = {3: "xml", 4: "spatial", 5: "columnstore", 6: "columnstore"}
KINDS = {
    "P": "PROCEDURE", "PC": "PROCEDURE", "X": "PROCEDURE", "FN": "FUNCTION", "IF": "FUNCTION", "TF": "FUNCTION",
    "FS": "FUNCTION", "FT": "FUNCTION", "AF": "AGGREGATE", "TR": "TRIGGER", "TA": "TRIGGER", "SN": "SYNONYM",
    "SO": "SEQUENCE", "SQ": "QUEUE", "R": "RULE",
}  # fmt: skip
Rows = Sequence[tuple[Any, ...]]


def describe(connection: Connection, identity: str, schema: str) -> ForeignDatabase:
    """All of it, or what one schema holds."""
    version, edition, _, _, page, _, _ = connection.ask(sql.DATABASE)[0]
    found = _Catalogue(connection, schema)
    tables = tuple(_looked_at(connection, t) for t in found.tables())
    views = tuple(found.views())
    return ForeignDatabase(
        engine="sqlserver",
        product=f"SQL Server {version} ({edition})",
        identity=identity,
        dialect=DIALECT,
        tables=tables,
        views=views,
        others=(*found.left, *found.others()),
        encoding=charset(page) or "",
    )


def charset(page: int | None) -> str | None:
    """Python's name of a code page."""
    return None if not page else "utf-8" if page == 65001 else f"cp{page}"


class _Catalogue:
    """Answers, by table."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self._ask, self._schema = connection.ask, schema
        self.left: list[Unsupported] = []
        self._columns = _by_table(self._ask(sql.COLUMNS))
        self._indexes = _by_table(self._ask(sql.INDEXES))
        self._references = _by_table(self._ask(sql.REFERENCES))
        self._checks = _by_table(self._ask(sql.CHECKS))
        self._rows = dict(self._ask(sql.ROWS))
        self._sizes = dict(self._ask(sql.SIZES))

    def _wanted(self, schema: str | None) -> bool:
        return not self._schema or schema == self._schema

    def tables(self) -> Iterator[ForeignTable]:
        for id_, schema, name, temporal, comment in self._ask(sql.TABLES):
            if not self._wanted(schema):
                continue
            label = f"{schema}.{name}"
            if temporal == VERSIONED:
                why = say("its history is carried as a table, and nothing goes on writing to it")
                self._leave("SYSTEM VERSIONING", label, why)
            yield ForeignTable(
                name=Name(schema, name),
                columns=tuple(self._columns_of(id_, label)),
                indexes=tuple(self._indexes_of(id_, label)),
                references=tuple(self._references_of(id_, label)),
                checks=tuple(self._checks_of(id_, label)),
                comment=comment or "",
                rows=None if self._rows.get(id_) is None else int(self._rows[id_]),
                bytes=int(self._sizes.get(id_) or 0),
            )

    def _leave(self, kind: str, name: str, why: str) -> None:
        self.left.append(Unsupported(kind=kind, name=name, why=why))

    def _columns_of(self, table: int, label: str) -> Iterator[ForeignColumn]:
        for row in (_Row(*r) for r in self._columns[table]):
            if row.column_set:
                self._leave("COLUMN", f"{label}.{row.name}", say("a set of sparse columns, which are read themselves"))
            else:
                yield _column(row)

    def _indexes_of(self, table: int, label: str) -> Iterator[ForeignIndex]:
        for _, group in groupby(self._indexes[table], key=itemgetter(1)):
            parts = list(group)
            if parts[0][7] and not parts[0][5]:
                self._leave("INDEX", f"{label}.{parts[0][2]}", say("it is disabled on the source"))
            else:
                yield _index(parts)

    def _references_of(self, table: int, label: str) -> Iterator[ForeignReference]:
        for name, group in groupby(self._references[table], key=itemgetter(1)):
            parts = list(group)
            _, _, schema, referenced, disabled, on_delete, on_update, _, _ = parts[0]
            if disabled:
                self._leave("FOREIGN KEY", f"{label}.{name}", say("it is disabled on the source"))
                continue
            yield ForeignReference(
                name=name,
                columns=tuple(p[7] for p in parts),
                table=Name(schema, referenced),
                referenced=tuple(p[8] for p in parts),
                on_delete=on_delete.replace("_", " "),
                on_update=on_update.replace("_", " "),
            )

    def _checks_of(self, table: int, label: str) -> Iterator[ForeignCheck]:
        for _, name, expression, disabled in self._checks[table]:
            if disabled or expression is None:
                self._leave("CHECK", f"{label}.{name}", say("it is disabled on the source"))
            else:
                yield ForeignCheck(name=name, expression=expression)

    def views(self) -> Iterator[ForeignView]:
        for schema, name, text, comment, _ in self._ask(sql.VIEWS):
            if not self._wanted(schema):
                continue
            definition = query_of(text) if text else None
            if definition is None:
                why = say("its text is not understood") if text else say("its text is encrypted, or may not be seen")
                self._leave("VIEW", f"{schema}.{name}", why)
            else:
                yield ForeignView(name=Name(schema, name), definition=definition, comment=comment or "")

    def others(self) -> Iterator[Unsupported]:
        for type_, schema, name, parent in self._ask(sql.OTHERS):
            if self._wanted(schema):
                label = f"{schema}.{parent}.{name}" if parent else f"{schema}.{name}"
                yield Unsupported(kind=KINDS.get(type_, type_), name=label, why=_why(type_))
        for kind, schema, name in self._ask(sql.MORE_OTHERS):
            if schema is None or self._wanted(schema):
                yield Unsupported(kind=kind, name=f"{schema}.{name}" if schema else name, why=_why(kind))


def _why(kind: str) -> str:
    if kind == "SO":
        return say("sequences that stand alone are not carried; identity columns are")
    if kind == "SN":
        return say("PostgreSQL has no synonyms: a view can stand in its place")
    if kind == "FULLTEXT INDEX":
        return say("text search is set up another way in PostgreSQL")
    return say("its code is T-SQL: it has to be written anew")


def _by_table(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows:
        found[row[0]].append(row)
    return found


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of COLUMNS, in its order."""

    table: int
    name: str
    base: str
    max_length: int
    precision: int
    scale: int
    alias: str | None
    nullable: int
    collation: str | None
    page: int | None
    default: str | None
    computed: str | None
    next: str | None
    rowguid: int
    sparse: int
    column_set: int
    always: int | None
    comment: str | None


def _column(row: _Row) -> ForeignColumn:
    type_ = native(row.base, row.max_length, row.precision, row.scale)
    pg_type, note = propose(type_)
    if row.alias:
        note = note or say("declared as {type}", type=row.alias)
    if row.always:
        note = say("an end of the row's period, as a plain value: nothing goes on writing it")
    characters = row.base in LIKE_TEXT or row.base == "text"
    return ForeignColumn(
        name=row.name,
        native=type_,
        not_null=not row.nullable,
        default=row.default,
        identity=row.next is not None,
        identity_next=int(row.next) if row.next is not None else None,
        generated=row.computed,
        collation=row.collation,
        charset=charset(row.page) if characters and row.base not in DOUBLE_BYTE else None,
        comment=row.comment or "",
        pg_type=pg_type,
        note=note,
    )


def _index(parts: list[tuple[Any, ...]]) -> ForeignIndex:
    _, _, name, type_, unique, primary, constraint, _, predicate, _, _, _ = parts[0]
    keys = [p for p in parts if p[9] is not None and not p[11]]
    return ForeignIndex(
        name=name or "",
        columns=tuple(p[9] for p in keys),
        unique=bool(unique),
        primary=bool(primary),
        descending=tuple(bool(p[10]) for p in keys),
        predicate=predicate,
        constraint=bool(primary or constraint),
        kind="" if type_ in PLAIN_INDEXES else INDEX_KINDS.get(type_, f"type {type_}"),
        include=tuple(p[9] for p in parts if p[11]),
    )


def _looked_at(connection: Connection, table: ForeignTable) -> ForeignTable:
    """With a word of whether its first rows hold digits below a microsecond."""
    fine = [c for c in table.columns if resolved(c.native).base in {"time", "datetime2", "datetimeoffset"}]
    fine = [c for c in fine if resolved(c.native).args == (7,)]
    if not fine:
        return table
    statement = sql.FINE.format(
        counts=", ".join(sql.FINE_COUNT.format(column=quoted(c.name)) for c in fine),
        rows=LOOKED_AT,
        columns=", ".join(quoted(c.name) for c in fine),
        table=f"{quoted(table.name.schema)}.{quoted(table.name.name)}",
    )
    try:
        counts = connection.ask(statement)[0]
    except (AccessError, NotFoundError, ServerBusyError):
        return table  # described as it is; whoever reads it is told
    found = {c.name: int(n) for c, n in zip(fine, counts, strict=True)}
    return replace(table, columns=tuple(_observed(c, found.get(c.name)) for c in table.columns))


def _observed(column: ForeignColumn, finer: int | None) -> ForeignColumn:
    if finer is None:
        return column
    if not finer:
        return replace(column, note="" if column.note == FINE else column.note)
    seen = say("{n} of the first {rows} rows have digits below a microsecond", n=finer, rows=LOOKED_AT)
    note = say("it holds digits below a microsecond, which are refused: text keeps them")
    return replace(column, observed=seen, note=note)
