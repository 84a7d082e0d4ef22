"""The plant history of the tests is what it says."""

from __future__ import annotations

from datetime import date

import pytest
from tests.databases import DatabasePair, clone, drop, template
from tests.moving import rows, run_sql
from tests.plant_history import SMALL, Plant

from pghaul.service.embedded import Cluster


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


def test_the_whole_has_400_children(pg16: Cluster) -> None:
    plant = Plant(rows_per_day=20, rows_per_month=20)
    name = clone(pg16, template(pg16, plant.script(analyze=False)), "plant")
    try:
        assert rows(pg16.url(name), "SELECT count(*) FROM pg_inherits WHERE inhseqno = 1") == [(400,)]
        assert rows(pg16.url(name), "SELECT count(*) FROM partition_table_info") == [(400,)]
        assert rows(pg16.url(name), "SELECT count(*) FROM pg_rules WHERE schemaname = 'public'") == [(59,)]
    finally:
        drop(pg16, name)
