"""The proxy does what the fault suite relies on, shown on plain psycopg sessions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
import pytest

from tests.databases import DatabasePair
from tests.faults.proxy import Connection, Fate, Moment, Proxy, Trigger

pytestmark = pytest.mark.faults

COUNT = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tested'"


@pytest.fixture
def proxy(db_pair: DatabasePair) -> Iterator[Proxy]:
    with Proxy(db_pair.target_server.port) as proxy:
        yield proxy


@contextlib.contextmanager
def session(url: str, **more: object) -> Iterator[psycopg.Connection]:
    """A session in autocommit that is closed in the end, dead or alive."""
    connection = psycopg.connect(url, autocommit=True, application_name="tested", **more)  # type: ignore[arg-type]
    try:
        yield connection
    finally:
        connection.close()


@pytest.fixture
def client(db_pair: DatabasePair, proxy: Proxy) -> Iterator[psycopg.Connection]:
    """A session through the proxy that has made a table; its own reads give up after two seconds."""
    with session(proxy.url(db_pair.target), tcp_user_timeout=2000) as connection:
        connection.execute("CREATE TABLE t (a int)")
        yield connection


@pytest.fixture
def direct(db_pair: DatabasePair) -> Iterator[psycopg.Connection]:
    with session(db_pair.target) as connection:
        connection.execute("SET application_name = 'direct'")
        yield connection


def count(connection: psycopg.Connection, query: str = "SELECT count(*) FROM t") -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def insert_and_commit(client: psycopg.Connection) -> None:
    client.execute("BEGIN")
    client.execute("INSERT INTO t VALUES (1)")
    client.execute("COMMIT")


def test_copy_passes_untouched_both_ways(client: psycopg.Connection) -> None:
    lines = b"".join(b"%d\n" % n for n in range(50_000))
    with client.cursor().copy("COPY t FROM STDIN") as sink:
        sink.write(lines)
    with client.cursor().copy("COPY t TO STDOUT") as stream:
        assert b"".join(stream) == lines


def test_a_message_longer_than_a_block_passes(client: psycopg.Connection) -> None:
    with client.cursor().copy("COPY (SELECT repeat('x', 3000000)) TO STDOUT") as stream:
        assert len(b"".join(stream)) == 3_000_001
    assert count(client, f"SELECT length('{'y' * 200_000}')") == 200_000


def test_a_query_is_noticed_before_it_is_forwarded(
    proxy: Proxy, client: psycopg.Connection, direct: psycopg.Connection
) -> None:
    seen: list[int] = []
    trigger = Trigger(moment=Moment.QUERY, pattern="^insert", action=lambda _: seen.append(count(direct)))
    proxy.arm(trigger)
    client.execute("INSERT INTO t VALUES (1)")
    assert (seen, count(direct), trigger.error) == ([0], 1, None)


def test_a_prepared_statement_is_noticed_when_it_is_executed(proxy: Proxy, client: psycopg.Connection) -> None:
    client.execute("SELECT %s + 41", [1], prepare=True)
    trigger = proxy.arm(Trigger(moment=Moment.QUERY, pattern=r"\+ 41"))
    client.execute("SELECT %s + 41", [1], prepare=True)
    assert trigger.done.wait(5)


def test_skipped_matches_and_other_applications_do_not_fire(proxy: Proxy, client: psycopg.Connection) -> None:
    other = proxy.arm(Trigger(moment=Moment.QUERY, pattern="select 7", application="/worker$"))
    third = proxy.arm(Trigger(moment=Moment.QUERY, pattern="select 7", application="^tested$", skip=2))
    fired = []
    for _ in range(3):
        client.execute("SELECT 7")
        fired.append(third.fired.is_set())
    assert fired == [False, False, True]
    assert not other.fired.is_set()


def test_a_reset_before_commit_leaves_nothing(
    proxy: Proxy, client: psycopg.Connection, direct: psycopg.Connection
) -> None:
    proxy.arm(Trigger(moment=Moment.QUERY, pattern="^commit", fate=Fate.RESET))
    with pytest.raises(psycopg.OperationalError):
        insert_and_commit(client)
    assert count(direct) == 0


def test_a_reset_after_commit_hides_a_committed_row(
    proxy: Proxy, client: psycopg.Connection, direct: psycopg.Connection
) -> None:
    proxy.arm(Trigger(moment=Moment.ANSWER, pattern="^COMMIT$", fate=Fate.RESET))
    with pytest.raises(psycopg.OperationalError):
        insert_and_commit(client)
    assert count(direct) == 1


def test_copied_bytes_set_it_off_in_the_middle_of_a_copy(
    proxy: Proxy, client: psycopg.Connection, direct: psycopg.Connection
) -> None:
    client.execute("INSERT INTO t SELECT generate_series(1, 100000)")
    trigger = proxy.arm(Trigger(moment=Moment.COPIED, after_bytes=100_000, fate=Fate.RESET))
    received: list[int] = []
    with pytest.raises(psycopg.OperationalError), client.cursor().copy("COPY t TO STDOUT") as stream:
        received.extend(len(data) for data in stream)
    assert trigger.done.is_set()
    assert sum(received) < 500_000


def test_the_action_knows_the_backend(proxy: Proxy, client: psycopg.Connection, direct: psycopg.Connection) -> None:
    def terminate(connection: Connection) -> None:
        direct.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.backend_pid])

    proxy.arm(Trigger(moment=Moment.QUERY, pattern="^insert", action=terminate))
    with pytest.raises(psycopg.OperationalError, match=r"terminating connection|closed the connection"):
        client.execute("INSERT INTO t VALUES (1)")
    assert count(direct) == 0


@pytest.mark.parametrize("fate", [Fate.STALL, Fate.HALF_OPEN])
def test_the_server_does_not_learn_of_a_dead_link(
    proxy: Proxy, client: psycopg.Connection, direct: psycopg.Connection, fate: Fate
) -> None:
    trigger = proxy.arm(Trigger(moment=Moment.QUERY, pattern="select 9", fate=fate))
    client.pgconn.send_query(b"SELECT 9")
    client.pgconn.flush()
    assert trigger.done.wait(5)
    if fate is Fate.HALF_OPEN:
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
    else:
        client.pgconn.consume_input()
        assert client.pgconn.is_busy()
    assert count(direct, COUNT) == 1


def test_an_outage_hits_every_session_and_refuses_new_ones(
    db_pair: DatabasePair, proxy: Proxy, client: psycopg.Connection
) -> None:
    with session(proxy.url(db_pair.target)) as bystander:
        proxy.arm(Trigger(moment=Moment.QUERY, pattern="select 5", fate=Fate.RESET, everyone=True, refuse_seconds=600))
        for victim in (client, bystander):
            with pytest.raises(psycopg.OperationalError):
                victim.execute("SELECT 5")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(proxy.url(db_pair.target))
        proxy.refuse(0)
        with session(proxy.url(db_pair.target)) as later:
            assert count(later, "SELECT 1") == 1


def test_a_connection_can_be_refused_by_its_application(db_pair: DatabasePair, proxy: Proxy) -> None:
    proxy.arm(Trigger(moment=Moment.CONNECT, application="^tested$", fate=Fate.RESET))
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(proxy.url(db_pair.target), application_name="tested")
    with session(proxy.url(db_pair.target)) as second:
        assert count(second, "SELECT 1") == 1


def test_held_sessions_are_let_go_in_the_end(
    proxy: Proxy, client: psycopg.Connection, direct: psycopg.Connection
) -> None:
    trigger = proxy.arm(Trigger(moment=Moment.QUERY, pattern="select 9", fate=Fate.STALL))
    client.pgconn.send_query(b"SELECT 9")
    client.pgconn.flush()
    assert trigger.done.wait(5)
    proxy.close_all()
    gone = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'tested'"
    direct.execute(gone.encode())
    assert count(direct, COUNT) == 0
