"""A run as a whole: what becomes of rows that are there, how it ends, what it says, and how it is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.compare import assert_same_content
from tests.databases import DatabasePair
from tests.faults.program import PATIENCE, Program, wait_until
from tests.faults.proxy import Fate, Moment, Proxy, Trigger
from tests.looking import assert_no_session_is_left, execute, state_of, value
from tests.moving import move

from pghaul.cli.app import run
from pghaul.model.errors import PlanError, StoppedError, TargetNotEmptyError
from pghaul.model.event import EventKind
from pghaul.model.plan import OnExisting, Options, Plan, Selection
from pghaul.model.run import Run, RunState
from pghaul.model.table import Name
from pghaul.service.migration import MigrationService
from pghaul.service.plan_file import read_plan

SCHEMA = """
    CREATE TABLE one (id int PRIMARY KEY, body text);
    CREATE TABLE two (id int);
    CREATE TABLE hist (at int, body text) PARTITION BY RANGE (at);
    CREATE TABLE hist_1 PARTITION OF hist FOR VALUES FROM (0) TO (10);
    CREATE TABLE hist_2 PARTITION OF hist FOR VALUES FROM (10) TO (20)
"""
ROWS = """;
    INSERT INTO one SELECT g, 'source' FROM generate_series(1, 50) g;
    INSERT INTO two VALUES (1), (1), (2);
    INSERT INTO hist SELECT g, 'source' FROM generate_series(0, 19) g
"""
THERE = "; INSERT INTO one VALUES (99, 'there'); INSERT INTO hist VALUES (3, 'there')"
TABLES = ("public.one", "public.two", "public.hist_1", "public.hist_2")
LONG = "CREATE TABLE one (id int, body text); INSERT INTO one SELECT g, repeat('x', 90) FROM generate_series(1, {n}) g"


def rows(url: str, table: str) -> int:
    return int(value(url, f"SELECT count(*) FROM ONLY {table}"))


# --- rows that are there -------------------------------------------------------------------------------------


@pytest.mark.template(source=SCHEMA + ROWS, target=SCHEMA + THERE)
def test_by_default_tables_with_rows_are_refused_and_none_is_touched(db_pair: DatabasePair, state: str) -> None:
    before = state_of(db_pair.target)
    with pytest.raises(TargetNotEmptyError):
        move(db_pair)
    assert state_of(db_pair.target) == before


@pytest.mark.template(source=SCHEMA + ROWS, target=SCHEMA + THERE)
def test_truncate_replaces_them(db_pair: DatabasePair, state: str) -> None:
    assert move(db_pair, on_existing=OnExisting.TRUNCATE).run.state is RunState.DONE
    assert_same_content(db_pair.source, db_pair.target, TABLES)


@pytest.mark.template(source=SCHEMA + ROWS, target=SCHEMA + THERE)
def test_append_keeps_them(db_pair: DatabasePair, state: str) -> None:
    moved = move(db_pair, on_existing=OnExisting.APPEND)
    assert moved.run.state is RunState.DONE
    assert [rows(db_pair.target, t) for t in TABLES] == [51, 3, 11, 10]
    assert sorted(moved.notices("PROOF")) == ["public.hist_1", "public.one"]


@pytest.mark.template(source=SCHEMA + ROWS, target=SCHEMA + THERE)
def test_skip_leaves_them_alone_and_says_so(db_pair: DatabasePair, state: str) -> None:
    moved = move(db_pair, on_existing=OnExisting.SKIP)
    assert [rows(db_pair.target, t) for t in TABLES] == [1, 3, 1, 10]
    assert {"public.hist_1", "public.one"} <= set(moved.notices("TABLE"))
    assert {str(u.name) for u in MigrationService().show(moved.run.id).not_carried} >= {"public.hist_1", "public.one"}
    assert moved.run.chunks == 2


@pytest.mark.template(source=SCHEMA + ROWS, target=SCHEMA + THERE)
def test_ask_is_a_question_per_table_that_has_rows(db_pair: DatabasePair, state: str) -> None:
    asked: list[Name] = []

    def ask(table: Name, _: int | None) -> OnExisting:
        asked.append(table)
        return OnExisting.SKIP if table.name == "one" else OnExisting.TRUNCATE

    run_with(db_pair, options=Options(workers=1, on_existing=OnExisting.ASK), ask=ask)
    assert sorted(asked) == [Name("public", "hist_1"), Name("public", "one")]
    assert [rows(db_pair.target, t) for t in TABLES] == [1, 3, 10, 10]


@pytest.mark.template(source=SCHEMA + ROWS, target=SCHEMA + THERE)
def test_ask_without_anybody_there_is_refused_before_any_change(db_pair: DatabasePair, state: str) -> None:
    before = state_of(db_pair.target)
    with pytest.raises(PlanError, match="nobody to ask"):
        run_with(db_pair, options=Options(workers=1, on_existing=OnExisting.ASK))
    assert state_of(db_pair.target) == before


@pytest.mark.template(source=SCHEMA + ROWS, target=SCHEMA + THERE)
@pytest.mark.parametrize(
    ("selections", "left"),
    [
        ({"one": "skip", "two": None, "hist": None}, [1, 3, 10, 10]),
        ({"public.o*": "skip", "two": None, "hist": None}, [1, 3, 10, 10]),
        ({"one": None, "two": None, "hist": "skip"}, [50, 3, 1, 10]),  # a root's word holds for its leaves
        ({"*.*": "skip", "hist_1": "append"}, [1, 3, 11, 10]),  # the nearer word wins
    ],
)
def test_a_selection_s_own_word_goes_over_the_plan_s(
    db_pair: DatabasePair, state: str, selections: dict[str, str | None], left: list[int]
) -> None:
    """Above all it must hold back a truncation that the plan orders for the rest."""
    chosen = [Selection(name=n, on_existing=OnExisting(w) if w else None) for n, w in selections.items()]
    run_with(db_pair, tables=chosen, options=Options(workers=1, on_existing=OnExisting.TRUNCATE))
    assert [rows(db_pair.target, t) for t in TABLES] == left


@pytest.mark.template(source=SCHEMA + ROWS, target=SCHEMA + THERE)
def test_fail_for_a_pattern_is_not_overruled_by_the_plan(db_pair: DatabasePair, state: str) -> None:
    before = state_of(db_pair.target)
    chosen = [Selection(name="public.o*", on_existing=OnExisting.FAIL)]
    with pytest.raises(TargetNotEmptyError):
        run_with(db_pair, tables=chosen, options=Options(workers=1, on_existing=OnExisting.TRUNCATE))
    assert state_of(db_pair.target) == before


def run_with(pair: DatabasePair, *, options: Options, tables: list[Selection] | None = None, ask=None) -> Run:  # type: ignore[no-untyped-def]  # noqa: ANN001
    plan = Plan(source=pair.source, target=pair.target, tables=tables or [Selection(name="public.*")], options=options)
    return MigrationService().run(plan, listener=lambda _: None, ask=ask)


# --- how it ends, and what it says ---------------------------------------------------------------------------


def words(pair: DatabasePair, *more: str) -> list[str]:
    return ["run", "--from", pair.source, "--to", pair.target, "--table", "public.*", "--workers", "1", *more]


@pytest.mark.template(source=SCHEMA + ROWS)
def test_done_is_exit_0_and_its_receipts_are_shown(
    db_pair: DatabasePair, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(db_pair, "--verify", "checksum", "--run-id", "0123456789ab")) == 0
    assert run(["show", "0123456789ab", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    receipts = {c["table"]: c["receipt"] for c in shown["chunks"]}
    assert {t: receipts[t]["rows"] for t in TABLES} == dict(zip(TABLES, (50, 3, 10, 10), strict=True))
    assert all(r["source_hash"] == r["target_hash"] != "" for r in receipts.values())
    assert all(r["bytes"] > 0 and r["seconds"] > 0 and r["epoch"] == 1 for r in receipts.values())


@pytest.mark.template(source=SCHEMA + ROWS)
def test_with_json_every_line_on_stdout_is_an_event(db_pair: DatabasePair, state: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pghaul", *words(db_pair, "--json")], capture_output=True, text=True, check=False
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    kinds = [e["event"] for e in events]
    assert (kinds[0], kinds[-1]) == ("run_started", "run_finished")
    assert kinds.count("chunk_done") == 4
    assert {e["run"] for e in events} == {events[0]["run"]}
    assert events[-1]["rows"] == 73
    assert events[-1]["state"] == "done"
    assert "{" not in done.stderr


FINE = "; ALTER TABLE one ADD n numeric; UPDATE one SET n = 1.005 WHERE id = 7"
COARSE = "; ALTER TABLE one ADD n numeric(10, 2)"


@pytest.mark.template(source=SCHEMA + ROWS + FINE, target=SCHEMA + COARSE)
def test_a_difference_found_by_verification_is_exit_3(
    db_pair: DatabasePair, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A column of the target that keeps fewer digits changes one row."""
    assert run(words(db_pair, "--verify", "checksum", "--json")) == 3
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["state"] == "different"
    assert [e["table"] for e in events if e["event"] == "chunk_done" and not e.get("agrees", True)] == ["public.one"]
    assert MigrationService().status().state is RunState.DIFFERENT


@pytest.mark.template(source=SCHEMA + ROWS + FINE, target=SCHEMA + COARSE)
def test_a_difference_is_not_forgotten_by_a_resume_that_trusts_the_ledger(db_pair: DatabasePair, state: str) -> None:
    heard: list[EventKind] = []
    with pytest.raises(StoppedError):
        move(
            db_pair,
            "public.one",
            "public.two",
            listener=lambda e: heard.append(e.kind),
            stop=lambda: EventKind.CHUNK_DONE in heard,
        )
    run_id = MigrationService().latest_unfinished().id
    ended = MigrationService().resume(run_id, trust_ledger=True, listener=lambda _: None)
    assert ended.state is RunState.DIFFERENT


@pytest.mark.template(source=SCHEMA + ROWS)
def test_a_saved_plan_is_the_same_run_again(
    db_pair: DatabasePair, state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "kept plan.toml"
    assert run(words(db_pair, "--verify", "checksum", "--retries", "2", "--save-plan", str(plan))) == 0
    execute(db_pair.source, "INSERT INTO two VALUES (7)")
    assert run(["run", str(plan)]) == 1  # the tables have rows now, and the plan does not say what to do with them
    assert run(["run", str(plan), "--on-existing", "truncate"]) == 0
    assert_same_content(db_pair.source, db_pair.target, TABLES)
    first, second = (MigrationService().show(r.id).plan for r in MigrationService().runs()[::-1])
    assert (
        second.options.model_copy(update={"on_existing": OnExisting.FAIL}) == first.options == read_plan(plan).options
    )


# --- how it is stopped ---------------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path: Path, state: str) -> Iterator[Program]:
    program = Program(tmp_path)
    assert program.state == state
    try:
        yield program
    finally:
        program.kill_all()


def start_held(program: Program, pair: DatabasePair, proxy: Proxy, trigger: Trigger) -> None:
    """A run whose connection stalls at the trigger: it goes on waiting until it is stopped."""
    proxy.arm(trigger)
    target = proxy.url(pair.target)
    ends = ("--from", pair.source, "--to", target)
    program.start("run", *ends, "--table", "one", "--run-id", "0123456789ab", "--workers", "1")
    assert trigger.done.wait(PATIENCE), program.said()


COPYING = {"moment": Moment.COPIED, "application": "/worker$", "after_bytes": 300_000, "fate": Fate.STALL}


@pytest.mark.skipif(os.name == "nt", reason="there are no signals to send")
@pytest.mark.template(source=LONG.format(n=20_000), target=LONG.format(n=0))
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly_with_130(db_pair: DatabasePair, program: Program, number: signal.Signals) -> None:
    with Proxy(db_pair.target_server.port) as proxy:
        start_held(program, db_pair, proxy, Trigger(**COPYING))  # type: ignore[arg-type]
        assert program.process is not None
        program.process.send_signal(number)
        assert program.wait() == 130, program.said()
        assert_stopped(db_pair, program)
    assert "pghaul resume 0123456789ab" in program.said()
    assert run(["resume", "0123456789ab", "--to", db_pair.target]) == 0
    assert_same_content(db_pair.source, db_pair.target, ["public.one"])


@pytest.mark.template(source=LONG.format(n=20_000), target=LONG.format(n=0))
def test_another_process_stops_it(db_pair: DatabasePair, program: Program) -> None:
    with Proxy(db_pair.target_server.port) as proxy:
        start_held(program, db_pair, proxy, Trigger(**COPYING))  # type: ignore[arg-type]
        assert run(["stop", "0123456789ab"]) == 0
        assert program.wait() == 130, program.said()
        assert_stopped(db_pair, program)
    assert run(["stop", "0123456789ab"]) == 1
    assert MigrationService().status().state is RunState.STOPPED


@pytest.mark.skipif(os.name == "nt", reason="there are no signals to send")
@pytest.mark.template(source=LONG.format(n=20_000), target=LONG.format(n=0))
def test_a_second_ctrl_c_ends_it_at_once(db_pair: DatabasePair, program: Program) -> None:
    """The leader waits for a server that says nothing: the first one is heard, and nobody can act on it yet."""
    with Proxy(db_pair.target_server.port) as proxy:
        stalled = Trigger(moment=Moment.QUERY, application="/leader$", pattern="run_table", fate=Fate.STALL)
        start_held(program, db_pair, proxy, stalled)
        assert program.process is not None
        program.process.send_signal(signal.SIGINT)
        assert wait_until(lambda: "Ctrl-C again" in program.said())
        program.process.send_signal(signal.SIGINT)
        assert program.wait() == 130, program.said()
        assert_stopped(db_pair, program)
    assert rows(db_pair.target, "one") == 0


def assert_stopped(pair: DatabasePair, program: Program) -> None:
    """No process and no session is left, and nothing that was in flight is visible."""
    assert wait_until(lambda: not program.processes(), 20)
    assert_no_session_is_left(pair.source, pair.target)
    assert rows(pair.target, "one") == 0
