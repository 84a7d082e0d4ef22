"""Many rows are merged by lookups where the target is larger still: the same rows and counts, by another way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.databases import DatabasePair

from pghaul.model.merging import MergeDesign
from pghaul.model.plan import MergeMode
from pghaul.model.table import Name
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import Session, connect
from pghaul.target import merge, merge_target, merge_way, staging

TARGET = Name("public", "t")
STAGING = staging.name_for("0123456789ab", 1)
DESIGN = MergeDesign(target=TARGET, staging=STAGING, columns=("id", "v"), key=("id",))
STAGE = "INSERT INTO pghaul.stage_0123456789ab_1 SELECT i, 'new' FROM pg_catalog.generate_series(4900, 5099) AS i"
STAGE += " ORDER BY pg_catalog.md5(i::pg_catalog.text)"


@pytest.fixture
def session(db_pair: DatabasePair) -> Iterator[Session]:
    with connect(resolve(db_pair.target), application_name="test", role="target") as opened:
        yield opened


def _fill(session: Session, order: str, key: str = "PRIMARY KEY") -> None:
    session.execute(f"CREATE TABLE public.t (id int4 {key}, v text)")
    session.execute(
        f"INSERT INTO public.t SELECT i, 'old' FROM pg_catalog.generate_series(1, 4999) AS i ORDER BY {order}"
    )
    session.execute("ANALYZE public.t")


def _find(session: Session) -> merge_way.Way:
    target = merge_target.look(session, TARGET)
    assert target is not None
    return merge_way.find(session, target, DESIGN)


def test_a_tenth_is_looked_up_where_neighbours_lie_together(session: Session) -> None:
    _fill(session, "i")
    way = _find(session)
    assert way == merge_way.Way(rows=4999, near=True)
    assert way.looks_up(500)
    assert not way.looks_up(2000)


def test_scattered_rows_are_looked_up_only_when_they_are_few(session: Session) -> None:
    _fill(session, "pg_catalog.md5(i::pg_catalog.text)")
    way = _find(session)
    assert not way.near
    assert way.looks_up(99)
    assert not way.looks_up(500)
    assert way.looks_up_changes(500)


def test_nothing_is_looked_up_without_an_index(session: Session) -> None:
    _fill(session, "i", key="NOT NULL")
    assert not _find(session).looks_up(1)


@pytest.mark.parametrize("mode", [MergeMode.UPSERT, MergeMode.FULL_SYNC])
def test_lookups_merge_the_same_rows(session: Session, monkeypatch: pytest.MonkeyPatch, mode: MergeMode) -> None:
    monkeypatch.setattr(merge, "LARGE", 1)
    looked_up: list[bool] = []
    way = merge_way.lookups
    monkeypatch.setattr(merge_way, "lookups", lambda s, wanted: looked_up.append(wanted) or way(s, wanted))
    _fill(session, "i")
    staging.create(session, STAGING, staging.columns_of(session, TARGET, ["id", "v"]))
    session.execute(STAGE)
    design = MergeDesign(target=TARGET, staging=STAGING, columns=("id", "v"), key=("id",), mode=mode)
    with session.transaction():
        counts = merge.merge(session, design, 200)
        assert session.value("SELECT pg_catalog.current_setting('enable_hashjoin')") == "on"
    gone = 4899 if mode is MergeMode.FULL_SYNC else 0
    assert (counts.inserted, counts.updated, counts.deleted) == (100, 100, gone)
    assert counts.settled
    assert session.rows("SELECT v, pg_catalog.count(*) FROM public.t GROUP BY v ORDER BY v") == (
        [("new", 200)] if gone else [("new", 200), ("old", 4899)]
    )
    assert any(looked_up) is not bool(gone)
