"""`pghaul inspect` on real databases: what people and programs are shown, and that nothing is counted or waited for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.databases import DatabasePair
from tests.plant_history import FAULTY, SMALL

from pghaul.cli.app import run
from pghaul.model.tree import Problem
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import connect
from pghaul.service.migration import MigrationService

MORE = """
CREATE SCHEMA audit;
CREATE TABLE audit.log AS SELECT g AS id, repeat('x', 50) AS body FROM generate_series(1, 5000) g;
CREATE INDEX ON audit.log (id);
ANALYZE audit.log;
CREATE TABLE audit.never_analysed AS SELECT 1 AS id;
CREATE TABLE audit.empty (id int);
CREATE VIEW audit.seen AS SELECT id FROM audit.log;
"""

on_one_server = pytest.mark.parametrize("db_pair", [("pg16", "pg16")], indirect=True)
Output = pytest.CaptureFixture[str]


@pytest.fixture(params=["", "9.3"], ids=["as it is", "as 9.3"])
def assumed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", request.param)
    monkeypatch.setenv("COLUMNS", "200")
    return str(request.param)


def told(capsys: Output, *argv: str) -> str:
    """What goes to stdout, of a command that succeeds."""
    assert run(["inspect", *argv]) == 0
    return capsys.readouterr().out


def line(text: str, *words: str) -> str:
    """The one line in which all the words stand."""
    (found,) = [found for found in text.splitlines() if all(w in found for w in words)]
    return " ".join(found.split())


@on_one_server
@pytest.mark.template(source=SMALL.script() + MORE)
def test_a_database_is_shown_by_schemas_trees_tables_and_findings(
    db_pair: DatabasePair, assumed: str, capsys: Output, state: str
) -> None:
    text = told(capsys, db_pair.source, "--timezone", "Asia/Seoul")
    assert "Dates are shown in Asia/Seoul" in text
    assert "1 views" in line(text, "audit ", "views")
    tree = line(text, "public.point_history ", "inheritance range")
    assert tree.startswith("public.point_history inheritance range 12 2024-09-01 2024-09-13 740 ")
    assert "BEFORE INSERT trigger point_history_insert (dynamic EXECUTE); CLUSTER: 12 of 12 children" in text
    assert "new rows: 3 INSTEAD rules ON INSERT" in text
    assert "issued_date is milliseconds since 1970" in line(text, "point_history:", "CLUSTER")
    assert line(text, "audit.log").startswith("audit.log 5,000 ")
    assert line(text, "audit.never_analysed").startswith("audit.never_analysed ? 8.0 kB")
    assert line(text, "audit.empty").startswith("audit.empty 0 0 B")
    assert "rows of its own: public.point_history: the parent itself holds rows" in text
    assert "point_history_240902" not in text
    whole = told(capsys, db_pair.source, "--timezone", "Asia/Seoul", "--tree")
    child = line(whole, "public.point_history_240902")
    assert child.startswith(
        "public.point_history_240902 2024-09-02 to 2024-09-03 point_history_240902_pkey 60 8.0 kB 16.0 kB 24.0 kB"
    )


@on_one_server
@pytest.mark.template(source=SMALL.script() + MORE)
def test_patterns_choose_what_is_shown_and_a_part_shows_its_tree(
    db_pair: DatabasePair, capsys: Output, state: str
) -> None:
    def names(*argv: str) -> tuple[list[str], list[str]]:
        data = json.loads(told(capsys, db_pair.source, "--json", *argv))
        return [t["root"] for t in data["trees"]], [t["name"] for t in data["tables"]]

    tables = ["audit.empty", "audit.log", "audit.never_analysed"]
    assert names("--schema", "audit") == ([], tables)
    assert names("--schema", "audit", "--exclude", "audit.e*") == ([], tables[1:])
    assert names("--table", "point_history_240903", "-t", "/audit.l.*/") == (["public.point_history"], tables[1:2])
    assert run(["inspect", db_pair.source, "--table", "point_histori"]) == 1
    assert "did you mean public.point_history?" in capsys.readouterr().err
    assert run(["inspect", db_pair.source, "--timezone", "Seoul"]) == 2
    assert "no time zone" in capsys.readouterr().err


@on_one_server
@pytest.mark.template(source=FAULTY.script())
def test_programs_get_every_member_with_its_bounds_and_every_finding(
    db_pair: DatabasePair, capsys: Output, state: str
) -> None:
    data: dict[str, Any] = json.loads(told(capsys, db_pair.source, "--json", "--timezone", "Asia/Seoul"))
    tree = next(t for t in data["trees"] if t["root"] == "public.point_history")
    assert (tree["kind"], tree["key"], tree["since"], tree["until"]) == (
        "inheritance",
        "issued_date",
        "2024-09-01",
        "2024-09-13",
    )
    first = tree["members"][0]
    assert first["bounds"] == {
        "column": "issued_date",
        "strategy": "range",
        "low": {"value": 1725116400000, "inclusive": True},
        "high": {"value": 1725202799999, "inclusive": True},
        "values": [],
        "nulls": False,
        "exact": True,
        "authority": "check",
        "trusted": True,
    }
    assert {f["problem"] for f in data["findings"]} >= {"overlap", "gap", "no bounds", "registry", "not validated"}
    assert len(tree["members"]) == 11


@on_one_server
@pytest.mark.template(source=SMALL.script())
def test_a_lock_that_somebody_holds_is_not_waited_for(db_pair: DatabasePair, state: str) -> None:
    with connect(resolve(db_pair.source), application_name="other", role="source") as other, other.transaction():
        other.execute("LOCK TABLE public.point_history_240903 IN ACCESS EXCLUSIVE MODE")
        found = MigrationService().inspect(db_pair.source)
    assert not found.exact
    tree = next(t for t in found.trees if t.tree.root.name == "point_history")
    assert (tree.amount.rows, tree.amount.unknown) == (740, 0)
    assert tree.amount.heap == 13 * 8192
    locked = [(f.problem, f.table.name) for f in found.findings if f.problem in {Problem.LOCKED, Problem.NO_BOUNDS}]
    assert locked == [(Problem.LOCKED, "point_history_240903")]


@on_one_server
def test_an_empty_database_is_no_error(db_pair: DatabasePair, capsys: Output, state: str) -> None:
    assert "There are no tables here." in told(capsys, db_pair.source)


@pytest.mark.template(source="CREATE TABLE known (a int)")
def test_the_next_step_has_the_url_as_it_was_typed_but_for_its_password(
    db_pair: DatabasePair, state: str, capsys: Output
) -> None:
    assert run(["inspect", db_pair.source]) == 0
    assert f"--from {db_pair.source} --to" in capsys.readouterr().err
    assert run(["inspect", db_pair.source.replace("postgres@", "postgres:s3cret@")]) == 0
    said = capsys.readouterr().err
    assert "--from 'postgresql://postgres@" in said
    assert "s3cret" not in said
