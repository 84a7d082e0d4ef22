"""SQLite files that others have made arrive whole: every row proven, and what is not carried is listed with its reason.

PGHAUL_TEST_DATA names the folder that holds them, by default ../shared/data beside the repository. `pytest -s` shows
the table.
"""

from __future__ import annotations

import pytest
from tests.components import SHARED_DATA, missing
from tests.moving import assert_done, rows
from tests.sqlite_files import carried, plan_of

from pghaul.model.event import EventKind
from pghaul.service.migration import MigrationService

FILES = {"Chinook_Sqlite.sqlite": (11, 15_607, 0), "northwind.db": (13, 3_310, 16)}  # tables, rows, views
COUNTED = """
SELECT count(*) FILTER (WHERE relkind = 'r'), count(*) FILTER (WHERE relkind = 'v')
FROM pg_class WHERE relnamespace = 'public'::regnamespace
"""


@pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
@pytest.mark.parametrize("file", FILES)
def test_a_real_file_arrives_whole(db_source: str, state: str, file: str) -> None:
    path = SHARED_DATA / "sqlite" / file
    if not path.is_file():
        missing(f"the sample database {file} is not in {SHARED_DATA} (PGHAUL_TEST_DATA names another folder)")
    found = MigrationService().plan(plan_of(path, db_source))
    moved = carried(path, db_source, verify="checksum")
    assert_done(moved)
    proofs = [e.data for e in moved.of(EventKind.CHUNK_DONE)]
    assert all(p["source_hash"] == p["target_hash"] for p in proofs)
    tables, views = rows(db_source, COUNTED)[0]
    left = found.not_carried
    print(f"\n{file}: {tables} tables, {moved.run.rows} rows, {views} views; not carried: {len(left)}")  # noqa: T201
    print(*(f"    {o.kind} {o.name}: {str(o.why).partition(' Its text:')[0]}" for o in left), sep="\n")  # noqa: T201
    assert (tables, moved.run.rows, views + len(left)) == FILES[file]
    assert {o.kind for o in left} <= {"VIEW"}
