"""A real pgbouncer in front of a server, for the tests that have to be refused by it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pghaul.service.embedded import Cluster, free_port
from tests.components import need
from tests.faults.program import wait_until


@contextmanager
def running_pooler(server: Cluster, folder: Path) -> Iterator[int]:
    """pgbouncer in transaction mode; its port."""
    program = need("pgbouncer")
    port = free_port()
    folder.mkdir()
    (folder / "users").write_text('"postgres" ""\n')
    config = folder / "bouncer.ini"
    config.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port}\n"
        f"[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\n"
        f"auth_type=trust\nauth_file={folder}/users\npool_mode=transaction\nunix_socket_dir=\n"
    )
    user = _hand_over(folder)
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([program, "-q", str(config)], user=user, stdout=quiet, stderr=quiet)
    try:
        assert wait_until(lambda: _answers(port))
        yield port
    finally:
        process.terminate()
        process.wait()


def _hand_over(folder: Path) -> str | None:
    """It refuses to run as root; whom it runs as then has to reach its folder."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    for parent in folder.parents:
        if parent != Path("/") and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, "nobody")
    return "nobody"


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
