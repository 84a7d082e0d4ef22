"""Statements of the leader go together, as many as the target's table of locks has room for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from pghaul.engine.arrow import making
from pghaul.model.mapped import Made


class Answering:
    """A session that says of every second thing that it is there."""

    def __init__(self, locks: int) -> None:
        self.server = SimpleNamespace(max_locks=locks)
        self.asked: list[str] = []

    def rows(self, sql: str) -> list[tuple[bool, ...]]:
        self.asked.append(sql)
        return [tuple(i % 2 == 0 for i in range(sql.count("exists")))]


def made(count: int) -> list[Made]:
    return [Made(name=f"m{i}", sql=f"make {i}", table=None, kind="index", exists=f"exists {i}") for i in range(count)]


@pytest.mark.parametrize(
    ("locks", "parts"), [(6400, [32, 32, 6]), (640, [10] * 7), (1, [1] * 70)], ids=["roomy", "narrow", "none"]
)
def test_no_more_goes_together_than_the_target_can_lock(locks: int, parts: list[int]) -> None:
    several = list(making.together(cast("Any", Answering(locks)), made(70)))
    assert [len(some) for some in several] == parts
    assert [m.name for some in several for m in some] == [f"m{i}" for i in range(70)]


def test_what_is_there_is_asked_at_once_and_not_made_again() -> None:
    target = Answering(6400)
    always = Made(name="always", sql="set", table=None, kind="sequence")
    left = making.not_there(cast("Any", target), [*made(3), always])
    assert [m.name for m in left] == ["m1", "always"]
    assert target.asked == ["SELECT (exists 0), (exists 1), (exists 2)"]
    assert making.as_one(left) == "make 1;\nset"
    assert making.not_there(cast("Any", target), [always]) == [always]
    assert len(target.asked) == 1
