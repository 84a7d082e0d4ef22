"""A copy of a store before its schema changes: whoever goes back to the older pghaul finds what it can read.

One is kept, that of the last change. A store in PostgreSQL is backed up by whoever looks after that server; its schema
changes in one transaction.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

MARK = ".before-"


def copy_before(path: Path, revision: str) -> Path:
    """`state.db.before-0004`: a whole database, readable by its owner alone. sqlite3.Error, OSError."""
    copy = path.with_name(f"{path.name}{MARK}{revision}")
    draft = path.with_name(f"{copy.name}.{os.getpid()}")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600))
        with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(draft)) as new:
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")  # one file
        draft.replace(copy)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    return copy


def forget_others(path: Path, kept: Path) -> None:
    """Copies of earlier changes go when a later one has succeeded."""
    for old in path.parent.glob(f"{path.name}{MARK}*"):
        if old != kept:
            with contextlib.suppress(OSError):
                old.unlink()
