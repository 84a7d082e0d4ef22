"""What can be wrong with a state store, in words: SQLAlchemy's, SQLite's and the system's errors become StateErrors.

SQLite's own result codes and PostgreSQL's SQLSTATEs decide, never the words of an error. Statements and parameters
stay out of what is said.
"""

from __future__ import annotations

import errno
import sqlite3

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from pghaul.model.errors import StateError
from pghaul.model.text import say, saying

DAMAGED = 6405  # the number by which the session module knows what it can mend

HELD = saying("another process has held the state store for too long: {why}")
RUNS_ELSEWHERE = saying("look for a pghaul, or a program with {place} open, that hangs; then try again")
UNWRITABLE = saying("the state store cannot be written: {why}")
BROKEN = saying("the state store is damaged: {why}")
SET_ASIDE = say("docs/state.md says how to set it aside and begin a new one")
FULL = saying("no room is left for the state store: {why}")
MAKE_ROOM = say("make room there, or set PGHAUL_STATE to another place; a run that was going on can be resumed then")
DISK = saying("the disk of the state store fails: {why}")
LOOK_AT_DISK = say("look at that disk, or set PGHAUL_STATE to another place")
UNUSABLE = saying("the state store cannot be used: {why}")

SQLITE = {  # by primary result code: https://www.sqlite.org/rescode.html
    sqlite3.SQLITE_BUSY: "held",
    sqlite3.SQLITE_LOCKED: "held",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_IOERR: "disk",
    sqlite3.SQLITE_READONLY: "unwritable",
    sqlite3.SQLITE_CANTOPEN: "unwritable",
    sqlite3.SQLITE_PERM: "unwritable",
}
POSTGRESQL = {  # by SQLSTATE, or its class
    "55P03": "held",
    "40P01": "held",
    "53100": "full",
    "25006": "unwritable",
    "42501": "unwritable",
    "58": "disk",
    "XX": "damaged",
}
SYSTEM = {errno.ENOSPC: "full", errno.EDQUOT: "full", errno.EIO: "disk"}


def translated(exc: BaseException, url: URL) -> StateError:
    """Ours for theirs; raise it from theirs."""
    cause = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
    place = url.render_as_string(hide_password=True)
    why = _words(cause)
    match _kind(cause):
        case "held":
            return StateError(HELD.format(why=why), where=place, advice=RUNS_ELSEWHERE.format(place=place), code=6403)
        case "damaged":
            return StateError(BROKEN.format(why=why), where=place, advice=SET_ASIDE, code=6405)
        case "full":
            return StateError(FULL.format(why=why), where=place, advice=MAKE_ROOM, code=6406)
        case "disk":
            return StateError(DISK.format(why=why), where=place, advice=LOOK_AT_DISK, code=6407)
        case "unwritable":
            return StateError(UNWRITABLE.format(why=why), where=place, code=6408)
        case _:
            return StateError(UNUSABLE.format(why=why), where=place, code=6409)


def _kind(cause: BaseException) -> str:
    if isinstance(cause, sqlite3.Error):
        return SQLITE.get((getattr(cause, "sqlite_errorcode", None) or 0) & 0xFF, "")
    if isinstance(cause, OSError):
        return SYSTEM.get(cause.errno or 0, "unwritable")
    state = getattr(cause, "sqlstate", None) or ""
    return POSTGRESQL.get(state) or POSTGRESQL.get(state[:2], "")


def _words(cause: BaseException) -> str:
    """One line; of the system, without the path, which `where` names."""
    said = (isinstance(cause, OSError) and cause.strerror) or str(cause).strip() or type(cause).__name__
    return " ".join(str(said).split())
