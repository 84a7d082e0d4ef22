"""Keys, indexes and checks of a table: what is made of them once its rows are there, and what cannot be."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from psycopg import sql

from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.foreign import ForeignIndex
from pghaul.model.mapped import Made, MappedTable
from pghaul.model.text import say
from pghaul.target.foreign import ddl, enums, kinds, translate, types
from pghaul.target.foreign.grammar import NotTranslatedError, Purpose
from pghaul.target.foreign.naming import Naming, collisions
from pghaul.target.foreign.outcome import Outcome
from pghaul.target.foreign.translate import Dialect

B_TREES = frozenset({"", "btree", "hash", "normal", "clustered", "nonclustered"})  # all of them look up values
MADE_UP = re.compile(
    r"primary|sqlite_autoindex_.*|sys_[ci]l?\d+(\$\$)?|(pk|uq|ck|fk)__\w*__[0-9a-f]{6,}", re.IGNORECASE
)
GONE = say("a column that it needs is not carried")
IMPLIED = re.compile(r"\(*json_valid\([`\"\[]?(?P<column>[^`\"\]()]+)[`\"\]]?\)\)*", re.IGNORECASE)


class Keys:
    """Of one table."""

    def __init__(self, table: MappedTable, naming: Naming, dialect: str, outcome: Outcome) -> None:
        self.table = table
        self._naming = naming
        self._outcome = outcome
        self._dialect = Dialect(name=dialect, columns={c.source.name: c for c in table.columns})
        self.constraints: set[str] = set()
        self.unique: list[tuple[str, ...]] = []  # by the target's columns: what a foreign key may refer to
        self._collide([i.name for i in table.source.indexes if i.name])
        self._collide([c.name for c in table.source.checks if c.name])

    def _collide(self, names: Iterable[str]) -> None:
        same: dict[str, list[str]] = defaultdict(list)
        for name in dict.fromkeys(names):
            same[f"{self.table.name}.{self._naming.column(name)}"].append(name)
        self._outcome.findings += collisions(same)

    def indexes(self) -> list[Made]:
        """The primary key and unique ones first."""
        ordered = sorted(self.table.source.indexes, key=lambda i: (not i.primary, not i.unique))
        return [made for index in ordered for made in self._index(index)]

    def _index(self, index: ForeignIndex) -> list[Made]:
        kind = "PRIMARY KEY" if index.primary else "UNIQUE" if index.unique else "INDEX"
        label = f"{self.table.name}.{index.name or '_'.join(index.columns)}"
        try:
            made = self._made(index)
        except NotTranslatedError as exc:
            self._outcome.leave(kind, label, exc.args[0], _words(index))
            return []
        accepted = self._outcome.accept(made, kind)
        if accepted and index.unique and not (index.predicate or index.expression or any(index.prefix)):
            self.unique.append(tuple(self._columns(index.columns)))
        return accepted

    def _made(self, index: ForeignIndex) -> Made:
        if index.kind.lower() not in B_TREES:
            raise NotTranslatedError(say("an index of the kind {kind} has no equal", kind=index.kind))
        if index.columns and index.expression:
            raise NotTranslatedError(say("it mixes columns and expressions"))
        columns = self._columns(index.columns)
        usual = "_".join(columns) or "expression"
        plain = not (index.predicate or index.expression or any(index.prefix) or index.include)
        name = "" if MADE_UP.fullmatch(index.name) else index.name
        if index.primary and not plain:
            raise NotTranslatedError(say("a primary key takes whole columns"))
        if index.primary or (index.unique and index.constraint and plain):
            ending = "pkey" if index.primary else f"{usual}_key"
            given = self._named(self._naming.index(self.table.name, name, f"{self.table.name.name}_{ending}"))
            words = sql.SQL("PRIMARY KEY ({})" if index.primary else "UNIQUE ({})").format(ddl.columns_list(columns))
            return ddl.constraint(
                self.table.name, given, "primary" if index.primary else "unique", words, _words(index)
            )
        ending = "key" if index.unique else "idx"
        given = self._naming.index(self.table.name, name, f"{self.table.name.name}_{usual}_{ending}")
        parts = self._expressions(index) if index.expression else list(self._parts(index, columns))
        return ddl.index(
            self.table.name, given, parts, unique=index.unique, more=self._more(index), words=_words(index)
        )

    def _named(self, name: str) -> str:
        self.constraints.add(name)
        return name

    def _columns(self, columns: Sequence[str]) -> list[str]:
        found = [self.table.named(c) for c in columns]
        if None in found:
            raise NotTranslatedError(GONE)
        return [c for c in found if c is not None]

    def _parts(self, index: ForeignIndex, columns: Sequence[str]) -> Iterator[sql.Composable]:
        types_of = {c.name: c.type for c in self.table.columns}
        for at, column in enumerate(columns):
            prefix = index.prefix[at] if at < len(index.prefix) else None
            part: sql.Composable = sql.Identifier(column)
            if prefix:
                part = self._prefix(column, prefix, types_of[column], index)
            descending = at < len(index.descending) and index.descending[at]
            yield sql.SQL("{} DESC").format(part) if descending else part

    def _prefix(self, column: str, length: int, type_: str, index: ForeignIndex) -> sql.Composable:
        """Only so many characters: PostgreSQL indexes an expression, which queries have to spell."""
        kind = kinds.of_type(type_)
        if kind not in {"text", "bytes"}:
            raise NotTranslatedError(say("the beginning of a {type} has no index", type=type_))
        self._outcome.findings.append(
            Finding(
                severity=Severity.NOTE,
                kind=Kind.DEFINITION,
                object=f"{self.table.name}.{index.name}",
                what=say(
                    "the index takes the first {n} of {column}: queries have to say so, too", n=length, column=column
                ),
                code=7038,
            )
        )
        word = "pg_catalog.left({}, {})" if kind == "text" else "pg_catalog.substr({}, 1, {})"
        value = sql.SQL("{}::text").format(sql.Identifier(column)) if kind == "text" else sql.Identifier(column)
        return sql.SQL(word).format(value, sql.Literal(length))

    def _expressions(self, index: ForeignIndex) -> list[sql.Composable]:
        found = translate.expressions(index.expression or "", self._dialect, Purpose.INDEX)
        return [sql.SQL("({}) DESC" if descends else "({})").format(sql.SQL(w)) for w, descends in found]

    def _more(self, index: ForeignIndex) -> sql.Composable:
        parts = []
        if index.include:
            parts.append(sql.SQL(" INCLUDE ({})").format(ddl.columns_list(self._columns(index.include))))
        if index.predicate:
            condition = translate.expression(index.predicate, self._dialect, Purpose.INDEX)
            parts.append(sql.SQL(" WHERE {}").format(sql.SQL(condition)))
        return sql.SQL("").join(parts)

    def checks(self) -> list[Made]:
        """Conditions of the source, and labels that no type keeps."""
        made = []
        for number, check in enumerate(self.table.source.checks, 1):
            label = f"{self.table.name}.{check.name or number}"
            if self._is_implied(check.expression):
                continue
            try:
                words = translate.expression(check.expression, self._dialect, Purpose.CHECK)
            except NotTranslatedError as exc:
                self._outcome.leave("CHECK", label, exc.args[0], check.expression)
                continue
            name = self.constraint("" if MADE_UP.fullmatch(check.name) else check.name, "check")
            definition = sql.SQL("CHECK ({})").format(sql.SQL(words))
            made += self._outcome.accept(
                ddl.constraint(self.table.name, name, "check", definition, check.expression), "CHECK"
            )
        return made + list(self._labels())

    def _labels(self) -> Iterator[Made]:
        for column in self.table.columns:
            definition = enums.check(column.name, column.source, column.type)
            if definition is not None:
                name = self.constraint("", f"{column.name}_check")
                yield from self._outcome.accept(
                    ddl.constraint(self.table.name, name, "check", definition, column.source.native), "CHECK"
                )

    def _is_implied(self, expression: str) -> bool:
        """MariaDB checks its JSON, which is a text there; json and jsonb take nothing else."""
        found = IMPLIED.fullmatch(expression.strip())
        column = next((c for c in self.table.columns if found and c.source.name == found["column"]), None)
        return column is not None and types.base(column.type) in {"json", "jsonb"}

    def constraint(self, name: str, usual: str) -> str:
        """Its own name, or one that tells the table; unique within the table."""
        given = self._naming.constraint(self.constraints, name, f"{self.table.name.name}_{usual}")
        return self._named(given)

    def sequences(self) -> Iterator[Made]:
        """What counts goes on behind the highest value."""
        for column in self.table.columns:
            if column.identity:
                yield ddl.set_sequence(self.table.name, column.name, column.identity_next)
            elif column.source.identity and types.base(column.type) in self._counted_by_sequences():
                yield from ddl.counted(
                    self.table.name, column.name, self._naming.sequence(self.table.name, column.name)
                )
                yield ddl.set_sequence(self.table.name, column.name, column.identity_next)

    def _counted_by_sequences(self) -> frozenset[str]:
        return frozenset({"numeric"}) if self._outcome.counts else types.INTEGERS | {"numeric"}

    def comments(self) -> Iterator[Made]:
        """Of the table and its columns."""
        if self.table.source.comment:
            yield ddl.comment("TABLE", self.table.name, None, self.table.source.comment)
        for column in self.table.columns:
            if column.source.comment:
                yield ddl.comment("TABLE", self.table.name, column.name, column.source.comment)


def _words(index: ForeignIndex) -> str:
    """As somebody would write it, to know what is meant."""
    inner = index.expression or ", ".join(
        f"{c}({p})" if p else c
        for c, p in zip(index.columns, (*index.prefix, *[None] * len(index.columns)), strict=False)
    )
    parts = ["UNIQUE" if index.unique else "", index.kind.upper(), "INDEX", index.name, f"({inner})"]
    return " ".join(p for p in [*parts, f"WHERE {index.predicate}" if index.predicate else ""] if p)
