"""Reports of real runs: what both servers said of themselves, who ran it, and what differs, on a page of its own."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.databases import DatabasePair
from tests.moving import assert_done, move, resume, run_sql
from tests.pages import Page

from pghaul import __version__
from pghaul.cli.app import run as command
from pghaul.engine.facts import who
from pghaul.model.errors import NotFoundError, StoppedError
from pghaul.model.event import EventKind
from pghaul.model.run import RunState
from pghaul.postgres.server import TELLING
from pghaul.service.migration import MigrationService

HOSTILE = "CREATE TABLE \"<script>alert('1')</script>\" (id int PRIMARY KEY, t text);"
ROWS = "INSERT INTO \"<script>alert('1')</script>\" SELECT i, repeat('x', i) FROM generate_series(1, 50) i;"
TREE = """
CREATE TABLE history (id int, at int) PARTITION BY RANGE (at);
CREATE TABLE history_1 PARTITION OF history FOR VALUES FROM (0) TO (10);
CREATE TABLE history_2 PARTITION OF history FOR VALUES FROM (10) TO (20);
INSERT INTO history SELECT i, i % 20 FROM generate_series(1, 200) i;
"""
FINE = "CREATE TABLE one (id int PRIMARY KEY, n numeric); INSERT INTO one VALUES (1, 1), (2, 1.005);"
COARSE = "CREATE TABLE one (id int PRIMARY KEY, n numeric(10, 2));"


def told(run_id: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, object], Page]:
    """The report as data and as a page."""
    assert command(["report", run_id, "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert command(["report", run_id, "-o", str(folder / "report.html")]) == 0
    return data, Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.mark.template(source=HOSTILE + ROWS + TREE)
def test_a_run_s_report_says_who_where_and_how_it_is_proven(
    db_pair: DatabasePair, state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "correct-horse-battery"
    parts = urlsplit(db_pair.source)
    source = parts._replace(netloc=parts.netloc.replace("@", f":{secret}@")).geturl() if "@" in parts.netloc else ""
    moved = move(db_pair, "public.*", source=source or None)
    assert_done(moved)
    data, page = told(moved.run.id, tmp_path, capsys)
    assert data["verdict"] == {"outcome": "done", "reasons": []}
    here, there = data["source"], data["target"]
    assert isinstance(here, dict)
    assert isinstance(there, dict)
    assert (here["version"].partition(".")[0], there["version"].partition(".")[0]) == ("16", "18")
    assert (here["encoding"], here["standby"], set(here["settings"])) == ("UTF8", False, set(TELLING))
    assert here["timezone"]
    assert isinstance(data["attempts"], list)
    assert [(a["epoch"], a["who"], a["pghaul"]) for a in data["attempts"]] == [(1, who(), __version__)]
    assert isinstance(data["tables"], list)
    assert {t["family"] for t in data["tables"]} == {"public.history", "public.<script>alert('1')</script>"}
    assert all(t["agrees"] and t["source_hash"] == t["target_hash"] != "" for t in data["tables"])
    assert (page.errors, page.asks_for()) == ([], [])
    assert "<script>alert('1')</script>" in page.text
    assert secret not in json.dumps(data) + page.text


@pytest.mark.template(source=FINE, target=COARSE)
def test_a_difference_is_in_the_verdict_and_beside_its_table(
    db_pair: DatabasePair, state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = move(db_pair, "public.one")
    assert moved.run.state is RunState.DIFFERENT
    data, page = told(moved.run.id, tmp_path, capsys)
    verdict = data["verdict"]
    assert isinstance(verdict, dict)
    assert verdict["outcome"] == "different"
    assert any("public.one" in reason for reason in verdict["reasons"])
    assert "≠ DIFFERENT" in page.text


@pytest.mark.template(source=HOSTILE + ROWS)
def test_what_a_later_verification_finds_is_in_the_run_s_report_and_in_its_own(
    db_pair: DatabasePair, state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = move(db_pair, "public.*")
    assert_done(moved)
    table = "\"<script>alert('1')</script>\""
    run_sql(db_pair.target, f"UPDATE {table} SET t = '<b>forged</b>' WHERE id = 7; DELETE FROM {table} WHERE id = 8")
    assert command(["verify", moved.run.id]) == 3
    capsys.readouterr()
    data, page = told(moved.run.id, tmp_path, capsys)
    assert isinstance(data["verdict"], dict)
    assert data["verdict"]["outcome"] == "different"
    assert isinstance(data["verifications"], list)
    (found,) = data["verifications"]
    assert (found["agrees"], found["who"], found["run"]) == (False, who(), moved.run.id)
    rows = {row["kind"]: (row["key"], row["columns"]) for row in found["tables"][0]["rows"]}
    assert rows["different"] == (
        [{"column": "id", "value": "7"}],
        [{"column": "t", "source": "xxxxxxx", "target": "<b>forged</b>"}],
    )
    assert rows["missing"][0] == [{"column": "id", "value": "8"}]
    assert "<b>forged</b>" in page.text
    assert (page.errors, page.asks_for()) == ([], [])
    alone, its_page = told(found["id"], tmp_path, capsys)
    assert (alone["kind"], alone["verifications"]) == ("verification", [found])
    assert "<b>forged</b>" in its_page.text


@pytest.mark.template(source=FINE + TREE)
def test_each_attempt_of_a_run_is_kept_with_who_made_it(
    db_pair: DatabasePair, state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[EventKind] = []
    with pytest.raises(StoppedError):
        move(
            db_pair,
            "public.*",
            listener=lambda e: heard.append(e.kind),
            stop=lambda: EventKind.CHUNK_DONE in heard,
        )
    run_id = MigrationService().latest_unfinished().id
    stopped, _ = told(run_id, tmp_path, capsys)
    assert isinstance(stopped["verdict"], dict)
    assert stopped["verdict"]["outcome"] == "stopped"
    assert_done(resume(run_id))
    data, page = told(run_id, tmp_path, capsys)
    assert isinstance(data["attempts"], list)
    assert [a["epoch"] for a in data["attempts"]] == [1, 2]
    assert isinstance(data["samples"], list)
    rows = [s["rows"] for s in data["samples"]]
    assert rows == sorted(rows)
    assert page.errors == []
    assert data["sha256"] != stopped["sha256"]


def test_of_a_run_that_was_refused_there_is_no_report(
    db_pair: DatabasePair, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NotFoundError, match=r"public\.absent"):
        move(db_pair, "public.absent")
    assert command(["report", "0123456789ab"]) == 1
    assert "PGH-5280" in capsys.readouterr().err
