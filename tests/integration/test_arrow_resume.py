"""A source that is not PostgreSQL changes before a run is resumed: what was loaded is compared, and loaded again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.looking import value
from tests.mariadb import MariaDatabase
from tests.moving import Moved, assert_done, resume, rows
from tests.mysql_reading import carried as from_mysql
from tests.sqlite_files import carried, held, made

from pghaul.model.errors import StoppedError
from pghaul.model.event import Event, EventKind
from pghaul.model.plan import OnExisting
from pghaul.model.run import RunState
from pghaul.service.migration import MigrationService

SPLIT = 8192  # bytes: `item` becomes several ranges
PARTS = """
CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT UNIQUE, body TEXT);
CREATE TABLE part (id INTEGER PRIMARY KEY, item INTEGER REFERENCES item (id));
CREATE TABLE log (at TEXT, what TEXT);
CREATE VIEW seen AS SELECT what FROM log;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
INSERT INTO item SELECT i, 'c' || i, printf('%040d', i) FROM n;
INSERT INTO part SELECT id, id FROM item WHERE id % 30 = 0;
INSERT INTO log SELECT body, code FROM item WHERE id < 50;
INSERT INTO log SELECT * FROM log WHERE what < 'c2';
"""
# To the other end of the keys with the same code, one gone, one new in the middle, one changed; and `log` likewise.
CHANGED = """
DELETE FROM part WHERE item IN (30, 870);
UPDATE item SET id = 2000 WHERE id = 30; UPDATE item SET id = -1 WHERE id = 870;
DELETE FROM item WHERE id = 100; UPDATE item SET code = 'c100', body = NULL WHERE id = 500;
DELETE FROM log WHERE rowid = 3; INSERT INTO log SELECT * FROM log WHERE rowid = 5;
"""
QUERIES = {
    "item": "SELECT id, code, body FROM item ORDER BY id",
    "part": "SELECT id, item FROM part ORDER BY id",
    "log": "SELECT at, what, count(*) FROM log GROUP BY at, what ORDER BY at, what",
}

pytestmark = pytest.mark.parametrize("db_source", ["pg18"], indirect=True)


def until(seen: list[Event], kind: EventKind, table: str | None = None, **data: str) -> Callable[[], bool]:
    """Stop when this was told."""
    return lambda: any(
        e.kind is kind and table in (None, e.table) and data.items() <= e.data.items() for e in list(seen)
    )


def stopped(path: Path, target: str, kind: EventKind, step: dict[str, str], **options: Any) -> None:
    seen: list[Event] = []
    with pytest.raises(StoppedError):
        carried(path, target, events=seen, stop=until(seen, kind, **step), split_bytes=SPLIT, **options)


def redone(moved: Moved) -> set[str]:
    return {str(e.table) for e in moved.of(EventKind.CHUNK_REDO)}


def rechecked(moved: Moved) -> int:
    return sum(e.data["step"] == "recheck" for e in moved.of(EventKind.VERIFIED))


@pytest.mark.parametrize("verify", ["count", "checksum"])
def test_what_has_changed_is_loaded_again(db_source: str, state: str, tmp_path: Path, verify: str) -> None:
    """All was loaded, with its keys. A row that moved from range to range is in nobody's way, and there once."""
    path = made(tmp_path / "a.db", PARTS)
    stopped(path, db_source, EventKind.SCHEMA, {"step": "references"}, verify=verify, on_existing=OnExisting.TRUNCATE)
    made(path, CHANGED)
    moved = resume()
    assert_done(moved)
    assert {name: rows(db_source, query) for name, query in QUERIES.items()} == {
        name: held(path, query) for name, query in QUERIES.items()
    }
    assert redone(moved) == {"public.item", "public.part", "public.log"}
    assert not moved.notices("MIXED SNAPSHOTS")
    done = {(e.table, e.chunk) for e in moved.of(EventKind.CHUNK_DONE)}
    assert 0 < sum(table == "public.item" for table, _ in done) < rechecked(moved) - 2, "all of it, for some rows"
    assert value(db_source, "SELECT convalidated FROM pg_constraint WHERE contype = 'f'") is True
    assert value(db_source, "SELECT seen IS NOT NULL FROM pghaul.run") is True


def test_what_is_as_it_was_is_not_loaded_again(db_source: str, state: str, tmp_path: Path) -> None:
    """The file says that nobody has written, and nothing is read; then it does not, and what is read is the same."""
    path = made(tmp_path / "a.db", PARTS)
    stopped(path, db_source, EventKind.CHUNK_DONE, {}, verify="checksum")
    seen: list[Event] = []
    with pytest.raises(StoppedError):
        MigrationService().resume(listener=seen.append, stop=until(seen, EventKind.CHUNK_DONE))
    assert not [e for e in seen if e.kind in (EventKind.VERIFIED, EventKind.NOTICE)]
    os.utime(path, (1, 1))
    moved = resume()
    assert_done(moved)
    assert rechecked(moved) == 2
    assert not redone(moved)
    assert rows(db_source, QUERIES["item"]) == held(path, QUERIES["item"])


def test_the_ledger_is_trusted_where_that_is_asked(db_source: str, state: str, tmp_path: Path) -> None:
    path = made(tmp_path / "a.db", PARTS)
    stopped(path, db_source, EventKind.CHUNK_DONE, {})
    made(path, "UPDATE item SET body = 'new'")
    moved = resume(trust_ledger=True)
    assert_done(moved)
    assert rechecked(moved) == 0
    assert moved.notices("MIXED SNAPSHOTS") == ["public.item"]
    assert value(db_source, "SELECT count(*) BETWEEN 1 AND 899 FROM item WHERE body = 'new'") is True
    assert value(db_source, "SELECT seen FROM pghaul.run") is None


@pytest.mark.template(
    source="""
    CREATE TABLE item (id int8, code text, body text); INSERT INTO item VALUES (-5, 'x', 'there');
    CREATE TABLE log (at text, what text CHECK (what <> 'wrong'));
"""
)
def test_what_cannot_be_compared_is_named(db_source: str, state: str, tmp_path: Path) -> None:
    """Rows among others that were there; a table of which rows are set aside. Nothing of them is touched again."""
    path, seen = made(tmp_path / "a.db", PARTS + "UPDATE log SET what = 'wrong' WHERE rowid = 9"), list[Event]()
    options: dict[str, Any] = {"on_existing": OnExisting.APPEND, "max_rejects": 5, "split_bytes": SPLIT}
    stop = until(seen, EventKind.CHUNK_DONE, "public.log")
    with pytest.raises(StoppedError):
        carried(path, db_source, "item", "log", events=seen, stop=stop, **options)
    os.utime(path, (1, 1))
    moved = resume()
    assert moved.run.state is RunState.DIFFERENT
    assert sorted(moved.notices("MIXED SNAPSHOTS")) == ["public.item", "public.log"]
    assert not redone(moved)
    counts = "SELECT (SELECT count(*) FROM item), (SELECT count(*) FROM log), (SELECT count(*) FROM pghaul.quarantine)"
    assert rows(db_source, counts) == [(901, 59, 1)]


def test_mysql_is_read_again_and_compared(mariadb: MariaDatabase, db_source: str, state: str) -> None:
    """A jsonb that the server spells in its own way is the same; a row more without a key is found."""
    mariadb.run(
        "CREATE TABLE a (id int PRIMARY KEY, doc json, took time)",
        "INSERT INTO a SELECT seq, '{\"b\": 1.50, \"a\":  [1]}', '26:00:00' FROM seq_1_to_50",
        "CREATE TABLE b (word varchar(20))",
        "INSERT INTO b SELECT concat('w', seq % 7) FROM seq_1_to_30",
        "CREATE TABLE c (id int PRIMARY KEY, a int, word varchar(20), FOREIGN KEY (a) REFERENCES a (id))",
        "INSERT INTO c SELECT seq, seq, 'c' FROM seq_1_to_9",
        "CREATE VIEW v AS SELECT word FROM b",
    )
    seen: list[Event] = []
    stop = until(seen, EventKind.SCHEMA, step="references")
    with pytest.raises(StoppedError):
        from_mysql(mariadb, db_source, verify="checksum", events=seen, stop=stop)
    mariadb.run("INSERT INTO b VALUES ('w3')", "UPDATE c SET word = 'd' WHERE id = 4")
    moved = resume(source=mariadb.url)
    assert_done(moved)
    assert redone(moved) == {"public.b", "public.c"}
    assert rows(db_source, "SELECT count(*), count(*) FILTER (WHERE word = 'w3') FROM b") == [(31, 5)]
    assert rows(db_source, "SELECT id FROM c WHERE word = 'd'") == [(4,)]
    assert not moved.notices("MIXED SNAPSHOTS")
