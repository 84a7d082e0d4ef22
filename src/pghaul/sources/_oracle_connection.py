"""A connection to Oracle by python-oracledb in thin mode: opened, asked, and its errors in our words.

Thin mode needs no client library, and a server from 12.1 on. The driver's own texts of a login name the user at most.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pghaul.model.errors import (
    AccessError,
    ConnectionLostError,
    NotFoundError,
    NotSupportedError,
    PghaulError,
    ServerBusyError,
    ShapeChangedError,
    SnapshotLostError,
    SourceError,
    TransientError,
)
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.redaction import know
from pghaul.model.text import say

LOGIN_SECONDS = 15
# What would make a text of a number, a date or a comparison depend on who reads it.
SESSION = (
    "ALTER SESSION SET TIME_ZONE = '+00:00'",
    "ALTER SESSION SET NLS_LANGUAGE = 'AMERICAN' NLS_TERRITORY = 'AMERICA'",  # it sets all that follow
    "ALTER SESSION SET NLS_NUMERIC_CHARACTERS = '.,'"
    " NLS_CALENDAR = 'GREGORIAN' NLS_DATE_FORMAT = 'SYYYY-MM-DD HH24:MI:SS'"
    " NLS_TIMESTAMP_FORMAT = 'SYYYY-MM-DD HH24:MI:SS.FF9' NLS_SORT = 'BINARY' NLS_COMP = 'BINARY'",
)
MODES = {"sysdba": "SYSDBA", "sysoper": "SYSOPER", "sysbackup": "SYSBKP"}
_NUMBER = re.compile(r"\b(ORA|DPY|DPI)-(\d{4,5})\b")
CANCELLED = "ORA-01013"


def quoted(name: str) -> str:
    """An identifier. Oracle's have no double quotes in them; one that does is no name of anything."""
    return '"' + name.replace('"', '""') + '"'


class Connection:
    """One session. Used by one thread at a time, but for cancel()."""

    def __init__(self, endpoint: ForeignEndpoint) -> None:
        self.where = endpoint.display
        driver = _driver()
        with self.translated():
            self.raw = driver.connect(**arguments(endpoint, driver, os.environ))
        try:
            for statement in SESSION:
                self.run(statement)
        except BaseException:
            self.close()
            raise

    def run(self, sql: str) -> None:
        """A statement without an answer."""
        with self.translated(), self.raw.cursor() as cursor:
            cursor.execute(sql)

    def ask(self, sql: str, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """All rows."""
        with self.translated(), self.raw.cursor() as cursor:
            cursor.execute(sql, dict(values or {}))
            return list(cursor.fetchall())

    def described(self, sql: str) -> list[tuple[str, int | None, int | None]]:
        """Of a query that is not run: type, precision and scale of its columns."""
        with self.translated(), self.raw.cursor() as cursor:
            cursor.parse(sql)
            return [(d.type_code.name, d.precision, d.scale) for d in cursor.description]

    @contextmanager
    def translated(self) -> Iterator[None]:
        """The driver's errors as ours."""
        try:
            yield
        except PghaulError:
            raise
        except Exception as exc:
            if type(exc).__module__.split(".")[0] != "oracledb":
                raise
            raise error(exc, self.where) from None

    def cancel(self) -> None:
        """From another thread; the statement that runs ends with ORA-01013."""
        with contextlib.suppress(Exception):
            self.raw.cancel()

    def close(self) -> None:
        """Twice does no harm."""
        with contextlib.suppress(Exception):
            self.raw.close()


def arguments(endpoint: ForeignEndpoint, driver: Any, environ: Mapping[str, str]) -> dict[str, Any]:
    """Of the driver's connect()."""
    get = endpoint.get
    made: dict[str, Any] = {
        "host": get("host"),
        "port": int(get("port", "1521")),
        "user": get("user") or None,
        "password": endpoint.password,
        "tcp_connect_timeout": float(get("timeout", str(LOGIN_SECONDS))),
        "protocol": "tcps" if get("tls") == "yes" else "tcp",
        "program": "pghaul",
    }
    made |= {"sid": get("sid")} if get("sid") else {"service_name": get("database")}
    if get("mode"):
        made["mode"] = getattr(driver.AuthMode, MODES[get("mode")])
    if get("wallet"):
        know(secret := environ.get("ORACLE_WALLET_PASSWORD"))
        made |= {"wallet_location": get("wallet"), "config_dir": get("wallet"), "wallet_password": secret}
    return made


def told(exc: BaseException) -> tuple[str, str]:
    """Number ("ORA-01017") and words of an error of the driver."""
    said: Any = exc.args[0] if exc.args else exc
    words = " ".join(str(getattr(said, "message", said)).split())
    code = str(getattr(said, "full_code", "") or "")
    if not code:
        found = _NUMBER.search(words)
        code = found[0] if found else "?"
    return code, words.split(" Help: ")[0].removeprefix(f"{code}: ")[:300]


def error(exc: BaseException, where: str) -> PghaulError:
    """By its number. What DPY-6000 … 6005 wrap is looked at first: it tells whether the listener has answered."""
    number, words = told(exc)
    inner = next((m[0] for m in _NUMBER.finditer(words) if m[0] in REFUSED | UNKNOWN), number)
    for numbers, make in _KINDS:
        if inner in numbers:
            return make(inner, words, where)
    return SourceError(say("Oracle says: {words} ({number})", words=words, number=number), where=where, code=6960)


def _refused(number: str, words: str, where: str) -> PghaulError:
    return AccessError(
        say("Oracle refuses the login: {words} ({number})", words=words, number=number),
        where=where,
        advice=say("look at user and password; the password may come from ORACLE_PASSWORD"),
        code=5177,
    )


def _unknown(number: str, words: str, where: str) -> PghaulError:
    return AccessError(
        say("the listener knows no such service: {words} ({number})", words=words, number=number),
        where=where,
        advice=say("`lsnrctl status` lists the services; an old name may be a SID: ?sid=NAME"),
        code=5178,
    )


def _denied(number: str, words: str, where: str) -> PghaulError:
    return AccessError(
        say("Oracle denies it: {words} ({number})", words=words, number=number),
        where=where,
        advice=say("it takes SELECT on the tables; one moment of all takes FLASHBACK on them: consistency=statement"),
        code=5179,
    )


def _unreached(number: str, words: str, where: str) -> PghaulError:
    return ConnectionLostError(
        say("Oracle cannot be reached: {words} ({number})", words=words, number=number),
        where=where,
        advice=say("look at host, port and firewall, and whether the listener wants tls=yes"),
        code=2106,
    )


def _lost(number: str, words: str, where: str) -> PghaulError:
    return ConnectionLostError(
        say("the connection to Oracle was lost: {words} ({number})", words=words, number=number), where=where, code=2105
    )


def _busy(number: str, words: str, where: str) -> PghaulError:
    return ServerBusyError(
        say("Oracle is busy: {words} ({number})", words=words, number=number), where=where, code=2312
    )


def _snapshot(number: str, words: str, where: str) -> PghaulError:
    return SnapshotLostError(
        say("Oracle's undo no longer has that moment: {words} ({number})", words=words, number=number),
        where=where,
        advice=say("raise UNDO_RETENTION, read when little is written, or say consistency=statement"),
        code=2477,
    )


def _changed(number: str, words: str, where: str) -> PghaulError:
    return ShapeChangedError(
        say("the table was altered on the source: {words} ({number})", words=words, number=number),
        where=where,
        code=5811,
    )


def _gone(number: str, words: str, where: str) -> PghaulError:
    return NotFoundError(
        say("Oracle does not find it, or it may not be seen: {words} ({number})", words=words, number=number),
        where=where,
        code=5287,
    )


def _cancelled(number: str, words: str, where: str) -> PghaulError:
    return TransientError(
        say("somebody on the server has ended the query: {words} ({number})", words=words, number=number),
        where=where,
        code=2037,
    )


def _old(number: str, words: str, where: str) -> PghaulError:
    return NotSupportedError(
        say("the driver cannot log in to this server: {words} ({number})", words=words, number=number),
        where=where,
        advice=say("Oracle 12.1 and later are read; native network encryption is not, TLS is (tls=yes)"),
        code=5375,
    )


REFUSED = frozenset({
    "ORA-01017", "ORA-01005", "ORA-28000", "ORA-28001", "ORA-28002", "ORA-01045", "ORA-28009", "ORA-28040", "DPY-4001",
})  # fmt: skip
UNKNOWN = frozenset({"ORA-12514", "ORA-12505", "ORA-12516", "DPY-6001", "DPY-6003", "ORA-12521"})
DENIED = frozenset({"ORA-01031", "ORA-41900", "ORA-00990", "ORA-08185", "ORA-01720"})
UNREACHED = frozenset({
    "ORA-12541", "ORA-12543", "ORA-12545", "ORA-12170", "ORA-12535", "ORA-12154", "DPY-6000", "DPY-6005",
})  # fmt: skip
LOST = frozenset({
    "ORA-03113", "ORA-03114", "ORA-03135", "ORA-00028", "ORA-02396", "ORA-02399", "ORA-01012", "ORA-12537", "ORA-12547",
    "ORA-12570", "ORA-12571", "ORA-12592", "ORA-25408", "DPY-4011", "DPY-1001", "DPY-4024", "DPY-4027",
})  # fmt: skip
BUSY = frozenset({
    "ORA-00018", "ORA-00020", "ORA-00054", "ORA-00060", "ORA-02391", "ORA-12519", "ORA-12520", "ORA-12526", "ORA-12528",
    "ORA-01033", "ORA-01034", "ORA-01089", "ORA-01109", "ORA-04031", "ORA-30006", "ORA-01652",
})  # fmt: skip
SNAPSHOT = frozenset({"ORA-01555", "ORA-08180", "ORA-08181", "ORA-22924", "ORA-30052"})
CHANGED = frozenset({"ORA-01466", "ORA-08103"})
GONE = frozenset({"ORA-00942", "ORA-00904", "ORA-04043"})
OLD = frozenset({"DPY-3010", "DPY-3001", "DPY-3015", "ORA-12660", "DPY-3016"})
_KINDS: tuple[tuple[frozenset[str], Callable[[str, str, str], PghaulError]], ...] = (
    (REFUSED, _refused),
    (UNKNOWN, _unknown),
    (DENIED, _denied),
    (UNREACHED, _unreached),
    (LOST, _lost),
    (BUSY, _busy),
    (SNAPSHOT, _snapshot),
    (CHANGED, _changed),
    (GONE, _gone),
    (frozenset({CANCELLED}), _cancelled),
    (OLD, _old),
)


def _driver() -> Any:
    try:
        import oracledb  # noqa: PLC0415
        import pyarrow  # noqa: F401, PLC0415
    except ImportError as exc:
        raise NotFoundError(
            say("the driver for Oracle is not installed"), advice=say("pip install 'pghaul[oracle]'"), code=5288
        ) from exc
    return oracledb
