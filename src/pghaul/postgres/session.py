"""Synchronous sessions: everything that is not COPY. The one place that opens psycopg's connections.

libpq tells why it could not connect in the server's language and without a SQLSTATE. So a refused connection is tried
once more by asyncpg, which hands the code over, and the one table of sqlstate.py decides here as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
import weakref
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

import psycopg
from psycopg import sql as pgsql

from pghaul.model.errors import AccessError, ConnectionLostError, PghaulError, StalledError
from pghaul.model.profile import Endpoint
from pghaul.model.text import say, saying
from pghaul.postgres.dsn import psycopg_params
from pghaul.postgres.relay_connection import is_working, open_connection, pooler_error
from pghaul.postgres.server import SERVER_SQL, SYSTEM_IDENTIFIER_SQL, TELLING, TRY_REPLICA_ROLE_SQL, Server
from pghaul.postgres.settings import APPLY_PSYCOPG_SQL, Role, arguments, settings
from pghaul.postgres.sqlstate import translate
from pghaul.postgres.versions import Capabilities, capabilities
from pghaul.postgres.watchdog import Watchdog

T = TypeVar("T")

NOBODY = saying("nothing answers at this address: {why}")
END_SECONDS = 10.0  # how long terminated backends get to roll back
END_POLL_SECONDS = 0.05

OTHER_SESSIONS_SQL = """
SELECT a.pid
  FROM pg_catalog.pg_stat_activity AS a
 WHERE a.datname = pg_catalog.current_database()
   AND pg_catalog.left(a.application_name, pg_catalog.length(%s)) = %s
   AND a.pid <> ALL (%s::pg_catalog.int4[])
   AND pg_catalog.pg_has_role(a.usesysid, 'MEMBER')
"""
STILL_THERE_SQL = (
    "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = ANY (%s::pg_catalog.int4[])"
)

_live: weakref.WeakSet[Session] = weakref.WeakSet()


class Session:
    """One connection, in autocommit outside transaction(). Raises PghaulError only; not for several threads.

    `endpoint` names the one host that was reached, where the caller's names several.
    """

    server: Server

    def __init__(
        self, connection: psycopg.Connection[Any], endpoint: Endpoint, stall_timeout: float, *, wait_events: bool
    ) -> None:
        self._connection = connection
        self.endpoint = _pinned(endpoint, connection)
        self.pid: int = connection.info.backend_pid
        self._wait_events = wait_events
        self._watchdog = Watchdog(probe=self._is_working, fileno=self._fileno, stall_timeout=stall_timeout)

    def rows(self, sql: str | pgsql.Composable, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of one query."""
        with self._guarded():
            return self._connection.execute(_query(sql), params or None).fetchall()

    def value(self, sql: str | pgsql.Composable, params: Sequence[Any] = ()) -> Any:
        """The first column of the first row, None where there is none."""
        found = self.rows(sql, params)
        return found[0][0] if found else None

    def shape(self, sql: str | pgsql.Composable) -> list[tuple[str, int, int]]:
        """The columns of a query's rows: name, oid of the type, modifier."""
        with self._guarded():
            found = self._connection.execute(_query(sql)).pgresult
            names = [] if found is None else [(found.fname(i) or b"").decode() for i in range(found.nfields)]
            return [(n, found.ftype(i), found.fmod(i)) for i, n in enumerate(names) if found is not None]

    def execute(self, sql: str | pgsql.Composable, params: Sequence[Any] = ()) -> int:
        """Run a statement; how many rows it touched, -1 where that means nothing."""
        with self._guarded():
            return self._connection.execute(_query(sql), params or None).rowcount

    def copy_out(self, sql: str) -> bytes:
        """All that a small COPY … TO STDOUT gives."""
        with self._guarded(), self._connection.cursor() as cursor, cursor.copy(_query(sql)) as copy:
            return b"".join(bytes(part) for part in copy)

    def copy_in(self, sql: str, data: bytes) -> int:
        """COPY … FROM STDIN of a few rows; how many there were."""
        with self._guarded(), self._connection.cursor() as cursor:
            with cursor.copy(_query(sql)) as copy:
                copy.write(data)
            return cursor.rowcount

    def verifier(self, role: str, password: str) -> str:
        """What the server is to keep of a password, made here: the password itself reaches neither it nor its log."""
        way = b"scram-sha-256" if self.server.capabilities.scram else b"md5"
        with self._guarded():
            made = self._connection.pgconn.encrypt_password(password.encode(), role.encode(), way)
        return made.decode()

    @contextlib.contextmanager
    def transaction(self, *, try_only: bool = False) -> Iterator[None]:
        """BEGIN … COMMIT, or ROLLBACK on any exception; inside another one a savepoint. `try_only`: ROLLBACK always."""
        block = self._connection.transaction(force_rollback=try_only)
        with self._guarded():
            block.__enter__()
        try:
            yield
        except BaseException as exc:
            with contextlib.suppress(PghaulError), self._guarded():  # the first error is the one to tell
                block.__exit__(type(exc), exc, exc.__traceback__)
            raise
        with self._guarded():
            block.__exit__(None, None, None)

    def cancel(self, timeout: float = 1.0) -> None:
        """End the statement that another thread waits for. Never raises; a server that cannot be told is let go."""
        try:
            self._connection.cancel_safe(timeout=timeout)
        except psycopg.Error:
            self._watchdog.cut()

    def cut(self) -> None:
        """End whatever another thread waits for, where no cancel has helped. The session is lost."""
        self._watchdog.cut()

    @property
    def encrypted(self) -> bool:
        """Whether our leg of the way is."""
        return bool(self._connection.pgconn.ssl_in_use)

    @property
    def closed(self) -> bool:
        """Whether it was closed, or found broken."""
        return bool(self._connection.closed)

    def close(self) -> None:
        """Never raises; an open transaction is rolled back by the server."""
        _live.discard(self)
        self._watchdog.close()
        with contextlib.suppress(psycopg.Error):
            self._connection.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        where = self.endpoint.display
        try:
            with self._watchdog.guarding():
                yield
        except psycopg.Error as exc:
            if self._watchdog.fired:
                raise StalledError(say("the server waits for us, and nothing arrives"), where=where, code=2201) from exc
            if self._connection.broken and not isinstance(translate(exc, where=where), ConnectionLostError):
                raise ConnectionLostError(str(exc).strip(), where=where, sqlstate=exc.sqlstate) from exc
            raise translate(exc, where=where) from exc

    def _is_working(self) -> bool:
        return _run_apart(is_working(self.endpoint, self.pid, wait_events=self._wait_events))

    def _fileno(self) -> int:
        return -1 if self._connection.closed else self._connection.pgconn.socket


def connect(
    endpoint: Endpoint,
    *,
    application_name: str,
    role: Role,
    stall_timeout: float = 60.0,
    lock_timeout: float = 10.0,
    reconnect: bool = False,
) -> Session:
    """A session with our settings. Raises AccessError, ServerBusyError, NotSupportedError (poolers), ….

    With `reconnect`, a name that does not resolve is a passing fault: it did before.
    """
    try:
        connection = psycopg.connect(
            **psycopg_params(endpoint, application_name=application_name), autocommit=True, prepare_threshold=None
        )
    except psycopg.Error as exc:
        raise _refusal(endpoint, application_name, exc, reconnect=reconnect) from None
    able = capabilities(connection.info.server_version, role)
    session = Session(connection, endpoint, stall_timeout, wait_events=able.wait_events)
    timezone = connection.info.parameter_status("TimeZone") or ""  # told by the server, before we set another
    try:
        if session.value("SELECT pg_catalog.pg_backend_pid()") != session.pid:
            raise pooler_error(endpoint)  # noqa: TRY301  the session has to be closed
        session.rows(APPLY_PSYCOPG_SQL, arguments(settings(able, role, lock_timeout=lock_timeout)))
        session.server = replace(
            _read_server(session, able), timezone=timezone, encrypted=bool(connection.pgconn.ssl_in_use)
        )
    except BaseException:
        session.close()
        raise
    _live.add(session)
    return session


def terminate_sessions(session: Session, application_prefix: str) -> int:
    """End the backends of this database whose application_name begins so, and wait until they are gone.

    Spared are the sessions of this process, and those of roles that ours is no member of. Returns how many ended.
    """
    ours = [s.pid for s in _live if s.server.identity == session.server.identity] + [session.pid]
    found = session.rows(OTHER_SESSIONS_SQL, (application_prefix, application_prefix, ours))
    ended = []
    for (pid,) in found:
        # In a transaction of the caller's, a refusal must not abort it.
        with contextlib.suppress(AccessError), session.transaction():
            if session.value("SELECT pg_catalog.pg_terminate_backend(%s)", (pid,)):
                ended.append(pid)
    deadline = time.monotonic() + END_SECONDS
    while ended and session.value(STILL_THERE_SQL, (ended,)) and time.monotonic() < deadline:
        time.sleep(END_POLL_SECONDS)
        session.value("SELECT pg_catalog.pg_stat_clear_snapshot()")  # else, in a transaction, all looks are the first
    return len(ended)


def _read_server(session: Session, able: Capabilities) -> Server:
    row = session.rows(SERVER_SQL)[0]
    version_num, version, encoding, database, user, superuser, oid, max_locks = row[:8]
    in_recovery, integers, collation, character_type, values = row[8:]
    return Server(
        version_num=version_num,
        version=version,
        capabilities=able,
        encoding=encoding,
        database=database,
        user=user,
        superuser=superuser,
        identity=f"{_system_identifier(session) if able.system_identifier else ''}/{oid}/{database}",
        max_locks=max_locks,
        in_recovery=in_recovery,
        integer_datetimes=integers,
        can_replica_role=_can_replica_role(session),
        collation=collation,
        character_type=character_type,
        settings=tuple(zip(TELLING, values, strict=True)),
    )


def _system_identifier(session: Session) -> str:
    """Empty where a provider has taken the function away."""
    try:
        return str(session.value(SYSTEM_IDENTIFIER_SQL))
    except AccessError:
        return ""


def _can_replica_role(session: Session) -> bool:
    """By trying: some providers allow it to roles that are no superusers."""
    try:
        session.value(TRY_REPLICA_ROLE_SQL)
    except AccessError:
        return False
    return True


def _query(sql: str | pgsql.Composable) -> bytes | pgsql.SQL | pgsql.Composed:
    if isinstance(sql, str):
        return sql.encode()
    return sql if isinstance(sql, (pgsql.SQL, pgsql.Composed)) else pgsql.Composed([sql])


def _pinned(endpoint: Endpoint, connection: psycopg.Connection[Any]) -> Endpoint:
    """Of several hosts the one that answered: snapshots and pids are its own."""
    params = dict(endpoint.params)
    named = "hostaddr" if "hostaddr" in params else "host"
    if "," not in params.get(named, ""):
        return endpoint
    params |= {"host": connection.info.host, "port": str(connection.info.port)}
    if named == "hostaddr":
        params["hostaddr"] = connection.info.hostaddr
    return replace(endpoint, params=tuple(sorted(params.items())))


def _refusal(endpoint: Endpoint, application_name: str, exc: psycopg.Error, *, reconnect: bool) -> PghaulError:
    """Why we cannot connect, by SQLSTATE: asked again through asyncpg."""
    where = endpoint.display
    try:
        _run_apart(_try_relay(endpoint, application_name))
    except PghaulError as error:
        cause = error.__cause__
        if isinstance(cause, socket.gaierror) and not reconnect:
            return AccessError(
                say("the host name is not known: {why}", why=str(cause.strerror)),
                where=where,
                advice=say("check the host in the URL"),
                code=5101,
            )
        if not reconnect and _is_about_tls(cause):
            advice = say("check sslmode, sslrootcert and the client certificate")
            return AccessError(say("TLS failed: {why}", why=str(cause)), where=where, advice=advice, code=5107)
        if isinstance(error, ConnectionLostError):
            advice = say("check host and port, and whether the server runs")
            if isinstance(cause, ConnectionRefusedError):
                return ConnectionLostError(NOBODY.format(why=str(cause)), where=where, advice=advice, code=2102)
            error.advice = advice
        return error
    return ConnectionLostError(str(exc).strip(), where=where)


def _is_about_tls(cause: BaseException | None) -> bool:
    """asyncpg says with a plain ConnectionError that TLS was refused, and also that the server went away meanwhile."""
    refused = type(cause) is ConnectionError and "SSL" in str(cause)
    return refused or isinstance(cause, (ssl.SSLError, ssl.CertificateError))


async def _try_relay(endpoint: Endpoint, application_name: str) -> None:
    connection = await open_connection(endpoint, application_name=application_name, settings=())
    await connection.close()


def _run_apart(coroutine: Coroutine[Any, Any, T]) -> T:
    """In a thread of its own: the caller may be inside a running event loop."""
    with ThreadPoolExecutor(1, thread_name_prefix="pghaul-probe") as pool:
        return pool.submit(asyncio.run, coroutine).result()
