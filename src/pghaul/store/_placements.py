"""Placements as JSON: ten thousand of them are mostly tables that come from themselves, so those take one name.

With tables that are made anew it is an object: placements, designs, and what was found vacant.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from pghaul.model.design import Design
from pghaul.model.placement import Origin, Placement
from pghaul.model.table import Name, RelationKind, Table

DESIGNS: TypeAdapter[tuple[Design, ...]] = TypeAdapter(tuple[Design, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The parts of a manifest that stand here."""

    placements: tuple[Placement, ...]
    designs: tuple[Design, ...] = ()
    vacant: tuple[Placement, ...] = ()


def dump(placements: Iterable[Placement], designs: tuple[Design, ...], vacant: Iterable[Placement]) -> str:
    """One list a placement: the target's schema and name, and the rest only where there is any."""
    lists = [_dumped(p) for p in placements]
    given = {"placements": lists, "designs": DESIGNS.dump_python(designs), "vacant": [_dumped(v) for v in vacant]}
    return json.dumps(given if designs else lists, separators=(",", ":"))


def load(text: str | None, tables: Sequence[Table]) -> Layout:
    """What `dump` wrote; without it (an older run), every table comes from itself."""
    if text is None:
        return Layout(placements=tuple(Placement.same(t.name) for t in tables if t.kind is RelationKind.TABLE))
    found = json.loads(text)
    if isinstance(found, list):
        return Layout(placements=tuple(_loaded(entry) for entry in found))
    return Layout(
        placements=tuple(_loaded(entry) for entry in found["placements"]),
        designs=DESIGNS.validate_python(found["designs"]),
        vacant=tuple(_loaded(entry) for entry in found["vacant"]),
    )


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
