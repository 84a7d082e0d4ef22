"""A run whose state store fails in the middle: its rows arrive, it says so, and what can be resumed is resumed."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.conftest import running_server
from tests.databases import DatabasePair
from tests.moving import Moved, move, plan_of, resume, rows

from pghaul.cli.app import run as pghaul
from pghaul.engine import mirror
from pghaul.model.errors import NotFoundError, StateError, StoppedError
from pghaul.model.event import Event, EventKind
from pghaul.model.plan import OnExisting
from pghaul.model.run import RunState
from pghaul.service.migration import MigrationService
from pghaul.store import session as sessions
from pghaul.store.repository import Store

TABLES = 6
TEMPLATE = pytest.mark.template(
    source="".join(
        f"CREATE TABLE t{i} (id int PRIMARY KEY, t text);"
        f"INSERT INTO t{i} SELECT n, repeat('x', 200) FROM generate_series(1, 8000) n;"
        for i in range(TABLES)
    )
)
COUNTED = " + ".join(f"(SELECT count(*) FROM t{i})" for i in range(TABLES))


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same waits, only shorter."""
    for name, seconds in (("HURRY", 0.02), ("CALM", 0.2), ("FIRST_PAUSE", 0.05), ("LONGEST_PAUSE", 0.1)):
        monkeypatch.setattr(mirror, name, seconds)


def at_first(kind: EventKind, act: Callable[[], None]) -> Callable[[Event], None]:
    """A listener that acts once."""
    done: list[Event] = []

    def listen(event: Event) -> None:
        if event.kind is kind and not done:
            done.append(event)
            act()

    return listen


def arrived(pair: DatabasePair) -> int:
    (count,) = rows(pair.target, f"SELECT {COUNTED}")[0]
    return int(count)


def warnings(moved: Moved) -> str:
    return "\n".join(e.message for e in moved.of(EventKind.WARNING))


@TEMPLATE
def test_a_store_that_is_held_for_a_while_misses_nothing(db_pair: DatabasePair, state: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        tell = [
            at_first(EventKind.RUN_STARTED, lambda: other.execute("BEGIN IMMEDIATE") and None),
            at_first(EventKind.RUN_FINISHED, lambda: other.execute("ROLLBACK") and None),
        ]
        moved = move(db_pair, listener=lambda e: [t(e) for t in tell] and None, split_bytes=1 << 18)
    assert (moved.run.state, arrived(db_pair)) == (RunState.DONE, TABLES * 8000)
    assert "the run goes on without it" in warnings(moved)
    assert "can be written again" in warnings(moved)
    kept = MigrationService().show(moved.run.id)
    assert kept.run.state is RunState.DONE
    assert [c.state.value for c in kept.chunks] == ["done"] * len(kept.chunks)
    assert sum(c.receipt.rows for c in kept.chunks if c.receipt) == TABLES * 8000


@TEMPLATE
def test_a_store_that_is_held_to_the_end_is_said_and_the_ledger_has_it(
    db_pair: DatabasePair, state: str, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        act = at_first(EventKind.RUN_STARTED, lambda: other.execute("BEGIN IMMEDIATE") and None)
        moved = move(db_pair, listener=act)
    assert (moved.run.state, arrived(db_pair)) == (RunState.DONE, TABLES * 8000)
    assert "the end of this run could not be recorded" in warnings(moved)
    (known,) = MigrationService().ledger_runs(db_pair.target)
    assert (known.id, known.state, known.rows, known.chunks) == (moved.run.id, "done", TABLES * 8000, TABLES)


@pytest.fixture
def closing_stores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that ends gives its connections back; a test does it by hand."""
    opened: list[Store] = []
    begin = Store.__init__

    def remembered(self: Store, url: str) -> None:
        begin(self, url)
        opened.append(self)

    monkeypatch.setattr(Store, "__init__", remembered)
    yield
    for store in opened:
        store.close()


@TEMPLATE
def test_a_store_on_a_server_that_is_restarted_misses_nothing(
    db_pair: DatabasePair, monkeypatch: pytest.MonkeyPatch, closing_stores: None
) -> None:
    with running_server(16) as keeper:
        monkeypatch.setenv("PGHAUL_STATE", keeper.url())
        tell = [at_first(EventKind.RUN_STARTED, keeper.crash), at_first(EventKind.RUN_FINISHED, keeper.start)]
        moved = move(db_pair, listener=lambda e: [t(e) for t in tell] and None)
        assert (moved.run.state, arrived(db_pair)) == (RunState.DONE, TABLES * 8000)
        assert "the run goes on without it" in warnings(moved)
        kept = MigrationService().show(moved.run.id)
        assert kept.run.state is RunState.DONE
        assert [c.state.value for c in kept.chunks] == ["done"] * TABLES


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE")
@TEMPLATE
def test_a_full_disk_under_the_store_does_not_end_the_run(db_pair: DatabasePair, state: str, tmp_path: Path) -> None:
    import resource  # noqa: PLC0415 -- not everywhere

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        """No file of this process may grow: that is how a full disk looks to SQLite."""
        log = tmp_path / "state.db-wal"
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, hard))

    try:
        moved = move(db_pair, listener=at_first(EventKind.RUN_STARTED, fill), workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (moved.run.state, arrived(db_pair)) == (RunState.DONE, TABLES * 8000)
    assert "could not be recorded in the state store" in warnings(moved)
    assert MigrationService().status().state is RunState.RUNNING  # as far as the store knows
    assert resume(moved.run.id).run.state is RunState.DONE
    assert MigrationService().status().state is RunState.DONE


@TEMPLATE
def test_a_store_that_is_destroyed_in_the_middle_is_replaced_and_the_run_can_still_be_resumed(
    db_pair: DatabasePair, state: str, tmp_path: Path
) -> None:
    service_s_store: list[Event] = []

    def destroy() -> None:
        for part in ("-wal", "-shm", ""):
            (tmp_path / f"state.db{part}").write_bytes(b"\xff" * 60_000)

    listen = at_first(EventKind.CHUNK_DONE, destroy)

    def stop() -> bool:
        return len([e for e in service_s_store if e.kind is EventKind.CHUNK_DONE]) >= 4

    with pytest.raises(StoppedError):
        move(db_pair, listener=listen, events=service_s_store, stop=stop, workers=1, split_bytes=1 << 18)
    assert [p.name for p in tmp_path.iterdir() if "damaged" in p.name]
    run = MigrationService().latest_unfinished()
    assert run.state is RunState.STOPPED
    assert resume(run.id).run.state is RunState.DONE
    assert arrived(db_pair) == TABLES * 8000


@TEMPLATE
def test_a_run_that_cannot_be_recorded_changes_nothing(
    db_pair: DatabasePair, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MigrationService().runs()
    monkeypatch.setattr(sessions.Patience, "__init__", lambda self: setattr(self, "milliseconds", 50))
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError) as caught:
            move(db_pair)
    assert caught.value.code == "PGH-6403"
    assert arrived_tables(db_pair) == 0


@TEMPLATE
def test_after_the_loss_of_the_store_the_target_tells_what_was_and_a_refresh_goes_on(
    db_pair: DatabasePair, state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[Event] = []

    def stop() -> bool:
        return any(e.kind is EventKind.CHUNK_DONE for e in heard)

    with pytest.raises(StoppedError):
        move(db_pair, events=heard, stop=stop, workers=1, split_bytes=1 << 18)
    for file in tmp_path.glob("state.db*"):
        file.unlink()
    with pytest.raises(NotFoundError):
        resume(heard[0].run)
    assert pghaul(["runs", "--target", db_pair.target, "--json"]) == 0
    (known,) = json.loads(capsys.readouterr().out)
    assert (known["id"], known["tables"] > 0) == (heard[0].run, True)
    assert pghaul(["runs", "--target", db_pair.target]) == 0
    assert heard[0].run in capsys.readouterr().out
    moved = move(db_pair, on_existing=OnExisting.REFRESH)
    assert (moved.run.state, arrived(db_pair)) == (RunState.DONE, TABLES * 8000)


def test_a_database_without_a_ledger_says_so(db_pair: DatabasePair, state: str) -> None:
    with pytest.raises(NotFoundError, match="no ledger"):
        MigrationService().ledger_runs(db_pair.source)


@TEMPLATE
def test_a_cutover_that_cannot_record_it_does_not_make_the_source_read_only(
    db_pair: DatabasePair, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MigrationService().runs()
    monkeypatch.setattr(sessions.Patience, "__init__", lambda self: setattr(self, "milliseconds", 50))
    plan = plan_of(db_pair.source, db_pair.target, ("*",))
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        act = at_first(EventKind.CUTOVER, lambda: other.execute("BEGIN IMMEDIATE") and None)
        with pytest.raises(StateError):
            MigrationService().cutover(plan, listener=act, read_only=True, quiet_for=0.3)
    assert rows(db_pair.source, "SHOW default_transaction_read_only") == [("off",)]
    assert arrived_tables(db_pair) == 0


def arrived_tables(pair: DatabasePair) -> int:
    (count,) = rows(pair.target, "SELECT count(*) FROM pg_class WHERE relname LIKE 't_'")[0]
    return int(count)
