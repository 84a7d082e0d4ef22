"""Traps that tools of this kind fell into, on the way from one snapshot to one target. One test for each."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from tests.compare import assert_same_content, compare, contents
from tests.databases import DatabasePair, clone, drop, template
from tests.faults.program import wait_until
from tests.faults.proxy import Fate, Moment, Proxy, Trigger
from tests.looking import assert_no_session_is_left, execute, markers, sessions_of_ours, state_of, value
from tests.moving import move, resume
from tests.stopping import move_until_stopped

from pghaul.engine.relay import DEPTH, Sink, relay
from pghaul.model.chunk import ChunkState
from pghaul.model.errors import (
    ConnectionLostError,
    EndpointChangedError,
    RowError,
    ShapeChangedError,
    StoppedError,
)
from pghaul.model.event import Event, EventKind
from pghaul.model.plan import Locks
from pghaul.model.run import RunState
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import connect, terminate_sessions
from pghaul.service.embedded import Cluster
from pghaul.service.migration import MigrationService

WORKER, LEADER = "/worker$", "/leader$"

ONE = """
    CREATE TABLE big (id int PRIMARY KEY, body text);
    INSERT INTO big SELECT g, repeat('x', 90) FROM generate_series(1, {n}) g
"""
TWO = (
    ONE.format(n=3000)
    + "; CREATE TABLE small (id int PRIMARY KEY, big int); INSERT INTO small SELECT g, g FROM generate_series(1, 500) g"
)
TABLES = ("public.big", "public.small")


# --- the stream ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [0, 1, DEPTH - 1, DEPTH, DEPTH + 1, 5 * DEPTH])
def test_the_end_of_a_stream_is_not_dropped_between_reader_and_writer(blocks: int) -> None:
    """A slow writer finds the queue full when the reader ends."""
    written: list[bytes] = []

    async def read(sink: Sink) -> str:
        for n in range(blocks):
            await sink(b"%d" % n)
        return f"COPY {blocks}"

    async def write(stream: AsyncIterator[bytes]) -> str:
        async for data in stream:
            for _ in range(3):
                await asyncio.sleep(0)
            written.append(data)
        return f"COPY {len(written)}"

    moved = asyncio.run(asyncio.wait_for(relay(read, write, on_bytes=lambda _: None), 5))
    assert written == [b"%d" % n for n in range(blocks)]
    assert (moved.rows, moved.bytes) == (blocks, sum(map(len, written)))


def test_a_source_that_fails_half_way_never_finishes_the_target_s_copy() -> None:
    """The writer must see no end of the stream: to a server that would be CopyDone."""
    seen: list[bytes] = []
    ended: list[bool] = []

    async def read(sink: Sink) -> str:
        for _ in range(3):
            await sink(b"row")
        raise ConnectionResetError("half-way")

    async def write(stream: AsyncIterator[bytes]) -> str:
        seen.extend([data async for data in stream])
        ended.append(True)
        return f"COPY {len(seen)}"

    with pytest.raises(ConnectionResetError, match="half-way"):
        asyncio.run(asyncio.wait_for(relay(read, write, on_bytes=lambda _: None), 5))
    assert not ended


@pytest.mark.template(source=ONE.format(n=20_000), target=ONE.format(n=0))
def test_rows_of_a_source_that_fails_half_way_never_become_visible(db_pair: DatabasePair, state: str) -> None:
    with Proxy(db_pair.source_server.port) as proxy:
        fault = proxy.arm(Trigger(moment=Moment.COPIED, application=WORKER, after_bytes=600_000, fate=Fate.RESET))
        with pytest.raises(ConnectionLostError):
            move(db_pair, source=proxy.url(db_pair.source), retries=0, give_up_after=0.001)
        assert fault.fired.is_set()
    assert value(db_pair.target, "SELECT count(*) FROM big") == 0
    assert markers(db_pair.target) == set()
    resume(source=db_pair.source)
    assert_same_content(db_pair.source, db_pair.target, ["public.big"])


@pytest.mark.template(source=TWO, target=TWO.replace("500", "0").replace("3000", "0"))
def test_a_failed_chunk_is_never_marked_done(db_pair: DatabasePair, state: str) -> None:
    execute(db_pair.target, "ALTER TABLE small ADD CONSTRAINT little CHECK (id < 400)")
    with pytest.raises(RowError) as caught:
        move(db_pair)
    assert caught.value.sqlstate == "23514"
    service = MigrationService()
    run = service.latest_unfinished()
    states = {str(c.chunk.table): (c.state, c.receipt is None) for c in service.show(run.id).chunks}
    assert run.state is RunState.FAILED
    assert states["public.big"] == (ChunkState.DONE, False)
    assert states["public.small"][0] is not ChunkState.DONE
    assert states["public.small"][1]
    assert markers(db_pair.target) == {("public.big", "leaf")}
    assert value(db_pair.target, "SELECT count(*) FROM small") == 0
    execute(db_pair.target, "ALTER TABLE small DROP CONSTRAINT little")
    assert resume().run.state is RunState.DONE
    assert_same_content(db_pair.source, db_pair.target, TABLES)


@pytest.mark.template(source=ONE.format(n=20_000), target=ONE.format(n=0))
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_stop_leaves_no_backend_even_where_its_cancel_cannot_arrive(
    db_pair: DatabasePair, state: str, side: str
) -> None:
    """The path to the worker's session swallows everything; the server alone would wait for ever."""
    server = db_pair.source_server if side == "source" else db_pair.target_server
    stop: list[bool] = []
    with Proxy(server.port) as proxy:
        fault = Trigger(
            moment=Moment.COPIED,
            application=WORKER,
            after_bytes=300_000,
            fate=Fate.STALL,
            action=lambda _: stop.append(True),
        )
        proxy.arm(fault)
        ends = {side: proxy.url(getattr(db_pair, side))}
        with pytest.raises(StoppedError):
            move(db_pair, stop=lambda: bool(stop), **ends)  # type: ignore[arg-type]
        assert fault.fired.is_set()
        assert_no_session_is_left(db_pair.source, db_pair.target)


@pytest.mark.template(source=TWO, target=TWO.replace("500", "0").replace("3000", "0"))
def test_a_failure_ends_what_other_workers_wait_for(db_pair: DatabasePair, state: str) -> None:
    """One chunk fails while the other waits for a lock that nobody gives back."""
    execute(db_pair.target, "ALTER TABLE small ADD CONSTRAINT little CHECK (id < 400)")
    with psycopg.connect(db_pair.target) as holder, Proxy(db_pair.target_server.port) as proxy:
        # The failing chunk is held until the other one stands before the lock.
        fault = Trigger(moment=Moment.QUERY, application=WORKER, pattern='COPY "public"."small"')
        fault.action = lambda _: _wait_for_a_waiter(db_pair.target)
        proxy.arm(fault)

        def lock(event: Event) -> None:
            if event.kind is EventKind.CHUNK_STARTED and event.table == "public.big":
                holder.execute("LOCK TABLE big IN ACCESS EXCLUSIVE MODE")

        with pytest.raises(RowError):
            move(db_pair, target=proxy.url(db_pair.target), listener=lock, workers=2, lock_timeout=60)
        assert (fault.fired.is_set(), fault.error) == (True, None)
        assert_no_session_is_left(db_pair.source, db_pair.target)


def _wait_for_a_waiter(url: str) -> None:
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'big'::regclass"
    assert wait_until(lambda: value(url, query) == 1)


# --- the snapshot ----------------------------------------------------------------------------------------------------


@pytest.mark.template(source=TWO)
@pytest.mark.parametrize("moment", [EventKind.ATTEMPT, EventKind.CHUNK_DONE])
def test_all_readers_share_one_snapshot(db_pair: DatabasePair, state: str, moment: EventKind) -> None:
    """Rows written to both tables after the snapshot, before or between their chunks, are in neither."""
    before = contents(db_pair.source, TABLES)
    written: list[EventKind] = []

    def write(event: Event) -> None:
        if event.kind is moment:
            execute(
                db_pair.source,
                f"INSERT INTO big VALUES ({9000 + len(written)}, 'new')",
                f"INSERT INTO small VALUES ({9000 + len(written)}, {9000 + len(written)})",
                "UPDATE small SET big = -big WHERE id % 7 = 0",
            )
            written.append(event.kind)

    move(db_pair, listener=write, workers=2)
    assert written
    assert not compare(before, contents(db_pair.target, TABLES))


@pytest.mark.template(source=ONE.format(n=8000))
def test_ranges_of_one_table_share_one_snapshot(db_pair: DatabasePair, state: str) -> None:
    """Updated rows go to the end of the heap, where another range is read later."""
    before = contents(db_pair.source, ["public.big"])
    chunks: list[str | None] = []

    def write(event: Event) -> None:
        if event.kind in {EventKind.ATTEMPT, EventKind.CHUNK_DONE}:
            chunks.append(event.chunk)
            execute(db_pair.source, f"UPDATE big SET body = 'moved {len(chunks)}' WHERE id % 50 = {len(chunks)}")

    move(db_pair, listener=write, split_bytes=300_000)
    assert len(chunks) > 3
    assert not compare(before, contents(db_pair.target, ["public.big"]))


@pytest.mark.template(source=TWO, target=TWO.replace("500", "0").replace("3000", "0"))
@pytest.mark.parametrize("change", ["TRUNCATE small", "DELETE FROM small WHERE id < 100; VACUUM FULL small"])
@pytest.mark.parametrize("moment", ["after the tables were described", "before"])
def test_a_rewrite_between_snapshot_and_chunk_is_an_error_and_resume_mends_it(
    db_pair: DatabasePair, state: str, change: str, moment: str
) -> None:
    """With locks = chunk: the snapshot would show 0 rows, and no error."""
    with Proxy(db_pair.source_server.port) as proxy:
        pattern = "relhassubclass" if moment == "before" else "RECURSIVE seen"
        fault = Trigger(moment=Moment.QUERY, application=LEADER, pattern=pattern)
        fault.action = lambda _: execute(db_pair.source, *change.split(";"))
        proxy.arm(fault)
        with pytest.raises(ShapeChangedError, match=r"public\.small"):
            move(db_pair, source=proxy.url(db_pair.source), locks=Locks.CHUNK)
        assert fault.error is None
        assert fault.fired.is_set()
    assert ("public.small", "leaf") not in markers(db_pair.target)
    assert resume(source=db_pair.source).run.state is RunState.DONE
    assert_same_content(db_pair.source, db_pair.target, TABLES)


@pytest.mark.template(source=TWO, target=TWO.replace("500", "0").replace("3000", "0"))
def test_with_locks_for_the_run_nobody_can_rewrite_a_table_meanwhile(db_pair: DatabasePair, state: str) -> None:
    refused: list[str | None] = []

    def write(event: Event) -> None:
        if event.kind is EventKind.ATTEMPT:
            with psycopg.connect(db_pair.source, autocommit=True) as session:
                session.execute("SET lock_timeout = 50")
                for statement in ("TRUNCATE small", "VACUUM FULL big", "ALTER TABLE big ADD COLUMN c int"):
                    with pytest.raises(psycopg.errors.LockNotAvailable) as caught:
                        session.execute(statement)
                    refused.append(caught.value.sqlstate)

    move(db_pair, listener=write)
    assert refused == ["55P03"] * 3
    assert_same_content(db_pair.source, db_pair.target, TABLES)


# --- names -----------------------------------------------------------------------------------------------------------

SAME_NAME = """
    CREATE SCHEMA a; CREATE SCHEMA b;
    CREATE TABLE a.t (v text); CREATE TABLE b.t (v text); CREATE TABLE public.t (v text);
    {rows}
"""
SAME_ROWS = "INSERT INTO a.t VALUES ('a'), ('aa'); INSERT INTO b.t VALUES ('b'); INSERT INTO public.t VALUES ('p')"


@pytest.mark.template(source=SAME_NAME.format(rows=SAME_ROWS), target=SAME_NAME.format(rows=""))
def test_a_table_is_never_addressed_without_its_schema(db_pair: DatabasePair, state: str) -> None:
    """Three tables of one name, while both databases have a search_path that names another schema first."""
    for url in (db_pair.source, db_pair.target):
        database = url.rpartition("/")[2]
        execute(url, f"ALTER DATABASE {database} SET search_path = b, a, public")
    move(db_pair, "a.t", "b.t", "public.t")
    assert_same_content(db_pair.source, db_pair.target, ["a.t", "b.t", "public.t"])


@pytest.mark.template(source=SAME_NAME.format(rows=SAME_ROWS), target=SAME_NAME.format(rows=""))
def test_a_name_without_schema_means_public_whatever_the_search_path(db_pair: DatabasePair, state: str) -> None:
    for url in (db_pair.source, db_pair.target):
        execute(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET search_path = b, a, public")
    move(db_pair, "t")
    assert_same_content(db_pair.source, db_pair.target, ["public.t"])
    assert value(db_pair.target, "SELECT count(*) FROM a.t") == value(db_pair.target, "SELECT count(*) FROM b.t") == 0


# --- endpoints and records -------------------------------------------------------------------------------------------


@pytest.mark.template(source=TWO)
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("where", ["another database", "another cluster"])
def test_another_database_than_the_run_began_with_is_refused_before_any_write(
    db_pair: DatabasePair, pg15: Cluster, state: str, side: str, where: str
) -> None:
    """A cluster restored from elsewhere may have a database of the same name."""
    run_id = move_until_stopped(db_pair)
    right: str = getattr(db_pair, side)
    server = getattr(db_pair, f"{side}_server") if where == "another database" else pg15
    name = clone(server, template(server, TWO), "wrong")
    try:
        if where == "another cluster":  # the same name, and nearly the same URL
            execute(server.url(), f"ALTER DATABASE {name} RENAME TO {right.rpartition('/')[2]}")
            name = right.rpartition("/")[2]
        wrong = server.url(name)
        before = {u: state_of(u) for u in (wrong, db_pair.target)}
        with pytest.raises(EndpointChangedError, match=side):
            resume(run_id, **{side: wrong})
        assert {u: state_of(u) for u in before} == before
    finally:
        drop(server, name)
    assert resume(run_id).run.state is RunState.DONE
    assert_same_content(db_pair.source, db_pair.target, TABLES)


CRASH_WHILE_RECORDING = """
import os, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from pghaul.cli.app import run

@event.listens_for(Engine, "after_cursor_execute")
def crash(connection, cursor, statement, *rest):
    if statement.startswith("INSERT INTO pghaul_{table} "):
        os._exit(9)

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.template(source=TWO, target="CREATE TABLE mine (a int); INSERT INTO mine VALUES (1)")
@pytest.mark.parametrize("table", ["run", "chunk"])
def test_a_run_is_never_recorded_without_its_chunks(
    db_pair: DatabasePair, state: str, tmp_path: Path, table: str
) -> None:
    """Its process dies between the two; nothing of it is left, neither here nor on the target."""
    before = state_of(db_pair.target)
    script = tmp_path / "crash.py"
    script.write_text(CRASH_WHILE_RECORDING.replace("{table}", table))
    words = ["run", "--from", db_pair.source, "--to", db_pair.target, "--table", "public.*"]
    done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
    assert MigrationService().runs() == []
    assert_no_session_is_left(db_pair.target)
    assert state_of(db_pair.target) == before


# --- errors that are caught ------------------------------------------------------------------------------------------


@pytest.mark.template(source=TWO, target=TWO.replace("500", "0").replace("3000", "0"))
def test_a_caught_sql_error_leaves_no_aborted_transaction(db_pair: DatabasePair, state: str) -> None:
    """The answer to a commit is lost, so the chunk is tried again and finds its marker there: once, not for ever."""
    with Proxy(db_pair.target_server.port) as proxy:
        fault = proxy.arm(Trigger(moment=Moment.ANSWER, pattern="^COMMIT", application=WORKER, fate=Fate.RESET))
        moved = move(db_pair, target=proxy.url(db_pair.target))
        assert fault.fired.is_set()
    assert moved.run.state is RunState.DONE
    assert len(moved.of(EventKind.CHUNK_RETRY)) == 1
    assert len(moved.of(EventKind.ATTEMPT)) == 1
    assert sorted(str(e.table) for e in moved.of(EventKind.CHUNK_DONE)) == sorted(TABLES)
    assert moved.run.rows == 3500
    assert_same_content(db_pair.source, db_pair.target, TABLES)


@pytest.mark.template(source=TWO, target=TWO.replace("500", "0").replace("3000", "0"))
def test_a_lost_session_of_the_leader_is_one_new_attempt_and_nothing_twice(db_pair: DatabasePair, state: str) -> None:
    ended: list[int] = []

    def lose(event: Event) -> None:
        if event.kind is EventKind.CHUNK_DONE and not ended:
            ended.append(_end(db_pair.source, LEADER) + _end(db_pair.target, LEADER))

    moved = move(db_pair, listener=lose)
    assert ended == [2]
    assert moved.run.state is RunState.DONE
    assert_same_content(db_pair.source, db_pair.target, TABLES)
    assert_no_session_is_left(db_pair.source, db_pair.target)


NAMESAKE = "CREATE SCHEMA plant; CREATE TABLE plant.chunk_marker (id int{key})"


@pytest.mark.template(
    source=NAMESAKE.format(key="") + "; INSERT INTO plant.chunk_marker VALUES (1), (1)",
    target=NAMESAKE.format(key=" UNIQUE"),
)
def test_a_namesake_of_the_ledger_s_table_is_not_taken_for_it(db_pair: DatabasePair, state: str) -> None:
    """Its duplicate rows are an error of a row, and no sign that the chunk is done."""
    with pytest.raises(RowError) as caught:
        move(db_pair, "plant.chunk_marker", retries=0, give_up_after=0.001)
    assert caught.value.sqlstate == "23505"
    assert value(db_pair.target, "SELECT count(*) FROM plant.chunk_marker") == 0


def test_a_session_that_may_not_be_ended_leaves_the_caller_s_transaction_whole(pg16: Cluster) -> None:
    """Of a superuser's session only the superuser may say so, even to a member of its role."""
    execute(pg16.url(), "CREATE ROLE deputy LOGIN", "GRANT postgres TO deputy")
    try:
        with (
            psycopg.connect(pg16.url(), application_name="pghaul/0123456789ab/1/worker"),
            connect(resolve(pg16.url(user="deputy")), application_name="x", role="target") as session,
            session.transaction(),
        ):
            assert terminate_sessions(session, "pghaul/0123456789ab/") == 0
            assert session.value("SELECT 1") == 1
    finally:
        execute(pg16.url(), "DROP ROLE deputy")


def _end(url: str, application: str) -> int:
    ours = f"application_name ~ '^pghaul.*{application}' AND datname = current_database()"
    query = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {ours}"
    return int(value(url, query))


def test_sessions_are_counted_at_all(pg16: Cluster) -> None:
    """The proof of their absence above is worth something."""
    with psycopg.connect(pg16.url(), application_name="pghaul/0123456789ab/1/worker"):
        assert sessions_of_ours(pg16.url()) == 1
