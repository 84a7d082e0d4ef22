"""A mapping in parts that can be tried one by one, each rolled back: what a transaction makes stays locked until then.

A server's table of locks holds some thousands. What stands on several tables (references, views) is tried where all of
them are: in the part of its table, else in one of the parts that come last and make again what they need.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from pghaul.model.mapped import Made, MappedDatabase
from pghaul.model.table import Name

SHARE = 2  # half of the table of locks: others need some of it, too
PLAIN = 3  # locks of a table that is made: itself, what holds its long values, and the index of that
KEYS = frozenset({"primary", "unique"})  # what a reference stands on
ALONE = frozenset({"primary", "unique", "index", "check", "sequence"})
SPANNING = frozenset({"reference", "view"})


@dataclass(kw_only=True)
class Portion:
    """What is tried in one transaction: `before`, then `after`."""

    before: list[Made] = field(default_factory=list)
    after: list[Made] = field(default_factory=list)


def portions(mapped: MappedDatabase, locks: int) -> Iterator[Portion]:
    """Parts that take about a half of so many locks each."""
    weights = _weights(mapped)
    slices = list(_slices([t.name for t in mapped.tables], weights, locks // SHARE))
    needs = _needs(mapped)
    home = {name: number for number, names in enumerate(slices) for name in names}
    before, after, rest = _by_slice(mapped, home, needs, max(1, len(slices)))
    for made, built in zip(before, after, strict=True):
        yield Portion(before=made, after=built)
    for some in _packed(rest, needs, weights, locks // SHARE):
        yield _again(mapped, some, needs)


def in_parts(names: Sequence[Name], made: Iterable[Made], locks: int) -> list[list[Name]]:
    """Tables in parts of which each, with what is made of it, takes about a half of so many locks."""
    return list(_slices(names, _counted(names, made), locks // SHARE))


def _weights(mapped: MappedDatabase) -> Mapping[Name, int]:
    return _counted([t.name for t in mapped.tables], (*mapped.before, *mapped.after))


def _counted(names: Iterable[Name], made: Iterable[Made]) -> Mapping[Name, int]:
    found = Counter(m.table for m in made if m.table is not None)
    return {n: PLAIN + found[n] for n in names}


def _slices(names: Iterable[Name], weights: Mapping[Name, int], most: int) -> Iterator[list[Name]]:
    some: list[Name] = []
    taken = 0
    for name in names:
        if some and taken + weights[name] > most:
            yield some
            some, taken = [], 0
        some.append(name)
        taken += weights[name]
    if some:
        yield some


def _needs(mapped: MappedDatabase) -> Mapping[str, frozenset[Name]]:
    """By statement: the tables and views that it stands on, and all that those stand on."""
    views: dict[Name, frozenset[Name]] = {}
    found: dict[str, frozenset[Name]] = {}
    for made in mapped.after:
        if made.kind in SPANNING:
            own = {*made.needs, *([made.table] if made.table else [])}
            found[made.name] = frozenset(own.union(*(views.get(n, ()) for n in own)))
            if made.makes is not None:
                views[made.makes] = found[made.name]
    return found


def _by_slice(
    mapped: MappedDatabase, home: Mapping[Name, int], needs: Mapping[str, frozenset[Name]], count: int
) -> tuple[list[list[Made]], list[list[Made]], list[Made]]:
    """What is made before the rows and behind them, by slice; and what needs tables of several."""
    before: list[list[Made]] = [[] for _ in range(count)]
    after: list[list[Made]] = [[] for _ in range(count)]
    rest: list[Made] = []
    for made in mapped.before:
        for number in range(count) if made.table is None else [home[made.table]]:
            before[number].append(made)
    for made in mapped.after:
        if made.kind in ALONE and made.table is not None:
            after[home[made.table]].append(made)
        elif made.kind in SPANNING:
            slices = {home[n] for n in needs[made.name] if n in home}
            if len(slices) > 1:
                rest.append(made)
            else:
                after[slices.pop() if slices else 0].append(made)
    return before, after, rest


def _packed(
    rest: Iterable[Made], needs: Mapping[str, frozenset[Name]], weights: Mapping[Name, int], most: int
) -> Iterator[list[Made]]:
    some: list[Made] = []
    there: Set[Name] = frozenset()
    for made in rest:
        wider = there | needs[made.name]
        if some and sum(weights.get(n, 1) for n in wider) > most:
            yield some
            some, wider = [], needs[made.name]
        some.append(made)
        there = wider
    if some:
        yield some


def _again(mapped: MappedDatabase, wanted: Sequence[Made], needs: Mapping[str, frozenset[Name]]) -> Portion:
    """These statements, behind the tables, keys and views that they need."""
    tables = frozenset[Name]().union(*(needs[m.name] for m in wanted))
    own = {m.name for m in wanted}
    return Portion(
        before=[m for m in mapped.before if m.table is None or m.table in tables],
        after=[
            m
            for m in mapped.after
            if m.name in own or (m.kind in KEYS and m.table in tables) or (m.makes is not None and m.makes in tables)
        ],
    )
