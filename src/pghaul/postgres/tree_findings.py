"""What is wrong with a tree, named: overlaps, gaps, missing and unreadable CHECKs, rows where none should be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pghaul.model.bounds import Authority, Bounds, Strategy, Value, low_order
from pghaul.model.plan import Unit
from pghaul.model.table import Name
from pghaul.model.text import say, saying
from pghaul.model.tree import Finding, Member, Problem, Tree, TreeKind
from pghaul.postgres.moments import Scale, from_to, instant, shown
from pghaul.postgres.registry_bounds import tree_scale

NO_CHECK = saying("nothing bounds its {key}")
NO_KEY = say("no CHECK tells what lies in it")
NOT_PLAIN = saying("its CHECK is no comparison with constants: {expression}")
NOT_VALID = say("its CHECK was never validated: rows may break it")
BY_REGISTRY = saying("it has no CHECK; the registry says {bounds}, which nobody holds to")
LOCKED = say("somebody holds a lock on it: its CHECK could not be read")
OVERLAPS = saying("{key} from {low} to {high} may lie in {other} as well")
SHARES = saying("values of {key} may lie in {other} as well")
GAP = saying("between it and {other}, no child takes {key} from {low} to {high}")
OWN_ROWS = say("the parent itself holds rows")
MAYBE_ROWS = say("the parent itself may hold rows: it could not be looked at")
OTHER_ZONE = saying("its bounds begin at {time}, not at midnight in {zone}; {offset} would fit")


def findings(tree: Tree, zone: ZoneInfo, unit: Unit) -> Iterator[Finding]:
    """In the order of the members."""
    scale = tree_scale(tree, unit)
    if tree.own_rows is not False and tree.kind is TreeKind.INHERITANCE:
        yield Finding(problem=Problem.OWN_ROWS, table=tree.root, message=OWN_ROWS if tree.own_rows else MAYBE_ROWS)
    for member in tree.members:
        yield from _of_member(tree, member, scale, zone)
    yield from _between(tree, scale, zone)
    yield from _other_zone(tree, scale, zone)


def _of_member(tree: Tree, member: Member, scale: Scale | None, zone: ZoneInfo) -> Iterator[Finding]:
    """Declared partitions are what they say."""
    if any(b.authority is Authority.DECLARED for b in member.said) or tree.kind is TreeKind.DECLARATIVE:
        return
    bounds = tree.bounds(member)
    if member.unread:
        yield _finding(Problem.LOCKED, member, LOCKED)
    elif bounds is None and member.expression:
        yield _finding(Problem.NOT_PLAIN, member, NOT_PLAIN.format(expression=member.expression))
    elif bounds is None:
        yield _finding(Problem.NO_BOUNDS, member, NO_CHECK.format(key=tree.key) if tree.key else NO_KEY)
    elif bounds.authority is Authority.REGISTRY:
        said = from_to(*("…" if v is None else shown(v, scale, zone) for v in bounds.ends))
        yield _finding(Problem.NO_BOUNDS, member, BY_REGISTRY.format(bounds=said))
    elif not bounds.trusted:
        yield _finding(Problem.NOT_VALID, member, NOT_VALID)


def _between(tree: Tree, scale: Scale | None, zone: ZoneInfo) -> Iterator[Finding]:
    """Overlaps and gaps among the children of each parent."""
    families: dict[Name, list[tuple[Member, Bounds]]] = defaultdict(list)
    for member in tree.members:
        bounds = tree.bounds(member) if any(b.column == tree.key for b in member.said) else None
        if bounds is not None and tree.key:
            families[member.parent].append((member, bounds))
    for siblings in families.values():
        if len({b for _, b in siblings}) == 1:  # told apart by another column
            continue
        yield from _ranges(tree.key, [(m, b) for m, b in siblings if b.is_range], scale, zone)
        yield from _lists(tree.key, [(m, b) for m, b in siblings if b.strategy is Strategy.LIST])


def _ranges(key: str, ranges: list[tuple[Member, Bounds]], scale: Scale | None, zone: ZoneInfo) -> Iterator[Finding]:
    """One pass in the order of their beginnings, against the one that reaches furthest so far."""

    def said(value: Value | None) -> str:
        return "…" if value is None else shown(value, scale, zone)

    if any(isinstance(v, str) and not v.replace("-", "").isdigit() for _, b in ranges for v in b.named):
        return  # texts are in the order of a collation that is not ours
    ranges = sorted(ranges, key=lambda r: low_order(r[1]))
    furthest: tuple[Member, Bounds] | None = None
    for member, bounds in ranges:
        if furthest is not None:
            other, before = furthest
            if before.overlaps(bounds):
                low, high = before.intersect(bounds).ends
                words = OVERLAPS.format(key=key, low=said(low), high=said(high), other=str(member.name))
                yield _finding(Problem.OVERLAP, other, words)
            elif not before.adjoins(bounds):
                low, high = before.ends[1], bounds.ends[0]
                words = GAP.format(other=str(member.name), key=key, low=said(low), high=said(high))
                yield _finding(Problem.GAP, other, words)
        furthest = _further(furthest, (member, bounds))


def _further(one: tuple[Member, Bounds] | None, other: tuple[Member, Bounds]) -> tuple[Member, Bounds]:
    if one is None or other[1].high is None:
        return other
    if one[1].high is None:
        return one
    mine: Any = one[1].high.value
    theirs: Any = other[1].high.value
    return other if theirs >= mine else one


def _lists(key: str, lists: list[tuple[Member, Bounds]]) -> Iterator[Finding]:
    taken: dict[object, Member] = {}
    for member, bounds in lists:
        for value in bounds.values:
            if value in taken and taken[value] is not member:
                yield _finding(Problem.OVERLAP, taken[value], SHARES.format(key=key, other=str(member.name)))
                break
            taken[value] = member


def _other_zone(tree: Tree, scale: Scale | None, zone: ZoneInfo) -> Iterator[Finding]:
    """Bounds that all begin at the same hour, and not at midnight, were made in another time zone."""
    if scale is None or scale is Scale.TIMESTAMP:
        return
    lows = (b.low.value for m in tree.members for b in m.said if b.column == tree.key and b.low is not None)
    moments = [instant(v, scale, zone) for v in lows]
    times = {m.time() for m in moments if m is not None}
    if len(moments) < 2 or len(times) != 1:
        return
    time = times.pop()
    first = next(m for m in moments if m is not None)
    if time.hour or time.minute:
        offset = (first.utcoffset() or timedelta()) - timedelta(hours=time.hour, minutes=time.minute)
        words = OTHER_ZONE.format(time=f"{time:%H:%M}", zone=zone.key, offset=_offset(offset))
        yield Finding(problem=Problem.TIMEZONE, table=tree.root, message=words)


def _offset(offset: timedelta) -> str:
    minutes = round(offset.total_seconds() / 60)
    minutes += 1440 if minutes < -720 else 0  # UTC-12:00 is the last one
    return f"UTC{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _finding(problem: Problem, member: Member, message: str) -> Finding:
    return Finding(problem=problem, table=member.name, message=message)
