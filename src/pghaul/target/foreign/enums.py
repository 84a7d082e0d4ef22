"""Columns that hold one of a few words: a type of their own, or a text that is checked."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from psycopg import sql

from pghaul.model.foreign import ForeignColumn
from pghaul.model.mapped import MappedColumn, MappedTable
from pghaul.model.table import Name
from pghaul.target.foreign import names, types
from pghaul.target.foreign.types import Typed

Place: TypeAlias = tuple[Name, str]  # a column of a table, as the source names them
PLAIN = re.compile(r"[a-z_][a-z0-9_]*_[a-z0-9_]*")  # no word that is reserved looks so


def is_enum(column: ForeignColumn) -> bool:
    """One of its labels."""
    return bool(column.values) and column.native.lower().lstrip().startswith("enum")


def is_set(column: ForeignColumn) -> bool:
    """Any of its labels."""
    return bool(column.values) and column.native.lower().lstrip().startswith("set")


def becomes_type(column: ForeignColumn, typed: Typed) -> bool:
    """Unless the plan says another type. A label that no type can hold leaves a text."""
    labels = column.values
    fit = all(len(v.encode()) <= names.LIMIT and "\0" not in v for v in labels) and len(set(labels)) == len(labels)
    return is_enum(column) and typed.by in {"source", "nobody"} and fit


def spelled(name: Name) -> str:
    """As format_type() would, or quoted where that is not sure."""
    return ".".join(
        n if PLAIN.fullmatch(n) or n == "public" else f'"{n.replace(chr(34), chr(34) * 2)}"'
        for n in (name.schema, name.name)
    )


def check(column: str, source: ForeignColumn, type_: str) -> sql.Composable | None:
    """What keeps a text to the labels, where no type does."""
    base = types.base(type_)
    if is_enum(source) and base in types.TEXTS:
        return sql.SQL("CHECK ({} IN ({}))").format(sql.Identifier(column), _labels(source.values))
    if is_set(source) and base == "text[]":
        return sql.SQL("CHECK ({} <@ ARRAY[{}]::text[])").format(sql.Identifier(column), _labels(source.values))
    return None


def shared(tables: Sequence[MappedTable]) -> list[MappedTable]:
    """The same, where a column that refers to another one of the same labels has its type: else no key could."""
    found = {(t.source.name, c.source.name): c for t in tables for c in t.columns if c.enum}
    for _ in found:  # a chain of keys is no longer than that
        before = dict(found)
        for table in tables:
            for key in table.source.references:
                for own, other in zip(key.columns, key.referenced, strict=False):
                    _share(found, (table.source.name, own), (key.table, other))
        if found == before:
            break
    return [replace(t, columns=tuple(found.get((t.source.name, c.source.name), c) for c in t.columns)) for t in tables]


def _share(found: dict[Place, MappedColumn], own: Place, other: Place) -> None:
    """Of two names the lesser one, so that cycles come to an end."""
    if own not in found or other not in found or found[own].source.values != found[other].source.values:
        return
    first = min((found[own], found[other]), key=lambda c: str(c.enum))
    for place in (own, other):
        found[place] = replace(found[place], type=first.type, enum=first.enum)


def used(tables: Sequence[MappedTable]) -> dict[Name, list[tuple[Name, MappedColumn]]]:
    """The types that are made, with the tables and columns that have them."""
    found: dict[Name, list[tuple[Name, MappedColumn]]] = defaultdict(list)
    for table in tables:
        for column in table.columns:
            if column.enum is not None:
                found[column.enum].append((table.name, column))
    return found


def _labels(values: Sequence[str]) -> sql.Composable:
    return sql.SQL(", ").join(map(sql.Literal, values))
