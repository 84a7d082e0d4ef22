"""The file of a SQLite database: what its header says before anything is asked of the library, and its fingerprint.

POSIX drops *all* locks that a process holds on a file when any descriptor of it is closed. So this process opens each
file once to look at its header, and closes that descriptor only when no source has the file open any more.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from struct import unpack_from

from pghaul.model.errors import AccessError, NotFoundError, SourceError
from pghaul.model.text import say

MAGIC = b"SQLite format 3\x00"
HEADER = 100  # bytes; https://www.sqlite.org/fileformat2.html

_lock = threading.Lock()
_descriptors: dict[Path, tuple[int, int]] = {}  # the descriptor, and how many sources have the file open


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Of the main file. `pages` is 0 where a writer older than 2010 left it unsaid."""

    page_size: int
    pages: int
    changes: int  # the change counter; a WAL database counts checkpoints only
    wal: bool


def obtain(path: Path) -> None:
    """Keep the file open until `release`. NotFoundError, AccessError."""
    with _lock:
        descriptor, count = _descriptors.get(path, (-1, 0))
        if not count:
            descriptor = _open(path)
        _descriptors[path] = descriptor, count + 1


def release(path: Path) -> None:
    """The last one closes it."""
    with _lock:
        descriptor, count = _descriptors[path]
        if count > 1:
            _descriptors[path] = descriptor, count - 1
            return
        del _descriptors[path]
        os.close(descriptor)


def _open(path: Path) -> int:
    where = str(path)
    try:
        if path.is_dir():
            raise SourceError(say("this is a folder, not a SQLite database"), where=where, code=6920)
        return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as exc:
        raise NotFoundError(
            say("there is no such file"), where=where, advice=say("look at the path of the sqlite: URL"), code=5260
        ) from exc
    except OSError as exc:
        raise AccessError(
            say("the file cannot be opened: {why}", why=exc.strerror or str(exc)),
            where=where,
            advice=say("look at the rights of the file and of its folders"),
            code=5160,
        ) from exc


def header(path: Path) -> Header | None:
    """None of an empty file, which is an empty database. SourceError for what is none."""
    descriptor = _descriptors[path][0]
    raw = os.pread(descriptor, HEADER, 0)
    if not raw:
        return None
    if raw[:16] != MAGIC[: len(raw[:16])]:
        raise no_database(path)
    if len(raw) < HEADER:
        raise _truncated(path)
    (size,) = unpack_from(">H", raw, 16)
    changes, pages = unpack_from(">II", raw, 24)
    (valid,) = unpack_from(">I", raw, 92)
    found = Header(page_size=65536 if size == 1 else size, pages=pages, changes=changes, wal=raw[18] == 2)
    complete = os.fstat(descriptor).st_size >= found.page_size * pages
    if valid == changes and not complete and not _wal(path).exists():
        raise _truncated(path)
    return found


def no_database(path: Path) -> SourceError:
    """As the header says, or the library after it."""
    return SourceError(
        say("the file is not a SQLite database, or it is encrypted"),
        where=str(path),
        advice=say("an encrypted one has to be decrypted first, by the program that made it"),
        code=6921,
    )


def _truncated(path: Path) -> SourceError:
    return SourceError(
        say("the database is cut off: the file is shorter than its header says"),
        where=str(path),
        advice=say("copy it again, or recover what is left of it with `sqlite3 FILE .recover`"),
        code=6922,
    )


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def has_wal(path: Path) -> bool:
    """Whether there is a write-ahead log with anything in it: without one nobody else has the database open."""
    try:
        return _wal(path).stat().st_size > 0
    except OSError:
        return False


def fingerprint(path: Path) -> str:
    """Another one after each commit of anybody: the change counter, and sizes and times of the file and of its log."""
    known = header(path)
    main = os.fstat(_descriptors[path][0])
    parts = [known.changes if known else 0, main.st_size, main.st_mtime_ns, main.st_ino]
    try:
        log = _wal(path).stat()
    except OSError:
        return ".".join(map(str, parts))
    return ".".join(map(str, [*parts, log.st_size, log.st_mtime_ns])) if log.st_size else ".".join(map(str, parts))
