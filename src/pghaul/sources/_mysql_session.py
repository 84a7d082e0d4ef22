"""Sessions with a MySQL or MariaDB server: how they are opened, what is set in them, and what their errors mean to us.

A child process that reads opens its own in the same way: this module imports no more than it needs.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pghaul.model.errors import (
    AccessError,
    ConnectionLostError,
    NotFoundError,
    PghaulError,
    ServerBusyError,
    ShapeChangedError,
    SourceError,
    TransientError,
)
from pghaul.model.text import say

if TYPE_CHECKING:
    import pymysql

ADVICE = say("pip install 'pghaul[mysql]'")
# A server that lacks one of these variables needs none. What would cut a result short, or end a long one, is off;
# dates that are none are read as they are; times are said in UTC.
SETTINGS = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION sql_select_limit = DEFAULT",
    "SET SESSION sql_big_selects = 1",
    "SET SESSION net_write_timeout = 31536000",
    "SET SESSION net_read_timeout = 31536000",
    "SET SESSION wait_timeout = 31536000",
    "SET SESSION max_statement_time = 0",
    "SET SESSION max_execution_time = 0",
    "SET SESSION lock_wait_timeout = 30",
    "SET SESSION idle_transaction_timeout = 0",
    "SET SESSION idle_readonly_transaction_timeout = 0",
    "SET SESSION information_schema_stats_expiry = 0",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SET SESSION TRANSACTION READ ONLY",
)
UNKNOWN_VARIABLE = 1193
NO_SUCH_VALUE = 1231  # wait_timeout has a smaller maximum on Windows
INTERRUPTED = 1317
LOST = 2013  # CR_SERVER_LOST
NO_HOST, NO_TLS = 2005, 2026
_ACCESS = frozenset({1044, 1045, 1049, 1130, 1142, 1143, 1227, 1251, 1370, 1698, NO_HOST, NO_TLS, 2054, 2059, 2061})
_LOST = frozenset({1053, 1152, 1153, 1158, 1159, 1160, 1161, 1184, 1927, 2002, 2003, 2006, 2013, 2055, 3169})
_BUSY = frozenset({1040, 1041, 1203, 1205, 1213, 1226})
_MISSING = frozenset({1054, 1146, 1305, 1347})
_CHANGED = frozenset({1412, 1615})
_PASSING = frozenset({INTERRUPTED, 1028, 1969, 3024})


def kind_of(number: int) -> type[PghaulError]:
    """Our class for a server's or client's error number."""
    for numbers, kind in (
        (_ACCESS, AccessError),
        (_LOST, ConnectionLostError),
        (_BUSY, ServerBusyError),
        (_MISSING, NotFoundError),
        (_CHANGED, ShapeChangedError),
        (_PASSING, TransientError),
    ):
        if number in numbers:
            return kind
    return SourceError


def translated(number: int, words: str, where: str) -> PghaulError:
    """Ours, for what a server or PyMySQL has said."""
    kind = kind_of(number)
    advice = None
    if number == NO_TLS:
        advice = say("look at ssl-mode and ssl-ca in the URL, and at the server's certificate")
    elif kind is AccessError:
        advice = say("check user, password, host and database of the URL; MYSQL_PWD can hold the password")
    return kind(words or say("the server has gone away"), where=where, advice=advice)


@contextlib.contextmanager
def translating(where: str) -> Iterator[None]:
    """Raise ours from PyMySQL's, and from those of the socket below it."""
    pymysql = driver()
    try:
        yield
    except pymysql.err.Error as exc:
        number, words = number_and_words(exc)
        raise translated(number, words, where) from None
    except OSError as exc:
        raise translated(LOST, str(exc), where) from None


def number_and_words(exc: BaseException) -> tuple[int, str]:
    """Of any error that PyMySQL raises; 2013 for one of the wire."""
    args, cause = exc.args, getattr(exc, "original_exception", None)
    if isinstance(cause, (ssl.SSLError, socket.gaierror)):
        return (NO_TLS if isinstance(cause, ssl.SSLError) else NO_HOST), str(args[-1])
    if args and isinstance(args[0], int):
        return args[0] or 2013, str(args[1]) if len(args) > 1 else ""
    if isinstance(exc, (OSError, EOFError)) or type(exc).__name__ == "InterfaceError":
        return 2013, str(exc)
    return 0, f"{type(exc).__name__}: {exc}"


def driver() -> Any:
    """PyMySQL, or a word about what to install."""
    try:
        import pymysql  # noqa: PLC0415
    except ImportError as exc:
        raise NotFoundError(say("PyMySQL, which reads MySQL, is not installed"), advice=ADVICE, code=5290) from exc
    return pymysql


def connect(params: Mapping[str, str], password: str | None) -> pymysql.Connection[Any]:
    """A session with everything set. PyMySQL's own errors."""
    mode = params.get("ssl-mode", "preferred").lower()
    if params.get("socket") and mode == "preferred":
        mode = "disabled"
    if mode != "preferred":
        return _connect(params, password, mode)
    pymysql = driver()
    try:
        return _connect(params, password, mode)
    except pymysql.err.OperationalError as exc:
        if exc.args[0] != NO_TLS:  # it offers none; a certificate that fails is another error
            raise
        return _connect(params, password, "disabled")


def _connect(params: Mapping[str, str], password: str | None, mode: str) -> pymysql.Connection[Any]:
    pymysql = driver()
    session = pymysql.connect(
        host=params.get("host") or "localhost",
        port=int(params.get("port") or 3306),
        unix_socket=params.get("socket") or None,
        user=params.get("user") or None,
        password=(password or "").encode(),
        database=params.get("database") or None,
        charset="utf8mb4",
        connect_timeout=int(params.get("connect-timeout") or 10),
        autocommit=True,
        program_name="pghaul",
        **({"ssl_disabled": True} if mode == "disabled" else {"ssl": _tls(params, mode)}),
    )
    try:
        if mode not in {"disabled", "preferred"} and not isinstance(wire(session), ssl.SSLSocket):
            raise pymysql.err.OperationalError(NO_TLS, "the server offers no TLS")  # noqa: TRY301
        prepare(session, SETTINGS)
    except BaseException:
        session.close()
        raise
    return session


def _tls(params: Mapping[str, str], mode: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = mode == "verify-identity"
    context.verify_mode = ssl.CERT_REQUIRED if mode.startswith("verify") else ssl.CERT_NONE
    if context.verify_mode is ssl.CERT_REQUIRED:
        if ca := params.get("ssl-ca"):
            context.load_verify_locations(ca)
        else:
            context.load_default_certs()
    if cert := params.get("ssl-cert"):
        context.load_cert_chain(cert, params.get("ssl-key"))
    return context


def wire(session: pymysql.Connection[Any]) -> Any:
    """The socket of a session that is at rest."""
    return session._sock


def prepare(session: pymysql.Connection[Any], statements: Sequence[str]) -> None:
    """Settings, of which this server may not have all."""
    pymysql = driver()
    with session.cursor() as cursor:
        for statement in statements:
            try:
                cursor.execute(statement)
            except pymysql.err.Error as exc:
                if exc.args[0] not in {UNKNOWN_VARIABLE, NO_SUCH_VALUE}:
                    raise
