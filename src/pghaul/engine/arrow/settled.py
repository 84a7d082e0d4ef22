"""The target's columns as they are below their domains: a domain of varchar(3) cuts blanks off as varchar(3) does.

And which of somebody's own types are enums: their labels go by binary COPY.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pghaul.engine.job import CopySide, Field
from pghaul.model.table import Name
from pghaul.target.arrow.described import columns_by, columns_of

if TYPE_CHECKING:
    import asyncpg

    from pghaul.engine.job import ArrowPlan
    from pghaul.target.arrow.column import TargetColumn
    from pghaul.target.arrow.described import Ask

FIRST_OF_SOMEBODY = 16_384  # the first oid of a type that somebody has made


async def settled(plan: ArrowPlan, side: CopySide, target: asyncpg.Connection) -> ArrowPlan:
    """The same plan, where no column's type is a domain. Asks only where one may be."""
    if _plain(plan):
        return plan
    return _with(plan, await columns_of(target, Name(side.schema, side.table), [f.name for f in plan.fields]))


def settled_by(plan: ArrowPlan, table: Name, ask: Ask) -> ArrowPlan:
    """The same, for a sample that the leader takes in a transaction of its own."""
    return plan if _plain(plan) else _with(plan, columns_by(ask, table, [f.name for f in plan.fields]))


def _plain(plan: ArrowPlan) -> bool:
    return all(0 < f.oid < FIRST_OF_SOMEBODY for f in plan.fields)


def _with(plan: ArrowPlan, found: list[TargetColumn]) -> ArrowPlan:
    return replace(plan, fields=tuple(Field(name=c.name, type=c.type, oid=c.oid, enum=c.enum) for c in found))
