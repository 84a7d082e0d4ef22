"""`pghaul verify` as a person types it: what it prints, what it returns, and that it goes on watching."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.databases import DatabasePair
from tests.looking import execute
from tests.moving import assert_done, move

from pghaul.cli import verify
from pghaul.cli.app import run
from pghaul.model.errors import ConnectionLostError
from pghaul.service.migration import MigrationService

TABLE = """
CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'value ' || g FROM generate_series(1, 20) g;
"""
both = pytest.mark.template(source=TABLE, target=TABLE)


def ends(pair: DatabasePair) -> list[str]:
    return ["--from", pair.source, "--to", pair.target]


@both
def test_equal_tables(db_pair: DatabasePair, state: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", *ends(db_pair), "--table", "t"]) == 0
    out = capsys.readouterr().out
    assert "public.t" in out
    assert "the same" in out
    assert out.splitlines()[-1] == "Source and target are the same (tables: 1)."
    assert run(["verify", *ends(db_pair), "--table", "t", "--count"]) == 0
    assert "same number of rows" in capsys.readouterr().out


@both
def test_rows_that_differ_are_shown_with_what_cannot_be_seen(
    db_pair: DatabasePair, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "x" * 100
    execute(
        db_pair.target,
        "DELETE FROM t WHERE id = 1",
        "UPDATE t SET v = v || ' ' WHERE id = 2",
        "UPDATE t SET v = NULL WHERE id = 3",
        f"UPDATE t SET v = '{long}b' WHERE id = 4",
    )
    execute(db_pair.source, f"UPDATE t SET v = '{long}a' WHERE id = 4", "UPDATE t SET v = E'\\n\\t' WHERE id = 3")
    assert run(["verify", *ends(db_pair), "--table", "t"]) == 3
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "missing id='1'" in lines
    assert "different id='2': v 'value 2' → 'value 2 '" in lines
    assert "different id='3': v '\\n\\t' → NULL" in lines
    cut = f"…'{'x' * 15}"
    assert f"different id='4': v {cut}a' → {cut}b'" in lines
    assert lines[-1] == "DIFFERENT: 1 of 1 tables"


@both
def test_a_screen_names_some_rows_of_many_and_all_where_asked(
    db_pair: DatabasePair, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(db_pair.target, "DELETE FROM t")
    for words, named in (((), 10), (("--verbose",), 20), (("--limit", "12"), 12)):
        assert run(["verify", *ends(db_pair), "--table", "t", *words]) == 3
        said = capsys.readouterr()
        assert sum(line.startswith("  missing ") for line in said.out.splitlines()) == named
        assert ("--verbose" in said.out) is (not words)
        assert "--on-existing refresh" in said.err


@both
def test_one_document_for_programs(db_pair: DatabasePair, state: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute(db_pair.target, "UPDATE t SET v = 'other' WHERE id = 2")
    assert run(["verify", *ends(db_pair), "--table", "t", "--json", "--limit", "5"]) == 3
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["agrees"] is False
    assert found["run"] is None
    (table,) = found["tables"]
    assert (table["target"], table["key"], table["different"], table["complete"]) == ("public.t", ["id"], 1, True)
    assert table["rows"] == [
        {
            "kind": "different",
            "key": {"id": "2"},
            "columns": [{"name": "v", "source": "value 2", "target": "other"}],
            "times": [1, 1],
        }
    ]


@pytest.mark.template(source=TABLE)
def test_a_run_or_a_plan_file_is_verified(
    db_pair: DatabasePair, state: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = move(db_pair, "t")
    assert_done(moved)
    assert run(["verify", moved.run.id]) == 0
    file = tmp_path / "plan.toml"
    file.write_text(f'source = "{db_pair.source}"\ntarget = "{db_pair.target}"\n[[tables]]\nname = "*"\n')
    assert run(["verify", str(file), "--table", "t"]) == 0
    assert run(["verify", str(file), "--table", "unknown"]) == 1
    assert "no table that is to be verified matches unknown" in capsys.readouterr().err
    assert [v.run for v in MigrationService().verifications(moved.run.id)] == [moved.run.id]


def test_wrong_words(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify"]) == 2
    assert "`pghaul verify RUN`" in capsys.readouterr().err
    assert run(["verify", "nobody-knows"]) == 1
    assert "no run nobody-knows" in capsys.readouterr().err
    assert run(["verify", "000000000000", "--count", "--checksum"]) == 2
    assert run(["verify", "000000000000", "--where", "true"]) == 2
    assert run(["verify", "000000000000"]) == 1
    assert run(["verify", "000000000000", "--watch", "soon"]) == 2
    said = capsys.readouterr().err
    assert "choose one" in said
    assert "no run 000000000000" in said
    assert "a time is written 30s, 1m or 2h" in said


@both
def test_watching_goes_on_after_a_lost_connection_and_ends_with_the_last_code(
    db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds: list[float] = []
    ask = MigrationService.verify

    def asked(service: MigrationService, *words: Any, **more: Any) -> Any:
        if len(rounds) == 1:
            raise ConnectionLostError("gone")
        return ask(service, *words, **more)

    def waited(seconds: float, _stop: object) -> bool:
        rounds.append(seconds)
        if len(rounds) == 2:
            execute(db_pair.target, "DELETE FROM t WHERE id = 1")
        return len(rounds) < 3

    monkeypatch.setattr(MigrationService, "verify", asked)
    monkeypatch.setattr(verify, "_waited", waited)
    assert run(["verify", *ends(db_pair), "--table", "t", "--watch", "1m"]) == 3
    said = capsys.readouterr()
    first, second = said.out.splitlines()
    assert "1 tables the same, 20 rows" in first
    assert "1 of 1 tables differ: public.t" in second
    assert "gone" in said.err
    assert "again in 60 s" in said.err
    assert rounds == [60.0, 60.0, 60.0]


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("1m", 60), ("2 h", 7200), ("1.5", 1.5)])
def test_times(text: str, seconds: float) -> None:
    assert verify.parse_span(text) == seconds
