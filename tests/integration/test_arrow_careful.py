"""Rows from a source that is not PostgreSQL which the target cannot hold: they are named or set aside, others load."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.looking import value
from tests.moving import rows, run_sql
from tests.sqlite_files import carried, made, plan_of, url_of

from pghaul.engine.verify import Request
from pghaul.model.errors import QuarantineError, RowError
from pghaul.model.event import EventKind
from pghaul.model.quarantine import Which
from pghaul.model.run import RunState
from pghaul.service.migration import MigrationService, new_run_id

pytestmark = pytest.mark.parametrize("db_source", ["pg18"], indirect=True)

# 3 is too long (found before it is sent), 5 breaks a rule and 7 is there twice (found by the target).
ODD = """
CREATE TABLE t (id INTEGER PRIMARY KEY, code VARCHAR(3), n INTEGER, j JSON);
WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 3000)
INSERT INTO t SELECT n, 'c' || (n % 10), n, CASE WHEN n % 2 THEN '{"a":' || char(10) || n || '}' END FROM i;
UPDATE t SET code = 'abc  ' WHERE id = 3;
UPDATE t SET n = -id WHERE id IN (5, 2999);
UPDATE t SET n = 8 WHERE id = 7;
"""
THERE = """
CREATE DOMAIN public.short AS varchar(3); CREATE DOMAIN public.code AS public.short;
CREATE TABLE public.t (id int8 PRIMARY KEY, code public.code, n int4 UNIQUE CHECK (n > 0), j {json})
"""
REFUSED = [3, 5, 8, 2999]


@pytest.mark.template(source=THERE.format(json="json"))
@pytest.mark.parametrize("split", [1 << 30, 16384])
def test_rows_that_the_target_refuses_are_set_aside_and_the_others_arrive(
    db_source: str, state: str, tmp_path: Path, split: int
) -> None:
    moved = carried(made(tmp_path / "odd.db", ODD), db_source, max_rejects=10, verify="checksum", split_bytes=split)
    assert moved.run.state is RunState.DIFFERENT
    assert rows(db_source, "SELECT id FROM generate_series(1, 3000) id EXCEPT SELECT id FROM t ORDER BY 1") == [
        (i,) for i in REFUSED
    ]
    kept = "SELECT source_key, sqlstate, column_name, constraint_name, convert_from(row_data, 'UTF8')"
    found = rows(db_source, f"{kept} FROM pghaul.quarantine ORDER BY (source_key::json->>'id')::int")
    assert [f[1] for f in found] == ["22001", "23514", "23505", "23514"]
    assert found[0] == ('{"id": "3"}', "22001", "code", None, '3\tabc  \t3\t{"a":\\n3}')
    assert (found[1][3], found[1][4]) == ("t_n_check", '5\tc5\t-5\t{"a":\\n5}')
    run_sql(db_source, "ALTER TABLE t DROP CONSTRAINT t_n_check")
    which = Which(conditions=(("sqlstate", "23514"),))
    assert [r.inserted for r in MigrationService().quarantine(db_source).replay(which, run=new_run_id())] == [2]
    assert MigrationService().quarantine(db_source).replay(which, run=new_run_id()) == []
    assert [(lot.waiting, lot.rows) for lot in MigrationService().quarantine(db_source).lots(Which())] == [(2, 4)]
    assert rows(db_source, "SELECT id, code, n, j::text FROM t WHERE n < 0 ORDER BY id") == [
        (5, "c5", -5, '{"a":\n5}'),
        (2999, "c9", -2999, '{"a":\n2999}'),
    ]
    proofs = [e.data for e in moved.of(EventKind.CHUNK_DONE) if e.data.get("rows")]
    assert all(p["source_hash"] == p["target_hash"] for p in proofs)


@pytest.mark.template(source=THERE.format(json="jsonb"))
def test_without_leave_the_run_fails_and_names_the_rows(db_source: str, state: str, tmp_path: Path) -> None:
    with pytest.raises(RowError, match="id = 3, column code: value too long") as error:
        carried(made(tmp_path / "odd.db", ODD), db_source)
    assert "id = 5" in error.value.message
    assert value(db_source, "SELECT count(*) FROM t") == 0


@pytest.mark.template(source=THERE.format(json="jsonb"))
def test_more_than_may_be_set_aside_end_the_run(db_source: str, state: str, tmp_path: Path) -> None:
    with pytest.raises(QuarantineError, match=r"more rows of public\.t than may be set aside"):
        carried(made(tmp_path / "odd.db", ODD), db_source, max_rejects=2)
    assert value(db_source, "SELECT count(*) FROM t") == 0


# 25 is a text, 26 no date, 27 a real, 28 bytes: beyond the rows that are looked at.
LATE = """
CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, d DATE);
WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 30)
INSERT INTO t SELECT n, n, '2024-01-02' FROM i;
UPDATE t SET n = 'a''b' WHERE id = 25; UPDATE t SET d = '31/12/2024' WHERE id = 26;
UPDATE t SET n = 2.5 WHERE id = 27; UPDATE t SET n = x'00ff' WHERE id = 28;
"""
LATE_KEPT = "SELECT source_key::json->>'id', sqlstate, column_name, convert_from(row_data, 'UTF8')"


def test_a_value_of_another_class_that_comes_late_is_one_row_set_aside(
    db_source: str, state: str, tmp_path: Path
) -> None:
    path = made(tmp_path / "late.db", LATE)
    plan = plan_of(path, db_source, verify="checksum").model_copy(update={"source": f"{url_of(path)}?look=9"})
    with pytest.raises(RowError, match=r"refused rows: id = 25, column n: a value of class text .* bigint: a'b"):
        MigrationService().run(plan, listener=lambda _event: None)
    lenient = plan.model_copy(update={"options": plan.options.model_copy(update={"max_rejects": 4})})
    run = MigrationService().run(lenient, listener=lambda _event: None)
    assert run.state is RunState.DIFFERENT
    assert value(db_source, "SELECT count(*) FROM t") == 26
    assert rows(db_source, f"{LATE_KEPT} FROM pghaul.quarantine ORDER BY 1") == [
        ("25", "22018", "n", "25\ta'b\t2024-01-02"),
        ("26", "22018", "d", "26\t26\t31/12/2024"),
        ("27", "22018", "n", "27\t2.5\t2024-01-02"),
        ("28", "22018", "n", "28\t\\\\x00ff\t2024-01-02"),
    ]
    found = MigrationService().verify(run.id, Request(workers=1), listener=lambda _event: None)
    assert [(t.agrees, t.missing, t.aside, t.source_rows) for t in found.tables] == [(False, 4, 4, 30)]
    assert [dict(r.key)["id"] for r in found.tables[0].rows] == ["25", "26", "27", "28"]
