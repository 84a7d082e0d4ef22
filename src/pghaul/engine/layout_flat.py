"""A flat table becomes partitions: one for each day, each month or each value of its key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from pghaul.engine.laid import Laid, Tree
from pghaul.model.bounds import Value
from pghaul.model.design import Design
from pghaul.model.errors import PlanError
from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.placement import Origin, Placement
from pghaul.model.plan import Layout, Period, Plan
from pghaul.model.table import Column, Name, RelationKind
from pghaul.model.text import say
from pghaul.postgres.bound_values import Family, family
from pghaul.postgres.moments import find_scale, find_zone
from pghaul.postgres.session import Session
from pghaul.sources import keys
from pghaul.sources.slices import Slice, both, rest
from pghaul.sources.spans import spans
from pghaul.target.retarget import fitting

MOST_SPANS = 4000  # ten years of days; more is a stray date rather than a wish
MOST_VALUES = 500
WORD = re.compile(r"\W+")
CALENDAR = {Family.INTEGER, Family.DATE, Family.TIMESTAMP, Family.TIMESTAMPTZ}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    label: str
    slice: Slice


def partitioned(session: Session, tree: Tree, plan: Plan) -> Laid:
    """The bounds are those of the rows that are there. PlanError by name for a table or key that does not fit."""
    root = tree.root
    if len(tree.tables) > 1 or root.kind is not RelationKind.TABLE or root.has_children:
        raise PlanError(
            say(
                "{table} has children: layout = {layout} is for a table without any",
                table=str(root.name),
                layout=tree.layout.value,
            ),
            where="layout",
            advice=say("for a table with children it is layout = declarative"),
            code=1136,
        )
    column = tree.key_column()
    origin = tree.origins.get(root.name)
    if origin is None:
        return Laid()
    period = plan.period or Period()
    pieces = (
        _values(session, origin, column)
        if tree.layout is Layout.LIST
        else _spans(session, origin, column, tree.layout, period)
    )
    indexed = keys.has_index(session, root.name, column.name)
    return _laid(session, tree, column, pieces, tuple(_costs(tree, column, len(pieces), indexed=indexed)))


def _spans(session: Session, origin: Origin, column: Column, layout: Layout, period: Period) -> list[_Piece]:
    place = f"{origin.table}.{column.name}"
    if family(column.type) not in CALENDAR:
        raise PlanError(
            say("{column} is {type}: no date, timestamp or integer", column=place, type=column.type),
            where="key",
            advice=say("choose another key, or layout = list"),
            code=1137,
        )
    try:
        found = keys.extremes(session, origin.table, column.name, column.type, origin.where)
        return [] if found is None else list(_counted(origin.table, column, found, layout, period))
    except (ValueError, OverflowError) as exc:
        raise PlanError(
            say("keys of {table} lie beyond the years 1 to 9999: {error}", table=str(origin.table), error=str(exc)),
            where=place,
            advice=say("leave such rows out with `where`, or say the `unit` of integers"),
            code=1138,
        ) from exc


def _counted(
    table: Name, column: Column, found: tuple[Value, Value], layout: Layout, period: Period
) -> Iterator[_Piece]:
    zone, scale = find_zone(period.timezone), find_scale(column.type, found, period.unit)
    low, high = str(found[0]), str(found[1])
    if scale is None:
        raise PlanError(
            say(
                "{column} goes from {low} to {high}: which time that means is not clear",
                column=f"{table}.{column.name}",
                low=low,
                high=high,
            ),
            where="unit",
            advice=say("say the period's `unit`, or leave stray keys out with `where`"),
            code=1139,
        )
    for number, (label, piece) in enumerate(spans(layout, *found, scale, zone)):
        if number >= MOST_SPANS:
            raise PlanError(
                say(
                    "{table} would need more than {most} partitions: its keys go from {low} to {high}",
                    table=str(table),
                    most=MOST_SPANS,
                    low=low,
                    high=high,
                ),
                where=f"{table}.{column.name}",
                advice=say("use layout = month, or leave stray dates out with `where` or a period"),
                code=1140,
            )
        yield _Piece(label=label, slice=piece)


def _values(session: Session, origin: Origin, column: Column) -> list[_Piece]:
    values = keys.distinct(session, origin.table, column.name, origin.where, MOST_VALUES)
    if len(values) > MOST_VALUES:
        raise PlanError(
            say(
                "{column} has more than {most} values: too many for a partition each",
                column=f"{origin.table}.{column.name}",
                most=MOST_VALUES,
            ),
            where="key",
            advice=say("choose another key, or layout = day or month"),
            code=1141,
        )
    labels = _labels(values)
    return [_Piece(label=label, slice=Slice(values=(value,))) for label, value in zip(labels, values, strict=True)]


def _labels(values: Sequence[str]) -> list[str]:
    """What partitions are called after: the value where it makes a name, its number where not."""
    plain = [WORD.sub("_", v).strip("_").lower() for v in values]
    good = [p if p and plain.count(p) == 1 and len(p) <= 40 and p != "default" else "" for p in plain]
    taken = set(good)
    numbered = (f"v{i}" for i in range(1, 2 * len(values) + 1) if f"v{i}" not in taken)
    return [g or next(numbered) for g in good]


def _laid(
    session: Session, tree: Tree, column: Column, pieces: Sequence[_Piece], warnings: tuple[Finding, ...]
) -> Laid:
    origin = tree.origins[tree.root.name]
    slices = [p.slice for p in pieces]
    left = both(origin.where, rest(column.name, slices))
    root = _root(tree, column)
    stray = not pieces or keys.any_row(session, origin.table, left)
    everything = [*pieces, _Piece(label="default", slice=Slice())] if stray else pieces
    designs, placements = [root], []
    for piece in everything:
        default = piece.label == "default"
        where = left if default else both(origin.where, piece.slice.condition(column.name))
        leaf = Design(
            name=Name(root.name.schema, fitting(f"{root.name.name}_{piece.label}")),
            source=tree.root.name,
            columns=tree.columns,
            parent=root.name,
            bound="DEFAULT" if default else piece.slice.bound(),
        )
        designs.append(leaf)
        placements.append(
            Placement(target=leaf.name, origins=(Origin(table=origin.table, where=where),), columns=tree.columns)
        )
    vacant = Placement(target=root.name, origins=(Origin(table=origin.table, where=left),))
    return Laid(
        placements=tuple(placements),
        designs=tuple(designs),
        vacant=() if stray else (vacant,),
        warnings=warnings,
    )


def _root(tree: Tree, column: Column) -> Design:
    word = "LIST" if tree.layout is Layout.LIST else "RANGE"
    return Design(
        name=tree.names[tree.root.name],
        source=tree.root.name,
        columns=tree.columns,
        key=f"{word} ({sql.Identifier(column.name).as_string(None)})",
        key_columns=(column.name,),
    )


def _costs(tree: Tree, column: Column, count: int, *, indexed: bool) -> Iterator[Finding]:
    if indexed or count < 2:
        return
    yield Finding(
        severity=Severity.WARNING,
        kind=Kind.BOUNDS,
        object=str(tree.names[tree.root.name]),
        what=say(
            "no index of {table} begins with {column}: each of its {count} partitions reads the whole table "
            "({size} MiB)",
            table=str(tree.root.name),
            column=column.name,
            count=count,
            size=tree.root.bytes >> 20,
        ),
        where=say("source"),
        advice=say("an index on the source that begins with the key spares most of the reading"),
        code=1232,
    )
