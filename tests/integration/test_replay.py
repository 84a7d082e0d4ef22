"""Rows that were set aside are loaded once more: exactly those, once, whatever happens on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from tests.databases import DatabasePair
from tests.merge_runs import merge
from tests.moving import rows, run_sql
from tests.set_aside import RUN, set_aside

from pghaul.cli import app
from pghaul.engine import replay as replaying
from pghaul.model.errors import QuarantineError, TableTakenError, UsageError
from pghaul.model.quarantine import Conflict, Replayed, Which
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import connect
from pghaul.service.migration import MigrationService, new_run_id
from pghaul.target import replay as writing

DEADLINE = 60.0
OTHER = "ba9876543210"
STOCK = """
CREATE TABLE public.stock (id int4 PRIMARY KEY, v varchar(5), twice int4 GENERATED ALWAYS AS (id * 2) STORED);
INSERT INTO public.stock VALUES (1, 'old');
"""
CONTENT = "SELECT id, v FROM public.stock ORDER BY id"
WAITING = "SELECT count(*) FROM pghaul.quarantine WHERE replayed_at IS NULL"
COLUMNS = ["id", "v"]
ALL = Which()

stocked = pytest.mark.template(target=STOCK)


def replay(url: str, which: Which = ALL, **how: Any) -> list[Replayed]:
    return MigrationService().quarantine(url).replay(which, run=new_run_id(), **how)


def aside(url: str, *lines: tuple[str | None, ...], table: str = "public.stock", **more: Any) -> None:
    set_aside(url, table, more.pop("columns", COLUMNS), *lines, **more)


def until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not fact():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


@stocked
def test_good_rows_arrive_once_and_bad_ones_stay_with_todays_reason(
    db_pair: DatabasePair, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = db_pair.target
    aside(url, *((str(n), f"v\t{n}") for n in range(2, 40)), ("40", None), ("41", "too long"), ("1", "new"), ("x", ""))
    assert app.run(["quarantine", "replay", url, "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    (table,) = told["tables"]
    assert (table["inserted"], table["left"]) == (39, 3)
    assert rows(url, CONTENT) == [(1, "old"), *((n, f"v\t{n}") for n in range(2, 40)), (40, None)]
    left = "SELECT sqlstate, constraint_name, replayed_by FROM pghaul.quarantine WHERE replayed_at IS NULL ORDER BY id"
    assert rows(url, left) == [("22001", None, None), ("23505", "stock_pkey", None), ("22P02", None, None)]
    done = "SELECT count(*) FROM pghaul.quarantine WHERE replayed_by = "
    assert rows(url, f"{done} '{told['run']}' AND replayed_at IS NOT NULL") == [(39,)]
    marker = "SELECT relation, chunk, rows, rejected, finished_at IS NOT NULL FROM pghaul.chunk_marker WHERE run_id = "
    assert rows(url, f"{marker} '{told['run']}'") == [("public.stock", "replay:1", 42, 3, True)]
    assert rows(url, f"SELECT state FROM pghaul.run WHERE run_id = '{told['run']}'") == [("different",)]
    run_sql(url, "ALTER TABLE public.stock DROP COLUMN twice; ALTER TABLE public.stock ALTER v TYPE text")
    assert [(r.inserted, r.left) for r in replay(url, Which(conditions=(("sqlstate", "22001"),)))] == [(1, 0)]
    assert app.run(["quarantine", "replay", url]) == 3
    assert "still set aside" in capsys.readouterr().out
    assert rows(url, "SELECT count(*) FROM public.stock") == [(41,)]


@stocked
@pytest.mark.parametrize(
    ("conflict", "content", "counts"),
    [
        (Conflict.ERROR, [(1, "old"), (2, "b"), (3, "c")], (2, 0, 0, 3)),
        (Conflict.IGNORE, [(1, "old"), (2, "b"), (3, "c")], (2, 0, 2, 1)),
        (Conflict.UPDATE, [(1, "new"), (2, "b2"), (3, "c")], (2, 2, 0, 1)),
    ],
)
def test_a_key_that_is_there_now_means_what_was_said(
    db_pair: DatabasePair, state: str, conflict: Conflict, content: list[Any], counts: tuple[int, ...]
) -> None:
    """Of two rows with one key the later one wins, though both came in one batch."""
    url = db_pair.target
    aside(url, ("1", "new"), ("2", "b"), ("3", "c"), ("2", "b2"), ("4", "too long"))
    (found,) = replay(url, conflict=conflict)
    assert (found.inserted, found.updated, found.ignored, found.left) == counts
    assert rows(url, CONTENT) == content


@stocked
def test_all_or_nothing_changes_nothing(db_pair: DatabasePair, state: str) -> None:
    url = db_pair.target
    run_sql(url, "CREATE TABLE public.other (id int4)")
    aside(url, ("7",), table="public.other", columns=["id"])
    aside(url, ("2", "b"), ("3", "too long"))
    with pytest.raises(QuarantineError, match=r"1 of them.*too long"):
        replay(url, all_or_nothing=True)
    assert rows(url, CONTENT) == [(1, "old")]
    assert rows(url, "SELECT count(*) FROM public.other") == [(0,)]
    assert rows(url, WAITING) == [(3,)]
    assert rows(url, "SELECT count(*) FROM pghaul.run") == [(0,)]


TREE = """
CREATE TABLE public.child (id int4, parent int4, c text);
CREATE TABLE public.node (id int4 PRIMARY KEY, up int4 REFERENCES public.node DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE public.child ADD FOREIGN KEY (parent) REFERENCES public.node;
"""


@pytest.mark.template(target=TREE)
def test_rows_that_refer_to_each_other_arrive_in_whatever_order(db_pair: DatabasePair, state: str) -> None:
    url = db_pair.target
    aside(url, ("1", "5", "x"), ("2", "77", "y"), ("3", None, "z"), table="public.child", columns=["id", "parent", "c"])
    aside(
        url,
        ("1", "2"),
        ("x", None),
        ("2", "3"),
        ("4", "99"),
        ("3", None),
        ("5", "1"),
        table="public.node",
        columns=["id", "up"],
    )
    found = {r.table: (r.inserted, r.left) for r in replay(url)}
    assert found == {"public.child": (2, 1), "public.node": (4, 2)}
    assert rows(url, "SELECT id FROM public.child ORDER BY 1") == [(1,), (3,)]
    assert sorted(rows(url, "SELECT sqlstate FROM pghaul.quarantine WHERE replayed_at IS NULL")) == [
        ("22P02",),
        ("23503",),
        ("23503",),
    ]


@stocked
def test_a_row_that_several_runs_have_set_aside_arrives_once(db_pair: DatabasePair, state: str) -> None:
    url = db_pair.target
    run_sql(url, "ALTER TABLE public.stock DROP CONSTRAINT stock_pkey")
    aside(url, ("2", "b"))
    aside(url, ("2", "b"), run=OTHER)
    with pytest.raises(UsageError, match=f"{OTHER}, {RUN}|{RUN}, {OTHER}"):
        replay(url)
    (found,) = replay(url, Which(runs=(OTHER,)))
    assert found.inserted == 1
    assert rows(url, CONTENT) == [(1, "old"), (2, "b")]
    assert replay(url, Which(runs=(OTHER,))) == []


@stocked
def test_what_a_trigger_leaves_out_is_no_replayed_row(db_pair: DatabasePair, state: str) -> None:
    url = db_pair.target
    run_sql(
        url,
        "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 3 THEN RETURN NULL; "
        "ELSIF NEW.id = 4 THEN RAISE EXCEPTION 'not you'; END IF; RETURN NEW; END $$; CREATE TRIGGER t BEFORE INSERT "
        "ON public.stock FOR EACH ROW EXECUTE FUNCTION public.f()",
    )
    aside(url, ("2", "b"), ("3", "c"), ("4", "d"))
    (found,) = replay(url)
    assert (found.inserted, {r.sqlstate for r in found.reasons}) == (1, {"02000", "P0001"})


@pytest.mark.template(
    target='CREATE TABLE public.stock (id int8, v text); CREATE TABLE public."a.b 한" ("x""%s" bytea)'
)
def test_many_rows_many_portions_any_bytes(db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying.quarantine, "READ_AT_ONCE", 200)
    monkeypatch.setattr(replaying.quarantine, "KEYS_AT_ONCE", 7)
    url = db_pair.target
    aside(url, *((str(n), "v" * (n % 50)) for n in range(60)))
    aside(url, ("100", "서울"), encoding="UHC")
    aside(url, (b"101\tok\xff",)[0], encoding="UTF8")  # type: ignore[arg-type]
    aside(url, ("\\x00ff",), table='public."a.b 한"', columns=['x"%s'])
    found = {r.table: (r.inserted, r.left) for r in replay(url)}
    assert found == {"public.stock": (61, 1), 'public."a.b 한"': (1, 0)}
    assert rows(url, "SELECT sum(id), max(v) FILTER (WHERE id = 100) FROM public.stock") == [(1870, "서울")]


SLOW = """
CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.id = 30 THEN PERFORM pg_advisory_xact_lock_shared(4711); END IF; RETURN NEW; END $$;
CREATE TRIGGER t BEFORE INSERT ON public.stock FOR EACH ROW EXECUTE FUNCTION public.wait();
"""
HANGING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"
QUEUED = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 28520 AND NOT granted"


@pytest.mark.template(target=STOCK + SLOW)
def test_a_replay_that_is_killed_has_done_nothing(db_pair: DatabasePair, state: str) -> None:
    url = db_pair.target
    aside(url, *((str(n), "v") for n in range(2, 50)))
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(4711)")
        command = [sys.executable, "-m", "pghaul", "quarantine", "replay", url]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ) as killed:
            until(lambda: rows(url, HANGING) == [(1,)])
            killed.kill()
    (found,) = replay(url)
    assert (found.inserted, found.left) == (48, 0)
    assert rows(url, "SELECT count(*), count(DISTINCT id) FROM public.stock") == [(49, 49)]
    assert rows(url, "SELECT count(*) FROM pghaul.run") == [(1,)]


@pytest.mark.template(target=STOCK + SLOW)
def test_two_replays_at_once_load_each_row_once(db_pair: DatabasePair, state: str) -> None:
    """The second waits for the first, and finds nothing left to do."""
    url = db_pair.target
    run_sql(url, "ALTER TABLE public.stock DROP CONSTRAINT stock_pkey")
    aside(url, *((str(n), "v") for n in range(2, 50)))
    found: list[int] = []
    both = [threading.Thread(target=lambda: found.append(sum(r.inserted for r in replay(url)))) for _ in range(2)]
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(4711)")
        for thread in both:
            thread.start()
        until(lambda: rows(url, HANGING) == rows(url, QUEUED) == [(1,)])
    for thread in both:
        thread.join(DEADLINE)
    assert sorted(found) == [0, 48]
    assert rows(url, "SELECT count(*), count(DISTINCT id) FROM public.stock") == [(49, 49)]


@stocked
def test_what_cannot_be_replayed_is_refused_by_name(
    db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = db_pair.target
    aside(url, ("2", "b"))
    run_sql(url, "CREATE TABLE public.bare (id int4)")
    aside(url, ("1",), table="public.bare", columns=["id"])
    with pytest.raises(QuarantineError, match="no key"):
        replay(url, Which(tables=("bare",)), conflict=Conflict.UPDATE)
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", "9.4")
    with pytest.raises(QuarantineError, match=r"9\.5"):
        replay(url, Which(tables=("stock",)), conflict=Conflict.IGNORE)
    assert [r.inserted for r in replay(url, Which(tables=("stock",)))] == [1]
    run_sql(url, "DROP TABLE public.bare")
    with pytest.raises(QuarantineError, match="no longer there"):
        replay(url)
    run_sql(url, f"INSERT INTO pghaul.claim VALUES ('public.stock', '{RUN}')")
    aside(url, ("3", "c"))
    with psycopg.connect(url, autocommit=True) as leader:
        leader.execute(f"SELECT pg_advisory_lock(28519, hashtext('pghaul run {RUN}'))")
        with pytest.raises(TableTakenError, match=f"run {RUN} is loading public.stock"):
            replay(url, Which(tables=("stock",)))


@pytest.mark.template(
    source="CREATE TABLE public.t (id int4 PRIMARY KEY, v text);"
    "INSERT INTO public.t VALUES (1, 'new'), (2, NULL), (3, NULL), (4, 'd')",
    target="CREATE TABLE public.t (id int4 PRIMARY KEY, v text NOT NULL); INSERT INTO public.t VALUES (2, 'old')",
)
def test_rows_of_a_merge_come_to_the_table_itself(db_pair: DatabasePair, state: str) -> None:
    """Whatever has become of their keys since."""
    merge(db_pair, {"name": "t", "merge": {"on_drift": "ignore"}}, max_rejects=2)
    everything = "SELECT id, v FROM public.t ORDER BY id"
    assert rows(db_pair.target, everything) == [(1, "new"), (2, "old"), (4, "d")]
    run_sql(db_pair.target, "ALTER TABLE public.t ALTER v DROP NOT NULL")
    (found,) = replay(db_pair.target, conflict=Conflict.UPDATE)
    assert (found.inserted, found.updated, found.left) == (1, 1, 0)
    assert rows(db_pair.target, everything) == [(1, "new"), (2, None), (3, None), (4, "d")]


@stocked
def test_a_replay_whose_client_has_died_keeps_nobody_waiting(
    db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor the rows that it had locked: its session is ended by the server."""
    url = db_pair.target
    aside(url, ("2", "b"))
    with connect(resolve(url), application_name="dead", role="target") as dead:
        dead.execute("BEGIN")
        with monkeypatch.context() as soon:
            soon.setattr(writing, "AWAKE", "SET LOCAL idle_in_transaction_session_timeout = '0.3s'")
            writing.alone(dead, "public.stock")
        dead.execute("SELECT 1 FROM pghaul.quarantine FOR UPDATE")
        assert [(r.inserted, r.left) for r in replay(url)] == [(1, 0)]
    assert rows(url, CONTENT) == [(1, "old"), (2, "b")]
