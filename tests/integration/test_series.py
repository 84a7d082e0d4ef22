"""Series on real servers: nothing is lost or doubled while somebody writes, and nothing is left when they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.compare import assert_same_content
from tests.databases import DatabasePair
from tests.merge_runs import merge_plan, staging_left
from tests.moving import rows, run_sql

from pghaul.cli.app import run
from pghaul.engine.merge import choice, scene
from pghaul.model.errors import MergeError, StoppedError, TableTakenError
from pghaul.model.event import Event, EventKind, Level, level_of
from pghaul.model.run import RunState
from pghaul.model.series import Series
from pghaul.service.migration import MigrationService
from pghaul.service.plan_file import write_plan

ITEMS = """
CREATE TABLE public.item (id int4 PRIMARY KEY, name text, changed timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX ON public.item (changed);
INSERT INTO public.item SELECT i, 'n' || i, clock_timestamp() - '1 h'::interval FROM generate_series(1, 500) i;
"""
ITEM = {"name": "item", "merge": {"watermark": "changed", "lookback": "1m"}}
WITH_ITEMS = pytest.mark.template(source=ITEMS)
WRITES = (
    "INSERT INTO item SELECT g, 'new' FROM generate_series({n} * 10, {n} * 10 + 9) g ON CONFLICT DO NOTHING",
    "UPDATE item SET name = name || '+', changed = clock_timestamp() WHERE id % 50 = {n} % 50",
)
PATIENCE = 60.0


def repeat(
    pair: DatabasePair,
    limit: int | None,
    *selections: dict[str, Any],
    every: float = 0.05,
    listener: Callable[[Event], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> Series:
    plan = merge_plan(pair, *(selections or (ITEM,)), **({"verify": "count"} | options))
    return MigrationService().series.run(plan, every, listener=listener, limit=limit, stop=stop)


def states(heard: list[Event]) -> list[str]:
    return [e.data["state"] for e in heard if e.kind is EventKind.ROUND]


@contextmanager
def writing(url: str, statements: tuple[str, ...] = WRITES) -> Iterator[None]:
    """Somebody inserts and updates, one transaction after the other, until the end of the block."""
    ended = threading.Event()

    def write() -> None:
        with psycopg.connect(url, autocommit=True) as session:
            for n in range(60, 100_000):
                for statement in statements:
                    session.execute(statement.format(n=n).encode())
                if ended.wait(0.002):
                    return

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


QUERY = "SELECT id, name, changed FROM public.item WHERE name <> '%s{}' -- all"


@WITH_ITEMS
@pytest.mark.parametrize("what", [{"name": "item"}, {"query": QUERY, "into": "public.item"}], ids=["table", "query"])
def test_empty_rounds_leave_nothing_behind(db_pair: DatabasePair, state: str, what: dict[str, str]) -> None:
    heard: list[Event] = []
    marks: list[Any] = []

    def hear(event: Event) -> None:
        heard.append(event)
        if event.kind is EventKind.ROUND:
            marks.append(rows(db_pair.target, "SELECT count(*), max(moved_at) FROM pghaul.watermark"))

    merge = {"watermark": "changed", "lookback": "1m", "key": ["id"]}
    ended = repeat(db_pair, 6, what | {"merge": merge}, listener=hear)
    assert states(heard) == ["done"] + ["empty"] * 5
    assert (ended.rounds, ended.empty_rounds, ended.rows) == (6, 5, 500)
    assert [(r.id, r.series) for r in MigrationService().runs()] == [(ended.last_run, ended.id)]
    assert len({str(m) for m in marks[3:]}) == 1, "an empty round writes nothing to the target"
    assert_same_content(db_pair.source, db_pair.target, ["public.item"])
    assert staging_left(db_pair) == rows(db_pair.target, "SELECT * FROM pghaul.claim") == []
    assert list(ended.marks) == ["public.item"]


@WITH_ITEMS
def test_rounds_that_follow_describe_the_source_once(
    db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And look, as the first one does, at the greatest number before they look at open transactions."""
    described: list[int] = []
    wanted: list[list[tuple[str, bool]]] = []
    ask, look = choice.asked, scene.horizon
    monkeypatch.setattr(choice, "asked", lambda *words: described.append(1) or ask(*words))
    monkeypatch.setattr(
        scene, "horizon", lambda here, of: wanted.append([(w.table.name.name, w.first) for w in of]) or look(here, of)
    )

    def hear(event: Event) -> None:
        if event.kind is EventKind.ROUND:
            run_sql(db_pair.source, f"INSERT INTO public.item VALUES ({1000 + len(wanted)}, 'new')")

    repeat(db_pair, 4, {"name": "item", "merge": {"watermark": "id"}}, listener=hear)
    assert len(described) == 2 + 3
    assert wanted == [[("item", True)], *[[("item", False)]] * 3]
    assert rows(db_pair.target, "SELECT max(id), count(*) FROM public.item") == [(1003, 503)]


@WITH_ITEMS
def test_nothing_is_missed_while_somebody_writes(db_pair: DatabasePair, state: str) -> None:
    """Then everything stands still, is found by one more round, and after that there is nothing to do."""
    heard: list[Event] = []
    with writing(db_pair.source):
        ended = repeat(db_pair, 8, listener=heard.append)
    assert ended.empty_rounds == 0
    again = MigrationService().series.resume(ended.id, listener=heard.append, limit=3, stop=lambda: False)
    assert_same_content(db_pair.source, db_pair.target, ["public.item"])
    assert (again.rounds, again.id) == (11, ended.id)
    assert states(heard)[-2:] == ["empty"] * 2
    assert staging_left(db_pair) == []


@WITH_ITEMS
def test_what_comes_after_many_empty_rounds_is_found_by_the_next(db_pair: DatabasePair, state: str) -> None:
    heard: list[Event] = []

    def change(event: Event) -> None:
        heard.append(event)
        if event.kind is EventKind.ROUND and event.data["round"] in {5, 9}:
            run_sql(db_pair.source, "UPDATE item SET name = name || '!', changed = clock_timestamp() WHERE id <= 7")

    repeat(db_pair, 13, listener=change)
    assert [i for i, s in enumerate(states(heard), 1) if s == "done"] == [1, 6, 10]
    assert_same_content(db_pair.source, db_pair.target, ["public.item"])


@WITH_ITEMS
def test_a_target_that_is_emptied_between_two_rounds_does_not_stay_so_unseen(
    db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pghaul.engine.merge.idle.LOOK_EVERY", 0.0)

    def empty(event: Event) -> None:
        if event.kind is EventKind.ROUND and event.data["round"] == 5:
            run_sql(db_pair.target, "TRUNCATE item")

    with pytest.raises(Exception, match="item"):
        repeat(db_pair, 10, listener=empty)
    (series,) = MigrationService().series.all()
    assert (series.state, series.rounds, series.failed_rounds) == (RunState.FAILED, 6, 1)


@pytest.mark.template(source="CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)")
def test_a_second_loop_over_the_same_table_is_refused_between_rounds_too(db_pair: DatabasePair, state: str) -> None:
    refused: list[TableTakenError] = []
    both = ({"name": "a"}, {"name": "b"})

    def second(event: Event) -> None:
        if event.kind is EventKind.ROUND:
            with pytest.raises(Exception, match="is loading") as caught:
                repeat(db_pair, 1, {"name": "a"})
            refused.append(caught.value)

    repeat(db_pair, 4, *both, listener=second)
    assert len(refused) == 4
    assert repeat(db_pair, 1, {"name": "a"}).state is RunState.DONE


@WITH_ITEMS
def test_a_connection_that_is_cut_between_two_rounds_is_made_anew(db_pair: DatabasePair, state: str) -> None:
    def cut(event: Event) -> None:
        if event.kind is EventKind.ROUND and event.data["round"] in {2, 4}:
            url = db_pair.target if event.data["round"] == 2 else db_pair.source
            run_sql(
                url,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pghaul/%' "
                "AND datname = current_database();",
            )
            run_sql(db_pair.source, "UPDATE item SET name = 'cut', changed = clock_timestamp() WHERE id = 3")

    ended = repeat(db_pair, 7, listener=cut)
    assert (ended.state, ended.failed_rounds) == (RunState.DONE, 0)
    assert_same_content(db_pair.source, db_pair.target, ["public.item"])


@WITH_ITEMS
def test_duplicates_end_the_series_and_nothing_of_their_round_is_kept(db_pair: DatabasePair, state: str) -> None:
    heard: list[Event] = []

    def double(event: Event) -> None:
        heard.append(event)
        if event.kind is EventKind.ROUND and event.data["round"] == 1:
            run_sql(db_pair.source, "ALTER TABLE item DROP CONSTRAINT item_pkey; INSERT INTO item VALUES (1, 'twice')")

    keyed = ITEM | {"merge": {**ITEM["merge"], "key": ["id"]}}
    with pytest.raises(MergeError):
        repeat(db_pair, None, keyed, listener=double)
    (series,) = MigrationService().series.all()
    assert (series.state, series.rounds, series.failed_rounds) == (RunState.FAILED, 2, 1)
    assert rows(db_pair.target, "SELECT count(*) FROM item WHERE name = 'twice'") == [(0,)]
    assert [level_of(e) for e in heard if e.kind is EventKind.ROUND] == [Level.INFO, Level.WARNING]
    assert staging_left(db_pair) == []


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


LOOP = """
import sys
from pghaul.model.plan import Plan
from pghaul.service.migration import MigrationService
MigrationService().series.run(Plan.model_validate_json(sys.argv[1]), 0.05, listener=lambda e: None, stop=lambda: False)
"""


@WITH_ITEMS
def test_a_loop_that_is_killed_in_the_midst_of_its_rounds_goes_on_as_if_nothing_had_been(
    db_pair: DatabasePair, state: str
) -> None:
    plan = merge_plan(db_pair, ITEM, verify="count")
    desk = MigrationService().series
    with writing(db_pair.source):
        loop = subprocess.Popen([sys.executable, "-c", LOOP, plan.model_dump_json()], env=dict(os.environ))
        try:
            _until(lambda: any(s.rounds - s.empty_rounds >= 3 for s in desk.all()))
        finally:
            os.kill(loop.pid, signal.SIGKILL)
            loop.wait()
    (series,) = desk.all()
    assert (series.state, series.error) == (RunState.STOPPED, "its process died")
    ended = desk.resume(series.id, listener=lambda _: None, limit=2, stop=lambda: False)
    assert_same_content(db_pair.source, db_pair.target, ["public.item"])
    assert (ended.state, ended.rounds) == (RunState.DONE, series.rounds + 2)
    assert staging_left(db_pair) == rows(db_pair.target, "SELECT * FROM pghaul.claim") == []


@WITH_ITEMS
def test_a_stop_in_the_midst_of_a_round_rolls_it_back_and_leaves_no_staging(db_pair: DatabasePair, state: str) -> None:
    desk = MigrationService().series
    ended = threading.Event()

    def stop_it() -> None:
        _until(lambda: bool(staging_left(db_pair)) or ended.is_set())
        desk.request_stop(desk.all()[0])

    def add(event: Event) -> None:
        if event.kind is EventKind.ROUND:
            run_sql(db_pair.source, "INSERT INTO item SELECT i, repeat('x', 50) FROM generate_series(1000, 9000) i")
            asker.start()

    asker = threading.Thread(target=stop_it)
    with pytest.raises(StoppedError):
        repeat(db_pair, None, listener=add, max_rate=16_384)
    ended.set()
    asker.join()
    (series,) = desk.all()
    assert (series.state, series.rounds) == (RunState.STOPPED, 1)
    assert rows(db_pair.target, "SELECT count(*) FROM item") == [(500,)]
    assert staging_left(db_pair) == []


@pytest.mark.template(
    source=ITEMS,
    target="CREATE TABLE item (id int4 PRIMARY KEY, name text CHECK (length(name) < 9), changed timestamptz NOT NULL)",
)
def test_a_row_that_was_set_aside_is_not_set_aside_again_and_again(db_pair: DatabasePair, state: str) -> None:
    heard: list[Event] = []

    def spoil(event: Event) -> None:
        heard.append(event)
        if event.kind is EventKind.ROUND and event.data["round"] == 3:
            run_sql(
                db_pair.source, "UPDATE item SET name = 'far too long', changed = now() - '1 m'::interval WHERE id = 3"
            )

    ended = repeat(db_pair, 9, listener=spoil, max_rejects=5)
    assert states(heard) == ["done", "empty", "empty", "different", *["empty"] * 5]
    assert (ended.state, ended.different_rounds) == (RunState.DIFFERENT, 1)
    assert rows(db_pair.target, "SELECT count(*), min(source_key) FROM pghaul.quarantine") == [(1, '{"id": "3"}')]
    assert len([e for e in heard if e.kind is EventKind.NOTICE and e.data.get("kind") == "SET ASIDE"]) == 1


@WITH_ITEMS
def test_rounds_that_are_forgotten_are_forgotten_by_the_ledger_too(
    db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pghaul.service.rounds.TIDY_EVERY", 2)
    monkeypatch.setattr("pghaul.store.series.SeriesTable.forget_old_rounds.__defaults__", (2,))

    def change(event: Event) -> None:
        if event.kind is EventKind.ROUND and event.data["round"] < 7:
            run_sql(db_pair.source, "UPDATE item SET name = name || '!', changed = clock_timestamp() WHERE id <= 7")

    repeat(db_pair, 7, listener=change)
    kept = {r.id for r in MigrationService().runs()}
    known = rows(db_pair.target, "SELECT run_id FROM pghaul.run")
    markers = rows(db_pair.target, "SELECT DISTINCT run_id FROM pghaul.chunk_marker")
    assert len(kept) == 3
    assert {r for (r,) in known} == {r for (r,) in markers} == kept
    assert_same_content(db_pair.source, db_pair.target, ["public.item"])


def run_cli(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(list(words))
    told = capsys.readouterr()
    return code, told.out, told.err


@WITH_ITEMS
def test_on_the_command_line(
    db_pair: DatabasePair, state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "items.toml"
    write_plan(merge_plan(db_pair, ITEM, verify="count"), plan)
    code, out, err = run_cli(capsys, "run", str(plan), "--every", "50ms", "--rounds", "4")
    (series,) = MigrationService().series.all()
    assert (code, out) == (0, "")
    assert f"every 50ms: series {series.id}" in err
    assert [line.partition(",")[0] for line in err.splitlines() if line.startswith("round ")] == ["round 1: 500 rows"]
    code, out, _ = run_cli(capsys, "status")
    assert (code, "4, of these 3 empty, 0 failed" in out, series.last_run in out) == (0, True, True)
    code, out, _ = run_cli(capsys, "status", series.id, "--json")
    assert {k: json.loads(out)[k] for k in ("kind", "every", "rounds", "empty_rounds")} == {
        "kind": "series",
        "every": 0.05,
        "rounds": 4,
        "empty_rounds": 3,
    }
    run_sql(db_pair.source, "INSERT INTO item VALUES (501, 'one')")
    code, out, err = run_cli(capsys, "resume", series.id, "--rounds", "2", "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert (code, [e["state"] for e in told if e["event"] == "round"]) == (0, ["done"])
    code, out, _ = run_cli(capsys, "runs")
    assert out.count(series.id) >= 3
    assert run_cli(capsys, "stop", series.id)[0] == 1
    assert run_cli(capsys, "run", str(plan), "--rounds", "4")[0] == 2
    copy = ("run", "--from", db_pair.source, "--to", db_pair.target, "--table", "item", "--every", "1s")
    code, _, err = run_cli(capsys, *copy)
    assert (code, "PGH-1086" in err) == (2, True)
