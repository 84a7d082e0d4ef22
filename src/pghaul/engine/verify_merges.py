"""What a comparison makes of tables that were merged: all that is below a source's table is in one of the target, and
of a target that remembers what is gone only the rows count that are there now.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from psycopg.sql import Identifier

from pghaul.engine import mapping
from pghaul.engine.mapping import Mapped
from pghaul.engine.merge import choice
from pghaul.engine.verify_units import Setting, Unit, checked, unit_of
from pghaul.model.errors import WatermarkError
from pghaul.model.manifest import Manifest
from pghaul.model.pattern import is_matched, is_named
from pghaul.model.placement import Origin, Placement
from pghaul.model.plan import Merge, MergeMode, OnDrift, Plan
from pghaul.model.table import Name, Table
from pghaul.model.text import say
from pghaul.model.verification import TableVerdict
from pghaul.postgres.session import Session
from pghaul.sources import increments

QUERIED = say("rows of a query: --verify checksum compares them while they are merged")


def without_queries(plan: Plan, manifest: Manifest | None) -> tuple[Plan, Manifest | None]:
    """A query's rows cannot be asked for row by row, as those of a table can."""
    named, places = choice.named(plan), _places(plan)
    if manifest is None or not places:
        return named, manifest
    placements = tuple(p for p in manifest.placements if p.target not in places)
    read = {o.table for p in placements for o in p.origins}
    tables = tuple(t for t in manifest.tables if t.name in read)
    return named, replace(manifest, placements=placements, tables=tables)


def uncompared(plan: Plan, patterns: Sequence[str]) -> Iterator[TableVerdict]:
    """A verdict for each query, as far as the patterns choose it."""
    for place in sorted(_places(plan)):
        if not patterns or any(is_named(p, place) or is_matched(p, place) for p in patterns):
            yield TableVerdict(source=place, target=place, agrees=None, why=QUERIED)


def _places(plan: Plan) -> set[Name]:
    return {mapping.place_of(s.into or "") for s in plan.tables if s.query}


def mapped(plan: Plan, tables: dict[Name, Table], manifest: Manifest | None) -> Mapped:
    """What goes where. What the source computes is a value as any other."""
    if manifest is None:
        asked = list(choice.of_tables(plan, tables))
        origins = [Origin(table=a.source.name, where=a.where or "") for a in asked]
        placements = [Placement(target=a.target, origins=(o,)) for a, o in zip(asked, origins, strict=True)]
        tables |= {a.source.name: a.source for a in asked}
    else:
        placements = [p for p in manifest.placements if p.source in tables]
        tables |= {t.name: choice.plain(t) for t in tables.values()}
    shapes = {p.target: replace(tables[p.source], name=p.target, parent=None) for p in placements}
    return Mapped(placements=tuple(placements), shapes=shapes)


def units(found: Setting, source: Session, target: Session, plan: Plan) -> Iterator[Unit]:
    """One for each merge, whatever is above or below its tables."""
    for planned in found.mapped.placements:
        merge = mapping.said(plan, found.tables, planned.source, "merge") or choice.DEFAULT
        there = found.there.get(planned.target)
        columns = tuple(c.name for c in there.columns) if merge.on_drift is OnDrift.IGNORE and there else None
        placement = replace(planned, columns=columns)
        lender = found.tables[planned.source]
        unit = checked(found, target, unit_of(found, placement, lender, planned.origins, planned.target, children=True))
        read = _read(source, merge, lender)
        parts = (replace(p, children=True, where=_both(p.where, read)) for p in unit.here.parts)
        here = replace(unit.here, parts=tuple(parts))
        yield replace(_alive(unit, merge, there), here=here, rows=None)  # the topmost table's estimate says nothing


def _read(source: Session, merge: Merge, table: Table) -> str:
    """Rows without a usable watermark are none of the merge's, where the plan leaves them out."""
    with contextlib.suppress(WatermarkError):  # a column that is gone since tells none of them apart
        if without := increments.left_out(source, table, merge):
            return f"NOT {without}"
    return ""


def _both(where: str, other: str) -> str:
    """A condition that a person wrote may end with a comment."""
    return f"({where}\n) AND {other}" if where and other else where or other


def _alive(unit: Unit, merge: Merge, there: Table | None) -> Unit:
    """Without ended versions, and without rows that are marked as deleted."""
    ended = merge.valid_to if merge.mode is MergeMode.SCD2 else merge.deleted
    column = next((c for c in there.columns if c.name == ended), None) if there is not None else None
    if column is None:
        return unit
    test = "IS NOT TRUE" if column.base == "boolean" and merge.mode is not MergeMode.SCD2 else "IS NULL"
    alive = f"{Identifier(column.name).as_string(None)} {test}"
    parts = [replace(p, where=_both(p.where, alive)) for p in unit.there.parts]
    return replace(unit, there=replace(unit.there, parts=tuple(parts)))
