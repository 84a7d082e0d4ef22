"""Many small tables: loaded in batches, each one transaction; a fault costs no row and names its table."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from tests.compare import assert_same_content
from tests.databases import DatabasePair
from tests.faults.program import Program
from tests.faults.proxy import Connection, Moment, Proxy, Trigger
from tests.looking import assert_no_session_is_left, execute, markers, value
from tests.moving import assert_done, move, resume

from pghaul.model.errors import PghaulError
from pghaul.model.event import EventKind
from pghaul.model.plan import OnExisting, Verify

COUNT = 60
TABLES = tuple(f"public.t{n:02d}" for n in range(COUNT))
SCHEMA = "".join(f"CREATE TABLE {t} (id int PRIMARY KEY, body text);" for t in TABLES)
INDEXED = SCHEMA + "".join(f"CREATE INDEX ON {t} (body);" for t in TABLES)
ROWS = "".join(f"INSERT INTO {t} SELECT g, 'x' || g FROM generate_series(1, {n}) g;" for n, t in enumerate(TABLES))
INDEXES = "SELECT count(*) FROM pg_index WHERE indrelid IN (SELECT oid FROM pg_class WHERE relname ~ '^t..$')"
TRANSACTIONS = "SELECT count(DISTINCT xmin::text) FROM pghaul.chunk_marker"
RUN = "0123456789ab"


@pytest.mark.template(source=INDEXED + ROWS)
@pytest.mark.parametrize("verify", list(Verify))
def test_small_tables_share_transactions_and_arrive_whole(db_pair: DatabasePair, state: str, verify: Verify) -> None:
    moved = move(db_pair, verify=verify)
    assert_done(moved)
    assert_same_content(db_pair.source, db_pair.target, TABLES)
    assert {(t, "leaf") for t in TABLES} == markers(db_pair.target)
    assert value(db_pair.target, TRANSACTIONS) <= 5
    assert value(db_pair.target, INDEXES) == 2 * COUNT
    assert len(moved.of(EventKind.CHUNK_DONE)) == COUNT
    assert {r.data["rows"] for r in moved.of(EventKind.CHUNK_DONE)} == set(range(COUNT))


@pytest.mark.template(source=SCHEMA + ROWS, target=f"{SCHEMA} ALTER TABLE t07 ADD CHECK (id <> 5)")
def test_the_table_that_cannot_be_loaded_is_named_and_the_others_are_loaded(db_pair: DatabasePair, state: str) -> None:
    with pytest.raises(PghaulError, match="t07"):
        move(db_pair)
    execute(db_pair.target, "ALTER TABLE t07 DROP CONSTRAINT t07_id_check")
    assert_done(resume())
    assert_same_content(db_pair.source, db_pair.target, TABLES)


@pytest.mark.template(source=SCHEMA + ROWS, target=SCHEMA)
def test_rows_that_come_between_the_look_and_the_load_are_refused_by_name(db_pair: DatabasePair, state: str) -> None:
    def intrude(event: object) -> None:
        if getattr(event, "kind", None) is EventKind.ATTEMPT:
            execute(db_pair.target, "INSERT INTO t09 VALUES (1000, 'mine')")

    with pytest.raises(PghaulError, match="t09 has rows"):
        move(db_pair, listener=intrude)
    assert value(db_pair.target, "SELECT count(*) FROM t09") == 1


@pytest.mark.template(
    source=SCHEMA + ROWS, target=SCHEMA + "".join(f"INSERT INTO {t} VALUES (1000, 'theirs');" for t in TABLES)
)
def test_tables_with_rows_are_emptied_in_the_batch_s_transaction(db_pair: DatabasePair, state: str) -> None:
    assert_done(move(db_pair, on_existing=OnExisting.TRUNCATE))
    assert_same_content(db_pair.source, db_pair.target, TABLES)
    assert value(db_pair.target, TRANSACTIONS) <= 5


@pytest.mark.template(source=INDEXED + ROWS)
@pytest.mark.parametrize("options", [(), ("--verify", "checksum")])
def test_a_worker_killed_in_the_middle_of_a_batch_loses_and_doubles_nothing(
    db_pair: DatabasePair, tmp_path: Path, options: tuple[str, ...]
) -> None:
    program = Program(tmp_path)
    port = psycopg.conninfo.conninfo_to_dict(db_pair.target)["port"]
    found: list[int] = []

    def kill(connection: Connection) -> None:
        found.append(value(db_pair.target, "SELECT count(*) FROM pghaul.chunk_marker"))
        worker = program.worker_of(connection.client_port)
        assert worker is not None
        worker.kill()

    with Proxy(int(str(port))) as proxy:
        trigger = Trigger(moment=Moment.QUERY, pattern="COPY .*t3", application="/worker$", skip=2, action=kill)
        proxy.arm(trigger)
        try:
            ends = ("--from", db_pair.source, "--to", proxy.url(db_pair.target))
            program.start("run", *ends, "--table", "*.*", "--run-id", RUN, "--workers", "2", *options)
            assert program.wait() == 0, program.said()
        finally:
            program.kill_all()
    assert trigger.error is None
    assert found
    assert found[0] < COUNT
    assert_same_content(db_pair.source, db_pair.target, TABLES)
    assert value(db_pair.target, INDEXES) == 2 * COUNT
    assert_no_session_is_left(db_pair.source, db_pair.target)
