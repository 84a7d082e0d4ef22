"""From what a person selected to what fills what: placements, and the shape of every target relation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from pghaul.engine import statements
from pghaul.model.errors import NotFoundError, PghaulError, PlanError
from pghaul.model.placement import Origin, Placement
from pghaul.model.plan import OnExisting, Plan, Selection
from pghaul.model.table import Name, RelationKind, Table
from pghaul.postgres.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """`shapes` are the target's relations as they should be, by their names there; where one keeps name and columns,
    it is the source's own description.
    """

    placements: tuple[Placement, ...]
    shapes: Mapping[Name, Table]

    @property
    def by_target(self) -> dict[Name, Placement]:
        """What fills a relation; partitioned roots have nothing."""
        return {p.target: p for p in self.placements}

    def source_of(self, target: Name) -> Name:
        """The source's name of what a target relation comes from."""
        placement = self.by_target.get(target)
        return placement.source if placement else target


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
                target=_into(name, said(plan, tables, name, "into")),
                origins=(origin,),
                columns=_columns(table, columns) if columns else None,
            )
        )
    _refuse_collisions(placements)
    return tuple(placements)


def shape(placements: Iterable[Placement], tables: Mapping[Name, Table]) -> Mapped:
    """What the target should look like. Placements whose source is gone are left out."""
    found = tuple(p for p in placements if all(o.table in tables for o in p.origins))
    moved = {o.table for p in found for o in p.origins if o.table != p.target}
    shapes = {n: t for n, t in tables.items() if n not in moved}
    return Mapped(placements=found, shapes=shapes | {p.target: _shaped(p, tables[p.source]) for p in found})


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
                f"the condition on {name} cannot be used: {exc.message}",
                where="where",
                advice="it is SQL on the source's columns; names outside pg_catalog need their schema",
            ) from exc


def said(plan: Plan, tables: Mapping[Name, Table], name: Name, attribute: str) -> Any:
    """What the selection says that brought the table: its own name first, then patterns, then those of its parents."""
    saying = [s for s in plan.tables if getattr(s, attribute) is not None]
    at: Name | None = name
    while at is not None and saying:
        for selection in _closest_first(saying, at):
            return getattr(selection, attribute)
        at = tables[at].parent if at in tables else None
    return None


def on_existing(plan: Plan, tables: Mapping[Name, Table], name: Name) -> OnExisting:
    """What shall become of rows that are there; `name` is the source's."""
    chosen: OnExisting | None = said(plan, tables, name, "on_existing")
    return chosen or plan.options.on_existing


def _closest_first(selections: Iterable[Selection], name: Name) -> Iterator[Selection]:
    found = list(selections)
    yield from (s for s in found if _is_named(s.name, name))
    yield from (s for s in found if _is_matched(s.name, name))


def _is_named(pattern: str, name: Name) -> bool:
    return str(name) == (pattern if "." in pattern else f"public.{pattern}")


def _is_matched(pattern: str, name: Name) -> bool:
    if len(pattern) > 1 and pattern[0] == pattern[-1] == "/":
        return re.fullmatch(pattern[1:-1], f"{name.schema}.{name.name}") is not None
    schema, _, relation = (pattern if "." in pattern else f"public.{pattern}").partition(".")
    return fnmatchcase(name.schema, schema) and fnmatchcase(name.name, relation)


def _into(name: Name, into: str | None) -> Name:
    if into is None:
        return name
    schema, dot, relation = into.partition(".")
    if not dot or not schema or not relation:
        raise PlanError(f"'{into}' is no place for a table", advice="write schema.table, or schema.* to keep the names")
    return Name(schema, name.name if relation == "*" else relation)


def _columns(table: Table, wanted: list[str]) -> tuple[str, ...]:
    there = {c.name for c in table.copied_columns}
    missing = [c for c in wanted if c not in there]
    if missing:
        raise NotFoundError(
            f"{table.name} has no column {missing[0]} that can be copied", advice=f"it has {', '.join(sorted(there))}"
        )
    return tuple(c.name for c in table.copied_columns if c.name in wanted)


def _refuse_collisions(placements: Iterable[Placement]) -> None:
    seen: dict[Name, Name] = {}
    for placement in placements:
        other = seen.setdefault(placement.target, placement.source)
        if other != placement.source:
            raise PlanError(
                f"{other} and {placement.source} would both become {placement.target}",
                advice="give each its own `into`, or keep the names with `schema.*`",
            )
