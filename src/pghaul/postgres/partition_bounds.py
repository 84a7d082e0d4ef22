"""Partition bounds as pg_get_expr() writes them: FOR VALUES FROM … TO …, IN …, WITH …, DEFAULT."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pghaul.model.bounds import Bounds, Edge, Strategy
from pghaul.postgres.bound_values import Unbounded, family, read_value

_RANGE = re.compile(r"FOR VALUES FROM \((.*)\) TO \((.*)\)", re.DOTALL)
_LIST = re.compile(r"FOR VALUES IN \((.*)\)", re.DOTALL)
_HASH = re.compile(r"FOR VALUES WITH \(modulus (\d+), remainder (\d+)\)", re.IGNORECASE)
_ITEM = re.compile(r"\s*(?:(E)?'((?:[^'\\]|''|\\.)*)'|([^,'()\s]+))(?:::[^,]+)?\s*(?:,|$)")
_MIN, _MAX = "\0MINVALUE", "\0MAXVALUE"  # the keywords, not texts that read the same: no text holds a NUL


def parse_partition_bound(text: str, columns: Sequence[str], types: Sequence[str]) -> Bounds:
    """`columns` and `types` are those of the parent's key, "" for an expression. ValueError for what cannot be read."""
    if text == "DEFAULT":
        return Bounds(strategy=Strategy.DEFAULT, column=columns[0], nulls=True)
    if found := _HASH.fullmatch(text):
        return Bounds(strategy=Strategy.HASH, modulus=int(found[1]), remainder=int(found[2]), nulls=True)
    if found := _LIST.fullmatch(text):
        return _list(found[1], columns[0], types[0])
    if found := _RANGE.fullmatch(text):
        return _range(_items(found[1]), _items(found[2]), columns[0], types[0])
    raise ValueError(f"not a partition's bounds: {text}")


def _list(text: str, column: str, type_name: str) -> Bounds:
    items = _items(text)
    values = tuple(read_value(i, family(type_name)) for i in items if i is not None)
    return Bounds(strategy=Strategy.LIST, column=column, values=values, nulls=None in items)


def _range(low: list[str | None], high: list[str | None], column: str, type_name: str) -> Bounds:
    """Of several columns the first: its upper value may occur below the bound, unless all others begin there."""
    several = len(low) > 1
    rest_open = all(item == _MIN for item in high[1:])
    return Bounds(
        strategy=Strategy.RANGE,
        column=column,
        low=_edge(low[0], type_name, inclusive=True),
        high=_edge(high[0], type_name, inclusive=several and not rest_open),
        exact=not several,
    )


def _edge(item: str | None, type_name: str, *, inclusive: bool) -> Edge | None:
    if item is None or item in {_MIN, _MAX}:
        return None
    try:
        return Edge(value=read_value(item, family(type_name)), inclusive=inclusive)
    except Unbounded:
        return None


def _items(text: str) -> list[str | None]:
    """The literals between the parentheses; None for NULL."""
    items: list[str | None] = []
    at = 0
    while at < len(text):
        found = _ITEM.match(text, at)
        if found is None:
            raise ValueError(f"not a list of literals: {text}")
        items.append(_literal(found))
        at = found.end()
    return items


def _literal(found: re.Match[str]) -> str | None:
    if found[2] is not None:
        return unquoted(found[2], escaped=bool(found[1]))
    if found[3] in {"MINVALUE", "MAXVALUE"}:
        return "\0" + found[3]
    return None if found[3] == "NULL" else found[3]


def unquoted(inside: str, *, escaped: bool) -> str:
    """What stands between the quotes of a literal. The server writes E'' for one escape only: the backslash's."""
    text = inside.replace("''", "'")
    return text.replace("\\\\", "\\") if escaped else text
