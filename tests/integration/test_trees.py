"""Partition trees as the catalogues tell of them: inheritance as on 9.3, and declarative ones."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest
from tests.databases import DatabasePair, database_pair
from tests.plant_history import FAULTY, SMALL, Fault, Plant

from pghaul.model.bounds import Authority, Edge, Strategy
from pghaul.model.errors import NotFoundError, PlanError
from pghaul.model.plan import Period
from pghaul.model.table import Name, RelationKind
from pghaul.model.tree import Problem, Tree, TreeKind
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import Session, connect
from pghaul.postgres.trees import trees
from pghaul.service.embedded import Cluster

SEOUL = Period(timezone="Asia/Seoul")
DECLARED = """
CREATE TABLE public.by_range (id int8, day date NOT NULL, region text) PARTITION BY RANGE (day);
CREATE TABLE public.r3 PARTITION OF public.by_range FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
CREATE TABLE public.r1 PARTITION OF public.by_range FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE public.r2 PARTITION OF public.by_range FOR VALUES FROM ('2024-02-01') TO ('2024-03-01')
    PARTITION BY LIST (region);
CREATE TABLE public.r2_north PARTITION OF public.r2 FOR VALUES IN ('north', NULL);
CREATE TABLE public.r2_other PARTITION OF public.r2 DEFAULT;
CREATE TABLE public.r5 PARTITION OF public.by_range FOR VALUES FROM ('2024-05-01') TO ('2024-06-01');
CREATE TABLE public.rest PARTITION OF public.by_range DEFAULT;
CREATE TABLE public.by_hash (id int8) PARTITION BY HASH (id);
CREATE TABLE public.h0 PARTITION OF public.by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE public.h1 PARTITION OF public.by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE public.by_expression (t timestamptz) PARTITION BY RANGE ((t AT TIME ZONE 'UTC'));
CREATE TABLE public.e1 PARTITION OF public.by_expression FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE public.alone (id int8);
"""
ODD = """
CREATE SCHEMA "Odd.one";
CREATE TABLE "Odd.one".p (id int8 CHECK (id > 0), "when" timestamptz, k varchar(8), d date);
CREATE TABLE "Odd.one"."c'2" (
    CHECK ("when" >= '2024-01-02 00:00+00' AND "when" < '2024-01-03 00:00+00')) INHERITS ("Odd.one".p);
CREATE TABLE "Odd.one"."c'1" (
    CHECK ("when" >= '2024-01-01 00:00+00' AND "when" < '2024-01-02 00:00+00')) INHERITS ("Odd.one".p);
CREATE TABLE "Odd.one".by_year (CHECK (date_part('year', d) = 2024)) INHERITS ("Odd.one".p);
CREATE TABLE "Odd.one".deep (CHECK (d >= '2024-01-01'), "extra" int) INHERITS ("Odd.one"."c'1");
"""


@pytest.fixture(params=["18", "16 as 9.3"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    real, _, assumed = request.param.partition(" as ")
    if assumed:
        monkeypatch.setenv("PGHAUL_ASSUME_VERSION", assumed)
    found: Cluster = request.getfixturevalue(f"pg{real}")
    return found


@pytest.fixture
def ask(server: Cluster) -> Iterator[Callable[[str], Session]]:
    """A session on a database that a script made."""
    with contextlib.ExitStack() as stack:

        def made(script: str) -> Session:
            pair = stack.enter_context(database_pair(server, server, source_sql=script))
            return stack.enter_context(connect(resolve(pair.source), application_name="test", role="source"))

        yield made


def by_root(found: Sequence[Tree]) -> dict[str, Tree]:
    return {t.root.name: t for t in found}


def test_a_plant_history_is_four_trees_with_keys_bounds_routes_and_rows_left_behind(
    ask: Callable[[str], Session],
) -> None:
    found = by_root(trees(ask(SMALL.script()), period=SEOUL))
    assert {n: (t.kind, t.key, t.strategy, len(t.members)) for n, t in found.items()} == {
        "point_history": (TreeKind.INHERITANCE, "issued_date", Strategy.RANGE, 12),
        "trend_history": (TreeKind.INHERITANCE, "issued_date", Strategy.RANGE, 3),
        "energy_display": (TreeKind.INHERITANCE, "issued_date", Strategy.RANGE, 2),
        "running_time_history": (TreeKind.INHERITANCE, "issued_date", Strategy.RANGE, 2),
    }
    points = found["point_history"]
    assert points.routes == ("BEFORE INSERT trigger point_history_insert (dynamic EXECUTE)",)
    assert found["trend_history"].routes == ("3 INSTEAD rules ON INSERT",)
    assert [m.name.name for m in points.members][:2] == ["point_history_240901", "point_history_240902"]
    assert [m.clustered for m in points.members][:1] == ["point_history_240901_pkey"]
    first = points.bounds(points.members[0])
    assert first is not None
    assert first.low == Edge(value=1725116400000, inclusive=True)  # 2024-09-01 00:00 in Seoul
    assert first.high == Edge(value=1725202799999, inclusive=True)
    assert (first.trusted, first.nulls, first.authority) == (True, False, Authority.CHECK)
    energy = found["energy_display"].bounds(found["energy_display"].members[-1])
    assert energy is not None
    assert energy.high == Edge(value=datetime(2024, 10, 1), inclusive=False)
    assert {n: t.own_rows for n, t in found.items()} == {n: n == "point_history" for n in found}
    assert [(f.problem, f.table.name) for t in found.values() for f in t.findings] == [
        (Problem.OWN_ROWS, "point_history")
    ]


def test_every_fault_of_a_plant_history_is_named(ask: Callable[[str], Session]) -> None:
    (tree,) = trees(ask(FAULTY.script()), [Name("public", "point_history_240903")], period=SEOUL)
    found = {(f.problem, f.table.name): f.message for f in tree.findings}
    assert {
        (Problem.OWN_ROWS, "point_history"): "the parent itself holds rows",
        (Problem.OVERLAP, "point_history_240902"): "issued_date from 2024-09-03 to 2024-09-03 01:00:00 may lie in"
        " public.point_history_240903 as well",
        (Problem.NO_BOUNDS, "point_history_240904"): "it has no CHECK; the registry says 2024-09-04 to 2024-09-05,"
        " which nobody holds to",
        (Problem.GAP, "point_history_240905"): "between it and public.point_history_240907, no child takes issued_date"
        " from 2024-09-06 to 2024-09-07",
        (Problem.REGISTRY, "point_history_240908"): "public.partition_table_info says 2024-09-08 to 2024-09-10,"
        " its bounds say 2024-09-08 to 2024-09-09",
        (Problem.NOT_VALID, "point_history_240910"): "its CHECK was never validated: rows may break it",
    }.items() <= found.items()
    assert (Problem.REGISTRY, "point_history_240902") in found  # whose CHECK is an hour longer
    assert len(found) == 7
    unchecked = tree.by_name[Name("public", f"point_history_{date(2024, 9, 1 + Fault.NO_CHECK.value):%y%m%d}")]
    bounds = tree.bounds(unchecked)
    assert bounds is not None
    assert (bounds.authority, bounds.trusted) == (Authority.REGISTRY, False)


def test_bounds_of_another_time_zone_are_noticed(ask: Callable[[str], Session]) -> None:
    found = by_root(trees(ask(SMALL.script()), period=Period(timezone="UTC")))
    words = [f.message for f in found["point_history"].findings if f.problem is Problem.TIMEZONE]
    assert words == ["its bounds begin at 15:00, not at midnight in UTC; UTC+09:00 would fit"]
    assert not any(f.problem is Problem.TIMEZONE for f in found["energy_display"].findings)


def test_a_registry_of_another_name_is_taken_and_one_without_its_columns_is_refused(
    ask: Callable[[str], Session],
) -> None:
    session = ask(
        FAULTY.script()
        + """
        ALTER TABLE partition_table_info DROP COLUMN use_flag;
        ALTER TABLE partition_table_info RENAME TO our_parts;
        """
    )
    problem = {f.problem for t in trees(session, period=SEOUL) for f in t.findings}
    assert Problem.REGISTRY not in problem
    named = Period(timezone="Asia/Seoul", registry="our_parts")
    problem = {f.problem for t in trees(session, period=named) for f in t.findings}
    assert Problem.REGISTRY in problem
    with pytest.raises(NotFoundError, match="no registry"):
        trees(session, period=Period(registry="public.point_history"))


def test_a_registry_that_knows_more_than_there_is_says_so(ask: Callable[[str], Session]) -> None:
    session = ask(
        SMALL.script()
        + """
        INSERT INTO partition_table_info VALUES ('point_history', 'point_history_230101', 1, 2, false, NULL, NULL);
        INSERT INTO partition_table_info VALUES ('point_history_240901', 'x', NULL, 5, true, NULL, NULL);
        """
    )
    said = {f.message for t in trees(session, period=SEOUL) for f in t.findings if f.problem is Problem.REGISTRY}
    assert "public.partition_table_info knows partitions that are not here: point_history_230101" in said
    assert "public.partition_table_info says nothing that could be read of it" in said


def test_trees_with_odd_names_types_and_levels(ask: Callable[[str], Session]) -> None:
    (tree,) = trees(ask(ODD), [Name("Odd.one", "deep")])
    assert (tree.key, tree.columns["k"]) == ("when", "character varying(8)")
    assert [(m.name.name, m.depth) for m in tree.members] == [("c'1", 1), ("c'2", 1), ("by_year", 1), ("deep", 2)]
    deep = tree.bounds(tree.members[-1])
    assert deep is not None
    assert deep.low == Edge(value=datetime(2024, 1, 1, tzinfo=UTC), inclusive=True)
    assert deep.nulls
    assert [(f.problem, f.table.name) for f in tree.findings] == [(Problem.NOT_PLAIN, "by_year")]
    assert "date_part" in tree.findings[0].message.lower() or "extract" in tree.findings[0].message.lower()


@pytest.mark.since(14)  # expressions are written as they were said
def test_declarative_trees_of_every_kind(pg16: Cluster) -> None:
    with (
        database_pair(pg16, pg16, source_sql=DECLARED) as pair,
        connect(resolve(pair.source), application_name="test", role="source") as session,
    ):
        found = by_root(trees(session))
        assert set(found) == {"by_range", "by_hash", "by_expression"}
        tree = found["by_range"]
        assert (tree.kind, tree.key_definition) == (TreeKind.DECLARATIVE, "RANGE (day)")
        assert [m.name.name for m in tree.members] == ["r1", "r2", "r3", "r5", "rest", "r2_north", "r2_other"]
        assert [m.kind for m in tree.members if m.has_children] == [RelationKind.PARTITIONED]
        north = tree.by_name[Name("public", "r2_north")]
        by_day, by_region = tree.bounds(north), tree.bounds(north, "region")
        assert by_day is not None
        assert by_region is not None
        assert by_day.low == Edge(value=date(2024, 2, 1), inclusive=True)
        assert (by_region.values, by_region.nulls) == (("north",), True)
        assert tree.bounds(tree.by_name[Name("public", "rest")]) is None
        assert [(f.problem, f.table.name) for f in tree.findings] == [(Problem.GAP, "r3")]
        assert found["by_hash"].members[1].said[0].remainder == 1
        assert (found["by_expression"].key, found["by_expression"].key_definition) == (
            "",
            "RANGE ((t AT TIME ZONE 'UTC'::text))",
        )


def test_the_number_of_queries_does_not_grow_with_the_tree(
    ask: Callable[[str], Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(plant: Plant) -> int:
        session = ask(plant.script(analyze=False))
        statements: list[object] = []
        rows: Callable[..., Sequence[Any]] = session.rows
        monkeypatch.setattr(session, "rows", lambda sql, params=(): (statements.append(sql), rows(sql, params))[1])
        trees(session)
        return len(statements)

    few = Plant(days=2, trend_months=1, energy_months=1, running_months=1, rows_per_day=0, rows_per_month=0)
    assert asked(few) == asked(SMALL)


def test_a_time_zone_that_is_none_is_refused(ask: Callable[[str], Session]) -> None:
    with pytest.raises(PlanError, match="no time zone") as refused:
        trees(ask(SMALL.script()), period=Period(timezone="Asia/Soul"))
    assert refused.value.advice == "did you mean Asia/Seoul?"


@pytest.mark.parametrize("db_pair", [("pg16", "pg16")], indirect=True)
@pytest.mark.template(source="CREATE TABLE p (id int); CREATE TABLE c () INHERITS (p); INSERT INTO p VALUES (1)")
def test_a_parent_that_may_not_be_read_or_is_locked_may_hold_rows(db_pair: DatabasePair) -> None:
    with (
        connect(resolve(db_pair.source), application_name="a", role="source") as other,
        connect(resolve(db_pair.source), application_name="b", role="source", lock_timeout=0.05) as session,
        other.transaction(),
    ):
        other.execute("LOCK TABLE ONLY public.p IN ACCESS EXCLUSIVE MODE")
        (tree,) = trees(session)
        assert tree.own_rows is None
        assert [f.problem for f in tree.findings] == [Problem.OWN_ROWS, Problem.NO_BOUNDS]
