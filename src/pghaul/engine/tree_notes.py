"""What a plan has to say of partition trees: what a period leaves of them, and what is wrong with their bounds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from pghaul.engine import mapping
from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.plan import Layout, Period, Plan
from pghaul.model.table import Name, RelationKind, Table
from pghaul.model.text import say, saying
from pghaul.model.tree import Problem, Tree
from pghaul.postgres.registry_bounds import tree_scale
from pghaul.postgres.session import Session
from pghaul.postgres.trees import trees

TAKEN = saying("{root}: of {all} partitions {whole} are taken whole, {part} in part, {out} not at all ({how})")
TELLS = saying("{timezone}; {key} is {scale}")
TAKEN_ADVICE = say("in part: read through a condition on the key, for they are cut or nobody holds to their bounds")
WRONG = saying("{table}: {message}")
ADVICE = say("`pghaul inspect --tree` shows all bounds")

LAID_OUT_ELSEWHERE = {Problem.GAP, Problem.OVERLAP}  # who asks for another layout is told there
GRAVE = {Problem.OVERLAP, Problem.NOT_VALID, Problem.NOT_PLAIN, Problem.NO_BOUNDS}


def tree_notes(
    session: Session, plan: Plan, tables: Mapping[Name, Table], conditions: Mapping[Name, str | None]
) -> Iterator[Finding]:
    """Of all trees that are selected, or part of them."""
    period = plan.period
    for tree in trees(session, tables.keys(), period=period or Period()) if tables else ():
        if period is not None and (period.since or period.until):
            key = mapping.said(plan, tables, tree.root, "key") or tree.key
            yield _taken(tree, conditions, period, key)
        layout = mapping.said(plan, tables, tree.root, "layout")
        yield from _wrong(tree, tables.keys(), again=layout in {None, Layout.SAME})


def _taken(tree: Tree, conditions: Mapping[Name, str | None], period: Period, key: str) -> Finding:
    leaves = [m.name for m in tree.members if m.kind is RelationKind.TABLE]
    whole = sum(conditions.get(n) == "" for n in leaves)
    part = sum(bool(conditions.get(n)) for n in leaves)
    scale = tree_scale(tree, period.unit, key)
    how = period.timezone if scale is None else TELLS.format(timezone=period.timezone, key=key, scale=scale.value)
    return Finding(
        severity=Severity.NOTE,
        kind=Kind.BOUNDS,
        object=str(tree.root),
        what=TAKEN.format(
            root=str(tree.root),
            all=len(leaves),
            whole=whole,
            part=part,
            out=len(leaves) - whole - part,
            how=how,
        ),
        advice=TAKEN_ADVICE if part else None,
        code=1235,
    )


def _wrong(tree: Tree, selected: Collection[Name], *, again: bool) -> Iterator[Finding]:
    for found in tree.findings:
        if found.table in selected and (again or found.problem not in LAID_OUT_ELSEWHERE):
            yield Finding(
                severity=Severity.WARNING if found.problem in GRAVE else Severity.NOTE,
                kind=Kind.BOUNDS,
                object=str(found.table),
                what=WRONG.format(table=str(found.table), message=found.message),
                advice=ADVICE,
                code=1236,
            )
