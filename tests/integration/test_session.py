"""Sessions on real servers: refused with one clear error, freed when they stall, ended when they are stale."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from tests.conftest import running_server
from tests.pooler import running_pooler

from pghaul.model.errors import (
    AccessError,
    ConnectionLostError,
    NotFoundError,
    NotSupportedError,
    PghaulError,
    RowError,
    ServerBusyError,
    StalledError,
)
from pghaul.postgres.dsn import resolve
from pghaul.postgres.relay_connection import is_working, open_connection
from pghaul.postgres.session import Session, connect, terminate_sessions
from pghaul.postgres.settings import settings
from pghaul.service.embedded import Cluster, free_port


def session(url: str, name: str = "pghaul/test/1/leader", stall_timeout: float = 60.0) -> Session:
    return connect(resolve(url), application_name=name, role="target", stall_timeout=stall_timeout)


class Relay:
    """Forwards one TCP port to another until told to hold everything back, without closing anything."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._holding: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """From now on nothing passes on the connections there are; new ones pass."""
        self._holding |= set(self._sockets)

    def close(self) -> None:
        for s in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [near, far]
                for a, b in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, a: socket.socket, b: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                if a not in self._holding:
                    b.sendall(data)


@pytest.fixture
def relay(pg16: Cluster) -> Iterator[Relay]:
    relay = Relay(pg16.port)
    yield relay
    relay.close()


@pytest.fixture(scope="module")
def guarded() -> Iterator[Cluster]:
    """A server that asks for passwords, with few connections."""
    with running_server(16, max_connections="6", superuser_reserved_connections="3") as cluster:
        with psycopg.connect(cluster.url(), autocommit=True) as admin:
            admin.execute("CREATE ROLE reader LOGIN PASSWORD 'right'")
        rules = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (cluster.data / "pg_hba.conf").write_text(rules)
        with psycopg.connect(cluster.url(), autocommit=True) as admin:
            admin.execute("SELECT pg_reload_conf()")
        cluster.restart()
        yield cluster


@pytest.mark.parametrize(
    ("user", "database", "advice"),
    [
        ("reader:hunter2", "postgres", "password"),
        ("reader", "postgres", "password"),
        ("nobody:hunter2", "postgres", "user"),
        ("reader:right", "no_such", "database"),
    ],
)
def test_a_refused_login_is_one_access_error_with_advice(
    guarded: Cluster, user: str, database: str, advice: str
) -> None:
    url = f"postgresql://{user}@127.0.0.1:{guarded.port}/{database}"
    with pytest.raises(AccessError) as caught:
        session(url)
    error = caught.value
    assert advice in str(error.advice)
    assert error.sqlstate in ("28P01", "28000", "3D000")
    assert "hunter2" not in f"{error} {error.advice} {error!r} {error.__cause__}"


def test_an_unknown_role_is_an_access_error(pg16: Cluster) -> None:
    with pytest.raises(AccessError, match="no_such_role") as caught:
        session(pg16.url(user="no_such_role"))
    assert caught.value.sqlstate == "28000"


def test_an_unknown_host_is_an_access_error_unless_it_was_known_before() -> None:
    endpoint = resolve("postgresql://u@no-such-host.invalid/d")
    with pytest.raises(AccessError, match="host name"):
        connect(endpoint, application_name="x", role="source")
    with pytest.raises(ConnectionLostError):
        connect(endpoint, application_name="x", role="source", reconnect=True)


def test_a_server_that_does_not_run_is_a_passing_fault() -> None:
    with pytest.raises(ConnectionLostError) as caught:
        session(f"postgresql://u@127.0.0.1:{free_port()}/d")
    assert (caught.value.number, "port" in str(caught.value.advice)) == (2102, True)


def test_a_server_without_a_free_connection_is_busy(guarded: Cluster) -> None:
    url = f"postgresql://reader:right@127.0.0.1:{guarded.port}/postgres"
    with contextlib.ExitStack() as stack:

        def take_all() -> None:
            for _ in range(7):
                stack.enter_context(session(url))

        with pytest.raises(ServerBusyError) as caught:
            take_all()
    assert caught.value.sqlstate == "53300"


def test_the_server_is_described(pg18: Cluster) -> None:
    with session(pg18.url()) as s:
        server = s.server
        assert server.version_num // 10000 == 18
        assert (server.encoding, server.database, server.user) == ("UTF8", "postgres", "postgres")
        assert server.superuser
        assert server.can_replica_role
        assert not server.in_recovery
        assert server.max_locks >= 64 * 100
        assert server.identity.endswith("/postgres")
        assert s.value("SHOW session_replication_role") == "origin"


def test_a_plain_role_may_not_silence_triggers(guarded: Cluster) -> None:
    with session(f"postgresql://reader:right@127.0.0.1:{guarded.port}/postgres") as s:
        assert not s.server.can_replica_role
        assert not s.server.superuser


@pytest.mark.parametrize("server", ["pg15", "pg16", "pg18"])
def test_both_drivers_get_the_same_settings(server: str, request: pytest.FixtureRequest) -> None:
    cluster: Cluster = request.getfixturevalue(server)
    read = "SELECT name::text, setting FROM pg_catalog.pg_settings WHERE name = ANY ({}) ORDER BY 1"
    with session(cluster.url()) as s:
        wanted = settings(s.server.capabilities, "target", lock_timeout=10)
        names = [n for n, _ in wanted]
        by_psycopg = s.rows(read.format("%s"), (names,))

    async def ask() -> list[tuple[str, str]]:
        connection = await open_connection(resolve(cluster.url()), application_name="x", settings=wanted)
        try:
            return [tuple(r) for r in await connection.fetch(read.format("$1"), names)]
        finally:
            await connection.close()

    assert asyncio.run(ask()) == by_psycopg
    assert len(by_psycopg) == len(names)
    got = dict(by_psycopg)
    assert (got["search_path"], got["TimeZone"], got["lock_timeout"]) == ("", "UTC", "10000")


def test_a_failed_transaction_leaves_nothing_and_the_session_usable(pg16: Cluster) -> None:
    with session(pg16.url()) as s:
        with pytest.raises(RowError), s.transaction():
            s.execute("CREATE TABLE public.half (a int); SELECT 1/0")
        assert s.value("SELECT pg_catalog.to_regclass('public.half')") is None
        with pytest.raises(NotFoundError):
            s.rows("SELECT * FROM public.half")
        assert s.value("SELECT 1") == 1


def test_identifiers_are_composed(pg16: Cluster) -> None:
    with session(pg16.url()) as s:
        assert s.rows(sql.SQL('SELECT {} FROM (VALUES (1)) AS t ("한 ""x")').format(sql.Identifier('한 "x'))) == [(1,)]


def test_a_terminated_backend_is_a_lost_connection(pg16: Cluster) -> None:
    with session(pg16.url()) as s, session(pg16.url()) as other:
        other.value("SELECT pg_catalog.pg_terminate_backend(%s, 10000)", (s.pid,))  # waits until it is gone
        with pytest.raises(ConnectionLostError):
            s.value("SELECT 1")
        assert s.closed


def test_the_watchdog_frees_a_stalled_session(pg16: Cluster, relay: Relay) -> None:
    s = session(f"postgresql://postgres@127.0.0.1:{relay.port}/postgres", stall_timeout=0.5)
    relay.hold()
    began = time.monotonic()
    with pytest.raises(StalledError):
        s.value("SELECT 1")
    assert time.monotonic() - began < 20
    assert s.closed
    s.close()


def test_the_watchdog_leaves_a_working_server_alone(pg16: Cluster) -> None:
    """Several stall timeouts long, and nothing is said meanwhile."""
    with session(pg16.url(), stall_timeout=0.2) as s:
        assert s.value("SELECT 7 FROM pg_catalog.pg_sleep(1)") == 7
        assert s.value("SELECT 8") == 8


def test_whether_a_backend_works_is_told(pg16: Cluster) -> None:
    with session(pg16.url()) as s:
        endpoint = resolve(pg16.url())
        assert not asyncio.run(is_working(endpoint, s.pid, wait_events=True))
        assert not asyncio.run(is_working(endpoint, 2**31 - 1, wait_events=True))
        assert s.value("SELECT pg_catalog.pg_backend_pid()") == s.pid


def test_terminate_ends_sessions_of_this_name_only(pg16: Cluster) -> None:
    stale = psycopg.connect(pg16.url(), application_name="pghaul/abc/1/worker", autocommit=True)
    other = psycopg.connect(pg16.url(), application_name="pghaul/xyz/1/worker", autocommit=True)
    with contextlib.closing(stale), contextlib.closing(other), session(pg16.url(), "pghaul/abc/2/leader") as s:
        with session(pg16.url(), "pghaul/abc/2/leader") as second:
            assert terminate_sessions(s, "pghaul/abc/") == 1
            assert second.value("SELECT 1") == 1
        assert other.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError):
            stale.execute("SELECT 1")


@pytest.fixture
def pgbouncer(pg16: Cluster, tmp_path: Path) -> Iterator[int]:
    with running_pooler(pg16, tmp_path / "bouncer") as port:
        yield port


def test_a_pooler_is_refused_by_both_drivers(pgbouncer: int) -> None:
    endpoint = resolve(f"postgresql://postgres@127.0.0.1:{pgbouncer}/postgres")
    with pytest.raises(NotSupportedError, match="pooler"):
        connect(endpoint, application_name="x", role="source")
    with pytest.raises(NotSupportedError, match="pooler"):
        asyncio.run(open_connection(endpoint, application_name="x", settings=()))


def test_of_several_hosts_the_session_names_the_one_it_reached(pg16: Cluster) -> None:
    url = f"postgresql://postgres@localhost:{free_port()},127.0.0.1:{pg16.port}/postgres"
    with session(url) as s:
        assert (s.endpoint.get("host"), s.endpoint.get("port")) == ("127.0.0.1", str(pg16.port))


def test_no_error_shows_a_password(guarded: Cluster) -> None:
    with pytest.raises(PghaulError) as caught:
        asyncio.run(
            open_connection(
                resolve(f"postgresql://reader:hunter2@127.0.0.1:{guarded.port}/postgres"),
                application_name="x",
                settings=(),
            )
        )
    assert "hunter2" not in f"{caught.value} {caught.value!r} {caught.value.advice}"
    assert caught.value.sqlstate == "28P01"
