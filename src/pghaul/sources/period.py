"""A period resolved against bounds: which relations lie within it, which outside, and the condition for the others.

Whatever nobody guarantees bounds for (default partitions, a parent's own rows, children without a validated CHECK) is
neither skipped nor taken whole: its rows are read through the condition.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

from psycopg.sql import SQL, Composable, Identifier, Literal

from pghaul.model.bounds import Bounds, Edge, Strategy, Value
from pghaul.model.errors import NotFoundError, PlanError
from pghaul.model.plan import Period
from pghaul.model.table import Name, RelationKind, Table
from pghaul.model.text import listed, say, saying
from pghaul.model.tree import Member, Tree, TreeKind
from pghaul.postgres.bound_values import Family, Unbounded, family, read_value
from pghaul.postgres.catalog import describe
from pghaul.postgres.moments import Scale, Span, find_scale, shown
from pghaul.postgres.registry_bounds import tree_scale
from pghaul.postgres.trees import trees

if TYPE_CHECKING:
    from pghaul.postgres.session import Session

Keys = Callable[[Iterable[Name]], str | None]

PROBED_BYTES = 256 << 20  # a flat table up to this size is asked whether the period holds any of its rows
SAMPLE = SQL("SELECT {column}::text FROM ONLY {table} WHERE {column} IS NOT NULL LIMIT 1")
PROBE = SQL("SELECT EXISTS (SELECT 1 FROM ONLY {table} WHERE {condition})")

EXTENT = saying("{table} goes from {low} to {high}")
NO_KEY = saying("nothing says which column of {tables} tells the date")
KEY_ADVICE = say('name it with --key (key = "…" in the selection), leave it out with --exclude, or do without a period')
NO_COLUMN = saying("{table} has no column {column}")
ITS_COLUMNS = saying("it has {columns}")
NO_MOMENT = saying("{table}.{column} ({type}) tells no time")
HOLDS_NO_MOMENT = saying("{table}.{column} ({type}) tells no time, it holds {value}")
UNIT_ADVICE = say("name another column with --key, or say what its integers count with --unit s, ms or us")


class Lot(Enum):
    """What becomes of a relation, and why."""

    WHOLE = say("within the period")
    KEYLESS = say("within the period; rows without a key are left out")
    CUT = say("cut by the period")
    OUTSIDE = say("outside the period")
    UNSURE = say("nobody holds to its bounds: all its rows are looked at")
    OWN = say("a parent's own rows: all are looked at")
    FLAT = say("not partitioned: all its rows are looked at")
    ABOVE = say("above what is taken, without rows of the period")
    FOREIGN = say("its rows live on another server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a period leaves of a relation: `where` is "" for all of it and None for nothing."""

    where: str | None
    lot: Lot
    holds: bool = True  # the period may hold rows of it
    extent: str = ""  # from when to when it goes, where that is known


@dataclass(frozen=True, kw_only=True)
class _Cut:
    """The period in terms of one column."""

    column: str
    scale: Scale
    low: Value | None
    high: Value | None

    @cached_property
    def bounds(self) -> Bounds:
        return Bounds(
            strategy=Strategy.RANGE,
            column=self.column,
            low=None if self.low is None else Edge(value=self.low, inclusive=True),
            high=None if self.high is None else Edge(value=self.high, inclusive=False),
        )

    @cached_property
    def condition(self) -> str:
        """Texts are compared byte by byte: digits are in no other order then, whatever the database's collation."""
        column: Composable = Identifier(self.column)
        if self.scale in {Scale.DAY_TEXT, Scale.DATE_TEXT}:
            column = SQL('{}::pg_catalog.text COLLATE pg_catalog."C"').format(column)
        ends = ((">=", self.low), ("<", self.high))
        parts = [SQL("{} {} {}").format(column, SQL(sign), Literal(v)) for sign, v in ends if v is not None]
        return SQL(" AND ").join(parts).as_string(None)


def within(session: Session, names: Sequence[Name], period: Period, span: Span, keys: Keys) -> dict[Name, Part]:
    """One part for each name. PlanError names the tables that have no key, or one that tells no time."""
    wanted = set(names)
    parts: dict[Name, Part] = {}
    for tree in trees(session, wanted, period=period):
        parts |= _of_tree(session, tree, wanted, period, span, keys)
    flat = [n for n in names if n not in parts]
    return parts | _of_flat(session, flat, period, span, keys)


def _of_tree(
    session: Session, tree: Tree, wanted: Collection[Name], period: Period, span: Span, keys: Keys
) -> dict[Name, Part]:
    cuts: dict[str | None, _Cut] = {}

    def cut(lineage: Sequence[Name]) -> _Cut:
        named = keys(lineage)
        if named not in cuts:  # the same for nearly all members
            cuts[named] = _cut_of_tree(session, tree, named or _time_key(tree, period), period, span)
        return cuts[named]

    parts: dict[Name, Part] = {}
    for member in tree.members:
        if member.name in wanted:
            here = cut(list(_lineage(tree, member)))
            parts[member.name] = _of_member(tree, member, here)
    if tree.root in wanted:
        parts[tree.root] = _of_root(tree, cut([tree.root]))
    first = next(iter(cuts.values()))
    parts = _with_those_above(tree, _with_probes(session, parts), first.condition)
    extent = _extent(tree, first, span)
    return {name: replace(part, extent=extent) for name, part in parts.items()}


def _lineage(tree: Tree, member: Member) -> Iterator[Name]:
    at: Member | None = member
    while at is not None:
        yield at.name
        if at.parent == tree.root:
            yield tree.root
        at = tree.by_name.get(at.parent)


def _time_key(tree: Tree, period: Period) -> str:
    """The root's key if it tells time, else any other column of its partitions' bounds that does."""
    others = {b.column for m in tree.members for b in m.said if b.column and b.column != tree.key}
    for column in (tree.key, *sorted(others)):
        if column and tree_scale(tree, period.unit, column) is not None:
            return column
    if tree.key:
        raise _no_moment(tree.root, tree.key, tree.columns.get(tree.key, ""), None)
    raise PlanError(NO_KEY.format(tables=str(tree.root)), advice=KEY_ADVICE, code=1112)


def _cut_of_tree(session: Session, tree: Tree, column: str, period: Period, span: Span) -> _Cut:
    if column not in tree.columns:
        raise NotFoundError(
            NO_COLUMN.format(table=str(tree.root), column=column),
            advice=ITS_COLUMNS.format(columns=", ".join(sorted(tree.columns))),
            code=5206,
        )
    scale = tree_scale(tree, period.unit, column)
    if scale is None:
        holders = [tree.root, *(m.name for m in tree.leaves if m.kind is RelationKind.TABLE)]
        scale = _sampled(session, holders, column, tree.columns[column], period)
    low, high = span.keys(scale)
    return _Cut(column=column, scale=scale, low=low, high=high)


def _sampled(session: Session, tables: Iterable[Name], column: str, type_name: str, period: Period) -> Scale:
    """By a value that the first table with any rows holds. PlanError where it is no moment, or there is none."""
    kind = family(type_name)
    scale = find_scale(type_name, (), period.unit)
    value: Value | None = None
    for table in tables if scale is None and kind is not Family.OTHER else ():
        named = {"column": Identifier(column), "table": Identifier(table.schema, table.name)}
        text = session.value(SAMPLE.format(**named))
        if text is not None:
            value = _read(table, column, type_name, text)
            scale = find_scale(type_name, [value], period.unit)
            break
    if scale is None:
        raise _no_moment(next(iter(tables)), column, type_name, value)
    return scale


def _read(table: Name, column: str, type_name: str, text: str) -> Value:
    """Infinite numbers, and those that are none, have no place on a calendar."""
    try:
        return read_value(text, family(type_name))
    except (ValueError, Unbounded):
        raise _no_moment(table, column, type_name, text) from None


def _no_moment(table: Name, column: str, type_name: str, value: Value | None) -> PlanError:
    named = {"table": str(table), "column": column, "type": type_name}
    if value is None:
        return PlanError(NO_MOMENT.format(**named), advice=UNIT_ADVICE, code=1113)
    return PlanError(HOLDS_NO_MOMENT.format(**named, value=str(value)), advice=UNIT_ADVICE, code=1114)


def _of_member(tree: Tree, member: Member, cut: _Cut) -> Part:
    bounds = tree.bounds(member, cut.column)
    if bounds is not None and bounds.trusted and not bounds.overlaps(cut.bounds):
        return Part(where=None, lot=Lot.OUTSIDE, holds=False)
    if member.kind is RelationKind.PARTITIONED:
        return Part(where="", lot=Lot.ABOVE, holds=False)
    if bounds is None or not bounds.trusted:
        return Part(where=cut.condition, lot=Lot.UNSURE)
    if not bounds.within(cut.bounds):
        return Part(where=cut.condition, lot=Lot.CUT)
    if bounds.nulls and cut.column not in member.not_null:
        return Part(where=SQL("{} IS NOT NULL").format(Identifier(cut.column)).as_string(None), lot=Lot.KEYLESS)
    return Part(where="", lot=Lot.WHOLE)


def _of_root(tree: Tree, cut: _Cut) -> Part:
    if tree.kind is TreeKind.DECLARATIVE:
        return Part(where="", lot=Lot.ABOVE, holds=False)
    return Part(where=cut.condition, lot=Lot.OWN, holds=tree.own_rows is not False)


def _with_probes(session: Session, parts: dict[Name, Part]) -> dict[Name, Part]:
    """Where only those remain that nobody holds to the bounds of, they are asked whether there are such rows."""
    if any(p.holds and p.lot not in {Lot.UNSURE, Lot.OWN} for p in parts.values()):
        return parts
    unsure = [name for name, part in parts.items() if part.holds]
    for name in unsure:
        if _holds(session, name, parts[name].where or "true"):
            return parts
    return {name: replace(p, holds=False) if name in unsure else p for name, p in parts.items()}


def _holds(session: Session, name: Name, condition: str) -> bool:
    named = {"table": Identifier(name.schema, name.name), "condition": SQL(condition)}
    return bool(session.value(PROBE.format(**named)))


def _with_those_above(tree: Tree, parts: dict[Name, Part], condition: str) -> dict[Name, Part]:
    """Between root and leaves: a partitioned table is taken only if something below it is; a parent is then, too."""
    needed: set[Name] = set()
    for name, part in parts.items():
        member = tree.by_name.get(name)
        if part.where is not None and member is not None and member.kind is not RelationKind.PARTITIONED:
            needed |= {n for n in _lineage(tree, member) if n != name}
    idle = {n for n, p in parts.items() if p.lot is Lot.ABOVE and n not in needed and n != tree.root}
    asked = {n for n in needed & parts.keys() if parts[n].where is None}
    out, over = Part(where=None, lot=Lot.OUTSIDE, holds=False), Part(where=condition, lot=Lot.ABOVE, holds=False)
    return parts | dict.fromkeys(idle, out) | dict.fromkeys(asked, over)


def _extent(tree: Tree, cut: _Cut, span: Span) -> str:
    """From the lowest bound to the highest, as dates."""
    ends = tree.extent(cut.column)
    if ends is None:
        return ""
    low, high = ("…" if v is None else shown(v, cut.scale, span.zone) for v in ends)
    return EXTENT.format(table=str(tree.root), low=low, high=high)


def _of_flat(session: Session, names: Sequence[Name], period: Period, span: Span, keys: Keys) -> dict[Name, Part]:
    """Tables without partitions: their key has to be named."""
    tables = describe(session, names)
    foreign = {
        n: Part(where="", lot=Lot.FOREIGN, holds=False) for n, t in tables.items() if t.kind is RelationKind.FOREIGN
    }
    named = {name: keys([name]) for name in names if name not in foreign}
    if keyless := [str(n) for n, key in named.items() if key is None]:
        raise PlanError(NO_KEY.format(tables=listed(keyless)), advice=KEY_ADVICE, code=1112)
    return foreign | {
        name: _of_table(session, tables[name], key, period, span)
        for name, key in named.items()
        if key is not None and name in tables
    }


def _of_table(session: Session, table: Table, key: str, period: Period, span: Span) -> Part:
    column = next((c for c in table.columns if c.name == key), None)
    if column is None:
        raise NotFoundError(
            NO_COLUMN.format(table=str(table.name), column=key),
            advice=ITS_COLUMNS.format(columns=", ".join(c.name for c in table.columns)),
            code=5206,
        )
    scale = _sampled(session, [table.name], key, column.type, period)
    low, high = span.keys(scale)
    condition = _Cut(column=key, scale=scale, low=low, high=high).condition
    holds = table.bytes > PROBED_BYTES or _holds(session, table.name, condition)
    return Part(where=condition, lot=Lot.FLAT, holds=holds)
