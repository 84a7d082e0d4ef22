"""What has to be read for the transforms of a table, beyond the columns that are carried. Needs no pyarrow."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from importlib import import_module

from pghaul.model.transforming import Transform

EXPRESSIONS = "pghaul.transforms.expression"  # by name: it brings a parser of SQL along


def of_source(transforms: Iterable[Transform]) -> dict[str, str]:
    """Columns that the source computes, and its SQL for each."""
    return {t.names[0]: t.expression or "" for t in transforms if t.kind == "sql"}


def needs(transforms: Iterable[Transform], known: Collection[str]) -> list[str]:
    """Columns of the source that the transforms are about, in the order in which they are first named."""
    found: dict[str, None] = {}
    for transform in transforms:
        names = list(transform.names)
        if transform.kind == "expression":
            names += import_module(EXPRESSIONS).columns_of(transform)
        found |= dict.fromkeys(n for n in names if n in known)
    return list(found)
