"""Tables of another kind of database on a target that lacks what came later: what is made in its place, and said."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.looking import value
from tests.moving import assert_done, rows
from tests.sqlite_files import carried, made, plan_of

from pghaul.service.migration import MigrationService

SCRIPT = """
CREATE TABLE t (id INTEGER PRIMARY KEY, doc JSON, n INTEGER, twice INTEGER GENERATED ALWAYS AS (n * 2) STORED);
INSERT INTO t (id, doc, n) VALUES (7, '{"a": 1}', 3);
"""
TYPES = "SELECT attname::text, atttypid::regtype::text FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0"

pytestmark = pytest.mark.parametrize("db_source", ["pg18"], indirect=True)


def test_before_what_came_with_9_4_10_and_12(
    db_source: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path / "old.db", SCRIPT)
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", "9.3")
    found = MigrationService().plan(plan_of(path, db_source))
    assert found.ok, [f.what for f in found.findings]
    assert [f.object for f in found.findings if f.code == 7037] == ["public.t.twice"]
    assert_done(carried(path, db_source))
    told = dict(rows(db_source, TYPES))
    assert told["doc"] in {"json", "text"}
    assert rows(db_source, "SELECT id, twice FROM t") == [(7, 6)]
    assert value(db_source, "INSERT INTO t (n) VALUES (1) RETURNING id") == 8
    assert value(db_source, "SELECT count(*) FROM pg_attribute WHERE attidentity <> '' OR attgenerated <> ''") == 0
