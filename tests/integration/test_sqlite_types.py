"""Every kind of value that SQLite can hold arrives on the target as it is expected to."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from tests.contract.engines.sqlite import MATRIX, fill_matrix
from tests.contract.test_types import same
from tests.moving import assert_done, rows
from tests.sqlite_files import carried

LEFT_OUT = ("nuls", "xmls")  # no NUL in texts there; the tests' server was built without libxml
COLUMNS = {name: proposed for name, (_, _, proposed, _) in MATRIX.items() if name not in LEFT_OUT}
AT_UTC = "(\"{}\" AT TIME ZONE 'UTC')::text || '+00'"
SPELLED = {"t": "true", "f": "false", "inf": "Infinity", "-inf": "-Infinity"}  # boolean::text, double precision::text


def _text(name: str, kind: str) -> str:
    if kind == "inet":  # its cast to text says how many bits a host has
        return f'CASE WHEN "{name}" IS NOT NULL THEN format(\'%s\', "{name}") END'
    return AT_UTC.format(name) if kind == "timestamp with time zone" else f'"{name}"::text'


def _agrees(found: str | None, expected: str | None, kind: str) -> bool:
    if found is not None and expected is not None and kind.startswith("timestamp"):
        return datetime.fromisoformat(found) == datetime.fromisoformat(expected)
    spelled = SPELLED.get(expected or "", expected) if kind in {"boolean", "double precision"} else expected
    return same(found, spelled, kind)


@pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
def test_the_type_matrix_arrives(db_source: str, state: str, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        fill_matrix(connection)
        drops = "".join(f"ALTER TABLE matrix DROP COLUMN {name};" for name in LEFT_OUT)
        connection.executescript(f"{drops} DROP TABLE latin")
    assert_done(carried(path, db_source, verify="checksum"))
    shown = ", ".join(_text(name, kind) for name, kind in COLUMNS.items())
    found = zip(*rows(db_source, f"SELECT {shown} FROM matrix ORDER BY id"), strict=True)
    wrong = {
        name: (values, MATRIX[name][3])
        for (name, kind), values in zip(COLUMNS.items(), found, strict=True)
        if not all(_agrees(f, e, kind) for f, e in zip(values, MATRIX[name][3], strict=True))
    }
    assert wrong == {}
