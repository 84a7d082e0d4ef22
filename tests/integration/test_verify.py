"""verify: exactly the rows that differ are named, whatever the key, the layout and the versions of both sides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.databases import DatabasePair, database_pair, drop
from tests.looking import assert_no_session_is_left, execute
from tests.moving import assert_done, move, plan_of
from tests.plant_history import Plant

from pghaul.engine import verify_narrow
from pghaul.engine.verify import Request
from pghaul.model.errors import NotFoundError, StoppedError
from pghaul.model.event import Event, EventKind
from pghaul.model.plan import Layout, OnExisting, Plan, Selection
from pghaul.model.verification import Difference, Method, RowDifference, TableVerdict, Verification
from pghaul.service.embedded import Cluster
from pghaul.service.migration import MigrationService

CHECKSUM = Request()


def compare(pair: DatabasePair, *tables: str, request: Request = CHECKSUM, **options: Any) -> Verification:
    plan = plan_of(pair.source, pair.target, tables or ("*",), **options)
    return MigrationService().verify(plan, request, listener=lambda _e: None)


def only(found: Verification) -> TableVerdict:
    assert len(found.tables) == 1, [str(t.target) for t in found.tables]
    return found.tables[0]


def named(verdict: TableVerdict) -> set[tuple[str, tuple[str | None, ...]]]:
    return {(r.kind.value, tuple(v for _, v in r.key)) for r in verdict.rows}


def row_of(verdict: TableVerdict, *key: str | None) -> RowDifference:
    (found,) = [r for r in verdict.rows if tuple(v for _, v in r.key) == key]
    return found


KEYED = """
CREATE TABLE by_int (id int PRIMARY KEY, v text, f float8, t timestamptz, j jsonb, n int);
INSERT INTO by_int SELECT g, 'v' || g, g / 7.0, timestamptz '2024-01-01 00:00+00' + g * interval '1 min',
    jsonb_build_object('a', g), g FROM generate_series(1, 300) g;
"""


@pytest.fixture(params=["listed", "cut"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small tables are listed as a whole; the same ones, taken for large, go by buckets."""
    if request.param == "cut":
        monkeypatch.setattr(verify_narrow, "WHOLE", 20)
        monkeypatch.setattr("pghaul.engine.verify.SMALL", 0)
        monkeypatch.setattr("pghaul.engine.verify_cut.ROWS_PER_BUCKET", 10)
        monkeypatch.setattr(verify_narrow, "FETCHED", 7)
        monkeypatch.setattr(verify_narrow, "LISTED", 15)
        monkeypatch.setattr(verify_narrow, "LISTED_BY_SCAN", 40)
    return str(request.param)


@pytest.fixture(params=["new", "9.3", "source=9.3", "target=10"])
def versions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "new":
        monkeypatch.setenv("PGHAUL_ASSUME_VERSION", request.param)
    return str(request.param)


@pytest.mark.template(source=KEYED + "ANALYZE", target=KEYED)
def test_every_kind_of_difference_is_named_with_its_columns(
    db_pair: DatabasePair, state: str, way: str, versions: str
) -> None:
    assert only(compare(db_pair)).agrees is True
    execute(
        db_pair.target,
        "DELETE FROM by_int WHERE id IN (5, 299)",
        "INSERT INTO by_int VALUES (1000000, 'extra', NULL, NULL, NULL, NULL)",
        "INSERT INTO by_int VALUES (-7, NULL)",
        "UPDATE by_int SET v = '' WHERE id = 10",
        "UPDATE by_int SET v = v || ' ' WHERE id = 11",
        "UPDATE by_int SET f = f * (1 + 2.220446049250313e-16) WHERE id = 12",
        "UPDATE by_int SET t = t + interval '9 h' WHERE id = 13",
        "UPDATE by_int SET j = '{\"a\": 14.0}' WHERE id = 14",
        "UPDATE by_int SET n = id + 1, id = id WHERE id = 15",
        "UPDATE by_int SET v = (SELECT b.v FROM by_int b WHERE b.id = 37 - by_int.id) WHERE id IN (17, 20)",
    )
    execute(db_pair.source, "UPDATE by_int SET v = NULL WHERE id = 10")
    found = only(compare(db_pair))
    assert found.agrees is False
    assert found.complete
    expected = {("missing", ("5",)), ("missing", ("299",)), ("extra", ("1000000",)), ("extra", ("-7",))}
    expected |= {("different", (str(i),)) for i in (10, 11, 12, 13, 14, 15, 17, 20)}
    assert named(found) == expected
    assert (found.missing, found.extra, found.different) == (2, 2, 8)
    assert (found.source_rows, found.target_rows) == (300, 300)
    assert row_of(found, "10").columns == (("v", None, ""),)
    assert row_of(found, "11").columns == (("v", "v11", "v11 "),)
    assert [c for c, _, _ in row_of(found, "12").columns] == ["f"]
    assert row_of(found, "13").columns == (("t", "2024-01-01 00:13:00+00", "2024-01-01 09:13:00+00"),)
    assert row_of(found, "14").columns == (("j", '{"a": 14}', '{"a": 14.0}'),)
    assert row_of(found, "15").columns == (("n", "15", "16"),)
    assert row_of(found, "17").columns == (("v", "v17", "v20"),)


@pytest.mark.template(source=KEYED, target=KEYED)
def test_counts_are_compared_and_nothing_else(db_pair: DatabasePair, state: str) -> None:
    execute(db_pair.target, "UPDATE by_int SET v = 'other' WHERE id = 1")
    request = Request(method=Method.COUNT)
    assert only(compare(db_pair, request=request)).agrees is True
    execute(db_pair.target, "DELETE FROM by_int WHERE id = 2")
    found = only(compare(db_pair, request=request))
    assert (found.agrees, found.source_rows, found.target_rows, found.rows) == (False, 300, 299, ())


@pytest.mark.template(source=KEYED, target=KEYED)
def test_the_limit_ends_it_and_says_so(db_pair: DatabasePair, state: str, way: str) -> None:
    execute(db_pair.target, "UPDATE by_int SET v = 'other'")
    found = only(compare(db_pair, request=Request(limit=3)))
    assert len(found.rows) == 3
    assert found.different >= 3
    none = only(compare(db_pair, request=Request(limit=0)))
    assert (none.agrees, none.rows, none.complete) == (False, (), False)


SORTED = "CREATE COLLATION sorted (provider = icu, locale = 'de'); "
CROWDED = "CREATE TABLE crowded (id bigint PRIMARY KEY, v int); "
CROWD = "INSERT INTO crowded SELECT g, g FROM generate_series(1, 300) g; INSERT INTO crowded VALUES (4e18, 1)"


@pytest.mark.template(source=CROWDED + CROWD + "; ANALYZE crowded", target=CROWDED + CROWD)
def test_keys_that_crowd_in_one_range_are_cut_once_more(db_pair: DatabasePair, state: str, way: str) -> None:
    execute(db_pair.target, "DELETE FROM crowded WHERE id = 50", "UPDATE crowded SET v = 0 WHERE id IN (51, 250)")
    assert named(only(compare(db_pair))) == {("missing", ("50",)), ("different", ("51",)), ("different", ("250",))}


OTHER_KEYS = """
CREATE TABLE composite (a int, b bigint, v text, PRIMARY KEY (a, b));
INSERT INTO composite SELECT g % 3, g, 'v' FROM generate_series(1, 300) g;
CREATE TABLE texts (k text COLLATE {collation} PRIMARY KEY, v int);
INSERT INTO texts SELECT CASE WHEN g % 2 = 0 THEN upper(md5(g::text)) ELSE 'Ä ' || g || '-ㄱ' END, g
    FROM generate_series(1, 300) g;
CREATE TABLE uuids (k uuid PRIMARY KEY, v int);
INSERT INTO uuids SELECT md5(g::text)::uuid, g FROM generate_series(1, 300) g;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE odd (m mood, b bytea, n numeric, d float8, v int, PRIMARY KEY (m, b, n, d));
INSERT INTO odd SELECT (enum_range(NULL::mood))[1 + g % 3], decode(md5(g::text), 'hex'), g / 8.0, g, g
    FROM generate_series(1, 300) g;
CREATE TABLE moments (t timestamptz PRIMARY KEY, v int);
INSERT INTO moments SELECT timestamptz '2024-01-01 00:00+00' + g * interval '1 s', g FROM generate_series(1, 300) g;
"""
CHANGES = {
    "composite": ("b = 7", "b = 150", "(0, 99999, 'x')", "v", {("1", "7"), ("0", "150"), ("0", "99999")}),
    "texts": ("k = 'Ä 7-ㄱ'", "v = 8", "('new', 1)", "v", None),
    "uuids": ("v = 7", "v = 8", "('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 1)", "v", None),
    "odd": ("v = 7", "v = 8", "('ok', '\\x00', 'NaN', '-Infinity', 1)", "v", None),
    "moments": ("v = 7", "v = 8", "('2030-01-01 00:00+00', 1)", "v", None),
}


@pytest.mark.parametrize("db_pair", [("pg15", "pg18")], indirect=True)  # the others are built without ICU
@pytest.mark.template(
    source=SORTED + OTHER_KEYS.format(collation="sorted") + "ANALYZE", target=OTHER_KEYS.format(collation='"C"')
)
def test_keys_of_any_type_and_any_collation(db_pair: DatabasePair, state: str, way: str, versions: str) -> None:
    assert compare(db_pair).agrees
    for table, (gone, changed, added, column, _) in CHANGES.items():
        value = "'changed'" if table == "composite" else "-5"
        execute(
            db_pair.target,
            f"DELETE FROM {table} WHERE {gone}",
            f"UPDATE {table} SET {column} = {value} WHERE {changed}",
            f"INSERT INTO {table} VALUES {added}",
        )
    found = compare(db_pair)
    for verdict in found.tables:
        counts = (verdict.missing, verdict.extra, verdict.different)
        assert counts == (1, 1, 1), verdict
        expected = CHANGES[verdict.target.name][4]
        assert expected is None or {tuple(v for _, v in r.key) for r in verdict.rows} == expected
    assert row_of(next(t for t in found.tables if t.target.name == "texts"), "new").kind is Difference.EXTRA


NO_KEY = """
CREATE TABLE heap (a int UNIQUE, b text); INSERT INTO heap SELECT g / 2 * 2 + NULL, 'b' || g / 2
    FROM generate_series(0, 299) g;
CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES
"""


@pytest.mark.template(source=NO_KEY, target=NO_KEY)
def test_without_a_key_rows_are_compared_as_often_as_they_are_there(
    db_pair: DatabasePair, state: str, way: str, versions: str
) -> None:
    assert compare(db_pair).agrees
    execute(
        db_pair.target,
        "INSERT INTO heap VALUES (NULL, 'b7')",
        "DELETE FROM heap WHERE b = 'b9'",
        "INSERT INTO heap VALUES (NULL, NULL)",
        "INSERT INTO nothing DEFAULT VALUES",
    )
    found = {t.target.name: t for t in compare(db_pair).tables}
    heap, nothing = found["heap"], found["nothing"]
    assert {(r.kind, r.key[1][1], r.times) for r in heap.rows} == {
        (Difference.TIMES, "b7", (2, 3)),
        (Difference.MISSING, "b9", (2, 0)),
        (Difference.EXTRA, None, (0, 1)),
    }
    assert (heap.missing, heap.extra, heap.different) == (2, 2, 0)
    assert [(r.kind, r.times) for r in nothing.rows] == [(Difference.TIMES, (2, 3))]


@pytest.mark.template(source=KEYED, target=KEYED.replace(" PRIMARY KEY", ""))
def test_a_key_that_the_target_does_not_keep_may_be_doubled_there(db_pair: DatabasePair, state: str, way: str) -> None:
    execute(
        db_pair.target,
        "INSERT INTO by_int SELECT * FROM by_int WHERE id = 3",
        "INSERT INTO by_int SELECT NULL, 'null key'",
        "INSERT INTO by_int SELECT id, 'other' FROM by_int WHERE id = 4",
    )
    found = only(compare(db_pair))
    assert named(found) == {("extra", ("3",)), ("extra", (None,)), ("extra", ("4",))}
    assert row_of(found, "3").times == (1, 2)


TREE = """
CREATE TABLE h (day date NOT NULL, id int NOT NULL, v text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
"""
SOURCE_LEAVES = """
CREATE TABLE h_1 PARTITION OF h FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE h_2 PARTITION OF h FOR VALUES FROM ('2024-02-01') TO ('2024-04-01');
"""
TARGET_LEAVES = """
CREATE TABLE h_1 PARTITION OF h FOR VALUES FROM ('2024-01-01') TO ('2024-03-01');
CREATE TABLE h_other PARTITION OF h DEFAULT;
"""
FILL_TREE = "INSERT INTO h SELECT date '2024-01-01' + g % 90, g, 'v' || g FROM generate_series(1, 300) g;"


@pytest.mark.template(source=TREE + SOURCE_LEAVES + FILL_TREE, target=TREE + TARGET_LEAVES + FILL_TREE)
def test_trees_that_are_cut_otherwise_are_compared_as_a_whole(db_pair: DatabasePair, state: str, way: str) -> None:
    found = only(compare(db_pair, "h"))
    assert (found.agrees, str(found.target), found.source_rows) == (True, "public.h", 300)
    execute(db_pair.target, "DELETE FROM h WHERE id = 80", "UPDATE h SET day = '2025-01-01' WHERE id = 81")
    found = only(compare(db_pair, "h"))
    assert named(found) == {
        ("missing", ("2024-03-21", "80")),
        ("missing", ("2024-03-22", "81")),
        ("extra", ("2025-01-01", "81")),
    }


@pytest.mark.template(source=TREE + SOURCE_LEAVES + FILL_TREE, target=TREE + SOURCE_LEAVES + FILL_TREE)
def test_leaf_by_leaf_and_a_leaf_that_only_the_target_has(db_pair: DatabasePair, state: str) -> None:
    found = compare(db_pair, "h")
    assert {str(t.target) for t in found.tables} == {"public.h_1", "public.h_2"}
    assert found.agrees
    execute(
        db_pair.target,
        "CREATE TABLE h_3 PARTITION OF h FOR VALUES FROM ('2025-01-01') TO ('2025-02-01')",
        "INSERT INTO h VALUES ('2025-01-01', 1, 'stray')",
    )
    assert named(only(compare(db_pair, "h"))) == {("extra", ("2025-01-01", "1"))}
    assert {t.agrees for t in compare(db_pair, "h_1").tables} == {True}


@pytest.mark.template(
    source="CREATE TABLE f (id int PRIMARY KEY, d date); INSERT INTO f SELECT g, date '2024-01-01' + g "
    "FROM generate_series(1, 80) g"
)
def test_a_table_that_became_partitions_is_compared_by_its_run(db_pair: DatabasePair, state: str) -> None:
    plan = plan_of(db_pair.source, db_pair.target, ("f",)).model_copy(
        update={"tables": [Selection(name="f", layout=Layout.MONTH, key="d", into="public.g")]}
    )
    execute(db_pair.source, "ALTER TABLE f DROP CONSTRAINT f_pkey", "ALTER TABLE f ADD PRIMARY KEY (id, d)")
    service = MigrationService()
    run = service.run(plan, listener=lambda _e: None)
    found = service.verify(run.id, CHECKSUM, listener=lambda _e: None)
    assert (found.agrees, found.run, len(found.tables)) == (True, run.id, 3)
    execute(db_pair.target, "UPDATE g SET id = 1000 WHERE id = 5")
    execute(db_pair.source, "INSERT INTO f VALUES (999, '2030-01-01')")
    found = service.verify(run.id, CHECKSUM, listener=lambda _e: None)
    rows = {(r.kind.value, r.key[0][1]) for t in found.tables for r in t.rows}
    assert rows == {("missing", "5"), ("extra", "1000"), ("missing", "999")}
    assert service.verifications(run.id)[0].id == found.id


PLANT = Plant(days=4, trend_months=1, energy_months=1, running_months=1, rows_per_day=40, rows_per_month=20)


@pytest.mark.template(source=PLANT.script())
def test_an_inheritance_tree_that_became_declarative(db_pair: DatabasePair, state: str) -> None:
    """Its leaves are filled from two relations each, the parent's own rows among them."""
    tree = Selection(name="point_history", layout=Layout.DECLARATIVE)
    plan = plan_of(db_pair.source, db_pair.target, ("point_history",)).model_copy(update={"tables": [tree]})
    service = MigrationService()
    run = service.run(plan, listener=lambda _e: None)
    for what in (run.id, plan):
        found = service.verify(what, CHECKSUM, listener=lambda _e: None)
        assert found.agrees, [t for t in found.tables if not t.agrees]
    execute(db_pair.target, "DELETE FROM point_history WHERE path_id = 1")
    found = service.verify(run.id, CHECKSUM, listener=lambda _e: None)
    assert not found.agrees
    assert sum(t.missing for t in found.tables) > 0
    assert sum(t.extra + t.different for t in found.tables) == 0


@pytest.mark.template(
    source="CREATE TABLE s (id int PRIMARY KEY, a text, b text); INSERT INTO s SELECT g, 'a', 'b' FROM "
    "generate_series(1, 50) g",
    target="CREATE SCHEMA x; CREATE TABLE x.k (id bigint PRIMARY KEY, b varchar(9)); "
    "INSERT INTO x.k SELECT g, 'b' FROM generate_series(11, 70) g",
)
def test_other_names_columns_types_and_rows_that_are_not_meant(db_pair: DatabasePair, state: str, way: str) -> None:
    selection = Selection(name="s", into="x.k", columns=["id", "b"], where="id BETWEEN 11 AND 50 -- these")
    plan = Plan(source=db_pair.source, target=db_pair.target, tables=[selection])
    service = MigrationService()
    found = only(service.verify(plan, CHECKSUM, listener=lambda _e: None))
    assert (found.agrees, found.source_rows, found.target_rows) == (True, 40, 40)
    execute(db_pair.target, "UPDATE x.k SET b = 'c' WHERE id = 12")
    found = only(service.verify(plan, CHECKSUM, listener=lambda _e: None))
    assert (str(found.source), str(found.target)) == ("public.s", "x.k")
    assert row_of(found, "12").columns == (("b", "b", "c"),)


@pytest.mark.template(source=KEYED, target=KEYED)
def test_a_run_is_verified_and_kept_and_a_table_is_chosen(db_pair: DatabasePair, state: str) -> None:
    execute(db_pair.target, "TRUNCATE by_int")
    execute(db_pair.source, "CREATE TABLE other (id int PRIMARY KEY)")
    moved = move(db_pair, "*", on_existing=OnExisting.TRUNCATE)
    assert_done(moved)
    service = MigrationService()
    events: list[Event] = []
    found = service.verify(moved.run.id, CHECKSUM, listener=events.append)
    assert found.agrees
    assert {str(t.target) for t in found.tables} == {"public.by_int", "public.other"}
    assert {e.table for e in events if e.kind is EventKind.VERIFIED} == {"public.by_int", "public.other"}
    assert service.verifications(moved.run.id) == [found]
    assert "password" not in found.source
    one = service.verify(moved.run.id, Request(patterns=("public.o*",)), listener=lambda _e: None)
    assert [str(t.target) for t in one.tables] == ["public.other"]
    with pytest.raises(NotFoundError, match="nobody"):
        service.verify(moved.run.id, Request(patterns=("nobody",)), listener=lambda _e: None)
    execute(db_pair.source, "DROP TABLE other", "ALTER TABLE by_int ADD COLUMN later int DEFAULT 5")
    again = {t.target.name: t for t in service.verify(moved.run.id, CHECKSUM, listener=lambda _e: None).tables}
    assert again["by_int"].agrees is True
    assert again["other"].agrees is None
    assert "no table public.other any more" in again["other"].why


@pytest.mark.template(
    source="CREATE TABLE a (id int, x int); CREATE TABLE b (id int); CREATE TABLE c (id int)",
    target="CREATE TABLE a (id int); CREATE TABLE c (id int)",
)
def test_what_cannot_be_compared_says_why(db_pair: DatabasePair, state: str) -> None:
    found = {t.target.name: t for t in compare(db_pair).tables}
    assert [found[n].agrees for n in "abc"] == [None, None, True]
    assert found["a"].why == "the target's public.a has no column x"
    assert found["b"].why == "the target has no table public.b"


@pytest.mark.template(source=KEYED, target=KEYED + "CREATE TABLE closed (id int)")
@pytest.mark.parametrize("side", ["source", "target"])
def test_without_privilege_on_one_side(db_pair: DatabasePair, state: str, side: str) -> None:
    url = getattr(db_pair, side)
    role = f"reader_{side}_{state[-12:-9].strip('/')}".replace("/", "_")
    execute(url, f"CREATE ROLE {role} LOGIN", "CREATE TABLE IF NOT EXISTS closed (id int)")
    other = db_pair.target if side == "source" else db_pair.source
    execute(other, "CREATE TABLE IF NOT EXISTS closed (id int)")
    execute(url, f"GRANT SELECT ON by_int TO {role}")
    try:
        ends = {"source": db_pair.source, "target": db_pair.target}
        ends[side] = url.replace("//postgres@", f"//{role}@")
        plan = Plan(**ends, tables=[Selection(name="*")])
        found = {t.target.name: t for t in MigrationService().verify(plan, CHECKSUM, listener=lambda _e: None).tables}
        assert found["by_int"].agrees is True
        assert found["closed"].agrees is None
        assert f"{role} may not read public.closed on the {side}" in found["closed"].why
    finally:
        execute(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@pytest.mark.template(source=KEYED + "ALTER TABLE by_int ADD COLUMN nap text", target=KEYED)
def test_a_stop_ends_both_servers_statements_at_once(db_pair: DatabasePair, state: str) -> None:
    execute(
        db_pair.source,
        "DROP TABLE by_int",
        "CREATE FUNCTION slow() RETURNS int LANGUAGE sql AS 'SELECT 1 FROM pg_catalog.pg_sleep(600)'",
    )
    execute(db_pair.source, "CREATE TABLE by_int (id int)", "INSERT INTO by_int VALUES (1)")
    plan = Plan(
        source=db_pair.source, target=db_pair.target, tables=[Selection(name="by_int", where="public.slow() = 1")]
    )
    began: list[Event] = []
    with pytest.raises(StoppedError) as stopped:
        MigrationService().verify(plan, CHECKSUM, listener=began.append, stop=lambda: bool(began))
    assert_no_session_is_left(db_pair.source, db_pair.target)
    assert "resume" not in stopped.value.advice


LONG = "CREATE TABLE long (id int PRIMARY KEY, v text, b bytea)"


@pytest.mark.template(source=LONG, target=LONG)
def test_long_values_are_cut_and_still_told_apart(db_pair: DatabasePair, state: str) -> None:
    execute(db_pair.source, "INSERT INTO long VALUES (1, repeat('x\"', 50000) || 'a', repeat('b', 90000)::bytea)")
    execute(db_pair.target, "INSERT INTO long VALUES (1, repeat('x\"', 50000) || 'b', repeat('b', 90000)::bytea)")
    ((name, here, there),) = row_of(only(compare(db_pair)), "1").columns
    assert name == "v"
    assert here is not None
    assert there is not None
    assert here != there
    assert here.startswith('x"x"')
    assert len(here) < 10_100


ODD_VALUES = """
CREATE TYPE pair AS (a int, b text);
CREATE TABLE odd (id int PRIMARY KEY, p pair, a text[], t text, c char(5));
"""


@pytest.mark.template(
    source=ODD_VALUES
    + r"""INSERT INTO odd VALUES (1, '(,)', '{NULL,"a,b"}', '', 'x'), (2, NULL, NULL, E'\\"\n', '')""",
    target=ODD_VALUES + "INSERT INTO odd VALUES (1, NULL, '{}', NULL, 'y'), (2, '(1,\"x y\")', '{1}', '()', 'z')",
)
def test_values_are_shown_as_they_are(db_pair: DatabasePair, state: str) -> None:
    found = only(compare(db_pair))
    assert row_of(found, "1").columns == (
        ("p", "(,)", None),
        ("a", '{NULL,"a,b"}', "{}"),
        ("t", "", None),
        ("c", "x    ", "y    "),
    )
    assert row_of(found, "2").columns == (
        ("p", None, '(1,"x y")'),
        ("a", None, "{1}"),
        ("t", '\\"\n', "()"),
        ("c", "     ", "z    "),
    )


UNCOMPARABLE = "CREATE TYPE pair AS (a int, b float8); CREATE TABLE odd (id int PRIMARY KEY, p pair)"


@pytest.mark.template(source=UNCOMPARABLE, target=UNCOMPARABLE)
def test_what_old_servers_write_otherwise_is_counted_and_proves_nothing(
    db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in (db_pair.source, db_pair.target):
        execute(url, "INSERT INTO odd VALUES (1, '(1,0.1)')")
    assert only(compare(db_pair)).agrees is True
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", "source=11")
    found = only(compare(db_pair))
    assert (found.agrees, found.source_rows, found.target_rows) == (None, 1, 1)
    assert found.why.startswith("p: floats inside of other types")
    execute(db_pair.target, "DELETE FROM odd")
    assert only(compare(db_pair)).agrees is False


GENERATED = "CREATE TABLE g (id int PRIMARY KEY, v text, {})"


@pytest.mark.template(
    source=GENERATED.format("n int GENERATED ALWAYS AS (length(v)) STORED"), target=GENERATED.format("n int, other int")
)
def test_generated_columns_and_those_of_the_target_alone_are_not_compared(db_pair: DatabasePair, state: str) -> None:
    execute(db_pair.source, "INSERT INTO g VALUES (1, 'abc')")
    execute(db_pair.target, "INSERT INTO g VALUES (1, 'abc', 99, 5)")
    assert only(compare(db_pair)).agrees is True


@pytest.mark.parametrize(("encoding", "real"), [("EUC_KR", None), ("SQL_ASCII", "UHC"), ("SQL_ASCII", None)])
@pytest.mark.template(
    target="CREATE TABLE t (i int PRIMARY KEY, v text); INSERT INTO t VALUES (1, '한글 가나'), (2, NULL), (3, '다라')"
)
def test_texts_in_another_encoding_are_compared_and_shown(
    db_pair: DatabasePair, state: str, encoding: str, real: str | None
) -> None:
    server, name = db_pair.source_server, f"verify_{encoding.lower()}_{(real or 'none').lower()}"
    execute(server.url(), f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    try:
        raw = "convert_from('\\xc7d1b1db20b0a1b3aa', 'SQL_ASCII')" if real else "'한글 가나'"
        other = "convert_from('\\xb4d9', 'SQL_ASCII')" if real else "'다'"
        execute(
            server.url(name) + "?client_encoding=UTF8",
            "CREATE TABLE t (i int PRIMARY KEY, v text)",
            f"INSERT INTO t VALUES (2, NULL), (1, {raw}), (3, {other})",
        )
        plan = plan_of(server.url(name), db_pair.target, ("t",), source_encoding=real)
        found = only(MigrationService().verify(plan, CHECKSUM, listener=lambda _e: None))
    finally:
        drop(server, name)
    assert named(found) == {("different", ("3",))}
    assert row_of(found, "3").columns == (("v", "다", "다라"),)


MANY = "CREATE TABLE many (a int NOT NULL, b int NOT NULL, v text, PRIMARY KEY (a, b))"


@pytest.fixture(scope="module")
def planted(pg16: Cluster, pg18: Cluster) -> Iterator[DatabasePair]:
    fill = "; INSERT INTO many SELECT g % 4, g, 'v' FROM generate_series(1, 400) g; ANALYZE many"
    with database_pair(pg16, pg18, source_sql=MANY + fill, target_sql=MANY + fill) as pair:
        yield pair


@given(
    gone=st.sets(st.integers(1, 400), max_size=6),
    changed=st.dictionaries(st.integers(1, 400), st.sampled_from([None, "", "v ", "w"]), max_size=6),
    added=st.sets(st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(-9, 0)), max_size=4),
)
@settings(max_examples=15)
def test_exactly_what_was_planted_is_found(
    planted: DatabasePair,
    state: str,
    gone: set[int],
    changed: dict[int, str | None],
    added: set[tuple[int, int]],
) -> None:
    with pytest.MonkeyPatch.context() as patch, psycopg.connect(planted.target, autocommit=True) as there:
        patch.setattr(verify_narrow, "WHOLE", 20)
        patch.setattr("pghaul.engine.verify.SMALL", 0)
        patch.setattr("pghaul.engine.verify_cut.ROWS_PER_BUCKET", 10)
        patch.setattr(verify_narrow, "LISTED", 30)
        there.execute("TRUNCATE many")
        there.execute("INSERT INTO many SELECT g % 4, g, 'v' FROM generate_series(1, 400) g")
        there.execute("DELETE FROM many WHERE b = ANY (%s)", [list(gone)])
        for b, v in changed.items():
            there.execute("UPDATE many SET v = %s WHERE b = %s", [v, b])
        for a, b in added:
            there.execute("INSERT INTO many VALUES (%s, %s, 'new')", [a, b])
        found = only(compare(planted))
    expected = {("missing", (str(b % 4), str(b))) for b in gone}
    expected |= {("different", (str(b % 4), str(b))) for b in changed.keys() - gone}
    expected |= {("extra", (str(a), str(b))) for a, b in added}
    assert named(found) == expected
    assert found.agrees is (not expected)
