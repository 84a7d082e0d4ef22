"""Rows whose foreign key leads nowhere, counted on the source beforehand, in its own SQL.

An engine that checks its keys has few of them; SQLite checks none unless it is asked to, and MySQL forgets rows that
came while foreign_key_checks was off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pghaul.model.foreign import ForeignDatabase, ForeignReference, ForeignTable
from pghaul.model.table import Name

QUOTES = {"mysql": ("`", "`"), "tsql": ("[", "]"), "sqlite": ('"', '"'), "oracle": ('"', '"')}
CALLED = {"oracle": "t"}  # what a source calls the table that a condition is about, where that is not its own name
UNKNOWN = "{present} AND ({own}) NOT IN (SELECT {other} FROM {parent} pghaul_parent WHERE {known})"
WHERE = "{present} AND NOT EXISTS (SELECT 1 FROM {parent}{moment} pghaul_parent WHERE {same})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """`where` is for Source.count(table, where): columns are qualified as the source calls the table there."""

    table: Name
    reference: ForeignReference
    where: str


def searches(database: ForeignDatabase, moment: str = "") -> Iterator[Search]:
    """One for every foreign key whose tables are known; none for a source without SQL. `moment`: of its guarantees."""
    known = {t.name for t in database.tables}
    for table in database.tables:
        for reference in table.references:
            if reference.table in known and (found := search(database, table, reference, moment)):
                yield found


def search(database: ForeignDatabase, table: ForeignTable, reference: ForeignReference, moment: str) -> Search | None:
    """For any key between two of its tables, whether the source has it or the target does."""
    complete = len(reference.columns) == len(reference.referenced) > 0
    if database.dialect not in QUOTES or not complete:
        return None
    texts = {c.name for c in table.columns if c.charset and not c.values}
    if database.dialect == "mysql" and texts.intersection(reference.columns):
        return _bytewise(database.dialect, table.name, reference, texts)
    return _search(database.dialect, table.name, reference, moment)


def _search(dialect: str, table: Name, reference: ForeignReference, moment: str) -> Search:
    child, parent = CALLED.get(dialect) or relation(dialect, table), relation(dialect, reference.table)
    own = [f"{child}.{quoted(dialect, c)}" for c in reference.columns]
    other = [f"pghaul_parent.{quoted(dialect, c)}" for c in reference.referenced]
    where = WHERE.format(
        parent=parent,
        moment=moment,
        present=" AND ".join(f"{c} IS NOT NULL" for c in own),
        same=" AND ".join(f"{o} = {c}" for o, c in zip(other, own, strict=True)),
    )
    return Search(table=table, reference=reference, where=where)


def _bytewise(dialect: str, table: Name, reference: ForeignReference, texts: set[str]) -> Search:
    """As PostgreSQL will see texts: MySQL's `=` sees no case, and no blanks at the end.

    NOT IN, for MariaDB keeps what a correlated query has said of one value for all that are equal by its collation.
    """
    child, parent = relation(dialect, table), relation(dialect, reference.table)
    own = [f"{child}.{quoted(dialect, c)}" for c in reference.columns]
    other = [f"pghaul_parent.{quoted(dialect, c)}" for c in reference.referenced]
    marks = ["BINARY " if c in texts else "" for c in reference.columns]
    where = UNKNOWN.format(
        parent=parent,
        present=" AND ".join(f"{c} IS NOT NULL" for c in own),
        own=", ".join(f"{m}{c}" for m, c in zip(marks, own, strict=True)),
        other=", ".join(f"{m}{c}" for m, c in zip(marks, other, strict=True)),
        known=" AND ".join(f"{c} IS NOT NULL" for c in other),
    )
    return Search(table=table, reference=reference, where=where)


def relation(dialect: str, name: Name) -> str:
    """Quoted as the source does."""
    return ".".join(quoted(dialect, n) for n in (name.schema, name.name) if n)


def quoted(dialect: str, name: str) -> str:
    """One identifier."""
    opening, closing = QUOTES[dialect]
    return opening + name.replace(closing, closing * 2) + closing
