"""Temporary files of the tests in memory, where it has room: the data of their servers, their state stores.

A database is cloned and dropped there in a fifth of the time, and a test clones two.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil

MEMORY = Path("/dev/shm")  # noqa: S108
ROOM = 6 << 30  # bytes; two workers with all their servers have taken 1.5 GB


def files_in_memory() -> None:
    """For this process and all that it starts, unless TMPDIR says where they belong."""
    if "TMPDIR" in os.environ or not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return
    if min(psutil.virtual_memory().available, shutil.disk_usage(MEMORY).free) > ROOM:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
        _sweep()


def folder_for(kind: str) -> Path:
    """A new one, for a server of this process."""
    return Path(tempfile.mkdtemp(prefix=f"pghaul-{kind}-{os.getpid()}-"))


def _sweep() -> None:
    """End the servers that killed processes have left, and give their memory back."""
    for folder in MEMORY.glob("pghaul-*"):
        owner = re.match(r"pghaul-\w+-(\d+)-", folder.name)
        if owner is None or folder.stat().st_uid != os.getuid() or psutil.pid_exists(int(owner[1])):
            continue
        for file in (*folder.glob("*/postmaster.pid"), *folder.glob("*/mariadbd.pid")):
            with contextlib.suppress(OSError, ValueError, IndexError):
                os.kill(int(file.read_text().split()[0]), signal.SIGQUIT)
        if (folder / "disk").is_mount():
            subprocess.run(["umount", "--lazy", str(folder / "disk")], check=False)
        shutil.rmtree(folder, ignore_errors=True)
