"""Two servers on this machine, their data, and the state each measured run starts from."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from pghaul.service.embedded import Cluster

SOURCE_VERSION = 16
DAY = 86_400_000  # ms
END_SESSIONS = "SELECT pg_terminate_backend(pid, 3000) FROM pg_stat_activity WHERE datname = %s"
FIRST_DAY = 1_704_034_800_000  # 2024-01-01 00:00 in Seoul

# fsync stays on, as on any server that matters; enough WAL that no checkpoint falls into some runs only.
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "1h"}
# 10,000 leaves are locked by one transaction in the planning case, by pg_dump as well as by us.
SOURCE_SETTINGS = SETTINGS | {"max_locks_per_transaction": "512"}

HISTORY = """
CREATE TABLE point_history (
    path_id int8 NOT NULL,
    issued_date int8 NOT NULL,
    changed_value varchar(100),
    connection_status bool,
    PRIMARY KEY (path_id, issued_date)
) PARTITION BY RANGE (issued_date);
CREATE INDEX point_history_issued_date ON point_history (issued_date)
"""
LEAF = "CREATE TABLE {leaf} PARTITION OF point_history FOR VALUES FROM ({first}) TO ({end})"
# One row a minute and path, in the order in which a plant writes them.
FILL = """
INSERT INTO {leaf}
SELECT 1 + i %% {paths}, %(first)s + i / {paths} * 60000,
       round((random() * 1000)::numeric, 3)::text, i %% 97 <> 0
FROM generate_series(0, %(rows)s - 1) AS i
"""


@dataclass(kw_only=True)
class Pair:
    """A source and a target, and the programs that fit both."""

    source: Cluster
    target: Cluster
    folder: Path
    database: str = "bench"
    into: str = ""  # the target's database where it is called otherwise: several programs, each with its own
    others: tuple[int, ...] = ()  # processes of other servers that are at work

    @property
    def from_url(self) -> str:
        return self.source.url(self.database)

    @property
    def to_url(self) -> str:
        return self.target.url(self.into or self.database)

    @property
    def programs(self) -> Path:
        """The target's: not older than the source, and what they write the target understands."""
        return self.target.programs

    def cpu(self) -> float:
        """Seconds that all servers have used so far, ended backends among them."""
        pids = (self.source.pid, self.target.pid, *self.others)
        return sum(_cpu(pid) for pid in pids if pid is not None)

    def fresh_source(self, database: str) -> None:
        """An empty database to fill; the cases' data never meet."""
        self.database = database
        _recreate(self.source, database)

    def fresh_target(self, *, keep: bool = False) -> None:
        """Before every run, outside the timing: an empty database, and no writes of another run still due.

        `keep` puts the one before aside instead of deleting it: for a minute ext4 does not give the inodes of deleted
        files out again, and looks at each of them for every new file. Thousands of tables would measure that.
        """
        if keep:
            _put_aside(self.target, self.database)
        _recreate(self.target, self.into or self.database)
        self._settle()

    def target_like(self, template: str, *, name: str = "") -> None:
        """The target's database becomes a copy of another one, file by file: what each run of a merge begins with."""
        with psycopg.connect(self.target.url(), autocommit=True) as session:
            for database in (template, name or self.into or self.database):
                session.execute(END_SESSIONS, [database])
        _recreate(self.target, name or self.into or self.database, template=template)
        self._settle()

    def _settle(self) -> None:
        for server in (self.source, self.target):
            with psycopg.connect(server.url(), autocommit=True) as session:
                session.execute("CHECKPOINT")

    def on_source(self) -> psycopg.Connection:
        return psycopg.connect(self.from_url, autocommit=True)

    def on_target(self) -> psycopg.Connection:
        return psycopg.connect(self.to_url, autocommit=True)


@contextmanager
def two_servers(target_version: int) -> Iterator[Pair]:
    """Start both, and leave nothing behind."""
    with tempfile.TemporaryDirectory(prefix="pghaul-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        source = Cluster.bundled(SOURCE_VERSION, folder / "source", **SOURCE_SETTINGS)
        target = Cluster.bundled(target_version, folder / "target", **SETTINGS)
        try:
            yield Pair(source=source.create().start(), target=target.create().start(), folder=folder)
        finally:
            source.remove()
            target.remove()


def fill_history(pair: Pair, *, leaves: int, rows_per_leaf: int) -> int:
    """The plant's history on the source; vacuumed, so that no run pays for hint bits. Rows in all."""
    with pair.on_source() as session:
        session.execute(HISTORY)
        for number in range(leaves):
            leaf, first = make_leaf(session, number)
            paths = max(1, rows_per_leaf // 1440)
            fill = sql.SQL(FILL).format(leaf=leaf, paths=sql.Literal(paths))
            session.execute(fill, {"first": first, "rows": rows_per_leaf})
        session.execute("VACUUM (ANALYZE)")
    return leaves * rows_per_leaf


def make_leaf(session: psycopg.Connection, number: int) -> tuple[sql.Identifier, int]:
    """One day; its name and its first millisecond."""
    leaf, first = sql.Identifier(leaf_name(number)), FIRST_DAY + number * DAY
    words = sql.SQL(LEAF).format(leaf=leaf, first=sql.Literal(first), end=sql.Literal(first + DAY))
    session.execute(words)
    return leaf, first


def leaf_name(number: int) -> str:
    return f"point_history_{number:05d}"


def _cpu(pid: int) -> float:
    postmaster = psutil.Process(pid)
    times = postmaster.cpu_times()
    used = times.user + times.system + times.children_user + times.children_system
    for child in postmaster.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            own = child.cpu_times()
            used += own.user + own.system
    return float(used)


def _put_aside(server: Cluster, database: str) -> None:
    with psycopg.connect(server.url(), autocommit=True) as session:
        names = {name for (name,) in session.execute("SELECT datname FROM pg_database")}
        if database in names:
            session.execute(END_SESSIONS, [database])
            free = next(n for n in (f"{database}_{i}" for i in range(1_000)) if n not in names)
            session.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*map(sql.Identifier, (database, free))))


def _recreate(server: Cluster, database: str, *, template: str | None = None) -> None:
    name = sql.Identifier(database)
    # Pages of a large template would all go through the WAL; version 14 and older know no other way than files.
    way = "TEMPLATE {} STRATEGY file_copy" if template else "TEMPLATE {}"
    like = sql.SQL(way).format(sql.Identifier(template or "template0"))
    with psycopg.connect(server.url(), autocommit=True) as session:
        session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        session.execute(sql.SQL("CREATE DATABASE {} {}").format(name, like))
