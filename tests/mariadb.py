"""A MariaDB server of a test process, from Debian's packages: made in a third of a second, started in another.

def test_one(mariadb: MariaDatabase) -> None:
    mariadb.run("CREATE TABLE t (a int)")     # in a database of this test's own
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymysql

from pghaul.service.embedded import free_port
from tests.components import need
from tests.memory import folder_for

PASSWORD = "s:e/c@ret% 1"  # characters that a URL has to encode
USER = "mover"
START = 120.0
# Nothing here outlives a crash of the machine, so nothing needs to reach its disk.
SETTINGS = (
    "--innodb-log-file-size=8M",
    "--innodb-buffer-pool-size=64M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--innodb-use-native-aio=0",
    "--performance-schema=off",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--character-set-server=utf8mb4",
    "--max-allowed-packet=128M",
    "--sql-mode=",
)


@dataclass(frozen=True, kw_only=True)
class MariaServer:
    """It listens on loopback; its socket lies in its own folder."""

    port: int
    folder: Path

    def connect(self, database: str | None = None) -> pymysql.Connection[Any]:
        """As the one who may do anything."""
        return pymysql.connect(
            unix_socket=str(self.folder / "socket"), user="root", database=database, charset="utf8mb4", autocommit=True
        )

    def url(self, database: str = "", *, password: str = PASSWORD, query: str = "") -> str:
        """With the password."""
        return f"mysql://{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}/{quote(database)}{query}"


@dataclass(frozen=True, kw_only=True)
class MariaDatabase:
    """A database of one test."""

    server: MariaServer
    name: str

    @property
    def url(self) -> str:
        return self.server.url(self.name)

    def asking(self, query: str) -> str:
        """The URL with something behind its question mark."""
        return self.server.url(self.name, query=f"?{query}")

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """In one session, without strictness, so that anything can be stored; the rows of the last one."""
        with contextlib.closing(self.server.connect(self.name)) as session, session.cursor() as cursor:
            cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'")
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def load(self, script: bytes, folder: Path) -> None:
        """By the client program, which knows DELIMITER, and SOURCE of files in the folder."""
        command = ["mariadb", f"--socket={self.server.folder / 'socket'}", "--user=root", self.name]
        subprocess.run(command, input=script, cwd=folder, check=True, capture_output=True)


class Daemon:
    """A server that can be killed, and started again on the same port with what it had."""

    def __init__(self, *settings: str) -> None:
        self._program = need("mariadb-server")
        self._settings = settings
        self.server = MariaServer(port=free_port(), folder=folder_for("mariadb"))
        self.process: subprocess.Popen[bytes] | None = None
        try:
            _create(self.server.folder)
            self.start()
            _make_user(self.server)
        except BaseException:
            self.remove()
            raise

    def start(self) -> None:
        """Returns when it lets somebody in."""
        self.process = _start(self._program, self.server.folder, self.server.port, *self._settings)
        _await(self.server, self.process)

    def kill(self) -> None:
        """As kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def remove(self) -> None:
        """All of it."""
        self.kill()
        shutil.rmtree(self.server.folder, ignore_errors=True)


@contextmanager
def running(*settings: str) -> Iterator[MariaServer]:
    """A started server in a temporary folder; stopped by its own process and deleted afterwards."""
    daemon = Daemon(*settings)
    try:
        yield daemon.server
    finally:
        daemon.remove()


_shared: list[tuple[MariaServer, contextlib.ExitStack]] = []
_users = 0


@contextmanager
def shared() -> Iterator[MariaServer]:
    """The one of this process, which runs as long as anybody wants it."""
    global _users  # noqa: PLW0603
    if not _shared:
        stack = contextlib.ExitStack()
        _shared.append((stack.enter_context(running()), stack))
    _users += 1
    try:
        yield _shared[0][0]
    finally:
        _users -= 1
        if not _users:
            _shared.pop()[1].close()


def _user() -> list[str]:
    return ["--user=root"] if os.name != "nt" and os.geteuid() == 0 else []


def _create(folder: Path) -> None:
    command = [
        "mariadb-install-db",
        "--no-defaults",
        f"--datadir={folder / 'data'}",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--skip-name-resolve",
        *SETTINGS[:2],
        *_user(),
    ]
    subprocess.run(command, check=True, capture_output=True)


def _start(program: str, folder: Path, port: int, *settings: str) -> subprocess.Popen[bytes]:
    command = [
        program,
        "--no-defaults",
        f"--datadir={folder / 'data'}",
        f"--socket={folder / 'socket'}",
        f"--pid-file={folder / 'data' / 'mariadbd.pid'}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        *SETTINGS,
        *settings,
        *_user(),
    ]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def _await(server: MariaServer, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START
    while True:
        try:  # by a socket of our own: PyMySQL leaves one open that cannot connect
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(server.folder / "socket"))
            break
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((server.folder / "log").read_text(errors="replace")[-2000:]) from None
            time.sleep(0.02)


def _make_user(server: MariaServer) -> None:
    with contextlib.closing(server.connect()) as session, session.cursor() as cursor:
        cursor.execute(f"CREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY %s", (PASSWORD,))
        cursor.execute(f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1' WITH GRANT OPTION")


@contextmanager
def database(server: MariaServer) -> Iterator[MariaDatabase]:
    """A new one, dropped afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    _ask(server, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    try:
        yield MariaDatabase(server=server, name=name)
    finally:
        _ask(server, f"DROP DATABASE {name}")


def _ask(server: MariaServer, statement: str) -> None:
    """In a session of its own: a test may kill all that are open."""
    with contextlib.closing(server.connect()) as session, session.cursor() as cursor:
        cursor.execute(statement)
