"""Rows that were set aside: listed, shown, exported without a loss, dropped."""

from __future__ import annotations

import csv
import io
import json
import stat
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.databases import DatabasePair
from tests.moving import rows, run_sql
from tests.set_aside import RUN, set_aside

from pghaul.cli import app
from pghaul.model.quarantine import Which
from pghaul.service.migration import MigrationService
from pghaul.target import quarantine

Told = pytest.CaptureFixture[str]
COLUMNS = ["id", "v", "나라"]
OTHER = "ba9876543210"


@pytest.fixture
def filled(db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Five rows of three kinds, of two tables and two runs; the target's URL."""
    monkeypatch.setenv("COLUMNS", "150")
    set_aside(db_pair.target, "public.t", COLUMNS, ("1", "a\tb\\n\n", "한국"), ("2", None, ""), ("3", "NULL", r"\N"))
    set_aside(db_pair.target, "public.t", COLUMNS, b"4\tx\xff\\\\y\t\\N", sqlstate="22021", message="invalid bytes")
    set_aside(
        db_pair.target, 'public."a.b"', ["x"], ("서울",), run=OTHER, encoding="UHC", sqlstate="23505",
        constraint_name="b_pkey", message="duplicate key",
    )  # fmt: skip
    return db_pair.target


def asked(capsys: Told, *words: str) -> Any:
    """What a command answers with --json."""
    assert app.run(["quarantine", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


VALUES = [
    {"id": "1", "v": "a\tb\\n\n", "나라": "한국"},
    {"id": "2", "v": None, "나라": ""},
    {"id": "3", "v": "NULL", "나라": r"\N"},
    {"id": "4", "v": r"x\xff\\y", "나라": None},
    {"x": "서울"},
]


def test_rows_are_counted_by_run_table_and_reason(filled: str, capsys: Told) -> None:
    second, first = asked(capsys, "list", filled)
    assert (second["run"], second["table"], second["waiting"]) == (OTHER, 'public."a.b"', 1)
    assert [(r["sqlstate"], r["rows"]) for r in first["reasons"]] == [("22001", 3), ("22021", 1)]
    assert asked(capsys, "list", filled, "--run", OTHER, "--where", "constraint=b_pkey") == [second]
    assert app.run(["quarantine", "list", filled]) == 0
    told = capsys.readouterr().out
    assert "1 × 23505 b_pkey: duplicate key" in told
    assert f"pghaul quarantine show {filled}" in told


def test_a_row_is_shown_so_that_null_and_empty_and_broken_bytes_are_seen(filled: str, capsys: Told) -> None:
    assert app.run(["quarantine", "show", filled, "-t", "t"]) == 0
    told = capsys.readouterr().out
    for words in ("'한국'", " NULL", "''", "'NULL'", r"'\N'", r"'x\xff\\y'", 'key {"id": "2"}', "22021: invalid bytes"):
        assert words in told
    shown = asked(capsys, "show", filled, "--limit", "100")
    assert [row["row"] for row in shown] == VALUES
    assert [row["escaped"] for row in shown] == [[], [], [], ["v"], []]
    assert app.run(["quarantine", "show", filled, "--limit", "4"]) == 0
    assert "There are more such rows" in capsys.readouterr().err
    assert app.run(["quarantine", "show", filled, "--limit", "5"]) == 0
    assert "There are more" not in capsys.readouterr().err
    (third,) = asked(capsys, "show", filled, "--id", str(shown[2]["id"]))
    assert third == shown[2]


def test_an_export_holds_all_of_every_row(
    filled: str, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "KEYS_AT_ONCE", 2)
    monkeypatch.setattr(quarantine, "READ_AT_ONCE", 12)  # bytes: no two rows fit
    assert app.run(["quarantine", "export", filled]) == 0
    lines = [json.loads(line) for line in capsysbinary.readouterr().out.decode().splitlines()]
    assert [line["row"] for line in lines] == VALUES
    assert [(line["run"], line["table"], line["sqlstate"]) for line in lines][3:] == [
        (RUN, "public.t", "22021"),
        (OTHER, 'public."a.b"', "23505"),
    ]
    file = tmp_path / "rows.csv"
    assert app.run(["quarantine", "export", filled, "--format", "csv", "-o", str(file)]) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"), newline="")))
    assert [json.loads(line["row"]) for line in found] == VALUES
    assert [line["escaped"] for line in found] == ["", "", "", '"v"', ""]
    assert list(tmp_path.glob(".*")) == []


def test_an_export_to_parquet_has_all(filled: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    assert app.run(["quarantine", "export", filled, "--format", "parquet", "-o", str(file)]) == 0
    assert [dict(line["row"]) for line in pq.read_table(file).to_pylist()] == VALUES


def test_an_export_to_parquet_names_what_it_lacks(
    filled: str, tmp_path: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    file = tmp_path / "rows.parquet"
    assert app.run(["quarantine", "export", filled, "--format", "parquet", "-o", str(file)]) == 1
    assert "pghaul[arrow]" in capsys.readouterr().err
    assert list(tmp_path.glob("*.parquet")) == []


def test_rows_are_dropped_by_run_table_age_and_never_unasked(filled: str, capsys: Told) -> None:
    everything = "SELECT count(*) FROM pghaul.quarantine"
    assert app.run(["quarantine", "drop", filled]) == 2
    assert "5 rows will be deleted for good, 5 of them never replayed" in capsys.readouterr().err
    run_sql(filled, "UPDATE pghaul.quarantine SET set_aside_at = now() - interval '2 days' WHERE sqlstate = '22021'")
    for words, left in (
        (["--older-than", "3d"], 5),
        (["--older-than", "36h", "--table", "public.*"], 4),
        (["--replayed"], 4),
        (["--run", OTHER], 3),
        ([], 0),
    ):
        assert app.run(["quarantine", "drop", filled, "--yes", *words]) == 0
        assert rows(filled, everything) == [(left,)]


def test_what_is_not_there_is_named(filled: str, db_pair: DatabasePair, capsys: Told) -> None:
    assert app.run(["quarantine", "list", filled, "--table", "public.*", "--table", "nope"]) == 1
    assert app.run(["quarantine", "list", db_pair.source]) == 1
    assert app.run(["quarantine", "list"]) == 2
    assert app.run(["quarantine", "show", filled, "--where", "colour=red"]) == 2
    assert app.run(["quarantine", "export", filled, "-o", "/no/such/folder/x"]) == 1
    told = capsys.readouterr().err
    assert [f"PGH-{n}" in told for n in (5298, 5297, 1096, 1098, 6840)] == [True] * 5


def test_rows_of_50_mb_come_one_at_a_time(filled: str) -> None:
    place = MigrationService().quarantine(filled)
    run_sql(filled, "UPDATE pghaul.quarantine SET row_data = convert_to(repeat('x', 9 << 20), 'UTF8') WHERE id < 3")
    portions: list[int] = []
    session = place._session()
    with session as opened:
        portions += [len(p) for p in quarantine.all_rows(opened, Which())]
    assert portions == [1, 1, 3]
