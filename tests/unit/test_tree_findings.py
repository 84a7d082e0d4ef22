"""What is wrong with a tree is named once, and ten thousand leaves are judged in a moment."""

from __future__ import annotations

import time
from typing import Any
from zoneinfo import ZoneInfo

from pghaul.model.bounds import Authority, Bounds, Edge, Strategy
from pghaul.model.plan import Unit
from pghaul.model.table import Name, RelationKind
from pghaul.model.tree import Member, Problem, Tree, TreeKind
from pghaul.postgres.tree_findings import findings

UTC = ZoneInfo("UTC")
ROOT = Name("public", "p")
BEGIN, HOUR = 1_600_000_000_000, 3_600_000


def ranged(low: Any, high: Any, *, trusted: bool = True, column: str = "at") -> Bounds:
    return Bounds(
        strategy=Strategy.RANGE,
        column=column,
        low=None if low is None else Edge(value=low, inclusive=True),
        high=None if high is None else Edge(value=high, inclusive=True),
        authority=Authority.CHECK,
        trusted=trusted,
    )


def child(name: str, *said: Bounds, parent: Name = ROOT, depth: int = 1, **facts: Any) -> Member:
    return Member(
        name=Name("public", name), parent=parent, kind=RelationKind.TABLE, depth=depth, said=tuple(said), **facts
    )


def tree(*members: Member, type_name: str = "bigint") -> Tree:
    return Tree(root=ROOT, kind=TreeKind.INHERITANCE, members=members, key="at", columns={"at": type_name})


def found(made: Tree) -> list[tuple[Problem, str]]:
    return [(f.problem, f.table.name) for f in findings(made, UTC, Unit.AUTO)]


def test_ranges_that_follow_each_other_are_no_finding() -> None:
    assert found(tree(child("a", ranged(1, 5)), child("b", ranged(6, 9)), child("c", ranged(10, None)))) == []


def test_an_overlap_is_found_with_the_one_that_reaches_furthest() -> None:
    made = tree(child("a", ranged(1, 100)), child("b", ranged(10, 20)), child("c", ranged(50, 60)))
    assert found(made) == [(Problem.OVERLAP, "a"), (Problem.OVERLAP, "a")]
    words = [f.message for f in findings(made, UTC, Unit.AUTO)]
    assert words[1] == "at from 50 to 61 may lie in public.c as well"


def test_open_ends_overlap_what_comes_after_them() -> None:
    made = tree(child("a", ranged(None, None), ranged(1, None)), child("b", ranged(10, 20)))
    assert found(made) == [(Problem.OVERLAP, "a")]


def test_lists_that_share_a_value_overlap() -> None:
    def listed(*values: int) -> Bounds:
        return Bounds(strategy=Strategy.LIST, column="at", values=values, authority=Authority.CHECK)

    assert found(tree(child("a", listed(1, 2)), child("b", listed(2, 3)))) == [(Problem.OVERLAP, "a")]


def test_children_that_are_told_apart_by_another_column_do_not_overlap() -> None:
    inner = Name("public", "a")
    made = tree(
        child("a", ranged(1, 5), has_children=True),
        child("b", ranged(6, 9)),
        child("a1", ranged(1, 5), ranged(1, 1, column="path"), parent=inner, depth=2),
        child("a2", ranged(1, 5), ranged(2, 2, column="path"), parent=inner, depth=2),
    )
    assert found(made) == []


def test_texts_in_another_order_than_ours_are_not_judged() -> None:
    made = tree(child("a", ranged("a", "m")), child("b", ranged("c", "z")), type_name="text")
    assert found(made) == []


def test_what_nobody_holds_to_is_named_with_its_reason() -> None:
    made = tree(
        child("a", ranged(1, 5, trusted=False)),
        child("b"),
        child("c", expression="c_check (f(at))"),
        child("d", unread=True),
    )
    assert found(made) == [
        (Problem.NOT_VALID, "a"),
        (Problem.NO_BOUNDS, "b"),
        (Problem.NOT_PLAIN, "c"),
        (Problem.LOCKED, "d"),
    ]


def test_ten_thousand_leaves_are_judged_in_a_moment() -> None:
    """Anything that grows with the square of the leaves takes minutes."""
    hours = [ranged(BEGIN + n * HOUR, BEGIN + (n + 1) * HOUR - 1) for n in range(10_000)]
    made = tree(*(child(f"c{n}", bounds) for n, bounds in enumerate(hours) if n != 5000))
    began = time.process_time()
    assert found(made) == [(Problem.GAP, "c4999")]
    assert time.process_time() - began < 5
