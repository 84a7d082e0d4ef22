"""From what a person selected to what fills what: placements, and the shape of every target relation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pghaul.engine import statements
from pghaul.model.design import Design
from pghaul.model.errors import NotFoundError, PghaulError, PlanError
from pghaul.model.finding import Finding
from pghaul.model.pattern import is_matched, is_named
from pghaul.model.placement import Origin, Placement
from pghaul.model.plan import OnExisting, Plan, Selection
from pghaul.model.table import Name, RelationKind, Table
from pghaul.model.text import say
from pghaul.postgres.session import Session
from pghaul.target.retarget import derived
from pghaul.target.root_indexes import leaf_indexes


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """`shapes` are the target's relations as they should be, by their names there; where one keeps name and columns,
    it is the source's own description.
    """

    placements: tuple[Placement, ...]
    shapes: Mapping[Name, Table]
    designs: tuple[Design, ...] = ()
    vacant: tuple[Placement, ...] = ()
    warnings: tuple[Finding, ...] = ()

    @property
    def sources(self) -> dict[Name, Name]:
        """Where each target relation comes from; partitioned tables are filled by nothing, but have a design."""
        return {d.name: d.source for d in self.designs} | {p.target: p.source for p in self.placements}


def place(plan: Plan, tables: Mapping[Name, Table], conditions: Mapping[Name, str | None]) -> tuple[Placement, ...]:
    """A placement for every relation with rows of its own. `conditions`: what a period leaves of it, None: nothing.

    Raises PlanError, NotFoundError for a selection that cannot be.
    """
    placements = []
    for name, table in tables.items():
        period = conditions.get(name, "")
        if table.kind is not RelationKind.TABLE or period is None:
            continue
        asked, columns = said(plan, tables, name, "where"), said(plan, tables, name, "columns")
        origin = Origin(table=name, where="\nAND ".join(f"({c}\n)" for c in (asked, period) if c))
        placements.append(
            Placement(
                target=target_name(plan, tables, name),
                origins=(origin,),
                columns=_columns(table, columns) if columns else None,
            )
        )
    _refuse_collisions(placements)
    return tuple(placements)


def shape(placements: Iterable[Placement], tables: Mapping[Name, Table], designs: Iterable[Design] = ()) -> Mapped:
    """What the target should look like. Placements whose source is gone are left out."""
    found = tuple(p for p in placements if all(o.table in tables for o in p.origins))
    made = [d for d in designs if d.source in tables]
    moved = {o.table for p in found for o in p.origins if o.table != p.target} | _below(made, tables)
    shapes = {n: t for n, t in tables.items() if n not in moved}
    shapes |= {p.target: _shaped(p, tables[p.source]) for p in found}
    shapes |= {d.name: _designed(d, tables[d.source]) for d in made}
    return Mapped(placements=found, shapes=shapes, designs=tuple(made))


def _below(designs: Iterable[Design], tables: Mapping[Name, Table]) -> set[Name]:
    """The sources of designs and all their descendants: each has a design, or a period leaves nothing of it."""
    sources = {d.source for d in designs}
    return {name for name in tables if sources and not sources.isdisjoint(lineage(tables, name))}


def lineage(tables: Mapping[Name, Table], name: Name) -> Iterator[Name]:
    """The table and its ancestors, upwards, as far as they are known."""
    at: Name | None = name
    while at is not None and at in tables:
        yield at
        at = tables[at].parent


def _designed(design: Design, table: Table) -> Table:
    return replace(
        table,
        name=design.name,
        kind=RelationKind.PARTITIONED if design.partitioned else RelationKind.TABLE,
        columns=tuple(c for c in table.columns if design.columns is None or c.name in design.columns),
        parent=design.parent,
        partition=bool(design.bound),
        has_children=design.partitioned,
        indexes=leaf_indexes(design, table),
    )


def _shaped(placement: Placement, table: Table) -> Table:
    if placement.columns is None:
        return table if table.name == placement.target else replace(table, name=placement.target)
    kept = tuple(c for c in table.columns if c.name in placement.columns)
    return replace(table, name=placement.target, columns=kept)


def check_conditions(session: Session, plan: Plan, tables: Mapping[Name, Table]) -> None:
    """Let the source plan every condition once, before anything is written. PlanError names table and complaint."""
    for name, table in tables.items():
        condition = said(plan, tables, name, "where") if table.kind is RelationKind.TABLE else None
        if condition is None:
            continue
        try:
            for statement in statements.probes(name, condition):
                session.execute(statement)
        except PghaulError as exc:
            raise PlanError(
                say("the condition on {table} cannot be used: {error}", table=str(name), error=exc.message),
                where="where",
                advice=say("it is SQL on the source's columns; names outside pg_catalog need their schema"),
                sqlstate=exc.sqlstate,
                code=1135,
            ) from exc


def said(plan: Plan, tables: Mapping[Name, Table], name: Name, attribute: str) -> Any:
    """What the selection says that brought the table: its own name first, then patterns, then those of its parents."""
    found = _sayer(plan, tables, name, attribute)
    return None if found is None else getattr(found[1], attribute)


def _sayer(plan: Plan, tables: Mapping[Name, Table], name: Name, attribute: str) -> tuple[Name, Selection] | None:
    """That selection, and the table that it matched: this one or an ancestor."""
    saying = [s for s in plan.tables if getattr(s, attribute) is not None]
    at: Name | None = name
    while at is not None and saying:
        for selection in _closest_first(saying, at):
            return at, selection
        at = tables[at].parent if at in tables else None
    return None


def on_existing(plan: Plan, tables: Mapping[Name, Table], name: Name) -> OnExisting:
    """What shall become of rows that are there; `name` is the source's."""
    chosen: OnExisting | None = said(plan, tables, name, "on_existing")
    return chosen or plan.options.on_existing


def _closest_first(selections: Iterable[Selection], name: Name) -> Iterator[Selection]:
    found = list(selections)
    yield from (s for s in found if is_named(s.name, name))
    yield from (s for s in found if is_matched(s.name, name))


def target_name(plan: Plan, tables: Mapping[Name, Table], name: Name) -> Name:
    """Descendants follow the table that is named: with h into x.k, h_1 becomes x.k_1."""
    found = _sayer(plan, tables, name, "into")
    if found is None:
        return name
    at, selection = found
    new = _into(at, selection.into or "")
    return new if at == name else Name(new.schema, derived(name.name, at.name, new.name))


def only(table: Table, columns: list[str] | None) -> Table:
    """With these columns alone, or all. NotFoundError for one that cannot be copied."""
    if columns is None:
        return table
    kept = _columns(table, columns)
    return replace(table, columns=tuple(c for c in table.columns if c.name in kept))


def place_of(into: str) -> Name:
    """Of a table that has no name of its own. PlanError for what is no place."""
    return _into(None, into)


def _into(name: Name | None, into: str) -> Name:
    schema, dot, relation = into.partition(".")
    if not dot or not schema or not relation or (name is None and relation == "*"):
        raise PlanError(
            say("'{place}' is no place for a table", place=into),
            where="into",
            advice=say("write schema.table, or schema.* to keep the names"),
            code=1134,
        )
    return Name(schema, name.name if name is not None and relation == "*" else relation)


def _columns(table: Table, wanted: list[str]) -> tuple[str, ...]:
    there = {c.name for c in table.copied_columns}
    missing = [c for c in wanted if c not in there]
    if missing:
        raise NotFoundError(
            say("{table} has no column {column} that can be copied", table=str(table.name), column=missing[0]),
            where="columns",
            advice=say("it has {columns}", columns=", ".join(sorted(there))),
            code=5231,
        )
    return tuple(c.name for c in table.copied_columns if c.name in wanted)


def _refuse_collisions(placements: Iterable[Placement]) -> None:
    seen: dict[Name, Name] = {}
    for placement in placements:
        other = seen.setdefault(placement.target, placement.source)
        if other != placement.source:
            raise PlanError(
                say(
                    "{one} and {other} would both become {name}",
                    one=str(other),
                    other=str(placement.source),
                    name=str(placement.target),
                ),
                where="into",
                advice=say("give each its own `into`, or keep the names with `schema.*`"),
                code=1133,
            )
