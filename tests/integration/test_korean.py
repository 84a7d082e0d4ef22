"""A migration from the first look to the report, as a Korean reader sees it: no English on any screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.databases import DatabasePair
from tests.korean import still_english

from pghaul.cli import words
from pghaul.cli.app import run

SOURCE = """
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE TABLE payment (id serial PRIMARY KEY, note text, m mood);
    INSERT INTO payment (note, m) SELECT 'n' || g, 'good' FROM generate_series(1, 500) g;
    CREATE TABLE known (id int, body text);
    INSERT INTO known SELECT g, 'x' FROM generate_series(1, 300) g;
    CREATE TABLE history (at date NOT NULL, v int);
    CREATE TABLE history_1 (CHECK (at >= '2025-09-01' AND at < '2025-10-01')) INHERITS (history);
    CREATE TABLE history_2 (CHECK (at >= '2025-11-01' AND at < '2025-12-01')) INHERITS (history);
    INSERT INTO history_1 SELECT date '2025-09-01' + g % 30, g FROM generate_series(1, 90) g;
    INSERT INTO history VALUES ('2025-09-09', 1);
    CREATE VIEW old AS SELECT * FROM known;
    CREATE PUBLICATION everything FOR ALL TABLES;
    ANALYZE
"""
TARGET = "CREATE TABLE known (id int, body text); INSERT INTO known VALUES (7, 'y'); ANALYZE known"

Output: TypeAlias = pytest.CaptureFixture[str]

pytestmark = [pytest.mark.usefixtures("state"), pytest.mark.template(source=SOURCE, target=TARGET)]


@pytest.fixture(autouse=True)
def korean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("PGHAUL_LANG", "ko")
    monkeypatch.setenv("COLUMNS", "250")
    words.language.cache_clear()
    yield
    words.language.cache_clear()


def shown(argv: list[str], code: int, output: Output) -> str:
    """stdout and stderr of a command, in which nothing is English."""
    assert run(argv) == code
    told = output.readouterr()
    screen = told.out + told.err
    assert re.search(r"[가-힣]", screen)
    assert still_english(screen) == []
    return screen


def urls(pair: DatabasePair) -> list[str]:
    return ["--from", pair.source, "--to", pair.target, "--workers", "1"]


def test_looking_is_korean(db_pair: DatabasePair, capsys: Output) -> None:
    assert "상속" in shown(["inspect", db_pair.source], 0, capsys)
    assert "빈틈" in shown(["inspect", db_pair.source, "--tree", "--timezone", "Asia/Seoul"], 0, capsys)
    shown(["inspect", db_pair.source, "--table", "nothing*"], 1, capsys)


def test_planning_is_korean(db_pair: DatabasePair, tmp_path: Path, capsys: Output) -> None:
    told = shown(["plan", *urls(db_pair), "--table", "*"], 1, capsys)
    assert "실행을 막는 문제 (1)" in told
    assert "행 있음: public.known: 대상에 행이 있습니다" in told
    file = str(tmp_path / "plan.toml")
    shown(["plan", *urls(db_pair), "--all", "--on-existing", "truncate", "--verbose", "-o", file], 0, capsys)
    shown(["plan", *urls(db_pair), "--table", "nothing*"], 1, capsys)
    period = ["--since", "2025-09-01", "--until", "2025-10-01", "--timezone", "Asia/Seoul"]
    shown(["plan", *urls(db_pair), "--table", "history", "--layout", "declarative", *period], 0, capsys)
    shown(["check", file, "--phase", "before"], 0, capsys)


def test_a_run_and_its_proof_are_korean(db_pair: DatabasePair, tmp_path: Path, capsys: Output) -> None:
    name = "0123456789ab"
    argv = ["run", *urls(db_pair), "--table", "*", "--on-existing", "append", "--verify", "checksum", "--run-id", name]
    told = shown([*argv, "--progress-every", "0.1", "--verbose"], 0, capsys)
    assert f"pghaul show {name}" in told
    for argv in (["runs"], ["status"], ["show", name, "--verbose"], ["logs", name]):
        shown(argv, 0, capsys)
    shown(["resume", name], 0, capsys)
    shown(["pause", name], 1, capsys)
    shown(argv, 0, capsys)
    shown(["verify", name], 3, capsys)
    shown(["report", name], 0, capsys)
    page = tmp_path / "report.html"
    shown(["report", name, "--output", str(page)], 0, capsys)
    html = page.read_text(encoding="utf-8")
    assert '<html lang="ko"' in html
    text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", "\n", html, flags=re.DOTALL)
    assert still_english(text) == []


def test_profiles_are_korean(db_pair: DatabasePair, capsys: Output) -> None:
    shown(["profile", "add", "old", db_pair.source], 0, capsys)
    shown(["profile", "list"], 0, capsys)
    shown(["profile", "show", "old"], 0, capsys)
    shown(["profile", "test", "old"], 0, capsys)
    shown(["profile", "remove", "old"], 0, capsys)
    shown(["profile", "show", "old"], 1, capsys)


def test_this_machine_is_told_of_in_korean(capsys: Output) -> None:
    run(["doctor"])
    told = capsys.readouterr()
    assert still_english(told.out + told.err) == []


def test_questions_are_korean(
    db_pair: DatabasePair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """An answer that is none is told so, in Korean too."""
    file = tmp_path / "plan.toml"
    typed = [db_pair.source, "99", "known", "", "postgresql://127.0.0.1:1/none", db_pair.target]
    typed += ["never", "same", "fail", "count", "1", str(file), "perhaps", "n"]
    asked: list[str] = []

    def answer(_console: object, prompt: object = "", **_rest: object) -> str:
        asked.append(str(prompt))
        return typed.pop(0)

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("rich.console.Console.input", answer)
    file.write_text("", encoding="utf-8")
    typed.insert(-2, "y")  # write over it
    assert run(["plan", "--interactive"]) == 1
    told = capsys.readouterr()
    assert still_english(told.out + told.err + "\n".join(asked)) == []
    assert "답 중에 없습니다." in told.err
