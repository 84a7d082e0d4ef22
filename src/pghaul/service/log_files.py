"""Where logs lie and how lines get into them: whole, in order, in files of a bounded size that only their owner reads.

A run's log has one writer, the process that works on the run, so nothing has to be agreed upon. What commands without a
run have to say goes into one file for all of them: each line is written and each turn of the files made behind a lock.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ENDING = ".jsonl"
SHARED = "pghaul"  # the name of the file of commands without a run
OURS = re.compile(r"(?:[0-9a-f]{12}|pghaul)(?:\.\d{1,3})?\.jsonl")  # nothing else in the folder is ever deleted
MOST_FILES = 2000  # of a run every five minutes those of a week; each costs the next run a look
LOCK_PATIENCE = 1.0  # seconds; a line is written in far less, and a process that sleeps with the lock is not waited for
NAP = 0.01
# Somebody's link in a shared folder is not followed, and a pipe in the file's place is not waited for.
_EXTRA = ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK")
_FLAGS = os.O_APPEND | os.O_CREAT | os.O_WRONLY | sum(getattr(os, name, 0) for name in _EXTRA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How much is kept."""

    size: int  # bytes of a file
    parts: int  # files of a run, with the one that is written to
    days: int


def path_of(folder: Path, name: str, part: int = 0) -> Path:
    """RUN.jsonl is written to, RUN.1.jsonl is the part before it, and so on."""
    return folder / f"{name}{f'.{part}' if part else ''}{ENDING}"


def parts_of(folder: Path, name: str) -> list[Path]:
    """All files of a run that are there, the oldest first."""
    found = [(int(p.name.split(".")[1]), p) for p in folder.glob(f"{name}.*{ENDING}") if OURS.fullmatch(p.name)]
    newest = path_of(folder, name)
    return [p for _, p in sorted(found, reverse=True)] + ([newest] if newest.is_file() else [])


class LineFile:
    """Appends lines to a file, and turns it over when it is full. OSError where that cannot be done."""

    def __init__(self, folder: Path, name: str, keeping: Keeping) -> None:
        self._folder = folder
        self._name = name
        self._keeping = keeping
        self._handle = -1
        self._size = 0
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._open()

    def write(self, line: str) -> None:
        """One line, by one call: a reader never sees half of it, unless the disk is full."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        if self._size and self._size + len(data) > self._keeping.size:
            self._turn()
        done = os.write(self._handle, data)
        self._size += done
        if done < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    debug = info = warning = error = write  # structlog's names

    @property
    def path(self) -> Path:
        """Of the file that is written to."""
        return path_of(self._folder, self._name)

    def close(self) -> None:
        """Nothing happens the second time."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            with contextlib.suppress(OSError):
                os.close(handle)

    def _open(self) -> None:
        self._handle = os.open(self.path, _FLAGS, 0o600)
        self._size = os.fstat(self._handle).st_size
        if self._size and not _ends_a_line(self.path):  # a full disk, or a power cut, has cut the last one off
            self._size += os.write(self._handle, b"\n")

    def _turn(self) -> None:
        """Where a name cannot be changed (Windows, while somebody reads), the file goes on for another such size."""
        self.close()
        try:
            for part in range(self._keeping.parts - 2, -1, -1):
                old = path_of(self._folder, self._name, part)
                if old.exists():
                    old.replace(path_of(self._folder, self._name, part + 1))
            if self._keeping.parts < 2:
                self.path.unlink(missing_ok=True)
        except PermissionError:
            self._open()
            self._size = 0
            return
        self._open()


def _ends_a_line(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"
    return True


@contextlib.contextmanager
def alone(folder: Path, name: str) -> Iterator[None]:
    """Behind the lock of a file that several processes write to; soon without it, as lines are whole anyway."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / f"{name}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        until = time.monotonic() + LOCK_PATIENCE
        while not _try_lock(handle) and time.monotonic() < until:
            time.sleep(NAP)
        yield
    finally:
        os.close(handle)  # which unlocks it


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def prune(folder: Path, days: int) -> None:
    """Delete logs that nobody has written to for so many days, and the oldest of very many; what cannot be, stays."""
    before = time.time() - days * 86_400
    with contextlib.suppress(OSError):
        found = sorted(((_written(p), p) for p in folder.iterdir() if OURS.fullmatch(p.name)), reverse=True)
        for rank, (moment, path) in enumerate(found):
            if rank >= MOST_FILES or moment < before:
                with contextlib.suppress(OSError):
                    path.unlink()


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has deleted it
        return time.time()
