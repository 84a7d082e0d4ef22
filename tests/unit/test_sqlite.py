"""SQLite: what a file says of itself, and what comes out of it. The contract of all sources is tests/contract."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pghaul.model.errors import NotFoundError, SourceError, UsageError
from pghaul.model.foreign import ReadColumn, Reading
from pghaul.model.table import Name
from pghaul.sources import sqlite
from pghaul.sources.protocol import engine_of


def make(path: Path, script: str) -> Path:
    """A database, made by the standard library."""
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()
    return path


def opened(path: Path) -> sqlite.SQLite:
    """As a run would open it."""
    engine = engine_of("sqlite")
    source = engine.open(engine.endpoint(f"sqlite://{path}", {}, None))
    assert isinstance(source, sqlite.SQLite)
    return source


def rows(source: sqlite.SQLite, table: str, **types: str) -> list[tuple[object, ...]]:
    """All of a table, as the types that are proposed, or as these."""
    described = next(t for t in source.database().tables if t.name.name == table)
    columns = tuple(
        ReadColumn(name=c.name, native=c.native, pg_type=types.get(c.name, c.pg_type)) for c in described.columns
    )
    batches = source.read(Reading(table=Name("", table), columns=columns))
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


def test_a_table_is_described_and_read(tmp_path: Path) -> None:
    path = make(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR(3), price DECIMAL(5,2), day DATE, odd INT);"
        "INSERT INTO t VALUES (7, 'abcd', 1.25, '2024-02-29', 'x'), (8, NULL, 3, '2024-03-01', 5);",
    )
    with opened(path) as source:
        (table,) = source.database().tables
        types = [c.pg_type for c in table.columns]
        assert types == ["bigint", "text", "numeric(5,2)", "date", "text"]
        assert (table.rows, table.exact_rows, table.columns[0].identity_next) == (2, True, 9)
        found = rows(source, "t")
        assert [str(v) for v in found[0]] == ["7", "abcd", "1.25", "2024-02-29", "x"]
        assert [str(v) for v in found[1]] == ["8", "None", "3.00", "2024-03-01", "5"]


@pytest.mark.parametrize("content", [b"not a database, but longer than a header" * 9, b"SQLite format 3\x00"])
def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(content)
    with pytest.raises(SourceError):
        opened(path)


def test_an_empty_file_is_an_empty_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch()
    with opened(path) as source:
        assert source.database().tables == ()


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        opened(tmp_path / "a.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["sqlite://a.db", "sqlite:", "sqlite:a.db?mode=rwc"])
def test_a_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        sqlite.endpoint(url, {}, None)
