"""What `plan` says of a database that is not PostgreSQL: how long, how much disk, and from what that is known."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.looking import value
from tests.sqlite_files import carried, plan_of, shop

from pghaul.cli.preview import preview_json
from pghaul.model.finding import Severity
from pghaul.service.migration import MigrationService

ORDERS = 2000
SIZES = (
    "SELECT sum(pg_table_size(c.oid))::int8 FROM pg_class c WHERE relkind = 'r' AND relname IN ('order', 'customer')"
)

pytestmark = pytest.mark.parametrize("db_source", ["pg18"], indirect=True)


def test_time_and_disk_are_estimated_before_anything_was_moved(db_source: str, state: str, tmp_path: Path) -> None:
    path = shop(tmp_path, ORDERS)
    found = MigrationService().plan(plan_of(path, db_source, target_free=1000))
    assert found.forecast is not None
    assert (found.forecast.basis, found.forecast.known, found.forecast.tables) == ("sample", 0, 3)
    assert found.forecast.seconds > 0
    assert found.sampled is not None
    assert found.sampled.rows == ORDERS + 40
    assert found.space.estimated
    assert [f.severity for f in found.findings if f.code == 6030] == [Severity.WARNING]
    told = preview_json(found)
    assert (told["forecast"]["basis"], told["space"]["free"]) == ("sample", 1000)
    assert value(db_source, "SELECT count(*) FROM pg_class WHERE relname = 'order'") == 0
    carried(path, db_source)
    assert found.space.heap == pytest.approx(value(db_source, SIZES), rel=0.5)
    again = MigrationService().plan(plan_of(path, db_source, on_existing="truncate"))
    assert again.forecast is not None
    assert (again.forecast.basis, again.forecast.known) == ("runs", 3)
    assert again.space.returned > 0
