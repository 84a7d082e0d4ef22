"""An inheritance tree becomes declarative partitions: every table without children is one, by what its CHECK says.

A table whose CHECK is validated, and whose key cannot be NULL, fills its partition as it is. Rows of all others (of the
parent itself, mostly) go where the key sends them, and to a DEFAULT partition where no range holds them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from psycopg import sql

from pghaul.engine.laid import Laid, Tree
from pghaul.model.bounds import Bounds, Edge, Strategy, Value, after, low_order
from pghaul.model.design import Design
from pghaul.model.errors import BoundsError, PlanError
from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.placement import Origin, Placement
from pghaul.model.plan import Period
from pghaul.model.table import Column, Name, Table
from pghaul.model.text import Text, joined, say
from pghaul.postgres.bound_values import Family, family
from pghaul.postgres.session import Session
from pghaul.postgres.trees import trees
from pghaul.sources import keys
from pghaul.sources.slices import NOWHERE, Slice, both, rest
from pghaul.target.retarget import fitting

PRECISION = re.compile(r"\((\d)\)")
LARGEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}
LISTED = 8  # gaps named one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class _Partition:
    table: Table
    bounds: Bounds
    slice: Slice


def declarative(session: Session, tree: Tree, period: Period) -> Laid:
    """PlanError by name for overlaps, for children without bounds, and for columns that the parent does not have."""
    leaves = [t for n, t in tree.tables.items() if n != tree.root.name and not t.has_children]
    if not leaves:
        raise PlanError(
            say("{table} has no children that could become partitions", table=str(tree.root.name)),
            where="layout",
            advice=say("for a table without children it is layout = day, month or list"),
            code=1142,
        )
    (known,) = trees(session, [tree.root.name], period=period)
    column = tree.key_column(known.key or None)
    for leaf in leaves if tree.columns is None else ():
        _same_columns(tree.root, leaf)
    # A period may leave out a whole child: it is not made, and nothing of it is read.
    kept = [t for t in leaves if t.name in tree.origins]
    found = [(t, known.bounds(known.by_name[t.name], column.name)) for t in kept]
    partitions = _in_order(list(_partitions(found, column)))
    _refuse_overlaps(partitions)
    return replace(_placed(session, tree, column, partitions), warnings=tuple(_gaps(tree, partitions)))


def _same_columns(root: Table, leaf: Table) -> None:
    own = {c.name for c in leaf.columns} - {c.name for c in root.columns}
    if own:
        raise PlanError(
            say(
                "{table} has a column {column} that {parent} does not have: a partition cannot",
                table=str(leaf.name),
                column=min(own),
                parent=str(root.name),
            ),
            advice=say("exclude the table, or select `columns` of the parent only"),
            code=1143,
        )


def _partitions(found: Sequence[tuple[Table, Bounds | None]], column: Column) -> Iterator[_Partition]:
    """One for each table; BoundsError names all of those that cannot be one."""
    unbounded = []
    for table, bounds in found:
        piece = None if bounds is None else _slice(bounds, column)
        if bounds is None or piece is None:
            unbounded.append(str(table.name))
        else:
            yield _Partition(table=table, bounds=bounds, slice=piece)
    if unbounded:
        raise BoundsError(
            say("no CHECK says which {column} lies in {tables}", column=column.name, tables=_listed(", ", unbounded)),
            where=say("source"),
            advice=say("a partition needs it: ALTER TABLE … ADD CHECK (…) on the source, or exclude the table"),
            code=1230,
        )


def _slice(bounds: Bounds, column: Column) -> Slice | None:
    if bounds.strategy is Strategy.LIST and bounds.values:
        return Slice(values=bounds.values)
    if not bounds.is_range or bounds.empty:
        return None
    try:
        return Slice(
            low=None if bounds.low is None else _begin(bounds.low, column, beyond=not bounds.low.inclusive),
            high=None if bounds.high is None else _begin(bounds.high, column, beyond=bounds.high.inclusive),
        )
    except ValueError:
        return None


def _begin(edge: Edge, column: Column, *, beyond: bool) -> Value | None:
    """The first value of the column at the edge, or `beyond` it; None beyond the last one that there is.

    ValueError where values have no next one (numeric, text), or the edge is no value of the column.
    """
    kind, value = family(column.type), edge.value
    if kind is Family.DATE and isinstance(value, datetime):  # a date compared with a timestamp
        midnight = value == datetime(value.year, value.month, value.day)
        return value.date() + timedelta(days=beyond or not midnight)
    if kind is Family.INTEGER and not isinstance(value, int):
        raise ValueError(f"{value!r} is no integer")
    if not beyond:
        return value
    if kind in {Family.TIMESTAMP, Family.TIMESTAMPTZ} and isinstance(value, datetime):
        precision = PRECISION.search(column.type)
        return value + timedelta(microseconds=10 ** (6 - int(precision[1] if precision else 6)))
    if kind is Family.INTEGER:
        return None if value == LARGEST.get(column.type) else after(value)
    if kind is Family.DATE:
        return after(value)
    raise ValueError(f"nothing comes directly after {value!r}")


def _in_order(partitions: Sequence[_Partition]) -> list[_Partition]:
    return sorted(partitions, key=lambda p: low_order(p.bounds))


def _refuse_overlaps(partitions: Sequence[_Partition]) -> None:
    """Ranges in order overlap with their neighbours if with any; lists may with any."""
    listed = any(p.slice.values for p in partitions)
    pairs = ((a, b) for i, a in enumerate(partitions) for b in partitions[i + 1 :]) if listed else pairwise(partitions)
    clashes = [
        say("{one} and {other}", one=str(a.table.name), other=str(b.table.name))
        for a, b in pairs
        if a.bounds.overlaps(b.bounds)
    ]
    if clashes:
        raise BoundsError(
            say("bounds overlap, so they cannot be partitions of one table: {pairs}", pairs=_listed("; ", clashes)),
            where=say("source"),
            advice=say("mend the CHECKs on the source, or exclude one of each pair"),
            code=1231,
        )


def _listed(separator: str, parts: Sequence[str]) -> Text:
    """The first of them, and how many there are beyond."""
    first = joined(separator, parts[:LISTED])
    return say("{listed} and {n} more", listed=first, n=len(parts) - LISTED) if len(parts) > LISTED else first


def _gaps(tree: Tree, partitions: Sequence[_Partition]) -> Iterator[Finding]:
    found = [
        say(
            "from {low} to {high} (between {before} and {after})",
            low=str(a.slice.high),
            high=str(b.slice.low),
            before=a.table.name.name,
            after=b.table.name.name,
        )
        for a, b in pairwise(partitions)
        if a.slice.high is not None and b.slice.low is not None and a.slice.high != b.slice.low
    ]
    if found:
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.BOUNDS,
            object=str(tree.names[tree.root.name]),
            what=say(
                "the partitions of {table} leave gaps: {gaps}", table=str(tree.root.name), gaps=_listed("; ", found)
            ),
            where=say("source"),
            advice=say("rows in a gap go to a DEFAULT partition; where none are to come, nothing is to be done"),
            code=1233,
        )


def _placed(session: Session, tree: Tree, column: Column, partitions: Sequence[_Partition]) -> Laid:
    slices = [p.slice for p in partitions]
    key = column.name
    proven = {p.table.name for p in partitions if _is_proven(p)}
    spread = {n: _spread(session, tree, n, partitions, key) for n in tree.origins if n not in proven}
    placements = []
    for number, partition in enumerate(partitions):
        name = partition.table.name
        own = tree.origins[name]
        if name not in proven:
            own = replace(own, where=both(own.where, partition.slice.condition(key)))
        others = [
            Origin(table=n, where=both(tree.origins[n].where, partition.slice.condition(key)))
            for n, numbers in spread.items()
            if n != name and number in numbers
        ]
        placements.append(Placement(target=tree.names[name], origins=(own, *others), columns=tree.columns))
    strays = [
        Origin(table=n, where=both(tree.origins[n].where, rest(key, slices)))
        for n, found in spread.items()
        if NOWHERE in found
    ]
    root = tree.names[tree.root.name]
    designs = [_root(tree, key, partitions), *(_leaf(tree, p) for p in partitions)]
    if strays:
        designs.append(_default(tree))
        placements.append(Placement(target=designs[-1].name, origins=tuple(strays), columns=tree.columns))
    vacant = _vacant(tree, key, partitions, spread)
    return Laid(
        placements=tuple(placements),
        designs=tuple(designs),
        vacant=(Placement(target=root, origins=vacant),) if vacant else (),
    )


def _is_proven(partition: _Partition) -> bool:
    """Every row of it lies in its slice: the server itself has seen to that."""
    column = next((c for c in partition.table.columns if c.name == partition.bounds.column), None)
    return partition.bounds.trusted and (not partition.bounds.nulls or (column is not None and column.not_null))


def _spread(session: Session, tree: Tree, name: Name, partitions: Sequence[_Partition], key: str) -> set[int]:
    """Into which partitions the rows of a relation go. An empty file has none; NULLs alone need no scan."""
    if tree.tables[name].pages == 0:
        return set()
    where = tree.origins[name].where
    for number, partition in enumerate(partitions):
        if partition.table.name == name and partition.bounds.trusted:
            null = f"{sql.Identifier(key).as_string(None)} IS NULL"
            return {number, NOWHERE} if keys.any_row(session, name, both(where, null)) else {number}
    return keys.places(session, name, key, [p.slice for p in partitions], where)


def _vacant(
    tree: Tree, key: str, partitions: Sequence[_Partition], spread: Mapping[Name, set[int]]
) -> tuple[Origin, ...]:
    """Rows for which no place is planned, as there are none: those of the slices that a relation has no rows in."""
    found = []
    for name, numbers in spread.items():
        own = {i for i, p in enumerate(partitions) if p.table.name == name}
        taken = [p.slice for i, p in enumerate(partitions) if i in numbers | own]
        if NOWHERE not in numbers:
            found.append(Origin(table=name, where=both(tree.origins[name].where, rest(key, taken))))
        elif len(taken) < len(partitions):
            others = [p.slice.condition(key) for i, p in enumerate(partitions) if i not in numbers | own]
            where = " OR ".join(f"({c})" for c in others)
            found.append(Origin(table=name, where=both(tree.origins[name].where, where)))
    return tuple(found)


def _root(tree: Tree, key: str, partitions: Sequence[_Partition]) -> Design:
    word = "LIST" if any(p.slice.values for p in partitions) else "RANGE"
    return Design(
        name=tree.names[tree.root.name],
        source=tree.root.name,
        columns=tree.columns,
        key=f"{word} ({sql.Identifier(key).as_string(None)})",
        key_columns=(key,),
    )


def _leaf(tree: Tree, partition: _Partition) -> Design:
    return Design(
        name=tree.names[partition.table.name],
        source=partition.table.name,
        columns=tree.columns,
        parent=tree.names[tree.root.name],
        bound=partition.slice.bound(),
        bound_column=partition.bounds.column,
    )


def _default(tree: Tree) -> Design:
    root = tree.names[tree.root.name]
    return Design(
        name=Name(root.schema, fitting(f"{root.name}_default")),
        source=tree.root.name,
        columns=tree.columns,
        parent=root,
        bound="DEFAULT",
    )
