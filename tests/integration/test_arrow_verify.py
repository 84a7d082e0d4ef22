"""Another kind of database compared with what became of it: down to the rows, whatever their types and keys are."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.looking import execute
from tests.moving import assert_done
from tests.sqlite_files import carried, made, plan_of

from pghaul.cli.app import run as command
from pghaul.engine.arrow import ranges
from pghaul.engine.verify import Request
from pghaul.model.errors import NotFoundError
from pghaul.model.plan import Mapping, Undecodable
from pghaul.model.verification import Difference, Method, TableVerdict
from pghaul.service.migration import MigrationService

pytestmark = pytest.mark.parametrize("db_source", ["pg18"], indirect=True)

FILE = """
CREATE TABLE keyed (id INTEGER PRIMARY KEY, name TEXT, doc JSON, price DECIMAL(8,2), at TIMESTAMP);
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)
INSERT INTO keyed SELECT i, 'name ' || i, '{"a" : ' || i || '}', i / 4.0, '2024-01-02 03:04:05.' || i FROM n;
CREATE TABLE named (code TEXT PRIMARY KEY, n INTEGER);
INSERT INTO named VALUES ('b', 1), ('a', 2), ('Ä', 3);
CREATE TABLE bag (v TEXT, x REAL); INSERT INTO bag VALUES ('one', 0.1), ('two', NULL), ('two', NULL), ('gone', 3e300);
"""
SPOILED = (
    "UPDATE keyed SET price = 99, name = NULL WHERE id = 7",
    "DELETE FROM keyed WHERE id = 8",
    "INSERT INTO keyed (id) VALUES (51)",
    "DELETE FROM bag WHERE v = 'gone'",
    "INSERT INTO bag VALUES ('two', NULL), ('new', 1)",
)


def verdicts(run: str, limit: int = 100) -> dict[str, TableVerdict]:
    found = MigrationService().verify(run, Request(workers=1, limit=limit), listener=lambda _event: None)
    return {str(t.source): t for t in found.tables}


def test_what_was_carried_is_the_same_for_a_run_a_plan_and_the_command_line(
    db_source: str, state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(tmp_path / "a.db", FILE)
    moved = carried(path, db_source, verify="checksum")
    assert_done(moved)
    execute(db_source, "UPDATE bag SET v = v")  # another order
    found = verdicts(moved.run.id)
    assert [t.agrees for t in found.values()] == [True, True, True]
    price = next(c for c in found["keyed"].columns if c.name == "price")
    assert (price.nulls, price.least, price.total) == ((0, 0), ("0.25", "0.25"), ("318.75", "318.75"))
    counted = Request(method=Method.COUNT)
    same = MigrationService().verify(plan_of(path, db_source, "keyed"), counted, listener=lambda _event: None)
    assert [(t.source_rows, t.agrees) for t in same.tables] == [(50, True)]
    with pytest.raises(NotFoundError):
        MigrationService().verify(plan_of(path, db_source, "nothing"), counted, listener=lambda _event: None)
    assert command(["verify", moved.run.id, "--workers", "1", "--verbose", "--table", "keyed"]) == 0
    assert "318.75" in capsys.readouterr().out


def test_what_differs_is_named_by_row_and_column(db_source: str, state: str, tmp_path: Path) -> None:
    moved = carried(made(tmp_path / "a.db", FILE), db_source)
    execute(db_source, *SPOILED)
    found = verdicts(moved.run.id)
    keyed, bag = found["keyed"], found["bag"]
    assert (keyed.agrees, keyed.missing, keyed.extra, keyed.different) == (False, 1, 1, 1)
    told = {r.kind: (r.key, r.columns) for r in keyed.rows}
    assert told[Difference.DIFFERENT] == ((("id", "7"),), (("name", "name 7", None), ("price", "1.75", "99.00")))
    assert told[Difference.MISSING] == ((("id", "8"),), ())
    assert told[Difference.EXTRA] == ((("id", "51"),), ())
    assert (bag.missing, bag.extra) == (1, 2)
    assert {(dict(r.key)["v"], r.times) for r in bag.rows} == {("gone", (1, 0)), ("two", (2, 3)), ("new", (0, 1))}
    assert found["named"].agrees


def test_large_tables_are_compared_range_by_range_and_told_as_one(
    db_source: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than a range goes into a temporary table; the limit is that of the table."""
    moved = carried(made(tmp_path / "a.db", FILE), db_source)
    monkeypatch.setattr(ranges, "LEAST", 200)
    price = next(c for c in verdicts(moved.run.id)["keyed"].columns if c.name == "price")
    assert (price.nulls, price.greatest, price.total) == ((0, 0), ("12.50", "12.50"), ("318.75", "318.75"))
    execute(db_source, *SPOILED)
    found = verdicts(moved.run.id, limit=2)["keyed"]
    assert (found.agrees, found.missing, found.extra, found.different) == (False, 1, 1, 1)
    assert (found.source_rows, found.target_rows, len(found.rows), found.complete) == (50, 50, 2, False)


def test_tables_that_inherit_from_the_target_are_not_read_with_it(db_source: str, state: str, tmp_path: Path) -> None:
    execute(db_source, "CREATE TABLE bag (v text, x float8)", "CREATE TABLE old () INHERITS (bag)")
    execute(db_source, "INSERT INTO old VALUES ('of a child', 1)")
    moved = carried(made(tmp_path / "a.db", FILE), db_source, "bag", verify="checksum")
    assert_done(moved)


def test_a_partitioned_table_is_compared_with_its_partitions(db_source: str, state: str, tmp_path: Path) -> None:
    path = made(tmp_path / "a.db", FILE)
    execute(db_source, "CREATE TABLE named (code text, n int) PARTITION BY LIST (n)")
    execute(db_source, "CREATE TABLE rest PARTITION OF named DEFAULT", "INSERT INTO named VALUES ('b', 1), ('a', 2)")
    for method in (Method.COUNT, Method.CHECKSUM):
        asked = Request(method=method, workers=1)
        (found,) = (
            MigrationService().verify(plan_of(path, db_source, "named"), asked, listener=lambda _event: None).tables
        )
        assert (found.agrees, found.source_rows, found.target_rows) == (False, 3, 2)
    assert (found.missing, dict(found.rows[0].key)) == (1, {"code": "Ä", "n": "3"})


def test_rows_that_were_set_aside_are_missing_and_all_others_are_compared(
    db_source: str, state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes that are no text, a NUL, what a domain refuses, a row that was lost and one that was changed."""
    path = made(
        tmp_path / "odd.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR(3), n INTEGER); CREATE TABLE u (v VARCHAR(3));"
        "WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 3000)"
        " INSERT INTO t SELECT n, 'c', n FROM i; INSERT INTO u VALUES ('a'), ('b'), (CAST(x'ff' AS TEXT));"
        "UPDATE t SET name = CAST(x'61ff' AS TEXT) WHERE id = 3; UPDATE t SET name = 'a' || char(0) WHERE id = 4;"
        "UPDATE t SET name = CAST(x'fe' AS TEXT) WHERE id = 2900;",
    )
    execute(db_source, "CREATE DOMAIN odd AS varchar(3) CHECK (VALUE <> 'b')", "CREATE TABLE u (v odd)")
    aside = Mapping(undecodable=Undecodable.QUARANTINE, nul=Undecodable.QUARANTINE)
    moved = carried(path, db_source, mapping=aside, max_rejects=10)
    execute(db_source, "UPDATE t SET n = 0 WHERE id = 7", "DELETE FROM t WHERE id = 9")
    found = verdicts(moved.run.id)
    odd, bag = found["t"], found["u"]
    assert (odd.agrees, odd.missing, odd.extra, odd.different, odd.aside) == (False, 4, 0, 1, 3)
    assert (odd.source_rows, odd.target_rows, odd.complete) == (3000, 2996, True)
    told = {r.key[0][1]: r.kind for r in odd.rows}
    assert told == dict.fromkeys(("3", "4", "9", "2900"), Difference.MISSING) | {"7": Difference.DIFFERENT}
    assert (bag.agrees, bag.missing, bag.source_rows, bag.aside) == (False, 2, 3, 2)
    assert [r.key for r in bag.rows] == [(("v", "\\xff"),), (("v", "b"),)]
    asked = Request(workers=1)
    same = MigrationService().verify(plan_of(path, db_source), asked, listener=lambda _event: None)
    assert {str(t.source): (t.missing, t.aside) for t in same.tables} == {"t": (4, 3), "u": (2, 2)}
    assert command(["verify", moved.run.id, "--workers", "1"]) == 3
    assert "DIFFERENT, 3 of them set aside" in capsys.readouterr().out
