"""All looks before a merge, in one place: `run` refuses at their errors, `plan` shows everything they found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pghaul.engine import care, cares, characters, onto_itself, permits, requirements
from pghaul.engine.merge import scene, units
from pghaul.engine.merge.choice import Asked
from pghaul.engine.merge.scene import Ground
from pghaul.engine.merge.units import Unit
from pghaul.model.errors import MergeError, PghaulError, TransientError
from pghaul.model.finding import Finding, of_error
from pghaul.model.merging import Mark, MergeDesign, Reading
from pghaul.model.placement import Origin, Placement
from pghaul.model.plan import Plan
from pghaul.model.table import Name, Table
from pghaul.postgres.session import Session
from pghaul.sources import increments
from pghaul.target import foreign_keys, merge_checks, merge_target, staging, watermarks
from pghaul.target.merge_target import Target

NOWHERE = Name("pghaul", "stage")  # a design before its staging table is there


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """`units` stand in the order in which they are merged; `readings` lack those that cannot be read."""

    units: tuple[Unit, ...]
    readings: Mapping[Name, Reading]
    marks: Mapping[Name, Mark | None]
    targets: Mapping[Name, Target]  # those that are there
    findings: tuple[Finding, ...]


def look(run: str, plan: Plan, ground: Ground) -> Look:
    """Reads only. Raises what keeps us from looking at all."""
    target = ground.target
    found = units.units(target, ground.asked)
    names = [u.name for u in found]
    ordered = units.in_order(found, _references(target, names))
    said = [*onto_itself.findings(ground.source, target, [_placement(u.asked) for u in ordered if not u.asked.query])]
    said += _characters(plan, ground, ordered)
    said += units.findings(ground.source, target, ordered)
    said += list(requirements.ledger_findings(target, run, names)) or list(_may_stage(target))
    said += permits.may_create(target, [u.source for u in _missing(ordered)])
    said += care.findings(plan, ground.source)
    marks: dict[Name, Mark | None] = {}
    readings: dict[Name, Reading] = {}
    targets = {u.name: there for u in ordered if u.there is not None and (there := merge_target.look(target, u.name))}
    for unit in ordered:
        said += _looked_at(ground, unit, targets.get(unit.name), marks, readings)
    return Look(units=tuple(ordered), readings=readings, marks=marks, targets=targets, findings=tuple(said))


def _may_stage(target: Session) -> Iterator[Finding]:
    """Where the ledger is, staging tables have to be made."""
    try:
        staging.check_may_create(target)
    except MergeError as exc:
        yield of_error(exc, staging.SCHEMA)


def _looked_at(
    ground: Ground,
    unit: Unit,
    there: Target | None,
    marks: dict[Name, Mark | None],
    readings: dict[Name, Reading],
) -> Iterator[Finding]:
    """How one unit is merged and read."""
    if unit.key and set(unit.key) <= set(unit.columns) and unit.there is not None:
        yield from merge_checks.examine(ground.target, _as_it_is(unit, unit.there), there)
    try:
        mark = marks[unit.name] = scene.mark_of(ground.source, ground.target, unit.asked)
        used = None if unit.asked.merge.reload or unit.there is None else mark
        yield from _mark_findings(ground, unit, there, used)
        with ground.source.transaction():  # an error of SQL leaves the snapshot as it was
            found = increments.reading(
                ground.source,
                unit.asked.source,
                unit.asked.merge,
                used,
                ground.horizon,
                where=unit.asked.where,
                query=unit.asked.query,
                columns=unit.columns,
            )
    except TransientError:
        raise
    except PghaulError as exc:
        yield of_error(exc, str(unit.name))
        return
    readings[unit.name] = found
    yield from found.findings


def _as_it_is(unit: Unit, there: Table) -> MergeDesign:
    """Without columns that are added only when it is merged."""
    known = {c.name for c in there.columns}
    return replace(unit.design(NOWHERE), columns=tuple(c for c in unit.columns if c in known))


def _mark_findings(ground: Ground, unit: Unit, there: Target | None, mark: Mark | None) -> Iterator[Finding]:
    """A target that is not what the mark says, a source that is another one."""
    if unit.there is None or unit.asked.merge.reload:
        return
    if mark is not None:
        if there is not None and not set(unit.key) <= {c.name for c in there.columns}:
            return  # which is among the findings
        against = watermarks.check(ground.target, there, unit.design(NOWHERE), mark)
    else:
        key = scene.origin_of(ground.source, unit.asked)
        against = watermarks.stranger(ground.target, str(unit.name), key, ground.source.server.identity)
    if against is not None:
        yield against


def _missing(found: Iterable[Unit]) -> list[Unit]:
    return [u for u in found if u.there is None]


def _characters(plan: Plan, ground: Ground, found: Iterable[Unit]) -> Iterator[Finding]:
    """Of tables: what a query gives is seen when it is staged."""
    tables = [u for u in found if not u.asked.query]
    described = {u.asked.source.name: u.asked.source for u in tables}
    placed = [_placement(u.asked) for u in tables]
    strange = characters.findings(ground.source, ground.target, placed, described, plan.options.source_encoding)
    yield from cares.softened(strange, plan.options.max_rejects)


def _placement(asked: Asked) -> Placement:
    return Placement(target=asked.target, origins=(Origin(table=asked.source.name, where=asked.where or ""),))


def placements(found: Iterable[Unit]) -> tuple[Placement, ...]:
    """For the manifest. A query has no table of its own: there its target's name stands for it."""
    return tuple(_placement(u.asked) for u in found)


def _references(target: Session, names: list[Name]) -> dict[Name, set[Name]]:
    out: dict[Name, set[Name]] = {}
    for key in foreign_keys.find(target, names):
        out.setdefault(key.table, set()).add(key.references)
    return out
