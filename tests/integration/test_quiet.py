"""--quiet: silence where all is well, and every word that matters where it is not."""

from __future__ import annotations

import pytest
from tests.databases import DatabasePair
from tests.looking import execute

from pghaul.cli.app import run

TABLE = "CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 1000) g"


def words(pair: DatabasePair, *more: str) -> list[str]:
    return ["run", "--from", pair.source, "--to", pair.target, "--table", "t", "--workers", "1", *more]


@pytest.mark.template(source=TABLE)
def test_a_run_that_goes_well_says_nothing(
    db_pair: DatabasePair, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(db_pair, "--quiet")) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.template(source=TABLE, target="CREATE TABLE t (id int CHECK (id < 10))")
def test_a_run_that_fails_says_why(db_pair: DatabasePair, state: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words(db_pair, "-q")) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "started" not in err
    assert "check constraint" in err
    assert "pghaul resume" in err
    execute(db_pair.target, "ALTER TABLE t DROP CONSTRAINT t_id_check")
    assert run(["resume", "-q"]) == 0
    assert capsys.readouterr() == ("", "")


def test_loud_and_quiet_at_once_is_wrong_usage(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["run", "--from", "postgresql://a/b", "--to", "postgresql://c/d", "--table", "t", "-q", "-v"]
    assert run(argv) == 2
    assert "contradict" in capsys.readouterr().err
