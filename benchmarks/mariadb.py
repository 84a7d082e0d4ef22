"""A MariaDB server of the measurements, from Debian's packages; stopped and deleted afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql

from pghaul.service.embedded import free_port

PROGRAM, INSTALL = "mariadbd", "mariadb-install-db"
DATABASE, USER = "bench", "bench"
START = 60.0  # seconds
# All of the table in memory, as the source of PostgreSQL has it; durable as by default.
SETTINGS = (
    "--innodb-buffer-pool-size=1G",
    "--innodb-log-file-size=512M",
    "--performance-schema=off",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--character-set-server=utf8mb4",
    "--max-allowed-packet=128M",
)


@dataclass(frozen=True, kw_only=True)
class MariaDb:
    """It listens on loopback, and trusts whoever is on this machine."""

    pid: int
    port: int
    socket: Path

    @property
    def url(self) -> str:
        return f"mysql://{USER}@127.0.0.1:{self.port}/{DATABASE}"

    def run(self, *statements: str) -> None:
        """In one session, as the one who may do anything."""
        with contextlib.closing(self._connect(DATABASE)) as session, session.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def ask(self, query: str) -> tuple[Any, ...]:
        """The one row of an answer."""
        with contextlib.closing(self._connect(DATABASE)) as session, session.cursor() as cursor:
            cursor.execute(query)
            return tuple(cursor.fetchone() or ())

    def prepare(self) -> None:
        """The database, and the user whom all programs are."""
        with contextlib.closing(self._connect(None)) as session, session.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {DATABASE}")
            cursor.execute(f"CREATE USER '{USER}'@'127.0.0.1'")
            cursor.execute(f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1'")

    def _connect(self, database: str | None) -> pymysql.Connection[Any]:
        place = str(self.socket)
        return pymysql.connect(unix_socket=place, user="root", database=database, charset="utf8mb4", autocommit=True)


def program() -> str | None:
    """Where it is, None where it is not installed."""
    return shutil.which(PROGRAM) or shutil.which(PROGRAM, path="/usr/sbin")


@contextmanager
def running(program: str) -> Iterator[MariaDb]:
    """A started server with an empty database."""
    with tempfile.TemporaryDirectory(prefix="pghaul-bench-mariadb-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        as_root = ("--user=root",) if os.name != "nt" and os.geteuid() == 0 else ()
        data = ("--no-defaults", f"--datadir={folder / 'data'}")
        install = (INSTALL, *data, "--auth-root-authentication-method=normal", "--skip-test-db", *as_root)
        subprocess.run(install, check=True, capture_output=True)
        port, socket = free_port(), folder / "socket"
        place = (f"--port={port}", "--bind-address=127.0.0.1", f"--socket={socket}", f"--pid-file={folder / 'pid'}")
        with (folder / "log").open("wb") as log:
            words = (program, *data, *place, *SETTINGS, *as_root)
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            server = MariaDb(pid=process.pid, port=port, socket=socket)
            _await(server, process, folder / "log")
            yield server
        finally:
            process.kill()
            process.wait()


def _await(server: MariaDb, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START
    while True:
        try:
            server.prepare()
        except pymysql.err.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text(errors="replace")[-2000:]) from None
            time.sleep(0.05)
        else:
            return
