"""`pghaul plan` and `run --dry-run`: everything that a run would do and meet, and nothing is touched by looking."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.databases import DatabasePair, drop
from tests.looking import execute, state_of, value
from tests.moving import assert_done, move, plan_of

from pghaul.cli.app import run
from pghaul.model.errors import BoundsError, NoSpaceError, NotFoundError, NotSupportedError, PghaulError, PlanError
from pghaul.model.event import Event, EventKind
from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.plan import Layout, Period, Plan, Selection, Unit
from pghaul.model.preview import Preview
from pghaul.service.embedded import Cluster
from pghaul.service.migration import MigrationService
from pghaul.store.repository import Store

SOURCE = """
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE TABLE payment (id serial PRIMARY KEY, note text, m mood);
    INSERT INTO payment (note, m) SELECT 'n' || g, 'good' FROM generate_series(1, 500) g;
    CREATE TABLE known (id int, body text);
    INSERT INTO known SELECT g, 'x' FROM generate_series(1, 300) g;
    CREATE TABLE part (d date, v int) PARTITION BY RANGE (d);
    CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
    CREATE VIEW seen AS SELECT * FROM payment;
    CREATE VIEW old AS SELECT * FROM known;
    ANALYZE
"""
TARGET = """
    CREATE TABLE known (id int, body text); INSERT INTO known VALUES (7, 'y'); ANALYZE known;
    CREATE TABLE part (d date, v int) PARTITION BY RANGE (d);
    CREATE TABLE part_0 PARTITION OF part FOR VALUES FROM ('2019-01-01') TO ('2020-01-01');
"""

Output = pytest.CaptureFixture[str]


def looked(pair: DatabasePair, *tables: str, **options: Any) -> Preview:
    return MigrationService().plan(plan_of(pair.source, pair.target, tables or ("*",), **options))


def errors(preview: Preview) -> list[Finding]:
    return [f for f in preview.findings if f.severity is Severity.ERROR]


def of(preview: Preview, kind: Kind) -> list[Finding]:
    return [f for f in preview.findings if f.kind is kind]


def words(pair: DatabasePair, *more: str) -> list[str]:
    return ["--from", pair.source, "--to", pair.target, "--table", "*", *more]


# --- what it shows, and what it leaves alone ---------------------------------------------------------------------


def advisory_locks(url: str) -> int:
    return int(value(url, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"))


@pytest.mark.template(source=SOURCE, target=TARGET)
@pytest.mark.parametrize("command", [["plan"], ["run", "--dry-run"]])
def test_looking_changes_nothing_on_either_side(
    db_pair: DatabasePair, state: str, capsys: Output, command: list[str]
) -> None:
    before = state_of(db_pair.source), state_of(db_pair.target)
    assert run([*command, *words(db_pair, "--on-existing", "truncate", "--json")]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["ok"] is True
    assert (state_of(db_pair.source), state_of(db_pair.target)) == before
    assert advisory_locks(db_pair.target) == 0
    assert Store(state).runs() == []


@pytest.mark.template(source=SOURCE, target=TARGET)
def test_the_target_itself_would_refuse_a_write_of_a_look(
    db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(stage: Any, _ask: object, **_rest: object) -> None:
        stage.target.execute("CREATE TABLE public.oops ()")

    monkeypatch.setattr("pghaul.engine.checks.examine", write)
    found = errors(looked(db_pair))
    assert "read-only transaction" in found[0].what


@pytest.mark.template(source=SOURCE, target=TARGET)
def test_what_is_made_what_is_there_and_what_becomes_of_it(db_pair: DatabasePair, state: str) -> None:
    found = looked(db_pair, on_existing="truncate")
    fates = {str(t.table): (t.disposition, t.rows, t.chunks, t.there_rows) for t in found.tables}
    assert fates == {
        "public.payment": ("created", 500, 1, None),
        "public.known": ("truncate", 300, 1, 1),
        "public.part_1": ("created", 0, 1, None),
    }
    assert found.creates == {
        "index": ["public.payment_pkey"],
        "sequence": ["public.payment_id_seq"],
        "table": ["public.part_1", "public.payment"],
        "type": ["public.mood"],
        "view": ["public.seen"],
    }
    assert [str(n) for n in found.vanished] == ["public.part_0"]
    assert ("VIEW", "public.old") in {(u.kind, u.name) for u in found.not_carried}
    assert found.settings["target"]["synchronous_commit"] == "off"
    assert found.space.needed >= found.bytes > 0
    assert found.space.free is not None, "the server is on this machine"
    assert found.forecast is None


@pytest.mark.template(source=SOURCE)
def test_the_time_is_expected_from_runs_of_the_same_tables(db_pair: DatabasePair, state: str) -> None:
    assert_done(move(db_pair, "payment", "known"))
    found = looked(db_pair, on_existing="truncate")
    assert found.forecast is not None
    assert (found.forecast.known, found.forecast.tables) == (2, 3)
    assert found.forecast.seconds > 0


@pytest.mark.template(source=SOURCE, target=TARGET)
def test_a_person_reads_what_stands_against_it_and_the_exit_code_says_so(
    db_pair: DatabasePair, state: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["plan", *words(db_pair)]) == 1
    out, err = capsys.readouterr()
    assert "rows-present: public.known has rows on the target" in out
    assert "Stands against it (1)" in out
    assert "1 × type" in out
    assert "1 to mend" in err
    assert run(["plan", *words(db_pair, "--on-existing", "skip", "--verbose")]) == 0
    out, err = capsys.readouterr()
    assert "public.mood" in out
    assert "Settings of our sessions on the source" in out
    assert "Begin: pghaul run" in err
    assert run(["plan", "--to", db_pair.target]) == 2


@pytest.mark.template(source=SOURCE, target=TARGET)
def test_a_plan_is_written_with_the_schema_that_editors_check_it_by(
    db_pair: DatabasePair, state: str, tmp_path: Path, capsys: Output
) -> None:
    path = tmp_path / "plan.toml"
    assert run(["plan", *words(db_pair, "--on-existing", "append", "-o", str(path))]) == 0
    first = path.read_text().splitlines()[0]
    assert first.startswith("#:schema ./")
    schema = json.loads((tmp_path / first.removeprefix("#:schema ./")).read_text())
    assert set(tomllib.loads(path.read_text())) <= set(schema["properties"])
    capsys.readouterr()
    assert run(["plan", "--schema-json"]) == 0
    assert json.loads(capsys.readouterr().out) == schema
    assert run(["plan", str(path)]) == 0, "and checked again"


@pytest.mark.template(source=SOURCE, target=TARGET)
def test_that_a_part_takes_the_place_of_a_whole_is_said_before(db_pair: DatabasePair, state: str) -> None:
    plan = plan_of(db_pair.source, db_pair.target, ("known",), on_existing="refresh")
    part = plan.model_copy(update={"tables": [Selection(name="known", where="id < 10")]})
    service, events = MigrationService(), list[Event]()
    assert [f.object for f in of(service.plan(part), Kind.ROWS_PRESENT)] == ["public.known"]
    assert of(service.plan(plan), Kind.ROWS_PRESENT) == []
    service.run(part, listener=events.append)
    assert [e.message for e in events if e.kind is EventKind.WARNING and "its other rows" in e.message]
    assert value(db_pair.target, "SELECT count(*) FROM known") == 9


# --- bad input: found by plan, refused by run --------------------------------------------------------------------


def assert_refused(
    pair: DatabasePair, kind: Kind, what: str, error: type[PghaulError], *tables: str, **options: Any
) -> Finding:
    """`plan` names it, `run` raises it, and the target is as it was."""
    before = state_of(options.get("target") or pair.target)
    ends = {k: options.pop(k, getattr(pair, k)) for k in ("source", "target")}
    found = MigrationService().plan(plan_of(ends["source"], ends["target"], tables or ("*",), **options))
    named = [f for f in errors(found) if f.kind is kind]
    assert named, found.findings
    assert what in named[0].what
    with pytest.raises(error) as refused:
        move(pair, *(tables or ("*",)), **ends, **options)
    assert what in refused.value.message
    assert state_of(ends["target"]) == before
    return named[0]


@pytest.mark.template(source=SOURCE)
def test_a_disk_too_small(db_pair: DatabasePair, state: str) -> None:
    found = assert_refused(db_pair, Kind.SPACE, "needed on the target's disk", NoSpaceError, target_free=10_000)
    assert "--target-free" in (found.advice or "")
    needed = looked(db_pair, "known").space.needed
    tight = of(looked(db_pair, "known", target_free=needed * 11 // 10), Kind.SPACE)
    assert [f.severity for f in tight] == [Severity.WARNING]


@pytest.mark.parametrize("db_pair", [("pg15", "pg16")], indirect=True)
@pytest.mark.template(source="CREATE EXTENSION hstore; CREATE TABLE t (a int, b hstore)")
def test_an_extension_that_the_target_does_not_offer(db_pair: DatabasePair, state: str) -> None:
    assert_refused(db_pair, Kind.EXTENSION, "need the extension hstore (for public.hstore)", NotSupportedError)


@pytest.mark.parametrize("db_pair", [("pg15", "pg16")], indirect=True)
@pytest.mark.template(
    source="""CREATE TABLE t (a int, b text COLLATE "af-x-icu"); CREATE TABLE u (a text);
              CREATE INDEX on_u ON u (a COLLATE "en-x-icu")"""
)
def test_a_collation_that_the_target_lacks(db_pair: DatabasePair, state: str) -> None:
    assert_refused(db_pair, Kind.COLLATION, "t needs the collation pg_catalog.af-x-icu", NotSupportedError)
    assert [f.object for f in errors(looked(db_pair, "u"))] == ["pg_catalog.en-x-icu"]


@contextmanager
def database(cluster: Cluster, encoding: str) -> Iterator[str]:
    name = f"planned_{encoding.lower()}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} LOCALE 'C'")
    with psycopg.connect(cluster.url(), autocommit=True) as admin:
        admin.execute(create.format(sql.Identifier(name), sql.Literal(encoding)))
    try:
        yield cluster.url(name)
    finally:
        drop(cluster, name)


@pytest.mark.template(source="CREATE TABLE t (a int, plain text, odd text); INSERT INTO t VALUES (1, 'a', 'é뷁')")
def test_a_character_that_the_targets_encoding_lacks(db_pair: DatabasePair, pg18: Cluster, state: str) -> None:
    with database(pg18, "LATIN1") as target:
        assert_refused(
            db_pair, Kind.CHARACTERS, "in public.t, column odd", PghaulError, target=target, source=db_pair.source
        )


@pytest.mark.template(
    source="CREATE TABLE t (a text); INSERT INTO t SELECT 'a' FROM generate_series(1, 60) g; ANALYZE t"
)
def test_rows_that_were_not_tried_are_said(
    db_pair: DatabasePair, pg18: Cluster, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database(pg18, "LATIN1") as target:
        plan = plan_of(db_pair.source, target, ("t",))
        assert of(MigrationService().plan(plan), Kind.ENCODING) == []
        monkeypatch.setattr("pghaul.engine.characters.TRIED_ROWS", 50)
        said = of(MigrationService().plan(plan), Kind.ENCODING)
    assert [(f.severity, "(public.t) only the first 50 rows" in f.what) for f in said] == [(Severity.WARNING, True)]


@pytest.mark.template(source="CREATE TABLE t (a int)")
def test_encodings_without_a_way_from_one_to_the_other(
    db_pair: DatabasePair, pg16: Cluster, pg18: Cluster, state: str
) -> None:
    with database(pg16, "EUC_KR") as source, database(pg18, "LATIN1") as target:
        execute(source, "CREATE TABLE t (a int)")
        assert_refused(
            db_pair, Kind.ENCODING, "LATIN1 cannot hold EUC_KR", NotSupportedError, source=source, target=target
        )


@pytest.mark.template(source=SOURCE)
def test_a_pattern_that_matches_nothing(db_pair: DatabasePair, state: str) -> None:
    assert_refused(db_pair, Kind.NOTHING_SELECTED, "no table matches 'paymnt'", PghaulError, "paymnt")


TREE = """
    CREATE TABLE h (at int8, v int);
    CREATE TABLE h_1 (CHECK (at >= 0 AND at <= 99)) INHERITS (h); CREATE TABLE h_2 (CHECK (at >= {0} AND at <= 299))
    INHERITS (h); INSERT INTO h_1 VALUES (1, 1); INSERT INTO h_2 VALUES (250, 1)
"""


def laid_out(pair: DatabasePair, **more: Any) -> Plan:
    return plan_of(pair.source, pair.target, ["h"]).model_copy(
        update={"tables": [Selection(name="h", layout=Layout.DECLARATIVE)]} | more
    )


@pytest.mark.template(source=TREE.format(90))
def test_bounds_that_overlap(db_pair: DatabasePair, state: str) -> None:
    service = MigrationService()
    plan = laid_out(db_pair)
    found = errors(service.plan(plan))
    assert [(f.kind, "h_1 and public.h_2" in f.what) for f in found] == [(Kind.BOUNDS, True)]
    with pytest.raises(BoundsError, match="bounds overlap"):
        service.run(plan, listener=lambda _e: None)
    assert value(db_pair.target, "SELECT count(*) FROM pg_namespace WHERE nspname = 'pghaul'") == 0


@pytest.mark.template(source=TREE.format(200))
def test_bounds_that_leave_a_gap_are_named(db_pair: DatabasePair, state: str) -> None:
    found = MigrationService().plan(laid_out(db_pair))
    assert found.ok
    assert "gaps: from 100 to 200 (between h_1 and h_2)" in of(found, Kind.BOUNDS)[0].what


@pytest.mark.template(source=TREE.format(100))
def test_a_period_that_matches_nothing(db_pair: DatabasePair, state: str) -> None:
    service = MigrationService()
    plan = laid_out(db_pair, period=Period(since="2031-01-01", until="2031-02-01", unit=Unit.SECONDS))
    found = errors(service.plan(plan))
    assert [(f.kind, "lies in the period" in f.what) for f in found] == [(Kind.NOTHING_SELECTED, True)]
    with pytest.raises(NotFoundError, match="lies in the period"):
        service.run(plan, listener=lambda _e: None)
    assert value(db_pair.target, "SELECT count(*) FROM pg_namespace WHERE nspname = 'pghaul'") == 0


# --- all that is wrong, not the first ----------------------------------------------------------------------------

SEVERAL = """
    CREATE TABLE a (id int); CREATE TABLE b (id int, n int); CREATE SCHEMA s; CREATE TABLE s.c (id int);
    CREATE TABLE d (id int)
"""
SEVERAL_THERE = "CREATE TABLE a (id int); CREATE TABLE b (id int); INSERT INTO b VALUES (1)"


@pytest.fixture
def limited(db_pair: DatabasePair, pg18: Cluster) -> Iterator[Callable[[str], str]]:
    """A URL's target as a role that may connect and no more."""
    execute(pg18.url(), "CREATE ROLE planner LOGIN")
    yield lambda url: url.replace("postgres@", "planner@")
    execute(db_pair.target, "DROP OWNED BY planner")
    execute(pg18.url(), "DROP ROLE planner")


@pytest.mark.template(source=SEVERAL, target=SEVERAL_THERE)
def test_every_privilege_that_lacks_is_named_at_once(
    db_pair: DatabasePair, limited: Callable[[str], str], state: str
) -> None:
    execute(db_pair.target, "GRANT SELECT ON b TO planner")
    plan = plan_of(db_pair.source, limited(db_pair.target), ("*.*",))
    found = errors(MigrationService().plan(plan))
    assert {(f.kind, f.object) for f in found} == {
        (Kind.PRIVILEGE, "public.a"),
        (Kind.PRIVILEGE, "public.b"),
        (Kind.ROWS_PRESENT, "public.b"),
        (Kind.SHAPE, "public.b.n"),
        (Kind.PRIVILEGE, "pghaul"),
        (Kind.PRIVILEGE, "s"),
        (Kind.PRIVILEGE, "public"),
    }
    with pytest.raises(PghaulError) as refused:
        MigrationService().run(plan, listener=lambda _e: None)
    assert len(refused.value.__notes__) == len(found) - 1


@pytest.mark.template(source=SEVERAL, target=SEVERAL_THERE)
def test_tables_that_may_not_be_read_are_named_beside_what_the_target_lacks(
    db_pair: DatabasePair, pg16: Cluster, state: str
) -> None:
    execute(pg16.url(), "CREATE ROLE blind LOGIN")
    try:
        execute(db_pair.source, "GRANT SELECT ON a TO blind")
        source = db_pair.source.replace("postgres@", "blind@")
        found = errors(MigrationService().plan(plan_of(source, db_pair.target, ("*",))))
    finally:
        execute(db_pair.source, "DROP OWNED BY blind")
        execute(pg16.url(), "DROP ROLE blind")
    assert [f.what for f in found if f.kind is Kind.PRIVILEGE] == ["blind may not read public.b, public.d"]
    assert {f.kind for f in found} == {Kind.PRIVILEGE, Kind.ROWS_PRESENT, Kind.SHAPE}


@pytest.mark.template(source="CREATE TABLE t (a int)")
def test_what_hurts_is_a_warning_and_not_in_the_way(
    db_pair: DatabasePair, limited: Callable[[str], str], pg18: Cluster, state: str
) -> None:
    execute(pg18.url(), "ALTER ROLE planner CONNECTION LIMIT 3")
    execute(db_pair.target, "GRANT CREATE ON SCHEMA public TO planner")
    execute(db_pair.target, f"GRANT CREATE ON DATABASE {value(db_pair.target, 'SELECT current_database()')} TO planner")
    found = MigrationService().plan(plan_of(db_pair.source, limited(db_pair.target), ("t",), workers=2))
    assert found.ok
    said = {f.what.partition(":")[0] for f in of(found, Kind.SETTING) if f.severity is Severity.WARNING}
    assert {
        "fsync is off",
        "4 more connections are needed on the target, and the role's CONNECTION LIMIT leaves 3",
    } <= said


@pytest.mark.parametrize("db_pair", [("pg15", "pg16")], indirect=True)
@pytest.mark.template(source="CREATE TABLE t (a text)")
def test_text_that_is_ordered_otherwise_is_noted(db_pair: DatabasePair, pg15: Cluster, state: str) -> None:
    with psycopg.connect(pg15.url(), autocommit=True) as admin:
        admin.execute("CREATE DATABASE sorted TEMPLATE template0 LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'de'")
    try:
        execute(pg15.url("sorted"), "CREATE TABLE t (a text)")
        plan = plan_of(pg15.url("sorted"), db_pair.target, ("t",))
        noted = of(MigrationService().plan(plan), Kind.COLLATION)
    finally:
        drop(pg15, "sorted")
    assert [f.severity for f in noted] == [Severity.NOTE]
    assert "order text by de (ICU) on the source and C (libc) on the target" in noted[0].what
    assert of(looked(db_pair), Kind.COLLATION) == []


@pytest.mark.template(source=SOURCE, target=TARGET)
def test_a_table_that_another_run_is_loading(db_pair: DatabasePair, state: str) -> None:
    claim = """
        INSERT INTO pghaul.run VALUES ('0000000000ff', 1, 'x', 'running', 's', now(), NULL);
        INSERT INTO pghaul.claim VALUES ('public.known', '0000000000ff')
    """
    assert_done(move(db_pair, "known", on_existing="truncate"))
    execute(db_pair.target, claim)
    with psycopg.connect(db_pair.target, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(28519, hashtext('pghaul run 0000000000ff'))")
        found = errors(looked(db_pair, "known", on_existing="truncate"))
        assert [(f.kind, f.object) for f in found] == [(Kind.TAKEN, "public.known")]
    assert errors(looked(db_pair, "known", on_existing="truncate")) == []


@pytest.mark.template(source="CREATE TABLE here (a int); INSERT INTO here VALUES (1), (2); CREATE SCHEMA aside")
@pytest.mark.parametrize("existing", ["append", "truncate", "refresh"])
def test_a_table_is_not_loaded_from_itself(db_pair: DatabasePair, existing: str) -> None:
    """Appending would double the source; emptying would wait for our own lock."""
    same = db_pair.source.replace("127.0.0.1", "localhost")
    plan = plan_of(db_pair.source, same, ["public.here"], on_existing=existing)
    assert [f.code for f in errors(MigrationService().plan(plan))] == [1154]
    with pytest.raises(PlanError, match="one and the same database"):
        move(db_pair, "public.here", target=same, on_existing=existing)
    assert value(db_pair.source, "SELECT count(*) FROM here") == 2


@pytest.mark.template(source="CREATE TABLE here (a int); INSERT INTO here VALUES (1), (2); CREATE SCHEMA aside")
def test_another_place_in_the_same_database_is_a_target(db_pair: DatabasePair) -> None:
    plan = plan_of(db_pair.source, db_pair.source, ["public.here"])
    aside = plan.model_copy(update={"tables": [Selection(name="public.here", into="aside.*")]})
    MigrationService().run(aside, listener=lambda _event: None)
    assert value(db_pair.source, "SELECT count(*) FROM aside.here") == 2
