"""Traps of resuming and of two at once: the target's ledger decides, and an old owner can only roll back."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from tests.compare import assert_same_content
from tests.conftest import running_server
from tests.databases import DatabasePair, database_pair
from tests.faults.program import PATIENCE, wait_until
from tests.looking import assert_no_session_is_left, execute, markers, sessions_of_ours, state_of, value
from tests.moving import Moved, move, resume
from tests.stopping import move_until_stopped

from pghaul.engine.control import Control
from pghaul.engine.job import CopySide, Job, JobKind, Readiness
from pghaul.engine.worker import Worker, WorkerConfig
from pghaul.model.chunk import ChunkState
from pghaul.model.errors import StaleRunError, StoppedError, TableTakenError
from pghaul.model.event import Event, EventKind
from pghaul.model.plan import OnExisting
from pghaul.model.run import RunState
from pghaul.model.table import Name
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import Session, connect
from pghaul.service.embedded import Cluster
from pghaul.service.migration import MigrationService
from pghaul.store.repository import Store
from pghaul.target import load
from pghaul.target.ledger import Ledger
from pghaul.target.ledger_sql import MARKER

SCHEMA = """
    CREATE TABLE big (id int PRIMARY KEY, body text);
    CREATE TABLE small (id int PRIMARY KEY, big int);
    CREATE TABLE last (id int)
"""
ROWS = """;
    INSERT INTO big SELECT g, repeat('x', 90) FROM generate_series(1, 3000) g;
    INSERT INTO small SELECT g, g FROM generate_series(1, 500) g;
    INSERT INTO last VALUES (1), (1), (NULL)
"""
TABLES = ("public.big", "public.small", "public.last")
SPLIT = 100_000  # public.big is four times as large
SPLITS = """
    CREATE TABLE big (id int PRIMARY KEY, body text);
    INSERT INTO big SELECT g, repeat('x', 90) FROM generate_series(1, 4000) g
"""
OLD, NEW = "00000000000a", "00000000000b"
BIG = Name("public", "big")


def copied(moved: Moved) -> list[tuple[str | None, str | None]]:
    return [(e.table, e.chunk) for e in moved.of(EventKind.CHUNK_DONE)]


def redone(moved: Moved) -> set[str | None]:
    return {e.table for e in moved.of(EventKind.CHUNK_REDO)}


# --- the ledger and the store --------------------------------------------------------------------------------


@pytest.mark.template(source=SCHEMA + ROWS)
def test_what_only_the_store_calls_done_is_copied_again(db_pair: DatabasePair, state: str) -> None:
    """A target that was put back from a backup knows nothing of the chunk."""
    run_id = move_until_stopped(db_pair)
    assert Store(state).chunk_states(run_id)[BIG, "leaf"] is ChunkState.DONE
    execute(db_pair.target, "DELETE FROM pghaul.chunk_marker", "TRUNCATE big")
    moved = resume(run_id)
    assert copied(moved) == [(t, "leaf") for t in TABLES]
    assert_same_content(db_pair.source, db_pair.target, TABLES)


@pytest.mark.template(source=SCHEMA + ROWS)
def test_what_only_the_ledger_calls_done_is_not_copied_again(db_pair: DatabasePair, state: str) -> None:
    """A process that died between the target's commit and its own note."""
    run_id = move_until_stopped(db_pair)
    Store(state).save_chunk(run_id, BIG, "leaf", ChunkState.PENDING)
    moved = resume(run_id)
    assert copied(moved) == [(t, "leaf") for t in TABLES[1:]]
    found = {c.chunk.table: c for c in MigrationService().show(run_id).chunks}[BIG]
    assert found.state is ChunkState.DONE
    assert found.receipt is not None
    assert (found.receipt.rows, moved.run.rows) == (3000, 3503)
    assert_same_content(db_pair.source, db_pair.target, TABLES)


# --- a new snapshot ------------------------------------------------------------------------------------------


@pytest.mark.template(source=SCHEMA + ROWS)
def test_resume_copies_a_changed_leaf_again_and_leaves_equal_ones_alone(db_pair: DatabasePair, state: str) -> None:
    run_id = move_until_stopped(db_pair, chunks=2)
    execute(db_pair.source, "UPDATE small SET big = -1 WHERE id = 77")
    untouched = value(db_pair.target, "SELECT pg_relation_filenode('big')")
    moved = resume(run_id)
    assert redone(moved) == {"public.small"}
    assert sorted(copied(moved)) == [("public.last", "leaf"), ("public.small", "leaf")]
    assert value(db_pair.target, "SELECT pg_relation_filenode('big')") == untouched
    assert moved.notices("MIXED SNAPSHOTS") == []
    assert_same_content(db_pair.source, db_pair.target, TABLES)


@pytest.mark.template(source=SCHEMA + ROWS)
def test_a_trusted_ledger_is_not_looked_into_and_says_mixed_snapshots(db_pair: DatabasePair, state: str) -> None:
    run_id = move_until_stopped(db_pair, verify="count")
    execute(db_pair.source, "UPDATE big SET body = 'changed' WHERE id = 77")
    moved = resume(run_id, trust_ledger=True)
    assert moved.notices("MIXED SNAPSHOTS") == ["public.big"]
    assert (redone(moved), moved.run.state) == (set(), RunState.DONE)
    assert value(db_pair.target, "SELECT count(*) FROM big WHERE body = 'changed'") == 0
    told = [e.message for e in MigrationService().show(run_id).events]
    assert any("MIXED SNAPSHOTS public.big" in m for m in told)


def a_finished_row(pair: DatabasePair) -> int:
    """The id of a row whose version on the source lies in a range that has been copied."""
    (key,) = [c for _, c in markers(pair.target) if c.startswith("ctid:")]
    first = int(key.removeprefix("ctid:").partition("-")[0])
    return int(value(pair.source, f"SELECT id FROM big WHERE ctid >= '({first},0)' ORDER BY ctid LIMIT 1"))


@pytest.mark.template(source=SPLITS)
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE big SET body = 'moved' WHERE id = {row}",  # to the end of the heap, perhaps into another range
        "DELETE FROM big WHERE id = {row}",
        "DELETE FROM big WHERE id <= 1500; VACUUM FULL big",
    ],
)
def test_a_row_that_moves_between_ranges_starts_the_table_again(db_pair: DatabasePair, state: str, change: str) -> None:
    run_id = move_until_stopped(db_pair, split_bytes=SPLIT)
    planned = {("public.big", c.chunk.key) for c in MigrationService().show(run_id).chunks}
    assert len(planned) > 3
    execute(db_pair.source, *change.format(row=a_finished_row(db_pair)).split(";"))
    moved = resume(run_id)
    assert redone(moved) == {"public.big"}
    assert set(copied(moved)) == planned
    assert moved.run.state is RunState.DONE
    assert_same_content(db_pair.source, db_pair.target, ["public.big"])


@pytest.mark.template(source=SPLITS)
def test_ranges_that_nothing_has_changed_stay(db_pair: DatabasePair, state: str) -> None:
    run_id = move_until_stopped(db_pair, split_bytes=SPLIT, chunks=2)
    done = markers(db_pair.target) - {("public.big", "ready")}
    moved = resume(run_id)
    assert (redone(moved), len(done)) == (set(), 2)
    assert done.isdisjoint(copied(moved))
    assert_same_content(db_pair.source, db_pair.target, ["public.big"])


FILLED = "CREATE TABLE big (id int, body text); INSERT INTO big VALUES (-1, 'mine')"


@pytest.mark.template(source=SPLITS, target=FILLED)
def test_rows_appended_from_two_snapshots_are_neither_lost_nor_doubled(db_pair: DatabasePair, state: str) -> None:
    """Nothing of such a table may be truncated, so it is not cut into ranges that no resume could mend."""
    stopped: list[Event] = []
    with contextlib.suppress(StoppedError):
        move(
            db_pair,
            listener=stopped.append,
            stop=lambda: any(e.kind is EventKind.CHUNK_DONE for e in stopped),
            on_existing=OnExisting.APPEND,
            split_bytes=SPLIT,
        )
    # All rows leave their ranges for the end of the heap, which is read last if it has not been read.
    execute(db_pair.source, "UPDATE big SET body = body || 'moved'")
    resume(MigrationService().status().id)
    execute(db_pair.target, "DELETE FROM big WHERE id = -1")
    assert value(db_pair.target, "SELECT count(*) - count(DISTINCT id) FROM big") == 0
    assert value(db_pair.target, "SELECT count(*) FROM big") == 4000


@pytest.fixture
def fragile() -> Iterator[Cluster]:
    """A server to be crashed."""
    with running_server(18) as cluster:
        yield cluster


def test_markers_of_unlogged_tables_vanish_with_their_rows_in_a_crash(
    pg16: Cluster, fragile: Cluster, state: str
) -> None:
    unlogged = SCHEMA.replace("CREATE TABLE big", "CREATE UNLOGGED TABLE big")
    with database_pair(pg16, fragile, source_sql=unlogged + ROWS) as pair:
        run_id = move_until_stopped(pair, chunks=2)
        assert markers(pair.target) == {("public.big", "leaf"), ("public.small", "leaf")}
        execute(pair.target, "CHECKPOINT")
        fragile.crash()
        fragile.start()
        assert value(pair.target, "SELECT count(*) FROM big") == 0
        assert markers(pair.target) == {("public.small", "leaf")}
        moved = resume(run_id)
        assert sorted(copied(moved)) == [("public.big", "leaf"), ("public.last", "leaf")]
        assert_same_content(pair.source, pair.target, TABLES)


# --- two at once ---------------------------------------------------------------------------------------------


@pytest.mark.template(source=SCHEMA + ROWS, target=SCHEMA)
def test_a_second_run_on_a_table_is_refused_while_the_first_works(db_pair: DatabasePair, state: str) -> None:
    refused: list[TableTakenError] = []

    def intrude(event: Event) -> None:
        if event.kind is EventKind.CHUNK_DONE and not refused:
            before = state_of(db_pair.target)[2]
            with pytest.raises(TableTakenError) as caught:
                move(db_pair, "public.big", on_existing=OnExisting.TRUNCATE)
            refused.append(caught.value)
            assert [r for r in state_of(db_pair.target)[2] if r[0][0] == "public"] == [
                r for r in before if r[0][0] == "public"
            ]

    moved = move(db_pair, listener=intrude)
    assert moved.run.id in refused[0].message
    assert "pghaul stop" in str(refused[0].advice)
    assert moved.run.state is RunState.DONE
    assert_same_content(db_pair.source, db_pair.target, TABLES)


@pytest.mark.template(source=SCHEMA + ROWS, target=SCHEMA)
def test_a_dead_leader_s_table_is_taken_over_and_its_worker_rolls_back(db_pair: DatabasePair, state: str) -> None:
    """The old worker stands in the middle of its chunk; its rows never become visible."""
    with _ledger(db_pair.target, OLD) as (ledger, _):
        assert ledger.open([BIG], "x", "me") == 1
    with psycopg.connect(db_pair.target, application_name=f"pghaul/{OLD}/1/worker") as worker:
        _begin_chunk(worker, OLD)
        worker.execute("INSERT INTO big VALUES (-1, 'of the old run')")
        moved = move(db_pair, on_existing=OnExisting.TRUNCATE)
        with pytest.raises(psycopg.OperationalError):
            worker.execute("SELECT 1")
    assert moved.run.state is RunState.DONE
    assert_same_content(db_pair.source, db_pair.target, TABLES)
    before = state_of(db_pair.target)
    job = replace(_job(OLD, epoch=1), source=None)
    with _worker(db_pair) as late, pytest.raises(StaleRunError):
        late.run(job)
    assert state_of(db_pair.target) == before


def _begin_chunk(worker: psycopg.Connection, run: str) -> None:
    """The locks that a chunk's transaction holds until it ends."""
    worker.execute("SELECT 1 FROM pghaul.run WHERE run_id = %s FOR SHARE", [run])
    worker.execute("SELECT 1 FROM pghaul.claim WHERE run_id = %s FOR SHARE", [run])
    worker.execute(
        "INSERT INTO pghaul.chunk_marker (run_id, relation, chunk, epoch) VALUES (%s, %s, 'leaf', 1)", [run, str(BIG)]
    )


@pytest.mark.template(source=SCHEMA + ROWS, target=SCHEMA)
def test_a_transaction_of_an_old_epoch_can_only_roll_back(db_pair: DatabasePair, state: str) -> None:
    with _ledger(db_pair.target, OLD) as (ledger, _):
        ledger.open([BIG], "x", "me")
        with psycopg.connect(db_pair.source) as leader, _worker(db_pair) as worker:
            leader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            found = leader.execute("SELECT pg_export_snapshot()").fetchone()
            assert found is not None
            job = replace(_job(OLD, epoch=1), snapshot=found[0])
            assert worker.run(job).receipt.rows == 3000
            execute(db_pair.target, "TRUNCATE big", "DELETE FROM pghaul.chunk_marker")
            assert ledger.open([BIG], "x", "me") == 2
            before = state_of(db_pair.target)
            with pytest.raises(StaleRunError, match="epoch 2"):
                worker.run(job)
            assert state_of(db_pair.target) == before
            assert worker.run(replace(job, epoch=2)).receipt.rows == 3000


@pytest.mark.template(target=SCHEMA)
def test_a_new_epoch_waits_for_a_chunk_that_is_about_to_commit(db_pair: DatabasePair) -> None:
    """A worker that could not be ended commits with its marker before the epoch rises, or not at all."""
    with _ledger(db_pair.target, OLD) as (ledger, session), psycopg.connect(db_pair.target) as worker:
        ledger.open([BIG], "x", "me")
        _begin_chunk(worker, OLD)
        worker.execute("UPDATE pghaul.chunk_marker SET finished_at = now()")
        epochs: list[int] = []
        thread = threading.Thread(target=lambda: epochs.append(ledger.open([BIG], "x", "me")))
        thread.start()
        waiting = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = {session.pid}"
        assert wait_until(lambda: value(db_pair.target, waiting) == 1)
        assert epochs == []
        worker.commit()
        thread.join(PATIENCE)
        assert epochs == [2]
        assert set(ledger.markers([BIG])) == {(BIG, "leaf")}


@pytest.mark.template(source=SCHEMA + ROWS, target=SCHEMA)
def test_a_table_that_another_run_has_taken_is_not_given_back_to_the_first(db_pair: DatabasePair, state: str) -> None:
    run_id = move_until_stopped(db_pair)
    with _ledger(db_pair.target, NEW) as (ledger, _):
        ledger.open([BIG], "x", "me")
    before = state_of(db_pair.target)[2]
    with pytest.raises(StaleRunError, match=NEW):
        resume(run_id)
    assert [r for r in state_of(db_pair.target)[2] if r[0][0] == "public"] == [r for r in before if r[0][0] == "public"]
    assert_no_session_is_left(db_pair.source, db_pair.target)
    assert sessions_of_ours(db_pair.target) == 0


@pytest.mark.template(target=SCHEMA)
def test_ownership_is_held_until_the_chunk_s_transaction_ends(db_pair: DatabasePair) -> None:
    """Both rows: a takeover deletes the claim, a resume updates the run; each has to wait."""
    with _ledger(db_pair.target, OLD) as (ledger, _):
        ledger.open([BIG], "x", "me")
        asyncio.run(_hold_and_try(db_pair.target))


async def _hold_and_try(url: str) -> None:
    import asyncpg  # noqa: PLC0415

    holder, other = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        await other.execute("SET lock_timeout = 50")
        async with holder.transaction():
            await load.own(holder, OLD, str(BIG), 1)
            for statement in ("UPDATE pghaul.run SET epoch = 2", "DELETE FROM pghaul.claim"):
                with pytest.raises(asyncpg.LockNotAvailableError):
                    await other.execute(statement)
        assert await other.execute("UPDATE pghaul.run SET epoch = 2") == "UPDATE 1"
    finally:
        await holder.close()
        await other.close()


@contextlib.contextmanager
def _ledger(url: str, run: str) -> Iterator[tuple[Ledger, Session]]:
    """A leader's session with its ledger; its name is another than ours, so that it is not ended as a stale one."""
    with connect(resolve(url), application_name="test leader", role="target") as session:
        ledger = Ledger(session, run)
        ledger.install()
        yield ledger, session


@contextlib.contextmanager
def _worker(pair: DatabasePair) -> Iterator[Worker]:
    """A worker in this process, so that its errors are seen as they are."""
    config = WorkerConfig(
        source=resolve(pair.source),
        target=resolve(pair.target),
        source_settings=(),
        target_settings=(),
        source_wait_events=True,
        target_wait_events=True,
        application_name="test worker",
        stall_timeout=30,
    )
    worker = Worker(config, Control(1))
    try:
        yield worker
    finally:
        worker.loop.run_until_complete(worker._drop())
        worker.loop.close()


def _job(run: str, *, epoch: int) -> Job:
    side = CopySide(schema="public", table="big", columns=("id", "body"), format="text", encoding=None)
    return Job(
        run=run,
        epoch=epoch,
        kind=JobKind.COPY,
        relation=str(BIG),
        chunk="leaf",
        snapshot="",
        marker=MARKER,
        source=side,
        target=side,
        lock_target='LOCK TABLE ONLY "public"."big" IN ACCESS EXCLUSIVE MODE',
        is_empty_sql='SELECT NOT EXISTS (SELECT 1 FROM ONLY "public"."big")',
        truncate_sql='TRUNCATE TABLE ONLY "public"."big"',
        readiness=Readiness.TRUNCATE,
        freeze=True,
    )
