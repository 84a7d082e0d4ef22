"""What the planning of layouts passes on: a tree as it was selected, and how it is laid out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pghaul.model.design import Design
from pghaul.model.errors import NotFoundError, PlanError
from pghaul.model.finding import Finding
from pghaul.model.placement import Origin, Placement
from pghaul.model.plan import Layout
from pghaul.model.table import Column, Name, Table
from pghaul.model.text import say


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One selected table with its selected descendants; `placements` as if the target looked the same."""

    layout: Layout
    key: str | None
    root: Table
    tables: Mapping[Name, Table]
    placements: tuple[Placement, ...]
    names: Mapping[Name, Name]  # by the source's names

    @property
    def columns(self) -> tuple[str, ...] | None:
        """What is left of the columns; None: all. Generated ones cannot be named, and go with a choice."""
        return self.placements[0].columns if self.placements else None

    @property
    def origins(self) -> dict[Name, Origin]:
        """What is selected of each relation's own rows."""
        return {o.table: o for p in self.placements for o in p.origins}

    def key_column(self, given: str | None = None) -> Column:
        """The column that partitions. PlanError, NotFoundError."""
        root, name = self.root.name, self.key or given
        if not name:
            raise PlanError(
                say("{table} is to be partitioned, and by which column is not said", table=str(root)),
                where="key",
                advice=say("set `key`"),
                code=1130,
            )
        column = next((c for c in self.root.columns if c.name == name), None)
        if column is None:
            raise NotFoundError(
                say("{table} has no column {column}", table=str(root), column=name), where="key", code=5206
            )
        if column.generated:
            raise PlanError(
                say(
                    "{table} cannot be partitioned by {column}: it is a generated column", table=str(root), column=name
                ),
                where="key",
                advice=say("choose another `key`"),
                code=1131,
            )
        if self.columns is not None and name not in self.columns:
            raise PlanError(
                say("{table} is partitioned by {column}, which is not among its columns", table=str(root), column=name),
                where="columns",
                advice=say("add it to `columns`"),
                code=1132,
            )
        return column


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """What fills what, and what is made for it. `vacant`: rows that were not there, so that nothing takes them."""

    placements: tuple[Placement, ...] = ()
    designs: tuple[Design, ...] = ()
    vacant: tuple[Placement, ...] = ()
    warnings: tuple[Finding, ...] = ()


def laid_together(parts: Iterable[Laid]) -> Laid:
    """All of them as one; PlanError where two tables would become one."""
    found = list(parts)
    placements = tuple(p for part in found for p in part.placements)
    designs = tuple(d for part in found for d in part.designs)
    _refuse_collisions(placements, designs)
    return Laid(
        placements=placements,
        designs=designs,
        vacant=tuple(v for part in found for v in part.vacant),
        warnings=tuple(w for part in found for w in part.warnings),
    )


def _refuse_collisions(placements: Iterable[Placement], designs: Iterable[Design]) -> None:
    made: dict[Name, Name] = {}
    for design in designs:
        if made.setdefault(design.name, design.source) != design.source:
            _refuse(design.name, made[design.name], design.source)
    filled: dict[Name, Name] = {}
    for placement in placements:
        other = filled.setdefault(placement.target, placement.source)
        if other != placement.source:
            _refuse(placement.target, other, placement.source)


def _refuse(name: Name, one: Name, other: Name) -> None:
    raise PlanError(
        say("{one} and {other} would both become {name}", one=str(one), other=str(other), name=str(name)),
        advice=say("give each its own `into`, or keep the names with `schema.*`"),
        code=1133,
    )
