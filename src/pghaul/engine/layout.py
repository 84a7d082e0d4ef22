"""Where the target looks different from the source: which tables are made anew, and which rows go to which of them.

It takes the placements of a target that looks the same, and lays out anew what a selection asks for. Over everything
that comes out, a selected row of the source stands exactly once; what the plan has no place for, because there is no
such row, stands in `Mapped.vacant`, and is looked for again when a run is resumed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from pghaul.engine import layout_flat, layout_tree, mapping
from pghaul.engine.laid import Laid, Tree, laid_together
from pghaul.engine.mapping import Mapped
from pghaul.model.design import Design
from pghaul.model.errors import PlanError, ShapeChangedError
from pghaul.model.placement import Placement
from pghaul.model.plan import Layout, Period, Plan
from pghaul.model.table import Name, RelationKind, Table
from pghaul.model.text import say
from pghaul.postgres.session import Session
from pghaul.sources import keys
from pghaul.sources.partitions import Partitioning, partitioning
from pghaul.target.root_indexes import index_columns

FLAT = {Layout.DAY, Layout.MONTH, Layout.LIST}


def lay_out(
    session: Session,
    plan: Plan,
    placements: Sequence[Placement],
    tables: Mapping[Name, Table],
) -> Mapped:
    """Raises PlanError, NotFoundError by name for what cannot be; reads the source only."""
    trees = list(_trees(plan, placements, tables))
    facts = partitioning(session, [n for t in trees for n in t.tables])
    inside = {n for t in trees for n in t.tables}
    same = Laid(placements=tuple(p for p in placements if p.source not in inside))
    laid = laid_together([same, *(_lay_out(session, plan, tree, facts) for tree in trees)])
    designs = _without_lost_indexes(session, laid.designs)
    mapped = mapping.shape(laid.placements, tables, designs)
    return replace(mapped, vacant=laid.vacant, warnings=laid.warnings)


def _without_lost_indexes(session: Session, designs: Sequence[Design]) -> tuple[Design, ...]:
    """An index goes with a column that it needs."""
    columns = index_columns(session, {d.source for d in designs if d.columns is not None})
    lost: dict[Name, list[tuple[str, frozenset[str]]]] = defaultdict(list)
    for (table, index), needs in columns.items():
        lost[table].append((index, needs.touched))
    return tuple(
        d
        if d.columns is None
        else replace(d, without_indexes=tuple(i for i, needs in lost[d.source] if not needs <= set(d.columns)))
        for d in designs
    )


def _lay_out(session: Session, plan: Plan, tree: Tree, facts: Mapping[Name, Partitioning]) -> Laid:
    if tree.layout is Layout.DECLARATIVE and tree.root.kind is not RelationKind.PARTITIONED:
        return layout_tree.declarative(session, tree, plan.period or Period())
    if tree.layout in FLAT:
        return layout_flat.partitioned(session, tree, plan)
    return Laid(placements=tree.placements, designs=tuple(_as_it_is(tree, facts)))


def _trees(plan: Plan, placements: Sequence[Placement], tables: Mapping[Name, Table]) -> Iterator[Tree]:
    """What is laid out anew, by its topmost table: a selection's word holds for all descendants."""
    if not any(s.layout is not Layout.SAME or s.into or s.columns for s in plan.tables):
        return
    fillers = {p.source: p for p in placements}
    root_of: dict[Name, Name] = {}
    for name in tables:
        lineage = list(mapping.lineage(tables, name))
        root = next((n for n in reversed(lineage) if n in root_of or _is_asked(plan, tables, n)), None)
        if root is not None:
            root_of[name] = root_of.get(root, root)
    for root in dict.fromkeys(root_of.values()):
        members = {n: tables[n] for n, r in root_of.items() if r == root}
        yield Tree(
            layout=mapping.said(plan, tables, root, "layout") or Layout.SAME,
            key=mapping.said(plan, tables, root, "key"),
            root=tables[root],
            tables=members,
            placements=tuple(fillers[n] for n in members if n in fillers),
            names={n: mapping.target_name(plan, tables, n) for n in members},
        )


def _is_asked(plan: Plan, tables: Mapping[Name, Table], name: Name) -> bool:
    layout = mapping.said(plan, tables, name, "layout") or Layout.SAME
    moved = mapping.said(plan, tables, name, "into") or mapping.said(plan, tables, name, "columns")
    return layout is not Layout.SAME or moved is not None


def _as_it_is(tree: Tree, facts: Mapping[Name, Partitioning]) -> Iterator[Design]:
    """The same tables under other names, or with fewer columns."""
    filled = {p.source for p in tree.placements}
    holding = _with_ancestors(tree, filled)
    for name, table in tree.tables.items():
        if name != tree.root.name and name not in holding:
            continue  # a period leaves nothing of it
        known = facts.get(name, Partitioning())
        if missing := [c for c in known.key_columns if tree.columns is not None and c not in tree.columns]:
            raise PlanError(
                say(
                    "{table} is partitioned by {column}, which is not among its columns",
                    table=str(name),
                    column=missing[0],
                ),
                where="columns",
                advice=say("add it to `columns`"),
                code=1132,
            )
        inside = table.parent if table.parent in tree.tables else None
        yield Design(
            name=tree.names[name],
            source=name,
            columns=tree.columns,
            key=known.key,
            key_columns=known.key_columns,
            parent=tree.names[inside] if inside else None,
            bound=known.bound if inside else "",
        )


def _with_ancestors(tree: Tree, names: Iterable[Name]) -> set[Name]:
    found: set[Name] = set()
    for name in names:
        at: Name | None = name
        while at is not None and at in tree.tables and at not in found:
            found.add(at)
            at = tree.tables[at].parent
    return found


def check_vacant(session: Session, vacant: Sequence[Placement], tables: Collection[Name]) -> None:
    """Raise ShapeChangedError where rows have come, since the run was planned, for which it has no place.

    `tables` are those that the source still has.
    """
    for placement in vacant:
        for origin in placement.origins:
            if origin.table in tables and keys.any_row(session, origin.table, origin.where):
                raise ShapeChangedError(
                    say(
                        "{table} has rows now that belong to no partition of {target} that was planned",
                        table=str(origin.table),
                        target=str(placement.target),
                    ),
                    advice=say("start a new run: it plans a place for them"),
                    code=5830,
                )
