"""What belongs to tables, and to a whole database, arrives: triggers, rules, policies, views, comments, owners …"""

from __future__ import annotations

import signal
from pathlib import Path

import psycopg
import pytest
from tests.compare import assert_same_content
from tests.databases import DatabasePair
from tests.everything import SCHEMA
from tests.faults.program import Program
from tests.faults.proxy import Moment, Proxy, Trigger
from tests.integration.test_real_databases import schema_of
from tests.looking import execute, value
from tests.moving import Moved, assert_done, move, rows

from pghaul.model.errors import NotFoundError, StoppedError, TargetNotEmptyError
from pghaul.model.event import Event, EventKind
from pghaul.model.plan import OnExisting, Options, Plan, Verify
from pghaul.model.table import Unsupported
from pghaul.service.migration import MigrationService
from pghaul.service.plan_file import write_plan

TABLES = ["shop.item", "shop.log", "shop.sale"]
VIEWS = ("shop.sums", "shop.a_sum", "shop.keyed")
# Lines of the whole schema that a whole migration leaves out by design.
MAPPING = "CREATE USER MAPPING"


def whole_plan(pair: DatabasePair, **options: object) -> Plan:
    chosen = Options.model_validate({"workers": 1, "verify": Verify.CHECKSUM} | options)
    return Plan(source=pair.source, target=pair.target, whole=True, options=chosen)


def move_all(pair: DatabasePair, **options: object) -> Moved:
    events: list[Event] = []
    return Moved(run=MigrationService().run(whole_plan(pair, **options), listener=events.append), events=events)


def left(moved: Moved) -> list[Unsupported]:
    return list(MigrationService().show(moved.run.id).not_carried)


def carried_schema(url: str) -> list[str]:
    """But for the user mapping, which holds a password."""
    return [s for s in schema_of(url) if MAPPING not in s and "password 'secret'" not in s and s.strip() != ");"]


def same_views(pair: DatabasePair) -> bool:
    queries = [f"SELECT v::text FROM {view} v ORDER BY 1" for view in VIEWS]
    return all(rows(pair.source, q) == rows(pair.target, q) for q in queries)


@pytest.mark.template(source=SCHEMA)
def test_a_whole_database_arrives_with_everything_in_it(db_pair: DatabasePair, state: str) -> None:
    moved = move_all(db_pair)
    assert_done(moved)
    assert carried_schema(db_pair.target) == carried_schema(db_pair.source)
    assert_same_content(db_pair.source, db_pair.target, TABLES)
    assert same_views(db_pair)
    assert value(db_pair.target, "SELECT nextval('shop.alone')") == 7
    assert {(u.kind, u.name) for u in left(moved)} == {
        ("USER MAPPING", "public at far"),
        ("PRIVILEGE", "1 object"),
    }


@pytest.mark.template(source=SCHEMA)
def test_nothing_is_left_to_do_and_nothing_doubled_when_it_is_moved_again(db_pair: DatabasePair, state: str) -> None:
    move_all(db_pair)
    execute(db_pair.target, "DROP TRIGGER always ON shop.item", "DROP TRIGGER rep ON shop.item")
    again = move_all(db_pair, on_existing=OnExisting.TRUNCATE)
    assert_done(again)
    assert_same_content(db_pair.source, db_pair.target, ["shop.item", "shop.sale"])  # the log's own is written to
    assert {u.name for u in left(again) if u.kind == "TRIGGER"} == {"shop.item.always", "shop.item.rep"}


@pytest.mark.template(source=SCHEMA)
def test_what_hangs_on_selected_tables_comes_with_them(db_pair: DatabasePair, state: str) -> None:
    moved = move(db_pair, "shop.item", "shop.log")
    assert_done(moved)
    there = set(carried_schema(db_pair.target))
    assert there <= set(carried_schema(db_pair.source))
    text = "\n".join(there)
    for word in ("always", "TRIGGER off", "POLICY mine", "RULE logged", "item_stat", "VIEW shop.over", "REPLICA"):
        assert word in text
    for word in ("shop.lone", "shop.sums", "shop.unused", "EVENT TRIGGER", "shop.sale"):
        assert word not in text
    assert_same_content(db_pair.source, db_pair.target, ["shop.item", "shop.log"])


@pytest.mark.template(source=SCHEMA)
def test_what_needs_more_than_is_selected_is_named(db_pair: DatabasePair, state: str) -> None:
    moved = move(db_pair, "shop.item", "shop.sale")
    found = {(u.kind, u.name): u.why for u in left(moved)}
    assert "shop.log" in found["RULE", "shop.item.logged"]
    assert ("VIEW", "shop.cheap") not in found
    assert same_views(db_pair)


@pytest.mark.template(
    source="""
    CREATE TABLE a (id int); CREATE TABLE b (id int); CREATE VIEW both_of AS SELECT a.id FROM a JOIN b USING (id);
    CREATE VIEW of_b AS SELECT * FROM b; INSERT INTO a VALUES (1)
    """,
    target="CREATE TABLE b (id int)",
)
def test_a_view_over_a_table_that_is_there_is_carried_with_the_new_one_it_reads(
    db_pair: DatabasePair, state: str
) -> None:
    moved = move(db_pair, "a", "b")
    assert rows(db_pair.target, "SELECT viewname FROM pg_views WHERE schemaname = 'public'") == [("both_of",)]
    assert [(u.kind, u.name) for u in left(moved)] == [("VIEW", "public.of_b")]


@pytest.fixture
def shopkeeper(db_pair: DatabasePair) -> str:
    """A role of both servers that owns a table; its name."""
    name = "shopkeeper"
    for url in (db_pair.source, db_pair.target):
        with psycopg.connect(url, autocommit=True) as session:
            if not session.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone():
                session.execute("CREATE ROLE shopkeeper")
    execute(db_pair.source, "ALTER TABLE owned OWNER TO shopkeeper", "GRANT SELECT ON owned TO PUBLIC")
    return name


OWNED = "CREATE TABLE owned (id serial PRIMARY KEY); INSERT INTO owned DEFAULT VALUES"
OWNER = "SELECT pg_get_userbyid(relowner), relacl::text FROM pg_class WHERE relname = 'owned'"


@pytest.mark.template(source=OWNED)
def test_owners_and_privileges_come_when_asked_for(db_pair: DatabasePair, shopkeeper: str, state: str) -> None:
    move(db_pair, "owned", owners=True, privileges=True)
    assert rows(db_pair.target, OWNER)[0][0] == shopkeeper
    assert value(db_pair.target, "SELECT has_table_privilege('public', 'owned', 'SELECT')")


@pytest.mark.template(source=OWNED)
def test_without_them_it_is_said_once(db_pair: DatabasePair, shopkeeper: str, state: str) -> None:
    moved = move(db_pair, "owned")
    assert rows(db_pair.target, OWNER) == [("postgres", None)]
    assert [(u.kind, u.name) for u in left(moved)] == [("OWNER", shopkeeper), ("PRIVILEGE", "1 object")]


@pytest.mark.template(source=OWNED)
def test_a_role_that_the_target_lacks_is_named_before_anything_is_written(db_pair: DatabasePair, state: str) -> None:
    execute(
        db_pair.source, "DROP ROLE IF EXISTS stranger", "CREATE ROLE stranger", "ALTER TABLE owned OWNER TO stranger"
    )
    try:
        with pytest.raises(NotFoundError, match="stranger"):
            move(db_pair, "owned", owners=True)
        assert value(db_pair.target, "SELECT to_regclass('public.owned')") is None
    finally:
        execute(db_pair.source, "ALTER TABLE owned OWNER TO postgres", "DROP ROLE stranger")


@pytest.mark.template(source=SCHEMA)
@pytest.mark.parametrize("step", ["create", "finish"])
def test_a_run_stopped_after_any_step_of_the_schema_is_resumed_to_the_same(
    db_pair: DatabasePair, state: str, step: str
) -> None:
    """The source's rows have changed meanwhile: what the triggers would do to them is not done."""
    seen: list[str] = []

    def hear(event: Event) -> None:
        if event.kind is EventKind.SCHEMA:
            seen.append(event.data["step"])

    service = MigrationService()
    with pytest.raises(StoppedError):
        service.run(whole_plan(db_pair), listener=hear, stop=lambda: step in seen)
    execute(db_pair.source, "SET session_replication_role = replica; UPDATE shop.item SET price = price + 1")
    moved = service.resume(None, listener=lambda _: None)
    assert moved.state.value == "done"
    assert carried_schema(db_pair.target) == carried_schema(db_pair.source)
    assert_same_content(db_pair.source, db_pair.target, ["shop.item", "shop.sale"])
    assert same_views(db_pair)


@pytest.mark.template(source=SCHEMA)
@pytest.mark.parametrize("statement", ["CREATE TRIGGER off", "REFRESH MATERIALIZED VIEW"])
def test_a_main_process_killed_within_a_step_leaves_nothing_that_the_resume_does_not_mend(
    db_pair: DatabasePair, tmp_path: Path, statement: str
) -> None:
    """In the middle of pg_restore's transaction, and between two views."""
    program = Program(tmp_path)
    with Proxy(db_pair.target_server.port) as proxy:
        plan = tmp_path / "plan.toml"
        write_plan(whole_plan(db_pair).model_copy(update={"target": proxy.url(db_pair.target)}), plan)
        trigger = Trigger(moment=Moment.QUERY, pattern=statement, action=lambda _: program.kill_main())
        proxy.arm(trigger)
        try:
            program.start("run", str(plan), "--run-id", "0123456789ab", "--json")
            assert (program.wait(), trigger.error) == (-signal.SIGKILL, None), program.said()
            program.resume("0123456789ab")
            assert program.wait() == 0, program.said()
        finally:
            program.kill_all()
    assert carried_schema(db_pair.target) == carried_schema(db_pair.source)
    assert_same_content(db_pair.source, db_pair.target, TABLES)
    assert same_views(db_pair)


LARGE = """
CREATE TABLE refers (id int, o oid);
INSERT INTO refers SELECT g, lo_from_bytea(70000 + g, convert_to(repeat('x' || g, g % 50), 'UTF8'))
  FROM generate_series(1, 250) g;
SELECT lo_from_bytea(4711, decode(repeat('abcd', 700000), 'hex'));
COMMENT ON LARGE OBJECT 4711 IS 'big';
"""
CONTENTS = """
SELECT m.oid, md5(lo_get(m.oid)), obj_description(m.oid, 'pg_largeobject') FROM pg_largeobject_metadata m ORDER BY 1
"""


@pytest.mark.template(source=LARGE)
def test_large_objects_keep_their_oids_and_are_neither_lost_nor_doubled_by_a_kill(
    db_pair: DatabasePair, tmp_path: Path
) -> None:
    program = Program(tmp_path)
    with Proxy(db_pair.target_server.port) as proxy:
        plan = tmp_path / "plan.toml"
        write_plan(whole_plan(db_pair).model_copy(update={"target": proxy.url(db_pair.target)}), plan)
        kill = Trigger(moment=Moment.QUERY, pattern="lowrite", skip=150, action=lambda _: program.kill_main())
        proxy.arm(kill)
        try:
            program.start("run", str(plan), "--run-id", "0123456789ab", "--json")
            assert (program.wait(), kill.error) == (-signal.SIGKILL, None), program.said()
            assert value(db_pair.target, "SELECT count(*) FROM pg_largeobject_metadata") == 100
            execute(db_pair.source, "SELECT lo_put(70001, 0, 'new')", "SELECT lo_from_bytea(70300, 'late')")
            program.resume("0123456789ab")
            assert program.wait() == 0, program.said()
        finally:
            program.kill_all()
    assert rows(db_pair.target, CONTENTS) == rows(db_pair.source, CONTENTS)


@pytest.mark.template(source=LARGE, target="SELECT lo_from_bytea(70001, 'mine')")
def test_a_large_object_that_is_there_is_met_as_the_plan_says(db_pair: DatabasePair, state: str) -> None:
    with pytest.raises(TargetNotEmptyError, match="70001"):
        move_all(db_pair)
    assert value(db_pair.target, "SELECT to_regclass('public.refers')") is None
    move_all(db_pair, on_existing=OnExisting.SKIP)
    assert value(db_pair.target, "SELECT convert_from(lo_get(70001), 'UTF8')") == "mine"
    move_all(db_pair, on_existing=OnExisting.TRUNCATE)
    assert rows(db_pair.target, CONTENTS) == rows(db_pair.source, CONTENTS)
