"""Placements as JSON: ten thousand of them are mostly tables that come from themselves, so those take one name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from pghaul.model.placement import Origin, Placement
from pghaul.model.table import Name, RelationKind, Table


def dump(placements: Iterable[Placement]) -> str:
    """One list a placement: the target's schema and name, and the rest only where there is any."""
    return json.dumps([_dumped(p) for p in placements], separators=(",", ":"))


def load(text: str | None, tables: Sequence[Table]) -> tuple[Placement, ...]:
    """What `dump` wrote; without it (an older run), every table comes from itself."""
    if text is None:
        return tuple(Placement.same(t.name) for t in tables if t.kind is RelationKind.TABLE)
    return tuple(_loaded(entry) for entry in json.loads(text))


def _dumped(placement: Placement) -> list[Any]:
    target = [placement.target.schema, placement.target.name]
    if placement == Placement.same(placement.target):
        return target
    origins = [[o.table.schema, o.table.name, o.where] for o in placement.origins]
    return [*target, origins, placement.columns]


def _loaded(entry: list[Any]) -> Placement:
    target = Name(entry[0], entry[1])
    if len(entry) == 2:
        return Placement.same(target)
    return Placement(
        target=target,
        origins=tuple(Origin(table=Name(s, n), where=w) for s, n, w in entry[2]),
        columns=None if entry[3] is None else tuple(entry[3]),
    )
