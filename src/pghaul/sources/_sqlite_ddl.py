"""What only the text of CREATE says: checks, collations, names of constraints, expressions of generated columns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pghaul.model.foreign import ForeignCheck

DIALECT = "sqlite"
# Without any of these words a CREATE TABLE says nothing that the catalogue does not.
_SAYS_MORE = re.compile(r"\b(?:CHECK|COLLATE|AUTOINCREMENT|AS)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Of one CREATE TABLE. `known` is false where its text could not be understood."""

    known: bool = True
    checks: tuple[ForeignCheck, ...] = ()
    collations: tuple[tuple[str, str], ...] = ()
    generated: tuple[tuple[str, str], ...] = ()
    autoincrement: bool = False


def read_table(sql: str) -> Written:
    """Of a CREATE TABLE as sqlite_master has it."""
    if not _SAYS_MORE.search(sql):
        return Written()
    import sqlglot  # noqa: PLC0415 -- only who describes needs it, no worker that reads
    from sqlglot import exp  # noqa: PLC0415
    from sqlglot.errors import SqlglotError  # noqa: PLC0415

    try:
        tree = sqlglot.parse_one(sql, read=DIALECT)
    except (SqlglotError, RecursionError):
        return Written(known=False)
    if not isinstance(tree, exp.Create) or not isinstance(tree.this, exp.Schema):
        return Written(known=False)
    columns = [c for c in tree.this.expressions if isinstance(c, exp.ColumnDef)]
    return Written(
        checks=tuple(_checks(tree, exp)),
        collations=tuple(_of_columns(columns, exp.CollateColumnConstraint)),
        generated=tuple(_of_columns(columns, exp.ComputedColumnConstraint, exp.GeneratedAsRowColumnConstraint)),
        autoincrement=tree.find(exp.AutoIncrementColumnConstraint) is not None,
    )


def _checks(tree: Any, exp: Any) -> list[ForeignCheck]:
    found = []
    for check in tree.find_all(exp.CheckColumnConstraint, exp.Check, bfs=False):
        owner = check.parent
        named = isinstance(owner, exp.Constraint | exp.ColumnConstraint) and owner.this is not None
        found.append(ForeignCheck(name=owner.this.name if named else "", expression=check.this.sql(dialect=DIALECT)))
    return found


def _of_columns(columns: list[Any], *kinds: Any) -> list[tuple[str, str]]:
    return [
        (column.name, c.kind.this.unnest().sql(dialect=DIALECT))
        for column in columns
        for c in column.constraints
        if isinstance(c.kind, kinds) and c.kind.this is not None
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenIndex:
    """`expression`: the whole list between its parentheses, where one of its parts is more than a column."""

    predicate: str | None = None
    expression: str | None = None


def read_index(sql: str) -> WrittenIndex | None:
    """Of a CREATE INDEX; None where it is not understood."""
    import sqlglot  # noqa: PLC0415
    from sqlglot import exp  # noqa: PLC0415
    from sqlglot.errors import SqlglotError  # noqa: PLC0415

    try:
        index = sqlglot.parse_one(sql, read=DIALECT).find(exp.Index)
    except (SqlglotError, RecursionError):
        return None
    if index is None or (params := index.args.get("params")) is None:
        return None
    where = params.args.get("where")
    keys = ", ".join(k.sql(dialect=DIALECT) for k in params.args.get("columns") or ())
    return WrittenIndex(predicate=where.this.sql(dialect=DIALECT) if where else None, expression=keys or None)


def query_of(sql: str) -> str | None:
    """The SELECT of a CREATE VIEW; None where it is not understood."""
    import sqlglot  # noqa: PLC0415
    from sqlglot import exp  # noqa: PLC0415
    from sqlglot.errors import SqlglotError  # noqa: PLC0415

    try:
        tree = sqlglot.parse_one(sql, read=DIALECT)
    except (SqlglotError, RecursionError):
        return None
    query = tree.expression if isinstance(tree, exp.Create) else None
    return query.sql(dialect=DIALECT) if query is not None else None
