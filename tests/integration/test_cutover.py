"""`pghaul cutover`: only while nobody writes, undone on wish, proven, and with the time that it took."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from tests.compare import assert_same_content
from tests.databases import DatabasePair
from tests.looking import execute, rows_of, value
from tests.moving import Moved, assert_done, move, plan_of, resume
from tests.stopping import Brake

from pghaul.cli.app import run
from pghaul.engine import quiet
from pghaul.model.errors import NotFoundError, NotQuietError, StoppedError
from pghaul.model.event import Event, EventKind
from pghaul.model.run import RunState
from pghaul.model.table import Name
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import connect
from pghaul.service.migration import MigrationService

SOURCE = """
    CREATE TABLE still (id int PRIMARY KEY, v text); INSERT INTO still SELECT g, 'x' FROM generate_series(1, 400) g;
    CREATE TABLE payment (id serial PRIMARY KEY, v text);
    INSERT INTO payment (v) SELECT 'x' FROM generate_series(1, 400) g
"""
TABLES = ("public.still", "public.payment")
QUIET_FOR = 0.3
READ_ONLY = "SHOW default_transaction_read_only"

Output = pytest.CaptureFixture[str]


def cut(pair: DatabasePair, **options: Any) -> Moved:
    events: list[Event] = options.pop("events", [])
    listener = options.pop("listener", lambda _event: None)

    def hear(event: Event) -> None:
        events.append(event)
        listener(event)

    words = {"quiet_for": QUIET_FOR} | options
    ended = MigrationService().cutover(plan_of(pair.source, pair.target, ("*",)), listener=hear, **words)
    return Moved(run=ended, events=events)


def steps(moved: Moved) -> dict[str, dict[str, Any]]:
    return {e.data["step"]: e.data for e in moved.of(EventKind.CUTOVER)}


@contextlib.contextmanager
def writing(url: str, *statements: str) -> Iterator[psycopg.Connection]:
    """A till that has begun to write and has not committed."""
    with psycopg.connect(url, application_name="till") as session:
        for statement in statements:
            session.execute(statement.encode())
        yield session


@pytest.fixture
def moved_before(db_pair: DatabasePair, state: str) -> Moved:
    found = move(db_pair, "*")
    assert_done(found)
    return found


@pytest.mark.template(source=SOURCE)
def test_what_changed_is_refreshed_and_proven_and_the_downtime_told(db_pair: DatabasePair, moved_before: Moved) -> None:
    execute(db_pair.source, "INSERT INTO payment (v) VALUES ('late'), ('later')")
    before = rows_of(db_pair.target, "public.still")
    found = cut(db_pair)
    assert_done(found)
    assert rows_of(db_pair.target, "public.still") == before, "what was equal was not touched"
    assert_same_content(db_pair.source, db_pair.target, TABLES)
    assert value(db_pair.target, "SELECT nextval('payment_id_seq')") == 403
    assert {e.data["proof"] for e in found.of(EventKind.CHUNK_DONE)} <= {"rows", "stream"}
    assert steps(found)["verified"]["downtime"] >= QUIET_FOR
    kept = MigrationService().show(found.run.id)
    assert [e.data["step"] for e in kept.events if e.kind is EventKind.CUTOVER] == ["begun", "quiet", "verified"]


@pytest.mark.template(source=SOURCE)
def test_an_open_transaction_that_writes_is_named_and_later_it_goes_on(
    db_pair: DatabasePair, moved_before: Moved
) -> None:
    with writing(db_pair.source, "INSERT INTO payment (v) VALUES ('open')") as till:
        with pytest.raises(NotQuietError, match=r"till \(user postgres.* writes to public\.payment"):
            cut(db_pair)
        till.commit()
    failed = MigrationService().latest_unfinished()
    assert failed.state is RunState.FAILED
    again = resume(failed.id)
    assert_done(again)
    assert "verified" in steps(again)
    assert_same_content(db_pair.source, db_pair.target, TABLES)


@pytest.mark.template(source=SOURCE)
def test_short_transactions_between_two_looks_are_seen(
    db_pair: DatabasePair, moved_before: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At both looks nobody writes; of what was sold in between the counters tell, by themselves within a second."""
    with psycopg.connect(db_pair.source, application_name="till", autocommit=True) as till:

        def sell(_seconds: float, _stop: object) -> None:
            till.execute("INSERT INTO payment (v) VALUES ('sold')")
            till.execute("SELECT pg_stat_force_next_flush()")

        monkeypatch.setattr(quiet, "_wait", sell)
        with pytest.raises(NotQuietError, match=r"public\.payment") as refused:
            cut(db_pair)
    assert "till" in refused.value.message


@pytest.mark.template(source=SOURCE)
def test_who_only_reads_is_named_and_does_no_harm(db_pair: DatabasePair, moved_before: Moved) -> None:
    with writing(db_pair.source, "SELECT 1 FROM payment"):
        found = cut(db_pair)
    assert_done(found)
    assert "connected" in steps(found)


@pytest.mark.template(source=SOURCE)
def test_the_source_is_made_read_only_and_takes_writes_again_after_undo(
    db_pair: DatabasePair, moved_before: Moved
) -> None:
    with psycopg.connect(db_pair.source, application_name="till", autocommit=True) as till:
        found = cut(db_pair, read_only=True, end_sessions=True)
        with pytest.raises(psycopg.OperationalError):
            till.execute("INSERT INTO payment (v) VALUES ('no')")
    assert_done(found)
    assert steps(found)["ended"]["sessions"] == 1
    assert value(db_pair.source, READ_ONLY) == "on"
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        execute(db_pair.source, "INSERT INTO payment (v) VALUES ('no')")
    service = MigrationService()
    service.undo_cutover(found.run.id)
    assert value(db_pair.source, READ_ONLY) == "off"
    with pytest.raises(NotFoundError, match="has undone it already"):
        service.undo_cutover(found.run.id)


@pytest.mark.template(source=SOURCE)
def test_undo_puts_back_the_setting_that_was_there(db_pair: DatabasePair, moved_before: Moved) -> None:
    name = value(db_pair.source, "SELECT current_database()")
    execute(db_pair.source, f'ALTER DATABASE "{name}" SET default_transaction_read_only = off')
    found = cut(db_pair, read_only=True)
    MigrationService().undo_cutover(found.run.id)
    kept = "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase AND datname = "
    assert value(db_pair.source, f"{kept}'{name}'") == ["default_transaction_read_only=off"]


@pytest.mark.template(source=SOURCE)
def test_what_is_written_during_the_cutover_is_not_called_equal(db_pair: DatabasePair, moved_before: Moved) -> None:
    def write(event: Event) -> None:
        if event.kind is EventKind.ATTEMPT:  # after the snapshot was taken
            execute(db_pair.source, "INSERT INTO payment (v) VALUES ('too late')")

    found = cut(db_pair, listener=write)
    assert found.run.state is RunState.DIFFERENT
    assert steps(found)["written"]["tables"] == ["public.payment"]
    assert "verified" not in steps(found)
    assert MigrationService().status(found.run.id).state is RunState.DIFFERENT


@pytest.mark.template(source=SOURCE)
def test_stopped_in_the_middle_and_resumed_it_is_still_a_cutover(db_pair: DatabasePair, moved_before: Moved) -> None:
    execute(db_pair.source, "UPDATE payment SET v = 'new'", "UPDATE still SET v = 'new' WHERE id = 1")
    brake = Brake(1)
    with pytest.raises(StoppedError):
        cut(db_pair, listener=brake.hear, stop=brake.pulled, read_only=True)
    stopped = MigrationService().latest_unfinished()
    again = resume(stopped.id)
    assert_done(again)
    assert steps(again)["verified"]["downtime"] > 0
    assert_same_content(db_pair.source, db_pair.target, TABLES)
    MigrationService().undo_cutover(stopped.id)
    assert value(db_pair.source, READ_ONLY) == "off", "what a resume found read-only is not taken for the old setting"


@pytest.mark.template(source=SOURCE)
def test_the_command_takes_a_run_or_a_plan_and_says_what_to_do_next(
    db_pair: DatabasePair, moved_before: Moved, capsys: Output, tmp_path: Any
) -> None:
    capsys.readouterr()
    plan = tmp_path / "plan.toml"
    plan.write_text(f'source = "{db_pair.source}"\ntarget = "{db_pair.target}"\n[[tables]]\nname = "*"\n')
    for what in (moved_before.run.id, str(plan)):
        assert run(["cutover", what, "--quiet-for", str(QUIET_FOR)]) == 0
        err = capsys.readouterr().err
        assert "the source is quiet" in err
        assert "point the applications to postgresql://" in err
    assert run(["cutover", str(plan), "--end-sessions"]) == 2
    assert run(["cutover", moved_before.run.id, "--undo"]) == 1
    assert "is no cutover" in capsys.readouterr().err


def look(at: dict[str, int], xid: int, **more: Any) -> quiet.Look:
    facts = {"at": datetime.now(UTC), "wal": "0/0", "writers": (), "others": ()} | more
    return quiet.Look(next_xid=xid, written={Name("public", n): c for n, c in at.items()}, **facts)


def test_a_counter_that_comes_late_is_no_writing() -> None:
    assert quiet.written_between(look({"t": 5}, 100), look({"t": 6}, 100)) == []
    assert [n.name for n in quiet.written_between(look({"t": 5}, 100), look({"t": 6}, 101))] == ["t"]
    assert quiet.written_between(look({"t": 5}, 100), look({"t": 5}, 190)) == []


@pytest.mark.template(source=SOURCE)
def test_a_look_names_who_holds_a_lock_for_writing_and_where(db_pair: DatabasePair, state: str) -> None:
    with connect(resolve(db_pair.source), application_name="pghaul/test", role="source") as session:
        found = quiet.look(session, [Name("public", "payment")])
        assert (found.writers, found.others) == ((), ())
        with writing(db_pair.source, "INSERT INTO payment (v) VALUES ('open')"):
            found = quiet.look(session, [Name("public", "payment")])
    assert [(w.application, str(w.table)) for w in found.writers] == [("till", "public.payment")]
    assert quiet.Other(pid=0, application="", user="").said == "a prepared transaction"
