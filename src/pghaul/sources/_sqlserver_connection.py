"""A connection to SQL Server by pymssql: opened, asked, and its errors in our words.

pymssql was chosen over python-tds: both are exact for what is projected here; it takes half the time for a row, and it
encrypts without another package. What it would lose or replace in silence (digits of datetime2(7), halves of surrogate
pairs) never reaches it as such: see _sqlserver_forms.py.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pghaul.model.errors import (
    AccessError,
    ConnectionLostError,
    NotFoundError,
    PghaulError,
    ServerBusyError,
    SourceError,
)
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.text import say
from pghaul.sources.reading_ahead import LOOKED_AT, stopped

LOGIN_SECONDS = 15
LOCK_MILLISECONDS = 30_000  # for somebody who holds a table; then it is tried again as a whole
# No NOLOCK, ever: rows that are moved meanwhile would be read twice or not at all. Without TEXTSIZE the server cuts off
# what is longer than a client's default, in silence.
SESSION = (
    "SET TEXTSIZE 2147483647; SET LOCK_TIMEOUT {locks}; SET DATEFORMAT ymd; SET DEADLOCK_PRIORITY LOW; SET NOCOUNT ON;"
    " SET TRANSACTION ISOLATION LEVEL {isolation}"
)
REFUSED = frozenset({18456, 18452, 18486, 18487, 18488, 4060, 911, 916, 40615, 18470})
DENIED = frozenset({229, 230, 262, 297, 300, 371})
BUSY = frozenset(
    {1205, 1222, 1204, 3958, 3966, 3960, 3961, 701, 8645, 40501, 40613, 40197, 49918, 49919, 49920, 10928, 10929}
)
LOST = frozenset({20003, 20004, 20006, 20017, 20047, 20049, 6005, 596})
UNREACHED = frozenset({20002, 20009})
GONE = frozenset({208})
_TAIL = re.compile(r"DB-Lib error message.*", re.DOTALL)
_NUMBER = re.compile(r"DB-Lib error message (\d+)")
FROM_SERVER = 20018
_waiting = threading.local()  # .stop: the event that ends the wait of this thread


def quoted(name: str) -> str:
    """An identifier."""
    return "[" + name.replace("]", "]]") + "]"


def literal(text: str) -> str:
    """A string."""
    return "N'" + text.replace("'", "''") + "'"


class Connection:
    """One session. Used by one thread at a time."""

    def __init__(self, endpoint: ForeignEndpoint) -> None:
        self._endpoint = endpoint
        self.where = endpoint.display
        driver = _driver()
        with self.translated():
            self.raw = driver.connect(
                server=_server(endpoint),
                port=endpoint.get("port", "1433"),
                user=endpoint.get("user") or None,
                password=endpoint.password or None,
                database=endpoint.get("database"),
                encryption="off" if endpoint.get("encrypt") == "no" else "require",
                login_timeout=int(endpoint.get("timeout", str(LOGIN_SECONDS))),
                appname="pghaul",
                autocommit=True,
                charset="UTF-8",
                tds_version="7.4",
            )
        self.isolate("READ COMMITTED")

    def isolate(self, level: str) -> None:
        """What every statement of this session sees."""
        self.run(SESSION.format(locks=LOCK_MILLISECONDS, isolation=level))

    def run(self, sql: str) -> None:
        """A statement without an answer."""
        with self.translated(), self.raw.cursor() as cursor:
            cursor.execute(sql)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows."""
        with self.translated(), self.raw.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    @contextmanager
    def rows(self, sql: str, stop: threading.Event) -> Iterator[Any]:
        """A cursor whose rows are fetched as they come. `stop` ends the wait for the first one: StoppedError."""
        _waiting.stop = stop
        try:
            with self.translated():
                cursor = self.raw.cursor()
                cursor.execute(sql)
                yield cursor
        finally:
            _waiting.stop = None

    @contextmanager
    def translated(self) -> Iterator[None]:
        """The driver's errors as ours. What it quotes of a login is the user's name at most."""
        try:
            yield
        except PghaulError:
            raise
        except Exception as exc:
            if type(exc).__module__.split(".")[0] != "pymssql":
                raise
            raise self.error(exc) from None

    def error(self, exc: BaseException) -> PghaulError:
        """By its number."""
        number, words = told(exc)
        for numbers, make in _KINDS:
            if number in numbers:
                return make(number, words, self.where)
        return SourceError(
            say("SQL Server says: {words} ({number})", words=words, number=number), where=self.where, code=6945
        )

    def close(self) -> None:
        """Twice does no harm."""
        with contextlib.suppress(Exception):
            self.raw.close()


def told(exc: BaseException) -> tuple[int, str]:
    """Number and words of an error of the driver.

    Of a connection that fails, the driver gives the number of whatever the process was told last; so the number of the
    server counts only where FreeTDS says that the server has said something.
    """
    said: Any = exc.args[0] if len(exc.args) == 1 else exc.args
    number, words = said if isinstance(said, tuple) and len(said) == 2 else (-1, said)
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    numbers = [int(n) for n in _NUMBER.findall(text)]
    if numbers and FROM_SERVER not in numbers:
        number = numbers[0]
    short = _TAIL.sub("", text).strip() or text.strip()
    return int(number), " ".join(short.split())[:300]


def _refused(number: int, words: str, where: str) -> PghaulError:
    return AccessError(
        say("SQL Server refuses the login: {words} ({number})", words=words, number=number),
        where=where,
        advice=say("look at user, password and database; the password may come from SQLCMDPASSWORD"),
        code=5174,
    )


def _denied(number: int, words: str, where: str) -> PghaulError:
    return AccessError(
        say("SQL Server denies it: {words} ({number})", words=words, number=number),
        where=where,
        advice=say("it takes SELECT on the tables and VIEW DEFINITION on the database"),
        code=5175,
    )


def _busy(number: int, words: str, where: str) -> PghaulError:
    return ServerBusyError(
        say("SQL Server is busy: {words} ({number})", words=words, number=number), where=where, code=2311
    )


def _lost(number: int, words: str, where: str) -> PghaulError:
    return ConnectionLostError(
        say("the connection to SQL Server was lost: {words} ({number})", words=words, number=number),
        where=where,
        code=2103,
    )


def _unreached(number: int, words: str, where: str) -> PghaulError:
    return ConnectionLostError(
        say("SQL Server cannot be reached: {words} ({number})", words=words, number=number),
        where=where,
        advice=say("look at host, port and firewall, and whether it encrypts: encrypt=no in the URL where it does not"),
        code=2104,
    )


def _gone(number: int, words: str, where: str) -> PghaulError:
    return NotFoundError(
        say("SQL Server does not find it: {words} ({number})", words=words, number=number), where=where, code=5284
    )


_KINDS: tuple[tuple[frozenset[int], Callable[[int, str, str], PghaulError]], ...] = (
    (REFUSED, _refused),
    (DENIED, _denied),
    (BUSY, _busy),
    (UNREACHED, _unreached),
    (LOST, _lost),
    (GONE, _gone),
)


def _server(endpoint: ForeignEndpoint) -> str:
    host, instance = endpoint.get("host"), endpoint.get("instance")
    return f"{host}\\{instance}" if instance and not endpoint.get("port") else host


def _wait(descriptor: int) -> None:
    """Called by the driver when a statement is on its way, in the thread that waits for it."""
    stop = getattr(_waiting, "stop", None)
    if stop is None:
        return
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while not selector.select(LOOKED_AT):
            if stop.is_set():
                raise stopped("")


def _driver() -> Any:
    try:
        import pyarrow  # noqa: F401, PLC0415
        import pymssql  # noqa: PLC0415
    except ImportError as exc:
        raise NotFoundError(
            say("the driver for SQL Server is not installed"), advice=say("pip install 'pghaul[sqlserver]'"), code=5285
        ) from exc
    pymssql.set_wait_callback(_wait)
    return pymssql
