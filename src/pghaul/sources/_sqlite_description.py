"""A SQLite database in our words: its tables as its catalogue has them, their types after a look at the values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from pghaul.model.errors import SourceError
from pghaul.model.finding import unreadable
from pghaul.model.foreign import (
    ForeignColumn,
    ForeignDatabase,
    ForeignIndex,
    ForeignReference,
    ForeignTable,
    ForeignView,
)
from pghaul.model.table import Name, Unsupported
from pghaul.model.text import say
from pghaul.sources import _sqlite_ddl as ddl
from pghaul.sources import _sqlite_sql as sql
from pghaul.sources._sqlite_connection import Connection, literal, quoted
from pghaul.sources._sqlite_look import Look, kept, look
from pghaul.sources._sqlite_types import asked, propose

LAST = (1 << 63) - 1  # of all numbers of rows
HIDDEN = {1: "hidden", 2: "virtual", 3: "stored"}  # of table_xinfo


def describe(connection: Connection, limit: int | None) -> ForeignDatabase:
    """All of it, after a look at the first `limit` rows of each table (None: at all of them)."""
    objects = connection.ask(sql.OBJECTS)
    catalog = Catalog(connection)
    tables, views, others = [], [], []
    for kind, name, without_rowid, text in objects:
        if kind == "table":
            table, left = _read_or_not(catalog, name, text or "", bool(without_rowid), limit)
            tables.append(table)
            others += left
        elif kind == "view":
            definition = ddl.query_of(text or "")
            if definition is None:
                others.append(Unsupported(kind="VIEW", name=name, why=say("its text is not understood")))
            else:
                views.append(ForeignView(name=Name("", name), definition=definition))
        else:
            others.append(Unsupported(kind=f"{kind.upper()} TABLE", name=name, why=_why(kind)))
    others += [
        Unsupported(kind="TRIGGER", name=f"{table}.{name}", why=say("triggers are written for one database"))
        for name, table in connection.ask(sql.TRIGGERS)
    ]
    return ForeignDatabase(
        engine="sqlite",
        product=f"SQLite {connection.one(sql.VERSION)}",
        identity=connection.where,
        dialect=ddl.DIALECT,
        tables=tuple(tables),
        views=tuple(views),
        others=tuple(others),
        encoding=connection.one(sql.ENCODING),
    )


class Catalog:
    """What the catalogue says of all tables, asked at once."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.columns = _by_table(connection.ask(sql.COLUMNS))
        self.indexes = _by_table(connection.ask(sql.INDEXES))
        self.references = _by_table(connection.ask(sql.REFERENCES))
        known = connection.one(sql.HAS_SEQUENCES)
        self.sequences: dict[str, int | None] = dict(connection.ask(sql.SEQUENCES)) if known else {}
        self._named = {name.lower(): rows for name, rows in self.columns.items()}

    def named(self, table: str) -> list[Any]:
        """The columns of a table that somebody refers to, in whatever case; nothing of one that is not there."""
        return self.columns.get(table) or self._named.get(table.lower(), [])


def _by_table(rows: Iterable[Sequence[Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, *rest in rows:
        found.setdefault(name, []).append(rest)
    return found


def _why(kind: str) -> str:
    if kind == "shadow":
        return say("it belongs to a virtual table")
    return say("its rows are made by a module of SQLite")


def _read_or_not(
    catalog: Catalog, name: str, text: str, without_rowid: bool, limit: int | None
) -> tuple[ForeignTable, list[Unsupported]]:
    """A damaged page, a collation that only the application has: the other tables have nothing to do with it."""
    try:
        return _table(catalog, name, text, without_rowid, limit)
    except SourceError as exc:
        exc.where = f"{catalog.connection.where}, {name}"
        trouble = unreadable(exc, Name("", name))
        return ForeignTable(name=Name("", name), columns=(), trouble=trouble), []


def _table(
    catalog: Catalog, name: str, text: str, without_rowid: bool, limit: int | None
) -> tuple[ForeignTable, list[Unsupported]]:
    written = ddl.read_table(text) if text else ddl.Written(known=False)
    connection, raw = catalog.connection, catalog.columns.get(name, [])
    indexes, left = _indexes(catalog, name, raw)
    rowid = _rowid_column(raw, indexes, without_rowid)
    looks = look(connection, name, [asked(quoted(row[0]), row[1]) for row in raw], limit)
    columns = tuple(
        _column(catalog, name, row, seen, written, identity=row[0] == rowid)
        for row, seen in zip(raw, looks, strict=True)
    )
    if not written.known and ("CHECK" in text.upper()):
        left.append(Unsupported(kind="CHECK", name=name, why=say("the text of its CREATE TABLE is not understood")))
    references, lost = _references(catalog, name)
    left += lost
    rows, exact = _rows(connection, name, looks, rowid)
    return (
        ForeignTable(
            name=Name("", name),
            columns=columns,
            indexes=tuple(indexes),
            references=tuple(references),
            checks=written.checks,
            rows=rows,
            exact_rows=exact,
            bytes=_bytes(looks, rows),
        ),
        left,
    )


def _column(
    catalog: Catalog, table: str, row: Sequence[Any], seen: Look, written: ddl.Written, *, identity: bool
) -> ForeignColumn:
    name, native, not_null, default, _pk, hidden = row
    kind, note = ("bigint", "") if identity else propose(native, seen)
    generated = dict(written.generated).get(name) if HIDDEN.get(hidden) in {"virtual", "stored"} else None
    return ForeignColumn(
        name=name,
        native=native,
        not_null=bool(not_null) or identity,
        default=default,
        identity=identity,
        identity_next=_next(catalog, table, name, seen, written.autoincrement) if identity else None,
        generated=generated,
        collation=dict(written.collations).get(name),
        pg_type=kind,
        note=note,
        observed=seen.described,
        refused=bool(seen.blob) and kind == "text",
        seen=kept(seen, asked(quoted(name), native)),
    )


def _next(catalog: Catalog, table: str, column: str, seen: Look, autoincrement: bool) -> int | None:
    """One past the highest; with AUTOINCREMENT one past the highest that there ever was."""
    if seen.all:
        highest = seen.high or 0
    else:
        highest = catalog.connection.one(sql.HIGHEST.format(column=quoted(column), table=quoted(table))) or 0
    if autoincrement:
        highest = max(highest, catalog.sequences.get(table) or 0)
    return max(int(highest), 0) + 1 if highest < LAST else None


def _rowid_column(raw: Sequence[Any], indexes: Iterable[ForeignIndex], without_rowid: bool) -> str | None:
    """The column that is another name of the row's number: INTEGER PRIMARY KEY, spelled exactly so."""
    key = [row for row in raw if row[4]]
    if without_rowid or len(key) != 1 or key[0][1].upper() != "INTEGER":
        return None
    # INTEGER PRIMARY KEY DESC has an index of its own, and is an ordinary column.
    return None if any(i.primary and i.descending for i in indexes) else str(key[0][0])


def _indexes(catalog: Catalog, table: str, raw: Sequence[Any]) -> tuple[list[ForeignIndex], list[Unsupported]]:
    found: list[ForeignIndex] = []
    left: list[Unsupported] = []
    for name, unique, origin, partial, text, keys in catalog.indexes.get(table, ()):
        parts = keys if isinstance(keys, list) else []
        plain = all(cid >= 0 for _, _, _, cid in parts)
        written = ddl.read_index(text) if text and (partial or not plain) else ddl.WrittenIndex()
        if written is None:
            left.append(Unsupported(kind="INDEX", name=f"{table}.{name}", why=say("its text is not understood")))
            continue
        found.append(
            ForeignIndex(
                name="" if name.startswith("sqlite_autoindex_") else name,
                columns=tuple(p[0] for p in parts) if plain else (),
                unique=bool(unique),
                primary=origin == "pk",
                descending=tuple(bool(p[1]) for p in parts) if plain else (),
                predicate=written.predicate if partial else None,
                expression=None if plain else written.expression,
                constraint=origin in {"pk", "u"},
            )
        )
    key = [row[0] for row in sorted((r for r in raw if r[4]), key=lambda r: r[4])]
    if key and not any(i.primary for i in found):  # the table itself is its index
        found.insert(0, ForeignIndex(name="", columns=tuple(key), unique=True, primary=True, constraint=True))
    return found, left


def _references(catalog: Catalog, table: str) -> tuple[list[ForeignReference], list[Unsupported]]:
    """SQLite takes references to what is not there, until somebody writes a row."""
    found: list[ForeignReference] = []
    left: list[Unsupported] = []
    for _, group in groupby(catalog.references.get(table, ()), key=lambda r: r[0]):
        parts = list(group)
        _, referenced, _, first, on_update, on_delete = parts[0]
        targets = tuple(p[3] for p in parts) if first is not None else _key_of(catalog.named(referenced))
        columns = tuple(p[2] for p in parts)
        known = {column[0].lower() for column in catalog.named(referenced)}
        if len(targets) != len(columns) or not {t.lower() for t in targets} <= known:
            name = f"{table} ({', '.join(columns)})"
            why = say("{table} has no such key", table=referenced)
            left.append(Unsupported(kind="FK CONSTRAINT", name=name, why=why))
            continue
        found.append(
            ForeignReference(
                name="",
                columns=columns,
                table=Name("", referenced),
                referenced=targets,
                on_delete=on_delete,
                on_update=on_update,
            )
        )
    return found, left


def _key_of(columns: Iterable[Sequence[Any]]) -> tuple[str, ...]:
    return tuple(c[0] for c in sorted((c for c in columns if c[4]), key=lambda c: c[4]))


def _rows(connection: Connection, table: str, looks: Sequence[Look], rowid: str | None) -> tuple[int | None, bool]:
    if not looks:
        return 0, True
    if looks[0].all:
        return looks[0].rows, True
    if rowid is None and not _has_rowid(connection, table):
        return None, False
    # Near enough where little was deleted, and at once.
    column = quoted(rowid) if rowid else "rowid"
    first, last = connection.one(sql.ENDS.format(column=column, table=quoted(table), where=""))
    return max(looks[0].rows, last - first + 1), False


def _has_rowid(connection: Connection, table: str) -> bool:
    return not connection.one(sql.WITHOUT_ROWID.format(t=literal(table)))


def _bytes(looks: Sequence[Look], rows: int | None) -> int:
    if not looks or not looks[0].rows:
        return 0
    width = sum(seen.bytes for seen in looks) / looks[0].rows
    return int(width * (rows if rows is not None else looks[0].rows))
