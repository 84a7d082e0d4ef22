"""SQLite: what a file says of itself, and what comes out of it. The contract of all sources is tests/contract."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from pghaul.model.errors import (
    AccessError,
    NotFoundError,
    ServerBusyError,
    SnapshotLostError,
    SourceError,
    StoppedError,
    UsageError,
)
from pghaul.model.foreign import ForeignTable, KeyRange, ReadColumn, Reading
from pghaul.model.table import Name
from pghaul.sources import sqlite
from pghaul.sources._sqlite_connection import Connection
from pghaul.sources._sqlite_description import describe
from pghaul.sources._sqlite_look import IS_MOMENT, Asked, Look
from pghaul.sources.protocol import engine_of

INTERRUPTED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 5")
connection.execute("BEGIN")
connection.execute("UPDATE t SET w = 'y' || w")
os._exit(0)
"""
LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


def make(path: Path, script: str) -> Path:
    """A database, made by the standard library."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


@contextmanager
def opened(path: Path, options: str = "") -> Iterator[sqlite.SQLite]:
    """As a run would open it."""
    engine = engine_of("sqlite")
    with engine.open(engine.endpoint(f"sqlite://{path}{options}", {}, None)) as source:
        assert isinstance(source, sqlite.SQLite)
        yield source


def described(source: sqlite.SQLite, table: str = "t") -> ForeignTable:
    """One table."""
    return next(t for t in source.database().tables if t.name.name == table)


def rows(source: sqlite.SQLite, table: str = "t", **types: str) -> list[tuple[object, ...]]:
    """All of a table, as the types that are proposed, or as these."""
    columns = tuple(
        ReadColumn(name=c.name, native=c.native, pg_type=types.get(c.name, c.pg_type))
        for c in described(source, table).columns
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
        table = described(source)
        assert [c.pg_type for c in table.columns] == ["bigint", "text", "numeric(5,2)", "date", "text"]
        assert [c.observed for c in table.columns[-2:]] == ["text", "integer, text (1 of 2)"]
        assert (table.rows, table.exact_rows, table.columns[0].identity_next) == (2, True, 9)
        assert [str(v) for v in rows(source)[0]] == ["7", "abcd", "1.25", "2024-02-29", "x"]


def test_what_only_the_text_of_create_says_is_described(tmp_path: Path) -> None:
    path = make(
        tmp_path / "a.db",
        """
        CREATE TABLE t (
            id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT COLLATE NOCASE CONSTRAINT named CHECK (length(name) > 1),
            n INT DEFAULT (1 + 1) CHECK (n > 0), twice INT GENERATED ALWAYS AS (n * 2) STORED, virt INT AS (n + 1),
            UNIQUE (name, n), CHECK (n < 100)
        );
        INSERT INTO t (id, name, n) VALUES (50, 'ab', 2);
        DELETE FROM t;
        CREATE INDEX partial ON t (n DESC) WHERE n > 5;
        CREATE UNIQUE INDEX folded ON t (lower(name), n);
        CREATE VIEW v AS SELECT id, name FROM t WHERE n > 1;
        CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; END;
        CREATE VIRTUAL TABLE words USING fts5(body);
        CREATE TABLE k (a TEXT, b INT, PRIMARY KEY (b, a)) WITHOUT ROWID, STRICT;
        """,
    )
    with opened(path) as source:
        database = source.database()
    t, k = database.tables
    assert t.columns[0].identity_next == 51
    assert t.columns[1].collation == "NOCASE"
    assert [(c.name, c.expression) for c in t.checks] == [("named", "LENGTH(name) > 1"), ("", "n > 0"), ("", "n < 100")]
    assert [c.default for c in t.columns][2] == "1 + 1"
    assert [c.generated for c in t.columns] == [None, None, None, "n * 2", "n + 1"]
    known = {i.name: i for i in t.indexes}
    assert (known["partial"].columns, known["partial"].descending, known["partial"].predicate) == (
        ("n",),
        (True,),
        "n > 5",
    )
    assert (known["folded"].unique, known["folded"].expression) == (True, "LOWER(name), n")
    assert [i.columns for i in t.indexes if i.constraint] == [("id",), ("name", "n")]
    assert k.primary is not None
    assert k.primary.columns == ("b", "a")
    assert [(v.name.name, v.definition) for v in database.views] == [("v", "SELECT id, name FROM t WHERE n > 1")]
    kinds = {(o.kind, o.name) for o in database.others}
    assert {("TRIGGER", "t.g"), ("VIRTUAL TABLE", "words"), ("SHADOW TABLE", "words_data")} <= kinds


def test_what_was_not_looked_at_is_refused_by_name(tmp_path: Path) -> None:
    script = "CREATE TABLE t (n INTEGER, w TEXT);" + "INSERT INTO t VALUES (1, 'a');" * 20
    path = make(tmp_path / "a.db", f"{script} INSERT INTO t VALUES ('one', 'a'), (1, x'00');")
    with opened(path, "?look=10") as source:
        assert described(source).columns[0].observed == "integer in the first 10 rows"
        with pytest.raises(SourceError, match=r"column n holds a value of class text .* \(.*a\.db, t\)"):
            rows(source)
        with pytest.raises(SourceError, match="column w holds a value of class blob"):
            rows(source, n="text")
    with opened(path, "?look=all") as source:
        assert [c.pg_type for c in described(source).columns] == ["text", "bytea"]
        assert rows(source)[-2:] == [("one", b"a"), ("1", b"\x00")]


def test_bytes_among_numbers_are_told_of_before_they_are_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db", "CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x'), (x'00', x'00')")
    with opened(path) as source:
        assert [(c.pg_type, c.refused) for c in described(source).columns] == [("text", True), ("bytea", False)]


def test_the_value_that_has_no_place_is_shown(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db", "CREATE TABLE t (p DECIMAL(9,2)); INSERT INTO t VALUES (1), (2.5), (1.125), (7);")
    with opened(path) as source, pytest.raises(SourceError, match=r"column p holds 1\.125, which is no numeric\(9,2\)"):
        rows(source, p="numeric(9,2)")


@pytest.mark.parametrize("content", [b"not a database, but longer than a header" * 9, b"SQLite format 3\x00"])
def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.db"), opened(path):
        pass


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db", "CREATE TABLE t (w TEXT);" + f"INSERT INTO t VALUES ('{'x' * 9000}');" * 9)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(SourceError, match="cut off"), opened(path):
        pass


def test_a_damaged_page_is_an_error_and_the_other_tables_can_be_read(tmp_path: Path) -> None:
    path = make(
        tmp_path / "a.db",
        "CREATE TABLE good (w TEXT); INSERT INTO good VALUES ('a'); CREATE TABLE t (w TEXT);"
        + f"INSERT INTO t VALUES ('{'x' * 900}');" * 99,
    )
    with path.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 4096)
    column = ReadColumn(name="w", native="TEXT", pg_type="text")
    with opened(path) as source:
        good, bad = source.database().tables
        assert good.trouble is None
        assert bad.trouble is not None
        assert "--exclude t" in str(bad.trouble.advice)
    with opened(path, "?look=0") as source:
        with pytest.raises(SourceError, match="damaged"):
            list(source.read(Reading(table=Name("", "t"), columns=(column,))))
        (batch,) = source.read(Reading(table=Name("", "good"), columns=(column,)))
        assert batch.to_pylist() == [{"w": "a"}]


def test_an_empty_file_is_an_empty_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch()
    with opened(path) as source:
        assert source.database().tables == ()


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError), opened(tmp_path / "a.db"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_way_that_sqlalchemy_writes_a_path_is_understood(tmp_path: Path) -> None:
    ours, theirs = (sqlite.endpoint(f"sqlite://{slashes}{tmp_path}/x.db", {}, None) for slashes in ("", "/"))
    assert ours == theirs
    assert ours.get("path") == f"{tmp_path}/x.db"


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="folder"), opened(tmp_path):
        pass


def test_nothing_is_written_beside_a_database_with_a_wal(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db", "PRAGMA journal_mode = wal; CREATE TABLE t (n INT); INSERT INTO t VALUES (1);")
    before = [(p.name, p.stat().st_mtime_ns) for p in tmp_path.iterdir()]
    with opened(path) as source:
        source.hold()
        assert rows(source) == [(1,)]
        source.check()
    assert [(p.name, p.stat().st_mtime_ns) for p in tmp_path.iterdir()] == before == [("a.db", before[0][1])]


def test_who_begins_to_write_where_nobody_did_is_seen(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db", "PRAGMA journal_mode = wal; CREATE TABLE t (n INT); INSERT INTO t VALUES (1);")
    with opened(path) as source, closing(sqlite3.connect(path)) as other:
        source.hold()
        other.execute("INSERT INTO t VALUES (2)")
        other.commit()
        with pytest.raises(SnapshotLostError):
            source.check()


def test_what_another_process_has_committed_but_not_yet_moved_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as other:
        other.executescript("PRAGMA journal_mode = wal; CREATE TABLE t (n INT); INSERT INTO t VALUES (1);")
        with opened(path) as source:
            assert rows(source) == [(1,)]


def test_a_database_that_is_locked_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pghaul.sources._sqlite_connection.WAIT", 10)
    path = make(tmp_path / "a.db", "CREATE TABLE t (n INT)")
    # A process has no locks against itself.
    holder = [sys.executable, "-I", "-c", LOCK, str(path)]
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(ServerBusyError), opened(path) as source:
            source.database()


def test_a_database_in_utf_16_is_read(tmp_path: Path) -> None:
    path = make(
        tmp_path / "a.db", "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (w TEXT); INSERT INTO t VALUES ('é 한 😀');"
    )
    with opened(path) as source:
        assert source.database().encoding == "UTF-16le"
        assert rows(source) == [("é 한 😀",)]


def test_bytes_that_are_no_utf_8_are_refused_by_name(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db", "CREATE TABLE t (w TEXT); INSERT INTO t VALUES ('a'), (CAST(x'e92062' AS TEXT));")
    with opened(path) as source, pytest.raises(SourceError, match=r"column w holds bytes that are no UTF-8 \(0xe92062"):
        rows(source)


def test_what_was_seen_when_it_was_described_is_not_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "a.db", "CREATE TABLE t (n INT, w TEXT); INSERT INTO t VALUES (1, '2024-02-29');")
    asked: list[str] = []

    def looking(_: object, __: str, of: Sequence[Asked], ___: int | None) -> list[Look]:
        asked.extend(a.sql for a in of)
        return [Look(rows=1, text=1, day=1, bytes=10) for _ in of]

    with opened(path) as source:
        monkeypatch.setattr(sqlite, "look", looking)
        known = [
            ReadColumn(name=c.name, native=c.native, pg_type=c.pg_type, seen=c.seen) for c in described(source).columns
        ]
        (batch,) = source.read(Reading(table=Name("", "t"), columns=tuple(known)))
        assert (batch.to_pylist(), asked) == ([{"n": 1, "w": "2024-02-29"}], [])
        # As text it was not asked whether it is a date: a plan may say so.
        (batch,) = source.read(Reading(table=Name("", "t"), columns=(replace(known[1], pg_type="date"),)))
        assert (batch.to_pylist(), asked) == ([{"w": date(2024, 2, 29)}], ['"w"'])


def test_what_is_longer_than_its_type_is_refused_by_name(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db", "CREATE TABLE t (w TEXT); INSERT INTO t VALUES ('가나다'), ('ab  ');")
    with opened(path) as source:
        assert len(rows(source, w="character varying(4)")) == 2
        with pytest.raises(SourceError, match=r"column w holds 'ab  ', which is no character varying\(3\)"):
            rows(source, w="character varying(3)")


@pytest.mark.parametrize("walked", [0, 1 << 30])
def test_rows_that_grow_wide_late_come_in_small_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, walked: int
) -> None:
    monkeypatch.setattr(sqlite, "QUICKLY_WALKED", walked)
    path = make(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB);"
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000)"
        "INSERT INTO t SELECT x, zeroblob(CASE WHEN x > 1990 THEN 2000000 ELSE 10 END) FROM c;",
    )
    columns = tuple(ReadColumn(name=n, native="", pg_type=t) for n, t in (("id", "bigint"), ("b", "bytea")))
    reading = Reading(table=Name("", "t"), columns=columns, batch_bytes=1 << 20)
    part = KeyRange(column="id", low=None, high=None)
    with opened(path, "?look=100") as source:
        for read in (reading, Reading(table=reading.table, columns=columns, batch_bytes=1 << 20, range=part)):
            sizes = [b.nbytes for b in source.read(read)]
            assert sum(sizes) > 20_000_000
            assert max(sizes) < 36 << 20


def test_a_file_that_may_not_be_read_is_no_access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(AccessError, match="Permission denied"), opened(tmp_path / "a.db"):
        pass


@pytest.mark.parametrize("url", ["sqlite://a.db", "sqlite:", "sqlite:a.db?mode=rwc", "sqlite:a.db?look=some"])
def test_a_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        sqlite.endpoint(url, {}, None)


def test_what_a_database_says_of_others_than_itself_does_no_harm(tmp_path: Path) -> None:
    """A collation or a module that only its own program knows, a view and references that lead nowhere."""
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.create_collation("LOCALIZED", lambda a, b: (a > b) - (a < b))
        connection.executescript(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT COLLATE LOCALIZED UNIQUE);"
            "INSERT INTO t VALUES (-5, 'b'), (-4, 'a');"
            "CREATE VIEW broken AS SELECT * FROM missing;"
            "CREATE TABLE r (x INT REFERENCES nowhere, y INT REFERENCES t (nope), z INT REFERENCES t);"
            "PRAGMA writable_schema = 1;"
            "INSERT INTO sqlite_master VALUES"
            " ('table', 'spatial', 'spatial', 0, 'CREATE VIRTUAL TABLE spatial USING unknown(a)');"
        )
    column = ReadColumn(name="name", native="TEXT", pg_type="text")
    with opened(path) as source:
        database = source.database()
        (batch,) = source.read(Reading(table=Name("", "t"), columns=(column,), ordered=("name",)))
    assert batch.column(0).to_pylist() == ["a", "b"]
    assert [t.name.name for t in database.tables] == ["t", "r"]
    assert database.tables[0].columns[0].identity_next == 1
    assert [r.columns for r in database.tables[1].references] == [("z",)]
    assert {(o.kind, o.name) for o in database.others} == {
        ("FK CONSTRAINT", "r (x)"),
        ("FK CONSTRAINT", "r (y)"),
        ("VIRTUAL TABLE", "spatial"),
    }


def test_an_encoding_of_the_plan_is_refused_where_the_database_has_another(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db", "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (w TEXT); INSERT INTO t VALUES ('é');")
    column = ReadColumn(name="w", native="TEXT", pg_type="text", encoding="latin-1")
    with opened(path) as source, pytest.raises(SourceError, match="columns w are kept as UTF-16le"):
        source.read(Reading(table=Name("", "t"), columns=(column,)))


def test_a_reading_that_was_stopped_does_not_hold_up_the_next(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db", "CREATE TABLE t (n INT); INSERT INTO t VALUES (1);")
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 6000000) SELECT count(*) FROM c"
    column = ReadColumn(name="n", native="INT", pg_type="integer")
    reading = Reading(table=Name("", "t"), columns=(column,))
    stopped = replace(reading, where=f"({endless}) > 0")
    with opened(path) as source:
        batches = source.read(stopped)
        source.cancel()
        with pytest.raises(StoppedError):
            list(batches)
        assert source.count(reading.table) == 1
        (batch,) = source.read(reading)
        assert batch.to_pylist() == [{"n": 1}]
    with opened(path) as source:
        source.hold()
        source.read(stopped)
        source.cancel()
        with pytest.raises(SnapshotLostError):  # another connection may see another moment
            source.read(reading)


def test_what_an_interrupted_program_has_left_is_not_undone_by_us(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db", "CREATE TABLE t (w TEXT);" + f"INSERT INTO t VALUES ('{'x' * 3000}');" * 99)
    subprocess.run([sys.executable, "-I", "-c", INTERRUPTED, str(path)], check=True)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(SourceError, match="readonly") as refused, opened(path) as source:
        source.database()
    assert "sqlite3" in refused.value.advice
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert set(before) == {"a.db", "a.db-journal"}


def test_what_is_held_twice_is_one_moment(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db", "CREATE TABLE t (n INT)")
    with opened(path) as source:
        assert source.hold() == source.hold()
        source.join(source.hold())


MOMENTS = {
    "2024-02-29 23:59:59": True,
    "2024-02-29T23:59": True,
    "2024-02-29 23:59:59.123456": True,
    "2023-02-29 23:59:59": False,  # there is no such day
    "2024-04-31 00:00:00": False,
    "0000-01-01 00:00:00": False,  # nor such a year
    "2024-02-29 24:00:00": False,
    "2024-02-29x23:59:59": False,
    "2024-02-29 23:59:5x": False,
    "2024-02-29 23.59.59": False,
    "2024-02-29 23:59:5": False,
    "2024-02-29": False,
    "": False,
}


def test_what_is_a_moment_is_told_by_its_shape_and_its_day() -> None:
    with closing(sqlite3.connect(":memory:")) as session:
        query = f"SELECT v, {IS_MOMENT.replace('{v}', 'v')} FROM (SELECT ? AS v)"
        found = {value: bool(session.execute(query, [value]).fetchone()[1]) for value in MOMENTS}
    assert found == MOMENTS


def test_the_catalogue_is_asked_once_for_all_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table costs one look at its rows; thousands of them would else be described for minutes."""
    asked: list[str] = []
    ask = Connection.ask
    monkeypatch.setattr(Connection, "ask", lambda self, words: asked.append(words) or ask(self, words))

    def questions(count: int) -> int:
        path = tmp_path / f"{count}.db"
        with closing(sqlite3.connect(path)) as connection:
            for n in range(count):
                connection.execute(f"CREATE TABLE t{n} (id INTEGER PRIMARY KEY AUTOINCREMENT, u REFERENCES T{n // 2})")
                connection.execute(f"CREATE INDEX i{n} ON t{n} (u)")
        asked.clear()
        with closing(Connection(path)) as connection:
            found = describe(connection, None)
        assert [r.referenced for t in found.tables for r in t.references] == [("id",)] * count
        assert all(len(t.indexes) == 2 and t.columns[0].identity_next == 1 for t in found.tables)
        return len(asked)

    assert questions(12) - questions(2) == 10
