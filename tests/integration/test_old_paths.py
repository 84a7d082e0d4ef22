"""What is done for servers too old to be had here: whole runs with their capabilities, on real servers."""

from __future__ import annotations

import pytest
from tests.compare import assert_same_content
from tests.databases import DatabasePair
from tests.moving import assert_done, move, resume
from tests.stopping import move_until_stopped
from tests.typed_values import TABLES, script

from pghaul.model.event import EventKind

MORE = """
CREATE TABLE public.plant (id int4 PRIMARY KEY, v text, f float8);
INSERT INTO public.plant SELECT i, repeat('v', 50), i / 7.0 FROM generate_series(1, 4000) i;
CREATE INDEX by_v ON public.plant (v);
CREATE TABLE public.elder (id serial, t text);
CREATE TABLE public.younger (CHECK (id > 0)) INHERITS (public.elder);
INSERT INTO public.elder (t) SELECT 'elder' FROM generate_series(1, 10);
INSERT INTO public.younger (t) SELECT 'younger' FROM generate_series(1, 10);
CREATE TABLE public.nothing ();
INSERT INTO public.nothing DEFAULT VALUES;
"""
NAMES = [*TABLES, "public.plant", "public.elder", "public.younger", "public.nothing"]
# Composites with floats have neither the same text before 12 nor a binary form without oids.
COUNTED = {"public.own", "public.own_composite", "public.numbers_composite", "public.shapes_composite"}
typed = pytest.mark.template(source=script(10) + MORE)


@pytest.fixture(params=["9.3", "9.6", "10", "13", "source=9.3", "target=9.3"])
def assumed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", request.param)
    return str(request.param)


@typed
def test_a_run_with_an_old_servers_capabilities_moves_and_proves_everything(
    db_pair: DatabasePair, state: str, assumed: str
) -> None:
    moved = move(db_pair, "public.*", split_bytes=8192)
    assert_done(moved)
    assert_same_content(db_pair.source, db_pair.target, NAMES)
    split = assumed == "target=9.3"  # the source still reads in ranges
    assert {e.chunk == "leaf" for e in moved.of(EventKind.CHUNK_DONE)} == ({True, False} if split else {True})
    inexact = assumed != "13"
    found = set(moved.notices("PROOF"))
    assert (found >= COUNTED) if inexact else (found == set())
    proofs = moved.proofs()
    assert proofs["public.bits"] == "stream"
    assert proofs["public.plant"] == ("rows" if split else "stream")
    assert proofs["public.numbers_arrays"] == ("rows" if inexact else "stream")


@typed
@pytest.mark.parametrize("assumed", ["9.3", "10"], indirect=True)
def test_a_stopped_run_is_compared_again_by_the_old_hash(db_pair: DatabasePair, state: str, assumed: str) -> None:
    run = move_until_stopped(db_pair, "plant", "numbers", "elder", "own")
    resumed = resume(run)
    assert_done(resumed)
    checks = [e.data for e in resumed.of(EventKind.VERIFIED)]
    assert checks
    assert all(c["agrees"] for c in checks)
    assert_same_content(
        db_pair.source, db_pair.target, ["public.plant", "public.numbers", "public.elder", "public.own"]
    )


@typed
def test_from_14_on_the_same_table_is_read_in_ranges(db_pair: DatabasePair, state: str) -> None:
    moved = move(db_pair, "plant", split_bytes=65536)
    assert_done(moved)
    assert len(moved.of(EventKind.CHUNK_DONE)) > 2
    assert_same_content(db_pair.source, db_pair.target, ["public.plant"])
