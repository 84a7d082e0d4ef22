"""From a source that is not PostgreSQL into a PostgreSQL: a whole run, what is there already, faults and resume."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from tests.faults.program import PATIENCE, Program
from tests.faults.proxy import Connection, Moment, Proxy, Trigger
from tests.looking import assert_no_session_is_left, state_of, value
from tests.moving import assert_done, resume, rows, run_sql
from tests.sqlite_files import ORDERS, carried, held, made, plan_of, shop, url_of

from pghaul.model.errors import RowError, ShapeChangedError, StoppedError, TargetNotEmptyError, UsageError
from pghaul.model.event import Event, EventKind
from pghaul.model.plan import Mapping, OnExisting, Period, Selection, Undecodable
from pghaul.model.run import RunState
from pghaul.model.transforming import Transform
from pghaul.service.migration import MigrationService
from pghaul.target.foreign import portions

RUN = "0123456789ab"
SPLIT = 8192  # bytes: the shop's orders become several ranges

pytestmark = pytest.mark.parametrize("db_source", ["pg18"], indirect=True)


def orders(path: Path) -> list[tuple[object, ...]]:
    """The source's, as PostgreSQL should hold them."""
    return [(no, c, Decimal(str(t)).quantize(Decimal("0.01")), note) for no, c, t, note in held(path, ORDERS)]


def keys_and_indexes(url: str) -> list[str]:
    found = rows(url, "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1")
    return [definition for (definition,) in found]


# --- a whole run --------------------------------------------------------------------------------------------------


def test_a_whole_file_arrives(db_source: str, state: str, tmp_path: Path) -> None:
    path = shop(tmp_path)
    moved = carried(path, db_source)
    assert_done(moved)
    assert rows(db_source, ORDERS) == orders(path)
    photos = held(path, "SELECT id, photo FROM customer ORDER BY id")
    assert rows(db_source, "SELECT id, photo FROM customer ORDER BY id") == photos
    assert value(db_source, "SELECT count(*) FROM empty") == 0
    assert 'CREATE INDEX order_customer ON public."order" USING btree (customer_id)' in keys_and_indexes(db_source)
    assert value(db_source, "SELECT convalidated FROM pg_constraint WHERE contype = 'f'") is True
    assert value(db_source, 'INSERT INTO "order" (total) VALUES (1) RETURNING no') == 301
    assert value(db_source, "SELECT n FROM best WHERE customer_id = 1") == 7
    assert moved.run.rows == 340
    assert_no_session_is_left(db_source)


def test_the_run_is_planned_without_a_change(db_source: str, state: str, tmp_path: Path) -> None:
    path, before = shop(tmp_path), state_of(db_source)
    found = MigrationService().plan(plan_of(path, db_source))
    assert found.ok
    assert {str(t.table): t.rows for t in found.tables} == {
        "public.customer": 40,
        "public.order": 300,
        "public.empty": 0,
    }
    total = next(c for t in found.tables for c in t.columns if c.name == "total")
    assert (total.native, total.type) == ("NUMERIC(10,2)", "numeric(10,2)")
    assert state_of(db_source) == before


@pytest.mark.parametrize("narrow", [False, True])
def test_a_dry_run_sends_a_sample_all_the_way_and_takes_it_back(
    db_source: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: bool
) -> None:
    """All of it in one transaction; or table by table, where the server has room for few locks."""
    if narrow:
        monkeypatch.setattr(portions, "SHARE", sys.maxsize)
    path, before = shop(tmp_path), state_of(db_source)
    found = MigrationService().plan(plan_of(path, db_source), sample=True)
    assert found.ok
    assert any("340 sample rows" in f.what for f in found.findings)
    assert state_of(db_source) == before


def test_a_dry_run_goes_by_what_a_domain_is_made_of(db_source: str, state: str, tmp_path: Path) -> None:
    path = made(tmp_path / "d.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'ab  ');")
    run_sql(db_source, "CREATE DOMAIN short AS varchar(3); CREATE TABLE t (id bigint PRIMARY KEY, v short)")
    found = MigrationService().plan(plan_of(path, db_source), sample=True)
    assert [f.code for f in found.findings if f.object == "public.t"] == [6905]
    assert "too long" in next(f.what for f in found.findings if f.code == 6905)


def test_a_dry_run_names_what_would_fail(db_source: str, state: str, tmp_path: Path) -> None:
    path = made(
        tmp_path / "a.db",
        "CREATE TABLE a (b INT, CHECK (b > 0)); PRAGMA ignore_check_constraints = 1; INSERT INTO a VALUES (-1)",
    )
    found = MigrationService().plan(plan_of(path, db_source), sample=True)
    assert not found.ok
    assert any("violated" in f.what for f in found.findings)


@pytest.mark.parametrize("split", [1 << 30, SPLIT])
def test_checksums_of_both_sides_agree(db_source: str, state: str, tmp_path: Path, split: int) -> None:
    moved = carried(shop(tmp_path, orders=1000), db_source, verify="checksum", split_bytes=split)
    assert_done(moved)
    proofs = [e.data for e in moved.of(EventKind.CHUNK_DONE)]
    assert all(p["proof"] == "stream" and p["source_hash"] == p["target_hash"] for p in proofs)
    assert len({p["source_hash"] for p in proofs}) == len(proofs)


MANY = """
CREATE TABLE t{n} (id INTEGER PRIMARY KEY, up INTEGER REFERENCES t{up}, v TEXT, CHECK (length(v) < 9));
CREATE INDEX i{n} ON t{n} (v);
INSERT INTO t{n} VALUES (1, 1, 'one'), (2, NULL, '{v}');
"""


def many(folder: Path, *, bad: str = "two") -> Path:
    """Twelve small tables; of one the text of the second row may be another."""
    tables = (MANY.format(n=n, up=max(0, n - 1), v=bad if n == 7 else "two") for n in range(12))
    return made(folder / "many.db", "PRAGMA ignore_check_constraints = 1;" + "".join(tables))


@pytest.mark.parametrize("verify", ["count", "checksum"])
def test_small_tables_are_loaded_several_in_one_transaction(
    db_source: str, state: str, tmp_path: Path, verify: str
) -> None:
    moved = carried(many(tmp_path), db_source, verify=verify)
    assert_done(moved)
    assert moved.run.rows == 24
    assert {str(e.table): e.data["rows"] for e in moved.of(EventKind.CHUNK_DONE)} == {
        f"public.t{n}": 2 for n in range(12)
    }
    markers = "SELECT count(*), count(DISTINCT xmin::text) FROM pghaul.chunk_marker WHERE chunk = 'leaf'"
    ((count, transactions),) = rows(db_source, markers)
    assert count == 12 > transactions
    texts = [value(db_source, f"SELECT string_agg(v, ' ' ORDER BY id) FROM t{n}") for n in range(12)]
    assert texts == ["one two"] * 12
    constraints = "SELECT count(*) FROM pg_constraint WHERE contype IN ('p', 'f', 'c') AND convalidated"
    assert value(db_source, constraints + " AND conrelid::regclass::text ~ '^t[0-9]'") == 36
    assert value(db_source, "SELECT count(*) FROM pg_index WHERE indrelid::regclass::text ~ '^t[0-9]'") == 24


def test_of_small_tables_the_one_that_cannot_be_loaded_is_named(db_source: str, state: str, tmp_path: Path) -> None:
    with pytest.raises(RowError) as caught:
        carried(many(tmp_path, bad="much too long"), db_source)
    assert "t7" in str(caught.value.where)
    assert value(db_source, "SELECT count(*) FROM t7") == 0
    assert value(db_source, "SELECT count(*) FROM t6") in {0, 2}


@pytest.mark.template(
    source="""
    CREATE TABLE "order" (no int8, customer_id int4, total numeric(10,2), note text);
    CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.note := 'x'; RETURN NEW; END$$;
    CREATE TRIGGER spoil BEFORE INSERT ON "order" FOR EACH ROW EXECUTE FUNCTION spoil();
    ALTER TABLE "order" ENABLE ALWAYS TRIGGER spoil;
"""
)
def test_a_trigger_that_would_change_rows_is_found_before(db_source: str, state: str, tmp_path: Path) -> None:
    found = MigrationService().plan(plan_of(shop(tmp_path), db_source))
    assert not found.ok


def test_a_large_table_goes_in_ranges_of_its_key(db_source: str, state: str, tmp_path: Path) -> None:
    path = shop(tmp_path, orders=2000)
    moved = carried(path, db_source, "order", split_bytes=SPLIT, workers=2)
    assert_done(moved)
    chunks = [e.chunk for e in moved.of(EventKind.CHUNK_DONE)]
    assert len(chunks) > 2
    assert len(chunks) % 2 == 0  # as many for each of the two
    assert all(c and c.startswith("range:no:") for c in chunks)
    assert rows(db_source, ORDERS) == orders(path)
    assert any("(no)" in d for d in keys_and_indexes(db_source))


KEYED = """
CREATE TABLE a (id {declared}, t TEXT);
WITH RECURSIVE n (i) AS (SELECT -9 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
INSERT INTO a SELECT i, printf('%0200d', i) FROM n;
"""


@pytest.mark.template(source="CREATE TABLE a (id text, t text)")
@pytest.mark.parametrize(
    ("declared", "there", "type_"),
    [
        ("INTEGER PRIMARY KEY", "text", ""),  # 5 and 10 as texts lie in another order
        ("INTEGER PRIMARY KEY", "bigint", ""),
        ("INT PRIMARY KEY", "bigint", ""),  # which may be NULL, twice: that comes first here, last there
        ("TEXT PRIMARY KEY", "bigint", "bigint"),
    ],
)
def test_ranges_are_of_what_is_an_integer_on_both_sides(
    db_source: str, state: str, tmp_path: Path, declared: str, there: str, type_: str
) -> None:
    path = made(tmp_path / "a.db", KEYED.format(declared=declared))
    if declared.startswith("INT "):
        made(path, "INSERT INTO a VALUES (NULL, 'x'), (NULL, 'y')")
    run_sql(db_source, f"ALTER TABLE a ALTER id TYPE {there} USING id::{there}")
    types = [Selection(name="a", types={"id": type_} if type_ else {})]
    plan = plan_of(path, db_source, verify="checksum", split_bytes=SPLIT)
    plan = plan.model_copy(update={"tables": types, "whole": False})
    heard: list[Event] = []
    assert MigrationService().run(plan, listener=heard.append).state is RunState.DONE
    chunks = [e.chunk for e in heard if e.kind is EventKind.CHUNK_DONE]
    assert (len(chunks) > 1) == (declared == "INTEGER PRIMARY KEY" and there == "bigint")
    everything = sorted((str(i), t) for i, t in held(path, "SELECT id, t FROM a"))
    assert sorted((str(i), t) for i, t in rows(db_source, "SELECT id, t FROM a")) == everything


def test_only_rows_that_fulfil_a_condition_are_taken(db_source: str, state: str, tmp_path: Path) -> None:
    path = shop(tmp_path)
    plan = plan_of(path, db_source, "order")
    plan = plan.model_copy(update={"tables": [plan.tables[0].model_copy(update={"where": "no % 2 = 0"})]})
    run = MigrationService().run(plan, listener=lambda _event: None)
    assert (run.state, run.rows) == (RunState.DONE, 150)


# --- what is there already ----------------------------------------------------------------------------------------

THERE = 'CREATE TABLE "order" (no int8, customer_id int4, total float8, note text); INSERT INTO "order" VALUES (9999)'


@pytest.mark.template(source=THERE)
def test_rows_that_are_there_are_refused(db_source: str, state: str, tmp_path: Path) -> None:
    before = state_of(db_source)
    with pytest.raises(TargetNotEmptyError):
        carried(shop(tmp_path), db_source)
    assert state_of(db_source) == before


@pytest.mark.template(source=THERE)
@pytest.mark.parametrize(("choice", "count"), [("truncate", 300), ("append", 301), ("skip", 1)])
def test_rows_that_are_there_become_what_is_asked(
    db_source: str, state: str, tmp_path: Path, choice: str, count: int
) -> None:
    moved = carried(shop(tmp_path), db_source, on_existing=OnExisting(choice))
    assert_done(moved)
    assert value(db_source, 'SELECT count(*) FROM "order"') == count
    assert value(db_source, 'SELECT pg_typeof(total)::text FROM "order" LIMIT 1') == "double precision"


# --- words --------------------------------------------------------------------------------------------------------


def test_nothing_but_postgresql_is_written_to(db_source: str, state: str, tmp_path: Path) -> None:
    plan = plan_of(shop(tmp_path), db_source).model_copy(update={"target": url_of(tmp_path / "other.db")})
    with pytest.raises(UsageError, match="rows go to PostgreSQL only"):
        MigrationService().run(plan, listener=lambda _event: None)


@pytest.mark.parametrize("word", [{"recipe": "insert"}, {"on_existing": "refresh"}, {"max_source_sessions": 3}])
def test_what_goes_between_two_postgresql_only_is_refused(
    db_source: str, state: str, tmp_path: Path, word: dict[str, object]
) -> None:
    found = MigrationService().plan(plan_of(shop(tmp_path), db_source, **word))
    assert not found.ok


def test_what_would_change_nothing_is_refused_by_name(db_source: str, state: str, tmp_path: Path) -> None:
    plan = plan_of(shop(tmp_path), db_source, owners=True, format="text").model_copy(
        update={
            "tables": [Selection(name="order", layout="month", key="no", larger_than=1)],
            "period": Period(since="2024-01-01"),
            "whole": False,
        }
    )
    found = MigrationService().plan(plan)
    assert {f.object for f in found.findings if f.code == 1189} == {
        "format",
        "key",
        "larger_than",
        "layout",
        "owners",
        "period",
    }


# --- stopped, killed, resumed -------------------------------------------------------------------------------------


def test_a_run_that_was_stopped_goes_on(db_source: str, state: str, tmp_path: Path) -> None:
    path, seen = shop(tmp_path, orders=2000), list[Event]()
    with pytest.raises(StoppedError):
        carried(
            path,
            db_source,
            events=seen,
            stop=lambda: any(e.kind is EventKind.CHUNK_DONE for e in seen),
            split_bytes=SPLIT,
        )
    first = {e.chunk for e in seen if e.kind is EventKind.CHUNK_DONE}
    moved = resume()
    assert_done(moved)
    assert not first & {e.chunk for e in moved.of(EventKind.CHUNK_DONE)}
    assert rows(db_source, ORDERS) == orders(path)
    assert moved.run.rows == 2040


def test_a_source_that_has_changed_its_shape_is_not_gone_on_with(db_source: str, state: str, tmp_path: Path) -> None:
    path, seen = shop(tmp_path), list[Event]()
    with pytest.raises(StoppedError):
        carried(path, db_source, events=seen, stop=lambda: any(e.kind is EventKind.CHUNK_DONE for e in seen))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE customer ADD COLUMN more TEXT")
    with pytest.raises(ShapeChangedError, match="more"):
        resume()


@pytest.fixture
def program(tmp_path: Path, state: str) -> Iterator[Program]:
    program = Program(tmp_path)
    try:
        yield program
    finally:
        program.kill_all()


@pytest.mark.skipif(os.name == "nt", reason="there are no signals to send")
@pytest.mark.parametrize("killed", ["main", "worker"])
def test_no_row_is_lost_or_doubled_whoever_is_killed(
    db_source: str, pg18: object, program: Program, tmp_path: Path, killed: str
) -> None:
    """In the middle of the third COPY of rows."""
    path = shop(tmp_path, orders=2000)

    def kill(connection: Connection) -> None:
        if killed == "main":
            program.kill_main()
        elif worker := program.worker_of(connection.client_port):
            worker.kill()

    trigger = Trigger(moment=Moment.QUERY, pattern="^COPY ", application="/worker$", skip=2, action=kill)
    with Proxy(pg18.port) as proxy:  # type: ignore[attr-defined]
        proxy.arm(trigger)
        words = ("--run-id", RUN, "--workers", "1", "--split-size", "8kB")
        program.start("run", url_of(path), proxy.url(db_source), *words)
        assert trigger.done.wait(PATIENCE), program.said()
        if killed == "main":
            program.wait()
            assert_done(resume(RUN))
        else:
            assert program.wait() == 0, program.said()
    assert rows(db_source, ORDERS) == orders(path)
    assert value(db_source, "SELECT count(*) FROM customer") == 40


# --- characters ---------------------------------------------------------------------------------------------------

NULS = "CREATE TABLE n (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO n VALUES (1, 'a' || char(0) || 'b'), (2, 'ok')"


def test_a_character_that_postgresql_cannot_hold_fails_and_is_named(db_source: str, state: str, tmp_path: Path) -> None:
    with pytest.raises(RowError, match="row 1, column v"):
        carried(made(tmp_path / "n.db", NULS), db_source)


def test_it_is_left_out_and_counted_where_asked(db_source: str, state: str, tmp_path: Path) -> None:
    mapping = Mapping(nul=Undecodable.REPLACE)
    moved = carried(made(tmp_path / "n.db", NULS), db_source, mapping=mapping, verify="checksum")
    assert_done(moved)
    assert rows(db_source, "SELECT v FROM n ORDER BY id") == [("ab",), ("ok",)]
    assert moved.notices("REPLACED") == ["public.n.v"]


def test_its_row_is_set_aside_where_asked(db_source: str, state: str, tmp_path: Path) -> None:
    mapping = Mapping(nul=Undecodable.QUARANTINE)
    moved = carried(made(tmp_path / "n.db", NULS), db_source, mapping=mapping, max_rejects=1)
    assert moved.run.state is RunState.DIFFERENT
    assert rows(db_source, "SELECT id FROM n") == [(2,)]
    assert value(db_source, "SELECT count(*) FROM pghaul.quarantine") == 1


def test_values_are_changed_on_their_way(db_source: str, state: str, tmp_path: Path) -> None:
    plan = plan_of(made(tmp_path / "n.db", "CREATE TABLE n (v TEXT); INSERT INTO n VALUES ('  x ')"), db_source, "n")
    trimmed = plan.tables[0].model_copy(update={"transform": [Transform(kind="trim", column="v")]})
    run = MigrationService().run(plan.model_copy(update={"tables": [trimmed]}), listener=lambda _event: None)
    assert run.state is RunState.DONE
    assert rows(db_source, "SELECT v FROM n") == [("x",)]


# --- afterwards ---------------------------------------------------------------------------------------------------

VACUUMED = """
SELECT relname::text, vacuum_count, analyze_count FROM pg_stat_user_tables WHERE schemaname = 'public' ORDER BY 1
"""
MARKED = "SELECT relation FROM pghaul.chunk_marker WHERE chunk = 'vacuum' ORDER BY 1"


def test_what_was_loaded_is_vacuumed_once(db_source: str, state: str, tmp_path: Path) -> None:
    path = shop(tmp_path)
    moved = carried(path, db_source)
    assert_done(moved)
    every = [("customer",), ("empty",), ("order",)]
    assert [(n.removeprefix("public."),) for (n,) in rows(db_source, MARKED)] == every
    assert rows(db_source, VACUUMED) == [(name, 1, 1) for (name,) in every]
    assert not moved.notices("VACUUM")


def test_a_role_that_may_not_vacuum_is_told_so_and_the_run_goes_well(
    db_source: str, state: str, tmp_path: Path
) -> None:
    path = made(tmp_path / "one.db", "CREATE TABLE one (a INTEGER PRIMARY KEY); INSERT INTO one VALUES (1), (2);")
    role = f"filler_{os.getpid()}"
    run_sql(
        db_source,
        f"CREATE TABLE one (a bigint PRIMARY KEY); CREATE ROLE {role} LOGIN;"
        f"GRANT SELECT, INSERT, TRUNCATE ON one TO {role};"
        f"DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {role}', current_database()); END $$",
    )
    try:
        moved = carried(path, db_source.replace("postgres@", f"{role}@"), on_existing="append")
        assert_done(moved)
        (told,) = [e.message for e in moved.of(EventKind.NOTICE) if e.data["kind"] == "VACUUM"]
        assert "permission denied" in told
    finally:
        run_sql(db_source, f"DROP SCHEMA IF EXISTS pghaul CASCADE; DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
