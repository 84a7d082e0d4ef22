"""What is compared with what: source tables and target tables, as the plan's placements and layouts say.

Leaf by leaf where both sides have the same leaves. Where a tree is cut otherwise on the target (a table that became
partitions, partitions that somebody has added or merged since), all of it is compared as one table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pghaul.engine import statements
from pghaul.engine.inserts import unique_keys
from pghaul.engine.mapping import Mapped, lineage
from pghaul.engine.verify_sql import Part, Rows
from pghaul.model.errors import PghaulError
from pghaul.model.pattern import is_matched, is_named
from pghaul.model.placement import Origin, Placement
from pghaul.model.table import Column, Name, RelationKind, Table
from pghaul.model.text import Text, joined, saying
from pghaul.postgres.rowhash import Agreement, unhashable
from pghaul.postgres.session import Session
from pghaul.postgres.widening import type_changes
from pghaul.sources import keys

NO_TABLE = saying("the target has no table {table}")
NO_COLUMN = saying("the target's {table} has no column {column}")
NOT_READABLE = saying("{user} may not read {table} on the {side}")
ROWS_HIDDEN = saying("row security hides rows of {table} from {user} on the {side}")
GONE = saying("the source has no table {table} any more")
INEXACT = saying("{columns}: floats inside of other types, which servers before 12 write differently; only counted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Two sets of rows that should be equal. With a `why` they cannot be compared, or `counted` at most."""

    source: Name
    target: Name
    here: Rows
    there: Rows
    key: tuple[Column, ...] = ()
    bytes: int = 0
    rows: int | None = None
    counted: bool = False
    why: Text | str = ""

    @property
    def wanted(self) -> int:
        """Rows of the larger side, as far as they can be estimated."""
        return self.bytes // 64 if self.rows is None else self.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Everything that was found on both sides. `refused`: tables that may not be read, by side, with the reason."""

    mapped: Mapped
    tables: Mapping[Name, Table]  # the source's
    there: Mapping[Name, Table]  # the target's: what is placed, and all that is below or above it
    children: Mapping[Name, Collection[Name]]  # of the target's, all that is below
    agreement: Agreement
    refused: tuple[Mapping[Name, Text], Mapping[Name, Text]]
    raw: tuple[bool, bool]
    trees: Mapping[Name, Sequence[Name]]  # the source's tables by the topmost one above them

    def source_top(self, name: Name) -> Name:
        """The topmost table above a table of the source."""
        return list(lineage(self.tables, name))[-1]


def trees(tables: Mapping[Name, Table]) -> dict[Name, list[Name]]:
    """By the topmost one: itself, and all below it."""
    found: dict[Name, list[Name]] = defaultdict(list)
    for name in tables:
        found[list(lineage(tables, name))[-1]].append(name)
    return found


def units(found: Setting, source: Session, target: Session) -> Iterator[Unit]:
    """Over all of them, each selected row of the source stands once."""
    groups: dict[Name, list[Placement]] = defaultdict(list)
    for placement in found.mapped.placements:
        groups[_top(found, placement.target)].append(placement)
    for top, members in groups.items():
        strays = [v for v in found.mapped.vacant if _top(found, v.target) == top and _any_row(source, found, v)]
        if _is_tree(found, top, members, strays):
            yield checked(found, target, _tree(found, top, [*members, *strays]))
        else:
            for placement in members:
                yield checked(found, target, _leaf(found, placement))


def _top(found: Setting, target: Name) -> Name:
    return list(lineage(found.mapped.shapes, target))[-1] if target in found.mapped.shapes else target


def _any_row(source: Session, found: Setting, vacant: Placement) -> bool:
    return any(o.table in found.tables and keys.any_row(source, o.table, o.where) for o in vacant.origins)


def _is_tree(found: Setting, top: Name, members: Sequence[Placement], strays: Sequence[Placement]) -> bool:
    """Is the tree cut otherwise on the target, and can it be compared as a whole?"""
    root, names = found.there.get(top), {m.target for m in members}
    if root is None or not _is_closed(found, members):
        return False
    alike = all(n in found.there and found.there[n].kind is RelationKind.TABLE for n in names)
    others = ({top} | set(found.children.get(top, ()))) - names
    more = any(t.bytes for n in others if (t := found.there.get(n)) and t.kind is RelationKind.TABLE)
    tree = len(members) > 1 or root.kind is RelationKind.PARTITIONED or bool(found.children.get(top))
    return tree and (not alike or more or bool(strays))


def _is_closed(found: Setting, members: Sequence[Placement]) -> bool:
    """Do the members take all rows of their tree, or can it be said in one condition which they take?"""
    origins = [o for m in members for o in m.origins]
    if all(o.where for o in origins):
        return True
    if any(o.where for o in origins):
        return False
    taken = {o.table for o in origins}
    below = {n for top in {found.source_top(n) for n in taken} for n in found.trees[top]}
    return all(n in taken for n in below if found.tables[n].kind is RelationKind.TABLE)


def _tree(found: Setting, top: Name, members: Sequence[Placement]) -> Unit:
    origins = [o for m in members for o in m.origins]
    source = found.source_top(members[0].source)
    lender = found.tables[source]
    if lender.kind is not RelationKind.PARTITIONED and not all(_is_child(found, o, source) for o in origins):
        lender = found.tables[members[0].source]
    return unit_of(found, members[0], lender, origins, top, children=True)


def _is_child(found: Setting, origin: Origin, source: Name) -> bool:
    return source in lineage(found.tables, origin.table)


def _leaf(found: Setting, placement: Placement) -> Unit:
    return unit_of(
        found, placement, found.tables[placement.source], placement.origins, placement.target, children=False
    )


def unit_of(
    found: Setting, placement: Placement, lender: Table, origins: Sequence[Origin], target: Name, *, children: bool
) -> Unit:
    shape, there = found.mapped.shapes.get(target, lender), found.there.get(target)
    names = {c.name for c in shape.copied_columns}
    columns = tuple(c for c in lender.copied_columns if c.name in names)
    if placement.columns is not None:
        columns = tuple(c for c in columns if c.name in placement.columns)
    own = there or lender
    here, there_rows = _sides(found, columns, lender, own, origins, target, children=children)
    inexact = unhashable(columns, float_binary=found.agreement.float_binary)
    tables = [found.tables[o.table] for o in {o.table: o for o in origins}.values()]
    return Unit(
        source=lender.name,
        target=target,
        here=here,
        there=there_rows,
        key=_key(columns, [lender, *tables, own]),
        bytes=max(sum(t.bytes for t in tables), _size(found, target, children=children)),
        rows=_rows([t.rows for t in tables]),
        counted=bool(inexact),
        why=INEXACT.format(columns=", ".join(inexact)) if inexact else _why(found, columns, origins, target),
    )


def _sides(
    found: Setting,
    columns: tuple[Column, ...],
    lender: Table,
    own: Table,
    origins: Sequence[Origin],
    target: Name,
    *,
    children: bool,
) -> tuple[Rows, Rows]:
    agreed = found.agreement
    here = Rows(
        parts=tuple(Part(table=o.table, where=o.where) for o in origins),
        columns=columns,
        changes=type_changes(columns, own.columns),
        extended=agreed.extended,
        float_binary=agreed.float_binary,
        recode=agreed.source_recode,
        raw=found.raw[0],
        types={c.name: c.type for c in lender.columns},
    )
    part = Part(table=target, where=_either(origins), children=children)
    there = replace(
        here,
        parts=(part,),
        recode=agreed.target_recode,
        raw=found.raw[1],
        types={c.name: c.type for c in own.columns},
    )
    return here, there


def _either(origins: Iterable[Origin]) -> str:
    """What of the target is meant: rows that any of the origins could have sent."""
    conditions = dict.fromkeys(o.where for o in origins)
    return "" if "" in conditions else "\nOR ".join(f"({c}\n)" for c in conditions)


def _why(found: Setting, columns: Sequence[Column], origins: Sequence[Origin], target: Name) -> Text | str:
    there = found.there.get(target)
    refused = [found.refused[0][o.table] for o in origins if o.table in found.refused[0]]
    if target in found.refused[1]:
        refused.append(found.refused[1][target])
    if refused:
        return joined("; ", refused[:3])
    if there is None or there.kind is RelationKind.FOREIGN:
        return NO_TABLE.format(table=str(target))
    held = {c.name for c in there.columns}
    missing = [NO_COLUMN.format(table=str(target), column=c.name) for c in columns if c.name not in held]
    return joined("; ", missing[:3]) if missing else ""


def _key(columns: Sequence[Column], tables: Iterable[Table]) -> tuple[Column, ...]:
    """Columns that should tell one row from another: where they do not, rows of one key are compared as a set."""
    there = {c.name: c for c in columns}
    for table in tables:
        for names in unique_keys(table):
            if all(n in there for n in names):
                return tuple(there[n] for n in names)
    return ()


def _size(found: Setting, target: Name, *, children: bool) -> int:
    below = found.children.get(target, ()) if children else ()
    return sum(found.there[n].bytes for n in {target, *below} if n in found.there)


def _rows(estimates: Sequence[int | None]) -> int | None:
    known = [e for e in estimates if e is not None]
    return sum(known) if len(known) == len(estimates) else None


def checked(found: Setting, target: Session, unit: Unit) -> Unit:
    """A condition that the target does not understand (a column that stayed behind) is left to the source."""
    (part,) = unit.there.parts
    if not part.where or unit.target not in found.there or unit.why:
        return unit
    try:
        with target.transaction():
            for statement in statements.probes(part.table, part.where):
                target.execute(statement)
    except PghaulError:
        return replace(unit, there=replace(unit.there, parts=(replace(part, where=""),)))
    return unit


def chosen(found: Sequence[Unit], mapped: Mapped, patterns: Sequence[str]) -> list[Unit]:
    """Those that a pattern fits, by their own name on either side or by that of a table above; all without patterns."""
    if not patterns:
        return list(found)
    return [u for u in found if any(_fits(p, u, mapped) for p in patterns)]


def _fits(pattern: str, unit: Unit, mapped: Mapped) -> bool:
    above = list(lineage(mapped.shapes, unit.target))
    names = {unit.source, unit.target, *above, *(mapped.sources[n] for n in above if n in mapped.sources)}
    return any(is_named(pattern, n) or is_matched(pattern, n) for n in names)
