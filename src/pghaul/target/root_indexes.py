"""Indexes of partitioned tables that are made anew: those that all partitions have alike.

A partition's indexes are built right after its rows. The partitioned table's adopt them, as the server finds them
equal; what only some partitions have stays with these, and is named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pghaul.model.design import Design, parents_first
from pghaul.model.table import Index, Name, RelationKind, Table, Unsupported
from pghaul.model.text import say, saying
from pghaul.postgres.session import Session
from pghaul.postgres.versions import Capabilities
from pghaul.target import retarget
from pghaul.target._design_sql import INDEX_COLUMNS

ALONE = say("only the parent's own rows have it: a DEFAULT partition gets it, if there is one")
SOME = saying("{n} of {all} partitions have it: it is built on those, not on the whole table")
NO_ROOT_INDEXES = say("partitioned tables of the target's version have no indexes of their own; each partition has it")
EXCLUSION = say("an exclusion constraint cannot span partitions; each partition has it")
WITHOUT_KEY = saying("unique over all partitions it would have to contain the key ({column}); each partition has it")


@dataclass(frozen=True, slots=True, kw_only=True)
class RootIndex:
    """`index` is written for `table` already."""

    table: Name
    index: Index


@dataclass(frozen=True, slots=True, kw_only=True)
class RootIndexes:
    """What to build, inner tables first, and what cannot be on a partitioned table."""

    wanted: tuple[RootIndex, ...]
    left: tuple[Unsupported, ...]


def root_indexes(
    source: Session, designs: Sequence[Design], tables: Mapping[Name, Table], can: Capabilities
) -> RootIndexes:
    """`tables` are the source's, as described."""
    wanted: list[RootIndex] = []
    left: list[Unsupported] = []
    columns = index_columns(source, {d.source for d in designs})
    for root in reversed([d for d in parents_first(designs) if d.partitioned and d.source in tables]):
        leaves = [d for d in designs if d.parent == root.name and d.source in tables and d.bound != "DEFAULT"]
        common, uncommon = _common(root, leaves, tables)
        for origin, index in common:
            new = retarget.index(index, origin, root.name)
            why = _obstacle(root, index, columns[origin, index.name].keys, can)
            if why:
                left.append(Unsupported(kind="INDEX", name=f"{root.name}.{new.name}", why=why))
            else:
                wanted.append(RootIndex(table=root.name, index=new))
        left += uncommon
    return RootIndexes(wanted=tuple(wanted), left=tuple(left))


def leaf_indexes(design: Design, table: Table) -> tuple[Index, ...]:
    """What is built on the table itself, right after its rows."""
    if design.partitioned:
        return ()
    return tuple(
        retarget.index(i, table.name, design.name) for i in table.indexes if i.name not in design.without_indexes
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexColumns:
    """All columns that an index touches, and those that are plain keys of it."""

    touched: frozenset[str]
    keys: frozenset[str]


def index_columns(source: Session, names: Collection[Name]) -> dict[tuple[Name, str], IndexColumns]:
    """By table and index."""
    rows = source.rows(INDEX_COLUMNS, ([n.schema for n in names], [n.name for n in names])) if names else []
    return {
        (Name(s, t), i): IndexColumns(touched=frozenset(touched), keys=frozenset(plain))
        for s, t, i, touched, plain in rows
    }


def _common(
    root: Design, leaves: Sequence[Design], tables: Mapping[Name, Table]
) -> tuple[list[tuple[Name, Index]], list[Unsupported]]:
    """Indexes that all partitions have, each as one of them has it, and those that some have only."""
    own = tables[root.source]
    if own.kind is RelationKind.PARTITIONED:
        return [(own.name, i) for i in own.indexes if i.name not in root.without_indexes], []
    found: dict[tuple[object, ...], list[tuple[Name, Index]]] = defaultdict(list)
    for leaf in leaves:
        table = tables[leaf.source]
        kept = (i for i in table.indexes if i.name not in leaf.without_indexes)
        for shape in {_shape(i, table.name): i for i in kept}.items():
            found[shape[0]].append((table.name, shape[1]))
    common = [same[0] for same in found.values() if len(same) == len(leaves)]
    uncommon = [_some(root, same, len(leaves)) for same in found.values() if len(same) < len(leaves)]
    alone = [i for i in own.indexes if i.name not in root.without_indexes and _shape(i, own.name) not in found]
    return common, uncommon + [Unsupported(kind="INDEX", name=f"{root.name}.{i.name}", why=ALONE) for i in alone]


def _shape(index: Index, table: Name) -> tuple[object, ...]:
    """Equal where two indexes differ by name and table only."""
    return (index.unique, index.constraint_kind, index.constraint_definition, retarget.rest(index, table))


def _some(root: Design, same: Sequence[tuple[Name, Index]], count: int) -> Unsupported:
    table, index = same[0]
    return Unsupported(
        kind="INDEX",
        name=f"{root.name}.{retarget.derived(index.name, table.name, root.name.name)}",
        why=SOME.format(n=len(same), all=count),
    )


def _obstacle(root: Design, index: Index, keys: Collection[str], can: Capabilities) -> str:
    missing = [c for c in root.key_columns if c not in keys]
    if not can.partitioned_indexes:
        return NO_ROOT_INDEXES
    if index.constraint_kind == "x":
        return EXCLUSION
    if index.unique and missing:
        return WITHOUT_KEY.format(column=missing[0])
    return ""
