"""Sources that are not PostgreSQL: a SQLite file, a MariaDB; what they hold, how they change, and how they fail."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psutil

from tests.compare import Row
from tests.mariadb import PASSWORD, USER, Daemon, MariaDatabase, database

if TYPE_CHECKING:
    from tests.faults.lane import Lane

PATIENCE = 20.0  # seconds that a change waits for readers whose parent is dead
TABLES = {"item": "id, code, body, cost", "part": "id, item, took", "log": "at, what"}
ROWS = {"item": 6000, "part": 900, "log": 1500}
MADE = """
CREATE TABLE item (id {key}, code varchar(20) UNIQUE, body text, cost decimal(10,2));
CREATE TABLE part (id {key}, item int, took {took}, FOREIGN KEY (item) REFERENCES item (id));
CREATE TABLE log (at int, what text);
CREATE INDEX part_item ON part (item);
INSERT INTO item SELECT seq, {code}, {body}, CASE WHEN seq % 7 THEN seq + 0.25 END FROM {items};
INSERT INTO part SELECT seq, seq * 5, {hours} FROM {parts};
INSERT INTO log SELECT seq % 700, {body} FROM {logs};
INSERT INTO log SELECT * FROM log WHERE at < 50
"""
MARIA = {
    "key": "int PRIMARY KEY",
    "took": "time",
    "code": "concat('c', seq)",
    "body": "CASE seq % 9 WHEN 0 THEN '' WHEN 1 THEN NULL ELSE repeat(md5(seq), 4) END",
    "hours": "'26:00:01'",
    **{f"{name}s": f"seq_1_to_{rows}" for name, rows in ROWS.items()},
}
SEQ = "(WITH RECURSIVE n (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < {}) SELECT seq FROM n)"
SQLITE = {
    "key": "INTEGER PRIMARY KEY",
    "took": "text",
    "code": "'c' || seq",
    "body": "CASE seq % 9 WHEN 0 THEN '' WHEN 1 THEN NULL ELSE printf('%0128d', seq * 7919) END",
    "hours": "'26:00:01'",
    **{f"{name}s": SEQ.format(rows) for name, rows in ROWS.items()},
}


MONEY = "CASE WHEN cost IS NOT NULL THEN printf('%.2f', cost) END"  # which would be 0.00 of a NULL


class Foreign(Protocol):
    """A database of one case. `environ` is what a program needs to reach it."""

    url: str
    environ: dict[str, str]

    def rows(self, table: str) -> Counter[Row]:
        """As texts, with how often each is there."""
        ...

    def change(self, statements: Iterable[str]) -> None:
        """In one transaction, where it is one of rows."""
        ...

    def sessions(self) -> int:
        """How many of ours are open."""
        ...


class Sqlite:
    """A file."""

    def __init__(self, path: Path, *, wal: bool) -> None:
        self.url = f"sqlite://{path.as_posix()}"
        self.environ: dict[str, str] = {}
        self._path = path
        with contextlib.closing(sqlite3.connect(path)) as session:
            session.execute(f"PRAGMA journal_mode = {'wal' if wal else 'delete'}")
            session.executescript(MADE.format(**SQLITE))

    def rows(self, table: str) -> Counter[Row]:
        with contextlib.closing(sqlite3.connect(self._path, timeout=PATIENCE)) as session:
            return _texts(session.execute(f"SELECT {_read(table, MONEY)} FROM {table}").fetchall())

    def change(self, statements: Iterable[str]) -> None:
        with contextlib.closing(sqlite3.connect(self._path, timeout=PATIENCE)) as session, session:
            for statement in statements:
                session.execute(statement)

    def sessions(self) -> int:
        return 0  # processes of ours are looked for anyway


class Maria:
    """A database of the lane's server."""

    def __init__(self, daemon: Daemon, held: MariaDatabase) -> None:
        self.daemon = daemon
        self.url = f"mysql://{USER}@127.0.0.1:{daemon.server.port}/{held.name}"
        self.environ = {"MYSQL_PWD": PASSWORD}
        self._held = held
        held.run(*MADE.format(**MARIA).split(";\n"), "ANALYZE TABLE item, part, log")

    def rows(self, table: str) -> Counter[Row]:
        return _texts(self._held.run(f"SELECT {_read(table, 'CAST(cost AS char)')} FROM {table}"))

    def change(self, statements: Iterable[str]) -> None:
        self._held.run("START TRANSACTION", *statements, "COMMIT")

    def sessions(self) -> int:
        return len(self.clients())

    def clients(self) -> Sequence[tuple[Any, ...]]:
        """Their numbers."""
        return self._held.run(f"SELECT id FROM information_schema.processlist WHERE user = '{USER}'")

    def kill_clients(self) -> int:
        """All of ours; how many there were."""
        numbers = [number for (number,) in self.clients()]
        for number in numbers:
            with contextlib.suppress(Exception):  # it has gone by itself
                self._held.run(f"KILL {number}")
        return len(numbers)

    def stop(self) -> None:
        """It answers nobody."""
        assert self.daemon.process is not None
        os.kill(self.daemon.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """It answers again."""
        assert self.daemon.process is not None
        os.kill(self.daemon.process.pid, signal.SIGCONT)


def _read(table: str, cost: str) -> str:
    return TABLES[table].replace("cost", cost)


def _texts(rows: Iterable[Sequence[Any]]) -> Counter[Row]:
    """A time of MySQL over 24 hours comes as a timedelta."""
    return Counter(tuple(None if v is None else _text(v).encode() for v in row) for row in rows)


def _text(value: object) -> str:
    seconds = getattr(value, "total_seconds", None)
    if seconds is None:
        return str(value)
    whole = int(seconds())
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


@contextmanager
def sqlite(_lane: Lane, folder: Path, rng: random.Random) -> Iterator[Foreign]:
    """In either of its ways to write: with a log beside it readers do not keep writers out."""
    yield Sqlite(folder / "source.db", wal=rng.random() < 0.5)


@contextmanager
def maria(lane: Lane, _folder: Path, _rng: random.Random) -> Iterator[Foreign]:
    """Of the lane's server, which is started where it does not run."""
    daemon = lane.maria()
    if daemon.process is None or daemon.process.poll() is not None:
        daemon.start()
    with database(daemon.server) as held:
        yield Maria(daemon, held)
        if daemon.process is None or daemon.process.poll() is not None:
            daemon.start()  # a case that broke has left it so


# --- what is changed between two attempts --------------------------------------------------------------------------

CHANGES: dict[str, Callable[[random.Random], list[str]]] = {
    "rows_changed": lambda rng: [
        f"UPDATE item SET body = 'new' WHERE id % {rng.randint(500, 3000)} = 5",
        f"UPDATE part SET item = item + 1 WHERE id = {rng.randint(1, 800)}",
        f"UPDATE log SET what = 'new' WHERE at = {rng.randint(0, 699)}",
    ],
    "rows_moved": lambda rng: [  # to another range of keys, with the same value of a unique column
        f"UPDATE item SET id = id + 100000 WHERE id % 5 <> 0 AND id % {rng.randint(500, 3000)} = 6",
        f"UPDATE item SET id = 0 - id WHERE id = {5 * rng.randint(901, 1199)}",
    ],
    "rows_inserted": lambda rng: [
        f"INSERT INTO item SELECT id + {rng.randint(10_000, 20_000)}, NULL, body, cost FROM item WHERE id < 400",
        "INSERT INTO log SELECT * FROM log WHERE at % 10 = 3",
    ],
    "rows_deleted": lambda rng: [
        f"DELETE FROM part WHERE id % {rng.randint(2, 9)} = 1",
        "DELETE FROM item WHERE id % 5 = 1",
        f"DELETE FROM log WHERE at % {rng.randint(2, 9)} = 1",
    ],
    "table_dropped": lambda _rng: ["DROP TABLE log"],
    "column_added": lambda rng: [f"ALTER TABLE {rng.choice(list(TABLES))} ADD COLUMN more int DEFAULT 7"],
}
RESHAPED = ("table_dropped", "column_added")  # a run that has begun cannot go on with them


def relays(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that read from MySQL for connectorx."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if any("_mysql_relay" in word for word in process.cmdline()):
                found.append(process)
    return found
