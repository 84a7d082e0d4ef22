"""A damaged store is set aside under a name that says so, never deleted: `.recover` may still read it.

What is lost with it is the history and the plans of unfinished runs, not their rows: the target's ledger has those.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

SUFFIXES = {".db", ".sqlite", ".sqlite3"}  # what else a file may be that somebody has named by mistake is not ours
PARTS = ("", "-wal", "-shm")


def is_ours(path: Path) -> bool:
    """Whether we may move it: PGHAUL_STATE may name any file, and a letter to somebody is no database either."""
    return path.suffix in SUFFIXES and path.is_file() and not path.is_symlink()


def is_confirmed(path: Path) -> bool:
    """Looked at anew, all of it: another process may have set the damaged one aside already."""
    try:
        with closing(sqlite3.connect(path, timeout=1.0)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok")
    except sqlite3.DatabaseError as exc:
        return (getattr(exc, "sqlite_errorcode", 0) & 0xFF) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def set_aside(path: Path) -> Path:
    """Its new place, with -wal and -shm named after it, as SQLite's own tools expect. OSError."""
    moved = _free_name(path)
    for part in PARTS:
        old = Path(f"{path}{part}")
        if old.exists():
            old.replace(f"{moved}{part}")
    return moved


def _free_name(path: Path) -> Path:
    stamp = f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}"
    names = (path.with_name(f"{path.name}.damaged-{stamp}{again}") for again in ("", *(f"-{i}" for i in range(2, 100))))
    return next(name for name in names if not name.exists())
