"""Nothing slips through: writers commit late in every way there is, while increments go on."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.late_writers import SCHEMA, writing
from tests.reading import Follower, everything, parsed, session_at

from pghaul.model.merging import Guarantee
from pghaul.model.plan import Merge
from pghaul.postgres.session import Session
from pghaul.sources import increments_advance

ROUNDS = int(os.environ.get("PGHAUL_INCREMENTS", "45"))
SEED = int(os.environ.get("PGHAUL_FAULT_SEED", "20"))


class Naive:
    """What everybody writes first: greater than the greatest that was seen."""

    def __init__(self, session: Session, column: str, position: int, order: Callable[[Any], Any]) -> None:
        self._session, self._column, self._position, self._order = session, column, position, order
        self.rows: dict[int, tuple[Any, ...]] = {}

    def step(self) -> None:
        """One increment."""
        greatest = max((self._order(row[self._position]) for row in self.rows.values()), default=None)
        condition = "" if greatest is None else f"WHERE {self._column} > '{greatest}'"
        found = parsed(self._session.copy_out(f"COPY (SELECT * FROM public.t {condition}) TO STDOUT"))
        self.rows |= {row[0]: row for row in found}


@pytest.mark.timeout(120 + ROUNDS)
@pytest.mark.template(source=SCHEMA)
def test_what_commits_late_is_in_a_later_increment(db_source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every watermark the source is reached exactly, and the usual way has lost rows of the same writers."""
    monkeypatch.setattr(increments_advance, "MARGIN", timedelta(seconds=0.1))
    watermarks = {"at": Merge(watermark="at"), "ver": Merge(watermark="ver"), "xmin": Merge(watermark="xmin")}
    watermarks["local"] = Merge(watermark="local", watermark_zone="Asia/Seoul")
    with session_at(db_source) as session:
        followers = {name: Follower(session=session, table="t", merge=merge) for name, merge in watermarks.items()}
        naive = {"at": Naive(session, "at", 1, str), "ver": Naive(session, "ver", 3, int)}
        with writing(db_source, 4, SEED) as writers:
            for _ in range(ROUNDS):
                for follower in (*followers.values(), *naive.values()):
                    follower.step()
        for follower in (*followers.values(), *naive.values()):
            follower.step()
        expected = everything(db_source, "public.t")
        assert {name for name, f in followers.items() if f.rows != expected} == set()
        assert {name for name, n in naive.items() if n.rows == expected} == set()
        assert {f.last.guarantee for f in followers.values() if f.last} == {Guarantee.EXACT}
        assert sum(w.done["_long"] for w in writers) > len(writers)
        whole = ROUNDS * len(expected) / 2  # what reading all rows every time would have read, or so
        assert max(f.read for f in followers.values()) < whole
