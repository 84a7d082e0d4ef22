"""The registry's days as bounds of partitions that have no CHECK, and where it disagrees with those that have one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pghaul.model.bounds import Authority, Bounds, Edge, Strategy, Value
from pghaul.model.plan import Unit
from pghaul.model.table import Name
from pghaul.model.text import listed, saying
from pghaul.model.tree import Finding, Member, Problem, Tree
from pghaul.postgres.moments import Scale, Span, find_scale, from_to, instant, shown
from pghaul.postgres.registry import Entry, Registry

AGREE_SECONDS = 1.0  # 23:59:59.999 and 24:00 are the same end of a day
ENDS_OTHERWISE = saying("{registry} says {theirs}, its bounds say {ours}")
NO_NUMBER = saying("{registry} says nothing that could be read of it")
UNREADABLE = saying("it looks like a registry of partitions, and cannot be read: {why}")
GONE = saying("{registry} knows partitions that are not here: {names}")
MOST_NAMED = 5
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def with_registry(tree: Tree, registry: Registry, zone: ZoneInfo, unit: Unit) -> tuple[Tree, list[Finding]]:
    """The tree with bounds from the registry where nothing else says any, and what the two disagree about."""
    scale = tree_scale(tree, unit)
    problems = list(_about(tree.root, registry))
    members: list[Member] = []
    for member in tree.members:
        entry = registry.entries.get(member.name)
        bounds = tree.bounds(member)
        if entry is None:
            members.append(member)
        elif entry.low is None or entry.high is None:
            problems.append(_finding(member.name, NO_NUMBER.format(registry=str(registry.table))))
            members.append(member)
        elif bounds is None:
            members.append(_taught(tree, member, entry, scale, zone))
        else:
            members.append(member)
            problems += _disagreement(member.name, bounds, entry, registry.table, scale, zone)
    return replace(tree, members=tuple(members)), problems


def _about(root: Name, registry: Registry) -> Iterator[Finding]:
    """Of the registry itself, as far as it speaks of this tree."""
    if registry.unreadable:
        yield _finding(registry.table, UNREADABLE.format(why=registry.unreadable))
    named = {root.name, str(root)}
    gone = [" ".join({*entry} - named) for entry in registry.missing if named & {*entry}]
    if gone:
        yield _finding(root, GONE.format(registry=str(registry.table), names=listed(gone, MOST_NAMED)))


def tree_scale(tree: Tree, unit: Unit, column: str | None = None) -> Scale | None:
    """How the tree's key tells time, by all the bounds there are."""
    column = tree.key if column is None else column
    named = (v for m in tree.members for b in m.said if b.column == column for v in b.named)
    return find_scale(tree.columns.get(column, ""), named, unit)


def _taught(tree: Tree, member: Member, entry: Entry, scale: Scale | None, zone: ZoneInfo) -> Member:
    low, high = _keys(entry, scale or Scale.MILLISECONDS, zone)
    bounds = Bounds(
        strategy=Strategy.RANGE,
        column=tree.key,
        low=None if low is None else Edge(value=low, inclusive=True),
        high=None if high is None else Edge(value=high, inclusive=False),
        authority=Authority.REGISTRY,
        trusted=False,
        nulls=True,
    )
    return replace(member, said=(*member.said, bounds))


def _keys(entry: Entry, scale: Scale, zone: ZoneInfo) -> tuple[Value | None, Value | None]:
    """The registry's milliseconds as values of the key; its last one is included, so the end is one more."""
    assert entry.low is not None  # noqa: S101 -- the caller has looked
    assert entry.high is not None  # noqa: S101
    since, until = ((EPOCH + timedelta(milliseconds=ms)).astimezone(zone) for ms in (entry.low, entry.high + 1))
    if scale in {Scale.DATE, Scale.DAY_NUMBER, Scale.DAY_TEXT, Scale.DATE_TEXT}:
        last = (until - timedelta(milliseconds=1)).date()
        since = datetime.combine(since.date(), time(), tzinfo=zone)
        until = datetime.combine(last + timedelta(days=1), time(), tzinfo=zone)
    return Span(since=since, until=until, zone=zone).keys(scale)


def _disagreement(
    member: Name, bounds: Bounds, entry: Entry, registry: Name, scale: Scale | None, zone: ZoneInfo
) -> list[Finding]:
    assert entry.low is not None  # noqa: S101
    assert entry.high is not None  # noqa: S101
    if scale is None or not bounds.is_range:
        return []
    theirs = [EPOCH + timedelta(milliseconds=ms) for ms in (entry.low, entry.high + 1)]
    try:
        ends = bounds.half_open()
    except ValueError:
        return []
    ours = [None if v is None else instant(v, scale, zone) for v in ends]
    near = all(
        mine is not None and abs((mine.astimezone(UTC) - their).total_seconds()) <= AGREE_SECONDS
        for mine, their in zip(ours, theirs, strict=True)
    )
    if near:
        return []
    said = from_to(*(shown(t, Scale.TIMESTAMPTZ, zone) for t in theirs))
    held = from_to(*("…" if v is None else shown(v, scale, zone) for v in ends))
    return [_finding(member, ENDS_OTHERWISE.format(registry=str(registry), theirs=said, ours=held))]


def _finding(table: Name, message: str) -> Finding:
    return Finding(problem=Problem.REGISTRY, table=table, message=message)
