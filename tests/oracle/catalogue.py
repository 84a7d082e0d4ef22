"""What a server answers to the catalogue queries of the source, by the digest of their very text.

A text that has been changed is not known any more: look at what a server would answer to it, and write its digest here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tests.oracle.tables import Table

if TYPE_CHECKING:
    from tests.oracle.stand_in import StandIn

Rows = list[tuple[Any, ...]]
Answer = Callable[["StandIn", Mapping[str, Any]], Rows]


def digest(text: str) -> str:
    """Short enough to be written down."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _of_owner(make: Callable[[StandIn, Table], Iterator[tuple[Any, ...]]]) -> Answer:
    """By table; :owner is a schema, or NULL for all."""

    def answer(stand: StandIn, values: Mapping[str, Any]) -> Rows:
        if values["owner"] not in {None, stand.owner}:
            return []
        return [row for t in sorted(stand.tables, key=lambda t: t.name) for row in make(stand, t)]

    return answer


def _tables(stand: StandIn, table: Table) -> Iterator[tuple[Any, ...]]:
    yield (stand.owner, table.name, table.repeated or len(table.rows), 20, "N", "NO", None, 0, 0)


def _columns(stand: StandIn, table: Table) -> Iterator[tuple[Any, ...]]:
    for c in table.columns:
        nullable = "N" if c.not_null or c.name == table.key else "Y"
        yield (stand.owner, table.name, c.name, *c.facts, nullable, "NO", "NO", "YES", None, None, None, None)


def _columns_of(stand: StandIn, values: Mapping[str, Any]) -> Rows:
    found = [t for t in stand.tables if (stand.owner, t.name) == (values["owner"], values["name"])]
    return [(c.name, *c.facts) for t in found for c in t.columns]


def _constraints(stand: StandIn, table: Table) -> Iterator[tuple[Any, ...]]:
    def row(letter: str, *rest: str | None) -> tuple[Any, ...]:
        return (stand.owner, table.name, f"{letter}_{table.name}", letter, "ENABLED", *rest)

    if table.key:
        yield row("P", None, None, None, f"P_{table.name}", None)
    if table.unique:
        yield row("U", None, None, None, f"U_{table.name}", None)
    if table.points_to:
        yield row("R", stand.owner, f"P_{table.points_to}", "CASCADE", None, None)
    for column in table.columns:
        if column.not_null:
            yield row("C", None, None, None, None, f'"{column.name}" IS NOT NULL')


def _constraint_columns(stand: StandIn, table: Table) -> Iterator[tuple[Any, ...]]:
    for letter, column in (("P", table.key), ("U", table.unique), ("R", table.points_to and table.indexed)):
        if column:
            yield (stand.owner, f"{letter}_{table.name}", table.name, column)


def _own_indexes(table: Table) -> Iterator[tuple[str, str, str]]:
    for letter, column in (("P", table.key), ("U", table.unique), ("I", table.indexed)):
        if column:
            yield f"{letter}_{table.name}", column, "NONUNIQUE" if letter == "I" else "UNIQUE"


def _indexes(stand: StandIn, table: Table) -> Iterator[tuple[Any, ...]]:
    for name, _, uniqueness in _own_indexes(table):
        yield (stand.owner, table.name, stand.owner, name, "NORMAL", uniqueness, "VALID", None)


def _index_columns(stand: StandIn, table: Table) -> Iterator[tuple[Any, ...]]:
    for name, column, _ in _own_indexes(table):
        yield (stand.owner, name, column, "ASC", None)


def _nothing(_stand: StandIn, _values: Mapping[str, Any]) -> Rows:
    return []


ANSWERS: dict[str, Answer] = {
    "f888932bc110": lambda _s, _v: [("Oracle Database 23ai Stand-in", "23.0.0.0.0")],  # PRODUCT
    "3fa3cfac38e8": lambda s, _: [(s.service.upper(), s.owner, "AL32UTF8", "+09:00")],  # DATABASE
    "99c31b7cf912": lambda s, _: [(str(s.scn),)],  # the first of SCN
    "644ec74bdc5b": lambda s, _: [(int(s.flashback),)],  # FLASHBACK
    "2d22fb051ef9": _of_owner(_tables),
    "98692752f96c": _of_owner(_columns),
    "63c03c0e24c4": _columns_of,
    "d821611b1c6c": _of_owner(_constraints),
    "79ec17b5c296": _of_owner(_constraint_columns),
    "0233edd31b34": _of_owner(_indexes),
    "6070b88fb5fc": _of_owner(_index_columns),
    "5b5533d95d2c": _nothing,  # VIEWS
    "c6195142f5d6": _nothing,  # OTHERS
    "f78d01afb963": _nothing,  # OBJECT_TABLES
    "a1359b2622e1": _nothing,  # three settings of a session
    "6f4abcb23542": _nothing,
    "b999d275d6ee": _nothing,
}
