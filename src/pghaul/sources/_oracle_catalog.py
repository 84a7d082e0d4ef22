"""An Oracle database in our words, as its catalogue has it. No row of a table is looked at."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
from pghaul.sources import _oracle_sql as sql
from pghaul.sources._oracle_types import is_read, native, propose

DIALECT = "oracle"
UNICODE = frozenset({"AL32UTF8", "UTF8"})
CHARSETS = {
    "AL32UTF8": "utf-8", "UTF8": "cesu-8", "KO16MSWIN949": "cp949", "KO16KSC5601": "euc_kr", "WE8MSWIN1252": "cp1252",
    "WE8ISO8859P1": "latin-1", "WE8ISO8859P15": "iso8859-15", "US7ASCII": "ascii", "JA16SJIS": "cp932",
    "JA16EUC": "euc_jp", "ZHS16GBK": "gbk", "ZHT16BIG5": "big5", "EE8MSWIN1250": "cp1250", "CL8MSWIN1251": "cp1251",
}  # fmt: skip
_GIVEN = re.compile(r'^\s*"([^"]+)"\s+IS\s+NOT\s+NULL\s*$', re.IGNORECASE)
_NAME = re.compile(r'^\s*"([^"]+)"\s*$')
_AFTER = re.compile(r"\s+WITH\s+(?:READ\s+ONLY|CHECK\s+OPTION)(?:\s+CONSTRAINT\s+\S+)?\s*$", re.IGNORECASE)
KINDS = {"BITMAP": "bitmap", "FUNCTION-BASED BITMAP": "bitmap", "DOMAIN": "domain", "FUNCTION-BASED DOMAIN": "domain"}
Rows = list[tuple[Any, ...]]
Ask = Callable[[str, dict[str, Any]], Rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Of the database itself."""

    product: str
    name: str
    user: str
    charset: str
    timezone: str

    @property
    def unicode(self) -> bool:
        """Whether every character that comes from it is one that was stored."""
        return self.charset in UNICODE


def about(ask: Callable[[str], Rows]) -> About:
    """Two small questions."""
    found = ask(sql.PRODUCT)
    name, user, charset, timezone = ask(sql.DATABASE)[0]
    product = " ".join(str(part) for part in found[0]) if found else "Oracle"
    return About(product=product, name=name, user=user, charset=charset or "", timezone=timezone or "")


def describe(ask: Ask, known: About, identity: str, schema: str) -> ForeignDatabase:
    """All of it but what is Oracle's own, or what one schema holds."""
    found = _Catalogue(ask, schema or None)
    tables = tuple(found.tables())
    views = tuple(found.views())
    return ForeignDatabase(
        engine="oracle",
        product=known.product,
        identity=identity,
        dialect=DIALECT,
        tables=tables,
        views=views,
        others=(*found.left, *found.others()),
        encoding=CHARSETS.get(known.charset, known.charset),
        timezone=known.timezone,
    )


class _Catalogue:
    """Answers, by owner and table."""

    def __init__(self, ask: Ask, schema: str | None) -> None:
        self._answer, self._values = ask, {"owner": schema}
        self.left: list[Unsupported] = []
        self._columns = _by(2, (r for r in self._ask(sql.COLUMNS)))
        self._constraints = _by(2, self._ask(sql.CONSTRAINTS))
        of_constraints = self._ask(sql.CONSTRAINT_COLUMNS)
        self._parts = _by(2, of_constraints)
        self._indexes = _by(2, self._ask(sql.INDEXES))
        self._index_parts = _by(2, self._ask(sql.INDEX_COLUMNS))

    def _ask(self, statement: str) -> Rows:
        return self._answer(statement, self._values)

    def _leave(self, kind: str, name: str, why: str) -> None:
        self.left.append(Unsupported(kind=kind, name=name, why=why))

    def tables(self) -> Iterator[ForeignTable]:
        for owner, name, rows, width, temporary, nested, comment, external, view in self._ask(sql.TABLES):
            if why := _why_not(temporary, nested, external):
                self._leave("TABLE", f"{owner}.{name}", why)
            if view or temporary == "Y" or nested == "YES" or external:
                continue  # a materialized view is among the other objects
            yield ForeignTable(
                name=Name(owner, name),
                columns=tuple(self._columns_of(owner, name)),
                indexes=tuple(self._indexes_of(owner, name)),
                references=tuple(self._references_of(owner, name)),
                checks=tuple(self._checks_of(owner, name)),
                comment=comment or "",
                rows=None if rows is None else int(rows),
                bytes=int((rows or 0) * (width or 0)),
            )

    def _columns_of(self, owner: str, table: str) -> Iterator[ForeignColumn]:
        for row in (_Row(*r) for r in self._columns[owner, table]):
            if row.hidden != "YES" or row.made_by_user == "YES":
                yield _column(row)

    def _keys(self, owner: str, table: str, kinds: str) -> Iterator[tuple[Any, ...]]:
        """Constraints that are in force; the others are named."""
        for row in self._constraints[owner, table]:
            if row[3] not in kinds:
                continue
            if row[4] == "ENABLED":
                yield row
            else:
                self._leave(NAMES[row[3]], f"{owner}.{table}.{row[2]}", say("it is disabled on the source"))

    def _columns_by(self, owner: str, constraint: str) -> tuple[str, ...]:
        return tuple(str(r[3]) for r in self._parts[owner, constraint])

    def _indexes_of(self, owner: str, table: str) -> Iterator[ForeignIndex]:
        keys = list(self._keys(owner, table, "PU"))
        for row in keys:
            yield ForeignIndex(
                name=row[2],
                columns=self._columns_by(owner, row[2]),
                unique=True,
                primary=row[3] == "P",
                constraint=True,
            )
        made = {(row[8], self._columns_by(owner, row[2])) for row in keys}
        for row in self._indexes[owner, table]:
            index = self._index(row)
            if (index.name, index.columns) in made:
                continue
            if "UNUSABLE" in str(row[6]) or row[7] == "DISABLED":
                self._leave("INDEX", f"{row[2]}.{row[3]}", say("it is disabled on the source"))
            else:
                yield index

    def _index(self, row: tuple[Any, ...]) -> ForeignIndex:
        _, _, owner, name, kind, uniqueness, _, _ = row
        parts = [_part(*p[2:5]) for p in self._index_parts[owner, name]]
        expressions = any(not plain for _, _, plain in parts)
        mixed = ", ".join((f'"{text}"' if plain else text) + " DESC" * down for text, down, plain in parts)
        return ForeignIndex(
            name=name,
            columns=() if expressions else tuple(text for text, _, _ in parts),
            descending=() if expressions else tuple(down for _, down, _ in parts),
            unique=uniqueness == "UNIQUE",
            expression=mixed if expressions else None,
            kind=KINDS.get(kind, ""),
        )

    def _references_of(self, owner: str, table: str) -> Iterator[ForeignReference]:
        for row in self._keys(owner, table, "R"):
            target = self._parts.get((row[5], row[6]))
            if not target:
                label = f"{owner}.{table}.{row[2]}"
                self._leave("FOREIGN KEY", label, say("the table that it points to is not among those that are read"))
                continue
            yield ForeignReference(
                name=row[2],
                columns=self._columns_by(owner, row[2]),
                table=Name(row[5], str(target[0][2])),
                referenced=self._columns_by(row[5], row[6]),
                on_delete=row[7] or "NO ACTION",
            )

    def _checks_of(self, owner: str, table: str) -> Iterator[ForeignCheck]:
        for row in self._keys(owner, table, "C"):
            if row[9] and not _GIVEN.match(row[9]):  # those of NOT NULL are said by the columns
                yield ForeignCheck(name=row[2], expression=row[9])

    def views(self) -> Iterator[ForeignView]:
        for owner, name, comment, text in self._ask(sql.VIEWS):
            if not text:
                self._leave("VIEW", f"{owner}.{name}", say("its text is encrypted, or may not be seen"))
                continue
            columns = [str(r[2]) for r in self._columns[owner, name] if r[12] != "YES"]
            yield ForeignView(name=Name(owner, name), definition=query_of(text, columns), comment=comment or "")

    def others(self) -> Iterator[Unsupported]:
        for owner, kind, name in self._ask(sql.OTHERS):
            yield Unsupported(kind=kind, name=f"{owner}.{name}", why=_why(kind))
        for owner, name in self._ask(sql.OBJECT_TABLES):
            why = say("its rows are objects of a type of their own")
            yield Unsupported(kind="TABLE", name=f"{owner}.{name}", why=why)


NAMES = {"P": "PRIMARY KEY", "U": "UNIQUE", "R": "FOREIGN KEY", "C": "CHECK"}


def query_of(text: str, columns: Sequence[str]) -> str:
    """Of a view: its query, in which the names of its columns stand; else they are put around it."""
    query = _AFTER.sub("", text.strip().rstrip(";")).rstrip()
    words = {w.upper() for w in re.findall(r"[\w$#]+", query)}
    if re.search(r"(?:\bSELECT|,|\.)\s*\*", query, re.IGNORECASE) or all(
        w.upper() in words for c in columns for w in re.findall(r"[\w$#]+", c)
    ):
        return query
    names = ", ".join(f'"{c}"' for c in columns)
    return f"WITH v ({names}) AS (\n{query}\n) SELECT * FROM v"  # noqa: S608 -- it is read, not run


def _why_not(temporary: str, nested: str, external: int) -> str:
    if temporary == "Y":
        return say("a temporary table: its rows are each session's own")
    if nested == "YES":
        return say("it holds what is nested in the rows of another table")
    return say("its rows are in files outside of the database") if external else ""


def _why(kind: str) -> str:
    if kind == "SEQUENCE":
        return say("sequences that stand alone are not carried; identity columns are")
    if kind == "SYNONYM":
        return say("PostgreSQL has no synonyms: a view can stand in its place")
    if kind == "MATERIALIZED VIEW":
        return say("its rows are made of others: make it anew, or copy it by a view")
    if kind in {"PROCEDURE", "FUNCTION", "PACKAGE", "TRIGGER", "JAVA SOURCE"}:
        return say("its code is PL/SQL or Java: it has to be written anew")
    return say("PostgreSQL has nothing that is the same")


def _by(keys: int, rows: Iterable[tuple[Any, ...]]) -> dict[tuple[Any, ...], Rows]:
    found: dict[tuple[Any, ...], Rows] = defaultdict(list)
    for row in rows:
        found[row[:keys]].append(row)
    return found


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of COLUMNS, in its order."""

    owner: str
    table: str
    name: str
    base: str
    type_owner: str | None
    length: int
    chars: int
    used: str | None
    precision: int | None
    scale: int | None
    nullable: str
    virtual: str
    hidden: str
    made_by_user: str
    sequence: str | None
    next: int | None
    comment: str | None
    default: str | None


def _column(row: _Row) -> ForeignColumn:
    type_ = native(row.base, row.type_owner, row.length, row.chars, row.used, row.precision, row.scale)
    pg_type, note = propose(type_)
    text = (row.default or "").strip()
    default = None if text.upper() in {"", "NULL"} else text
    return ForeignColumn(
        name=row.name,
        native=type_,
        not_null=row.nullable == "N",
        default=None if row.virtual == "YES" or row.sequence else default,
        identity=row.sequence is not None,
        identity_next=None if row.next is None else int(row.next),
        generated=default if row.virtual == "YES" else None,
        comment=row.comment or "",
        pg_type=pg_type,
        note=note,
        unread=not is_read(type_),
    )


def _part(column: str, descend: str, expression: str | None) -> tuple[str, bool, bool]:
    """Of an index: text, whether it descends, whether it is a column. A descending column is kept as an expression."""
    name = _NAME.match(expression or "")
    if name:
        return name[1], descend == "DESC", True
    return (expression.strip() if expression else column), descend == "DESC", not expression
