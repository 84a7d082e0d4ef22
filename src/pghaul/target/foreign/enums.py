"""Columns that hold one of a few words: a type of their own, or a text that is checked."""

from __future__ import annotations

import re
from collections.abc import Sequence

from psycopg import sql

from pghaul.model.foreign import ForeignColumn
from pghaul.model.table import Name
from pghaul.target.foreign import names, types
from pghaul.target.foreign.types import Typed

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


def _labels(values: Sequence[str]) -> sql.Composable:
    return sql.SQL(", ").join(map(sql.Literal, values))
