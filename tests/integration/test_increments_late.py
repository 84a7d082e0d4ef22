"""Nothing slips through: writers commit late in every way there is, while increments go on."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from time import monotonic
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
FEW = 5  # rows of one moment: writers commit one to five of them together


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

    def lost(self, known: dict[int, tuple[Any, ...]]) -> int:
        """How many of the known rows lie below what it has seen: never read, unless they are updated."""
        greatest = max((self._order(row[self._position]) for row in self.rows.values()), default=None)
        late = [row for row in known.values() if greatest is not None and self._order(row[self._position]) < greatest]
        return sum(row[0] not in self.rows for row in late)


@pytest.mark.timeout(150 + 2 * ROUNDS)
@pytest.mark.template(source=SCHEMA)
def test_what_commits_late_is_in_a_later_increment(db_source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every watermark the source is reached exactly, and the usual way has lost rows of the same writers."""
    monkeypatch.setattr(increments_advance, "MARGIN", timedelta(seconds=0.1))
    watermarks = {"at": Merge(watermark="at"), "ver": Merge(watermark="ver"), "xmin": Merge(watermark="xmin")}
    watermarks["local"] = Merge(watermark="local", watermark_zone="Asia/Seoul")
    with session_at(db_source) as session:
        followers = {name: Follower(session=session, table="t", merge=merge) for name, merge in watermarks.items()}
        naive = {"at": Naive(session, "at", 1, str), "ver": Naive(session, "ver", 3, int)}
        with writing(db_source, 4, SEED):
            deadline = monotonic() + 60 + ROUNDS
            rounds = 0
            # How often a writer comes late is the machine's to say: on a busy one it takes more rounds.
            while rounds < ROUNDS or min(n.lost(followers["xmin"].rows) for n in naive.values()) < FEW:
                assert monotonic() < deadline, "the usual way has lost nothing"
                rounds += 1
                for follower in (*followers.values(), *naive.values()):
                    follower.step()
        for follower in (*followers.values(), *naive.values()):
            follower.step()
        expected = everything(db_source, "public.t")
        assert {name for name, f in followers.items() if f.rows != expected} == set()
        assert {name for name, n in naive.items() if n.rows == expected} == set()
        assert {f.last.guarantee for f in followers.values() if f.last} == {Guarantee.EXACT}
        # Nobody writes any more, and nothing keeps the boundary back: what is read again comes to nearly nothing.
        while (most := max(len(f.step()) for f in followers.values())) > FEW:
            assert monotonic() < deadline, f"an increment reads {most} rows"
