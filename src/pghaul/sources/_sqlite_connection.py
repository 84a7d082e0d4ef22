"""A connection to a SQLite file, read-only, through ADBC: the one way into the library.

Everything goes through the driver's own copy of the library, descriptions too: two copies of it in one process would
break each other's locks. Its answers are typed by their first batch, so whatever is asked here comes as JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pghaul.model.errors import NotFoundError, PghaulError, ServerBusyError, SourceError
from pghaul.model.text import say
from pghaul.sources import _sqlite_file as file

BUSY = ("database is locked", "database table is locked", "database is busy")
NO_DATABASE = ("file is not a database", "file is encrypted")
DAMAGED = ("malformed", "disk I/O error", "corrupt")
WAIT = 5_000  # milliseconds for somebody who is writing; then it is tried again as a whole


def quoted(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string."""
    return "'" + text.replace("'", "''") + "'"


class Connection:
    """One connection. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        dbapi = driver()
        self.path = path
        self.where = str(path)
        self._closed = False
        file.obtain(path)
        try:
            header = file.header(path)
            # Of a WAL database that nobody has open, no -wal and -shm are made beside it.
            self.alone = header is not None and header.wal and not file.has_wal(path)
            self.wal = header is not None and header.wal
            options = "mode=ro&immutable=1" if self.alone else "mode=ro"
            with self.translated():
                self.raw = dbapi.connect(f"file:{quote(str(path))}?{options}", autocommit=True)
        except BaseException:
            file.release(path)
            raise
        try:
            self.run(f"PRAGMA busy_timeout = {WAIT}")
        except BaseException:
            self.close()
            raise

    def run(self, sql: str) -> None:
        """A statement whose answer is of no interest."""
        with self.translated(), self.raw.cursor() as cursor:
            cursor.execute(sql)
            cursor.fetch_arrow_table()

    def ask(self, sql: str) -> list[Any]:
        """The only column of every row: an integer, or JSON."""
        with self.translated(), self.raw.cursor() as cursor:
            cursor.execute(sql)
            column = cursor.fetch_arrow_table().column(0)
            return [json.loads(v) if isinstance(v, str) else v for v in column.to_pylist()]

    def one(self, sql: str) -> Any:
        """The one answer."""
        return self.ask(sql)[0]

    @contextmanager
    def translated(self) -> Iterator[None]:
        """The driver's errors as ours."""
        try:
            yield
        except PghaulError:
            raise
        except (OSError, UnicodeDecodeError, ValueError) as exc:
            raise self.error(exc) from exc
        except Exception as exc:
            if type(exc).__module__.split(".")[0] != "adbc_driver_manager":
                raise
            raise self.error(exc) from exc

    def error(self, exc: BaseException) -> PghaulError:
        """What the library says, in our words."""
        words = str(exc)
        if any(w in words for w in BUSY):
            return ServerBusyError(
                say("somebody is writing to the database"),
                where=self.where,
                advice=say("wait until it is done"),
                code=2310,
            )
        if any(w in words for w in NO_DATABASE):
            return file.no_database(self.path)
        if any(w in words for w in DAMAGED):
            return SourceError(
                say("the database is damaged: {why}", why=_short(words)),
                where=self.where,
                advice=say("`sqlite3 FILE .recover` writes what can still be read into a new one"),
                code=6923,
            )
        return SourceError(
            say("SQLite says: {why}", why=_short(words)), where=self.where, advice=_advice(words), code=6924
        )

    def close(self) -> None:
        """Twice does no harm."""
        if not self._closed:
            self._closed = True
            try:
                self.raw.close()
            finally:
                file.release(self.path)


def _short(words: str) -> str:
    """What the library itself has said, without the driver's words around it."""
    first = words.splitlines()[0] if words else ""
    for prefix in ("IO: ", "INVALID_ARGUMENT: ", "[SQLite] ", "Failed to prepare query: ", "Failed to step query: "):
        first = first.removeprefix(prefix)
    return first[:300]


def _advice(words: str) -> str | None:
    if "readonly database" in words:  # a journal lies beside it that only who may write can roll back
        return say(
            "a program was interrupted while it wrote: open the file once with sqlite3, which undoes what it began"
        )
    if "unable to open database" in words:
        return say(
            "beside a database in WAL mode files have to be made: copy it, with its -wal, to where you may write"
        )
    return None


def driver() -> Any:
    """ADBC's, imported when it is first needed. NotFoundError names the extra."""
    try:
        import pyarrow  # noqa: F401, PLC0415
        from adbc_driver_sqlite import dbapi  # noqa: PLC0415
    except ImportError as exc:
        raise NotFoundError(
            say("the driver for SQLite is not installed"), advice=say("pip install 'pghaul[sqlite]'"), code=5261
        ) from exc
    return dbapi
