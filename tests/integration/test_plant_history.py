"""The plant history of the tests is what it says."""

from __future__ import annotations

from datetime import date

import pytest
from tests.databases import DatabasePair
from tests.moving import rows, run_sql
from tests.plant_history import SMALL, Plant

from pghaul.cli.app import run


@pytest.mark.template(source=SMALL.script())
def test_it_holds_the_rows_it_says_and_new_ones_find_their_children(db_pair: DatabasePair) -> None:
    for parent in ("point_history", "trend_history", "energy_display", "running_time_history"):
        assert rows(db_pair.source, f"SELECT count(*) FROM {parent}") == [(SMALL.rows(parent),)]
    run_sql(
        db_pair.source,
        f"""
        INSERT INTO point_history VALUES (5000, {SMALL.moment(date(2024, 9, 3)) - 1}, 'late', true);
        INSERT INTO trend_history VALUES (5000, {SMALL.moment(date(2024, 9, 1))}, 1.5);
        INSERT INTO energy_display VALUES (5000, '2024-08-31 23:59:59.999999', 1.5);
        INSERT INTO running_time_history VALUES (5000, {SMALL.moment(date(2024, 9, 30))}, 1);
        """,
    )
    found = "SELECT tableoid::regclass::text FROM {} WHERE path_id = 5000"
    assert rows(db_pair.source, found.format("point_history")) == [("point_history_240902",)]
    assert rows(db_pair.source, found.format("trend_history")) == [("trend_history_2409",)]
    assert rows(db_pair.source, found.format("energy_display")) == [("energy_display_2408",)]
    assert rows(db_pair.source, found.format("running_time_history")) == [("running_time_history_2409",)]


WHOLE = Plant(rows_per_day=20, rows_per_month=20)
TREES = ("point_history", "trend_history", "energy_display", "running_time_history")
SINCE, UNTIL = "2025-03-01", "2025-05-16"


@pytest.mark.template(source=WHOLE.script())
def test_four_trees_of_400_children_go_to_declarative_targets_by_date(
    db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a person does it: inspect, then run. Days are taken whole; the last month of each other tree is cut."""
    assert rows(db_pair.source, "SELECT count(*) FROM pg_inherits") == [(400,)]
    assert rows(db_pair.source, "SELECT count(*) FROM partition_table_info") == [(400,)]
    assert rows(db_pair.source, "SELECT count(*) FROM pg_rules WHERE schemaname = 'public'") == [(59,)]
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", "source=9.3")
    period = ["--since", SINCE, "--until", UNTIL, "--timezone", "Asia/Seoul"]
    tables = [word for tree in TREES for word in ("--table", tree)]
    assert run(["inspect", db_pair.source, "--timezone", "Asia/Seoul"]) == 0
    words = ["--from", db_pair.source, "--to", db_pair.target, *tables, "--layout", "declarative", *period]
    assert run(["run", *words, "--verify", "checksum"]) == 0
    low, high = WHOLE.moment(date(2025, 3, 1)), WHOLE.moment(date(2025, 5, 16))
    for tree in TREES:
        ends = (f"'{SINCE}'", f"'{UNTIL}'") if tree == "energy_display" else (low, high)
        wanted = f"SELECT * FROM {tree} WHERE issued_date >= {ends[0]} AND issued_date < {ends[1]} ORDER BY 1, 2"
        there = rows(db_pair.target, f"SELECT * FROM {tree} ORDER BY 1, 2")
        assert there
        assert there == rows(db_pair.source, wanted)
    partitions = f"SELECT count(*) FROM pg_inherits WHERE inhparent = '{TREES[0]}'::regclass"
    assert rows(db_pair.target, partitions)[0][0] in {76, 77}  # the days, and the default if the parent's rows need it
    assert rows(db_pair.target, f"SELECT relkind FROM pg_class WHERE oid = '{TREES[0]}'::regclass") == [("p",)]
