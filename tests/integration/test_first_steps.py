"""What a newcomer meets: `pghaul` alone, doctor, TAB, and the wizard that asks for a plan at a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.compare import assert_same_content
from tests.databases import DatabasePair
from tests.moving import assert_done, move, plan_of

from pghaul.cli import wizard
from pghaul.cli.app import run
from pghaul.model.errors import UsageError
from pghaul.model.table import Name
from pghaul.service.plan_file import read_plan

SOURCE = """
    CREATE TABLE payment (id int PRIMARY KEY, v text);
    INSERT INTO payment SELECT g, 'x' FROM generate_series(1, 4000) g;
    CREATE TABLE note (id int PRIMARY KEY); INSERT INTO note SELECT g FROM generate_series(1, 10) g;
    CREATE TABLE history (at date NOT NULL, v int);
    CREATE TABLE history_1 (CHECK (at >= '2025-09-01' AND at < '2025-10-01')) INHERITS (history);
    CREATE TABLE history_2 (CHECK (at >= '2025-10-01' AND at < '2025-11-01')) INHERITS (history);
    INSERT INTO history_1 SELECT date '2025-09-01' + g % 30, g FROM generate_series(1, 900) g;
    INSERT INTO history_2 SELECT date '2025-10-01' + g % 30, g FROM generate_series(1, 900) g;
    ANALYZE
"""
PROGRAM = [sys.executable, "-m", "pghaul"]

pytestmark = pytest.mark.usefixtures("state")

Output = pytest.CaptureFixture[str]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a person at the terminal types, in order."""
    typed: list[str] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("rich.console.Console.input", lambda *_a, **_k: typed.pop(0))
    yield typed
    assert typed == []


@pytest.mark.template(source=SOURCE)
def test_the_wizard_writes_a_plan_and_runs_it(db_pair: DatabasePair, tmp_path: Path, answers: list[str]) -> None:
    file = tmp_path / "plan.toml"
    answers += [db_pair.source, "public.payment,note", "", db_pair.target, "", "", "", "1", str(file), "y"]
    assert run(["plan", "--interactive"]) == 0
    plan = read_plan(file)
    assert [s.name for s in plan.tables] == ["public.payment", "note"]
    assert plan.options.verify == "checksum"
    assert plan.options.workers == 1
    assert_same_content(db_pair.source, db_pair.target, ["public.payment", "public.note"])


@pytest.mark.template(source=SOURCE)
def test_what_was_said_is_not_asked_and_what_fails_is_asked_again(
    db_pair: DatabasePair, tmp_path: Path, answers: list[str], capsys: Output
) -> None:
    file = tmp_path / "plan.toml"
    answers += ["postgresql://127.0.0.1:1/nothing", db_pair.source, "99", "2", "2025-09-01", "2025-10-01", "Asia/Seoul"]
    answers += ["declarative", "fail", "n"]
    words = ["--to", db_pair.target, "--verify", "count", "--workers", "3", "-o", str(file)]
    assert run(["plan", "--interactive", *words]) == 0
    told = capsys.readouterr().err
    assert "99: neither a number of the list" in told
    plan = read_plan(file)
    assert plan.period is not None
    assert (plan.period.since, plan.period.until, plan.period.timezone) == ("2025-09-01", "2025-10-01", "Asia/Seoul")
    assert plan.options.workers == 3
    assert [(s.name, s.layout) for s in plan.tables] == [("public.history", "declarative")]


def test_without_a_terminal_the_wizard_is_wrong_usage(capsys: Output) -> None:
    assert run(["plan", "--interactive"]) == 2
    assert "no terminal" in capsys.readouterr().err


def test_numbers_names_and_patterns_choose_tables() -> None:
    offers = [wizard.Offer(name=Name("public", n), kind="", rows="1", size=1) for n in ("a", "b", "c*", "d")]
    assert wizard.chosen("1, 3-4 pay*", offers) == ["public.a", "public.c[*]", "public.d", "pay*"]
    for wrong in ("0", "5", "3-2", ","):
        with pytest.raises(UsageError):
            wizard.chosen(wrong, offers)


@pytest.mark.template(source=SOURCE)
def test_pghaul_alone_shows_where_to_start_and_what_is_unfinished(db_pair: DatabasePair, capsys: Output) -> None:
    assert run([]) == 0
    first = capsys.readouterr().out
    assert "pghaul demo" in first
    assert "pghaul resume " not in first.replace("pghaul resume  ", "")
    moved = move(plan_of(db_pair.source, db_pair.target, ("public.note",)))
    assert_done(moved)
    assert run([]) == 0
    assert moved.run.id not in capsys.readouterr().out


def test_doctor_finds_this_machine_ready(capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    assert run(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert "pg_dump and pg_restore" in out
    assert "ready" in err


def test_doctor_names_what_has_to_be_mended(capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passfile = tmp_path / "pgpass"
    passfile.write_text("*:*:*:*:geheim\n", encoding="utf-8")
    passfile.chmod(0o644)
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    monkeypatch.setenv("PGHAUL_STATE", "sqlite:////proc/nowhere/state.db")
    monkeypatch.setenv("PGHAUL_PG_BIN", str(tmp_path))
    monkeypatch.setenv("PGHAUL_STAET", "x")
    monkeypatch.setenv("PGPASSWORD", "geheim")
    assert run(["doctor", "--json"]) == 1
    said = capsys.readouterr().out
    assert "geheim" not in said
    outcomes = {i["id"]: i["outcome"] for i in json.loads(said)["items"]}
    assert [outcomes[i] for i in ("password-file", "state", "programs")] == ["bad", "bad", "bad"]
    assert [outcomes[i] for i in ("unknown-variables", "passwords")] == ["look", "look"]


def completed(*words: str) -> list[str]:
    """What bash would offer after these words."""
    environ = os.environ | {
        "_PGHAUL_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["pghaul", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(PROGRAM, capture_output=True, text=True, env=environ, check=False, timeout=120)
    return done.stdout.split()


@pytest.mark.template(source=SOURCE)
def test_the_shell_completes_commands_options_choices_and_runs(db_pair: DatabasePair) -> None:
    moved = move(plan_of(db_pair.source, db_pair.target, ("public.note",)))
    assert "status" in completed("sta")
    assert "--on-existing" in completed("run", "--on-e")
    assert "truncate" in completed("run", "--on-existing", "tr")
    assert moved.run.id in completed("show", moved.run.id[:4])
