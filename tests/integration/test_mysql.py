"""MySQL's and MariaDB's tables as a source: described, read, cancelled, held at one moment. By a real MariaDB."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import psutil
import pyarrow as pa
import pymysql
import pytest
from tests.mariadb import PASSWORD, MariaDatabase
from tests.mysql_reading import opened, read, reading, table_of

from pghaul.model.errors import (
    AccessError,
    ConnectionLostError,
    NotFoundError,
    SnapshotLostError,
    SourceError,
    StoppedError,
    TransientError,
)
from pghaul.model.foreign import Consistency, ForeignReference, KeyRange, ReadColumn, Reading
from pghaul.model.table import Name
from pghaul.sources import _mysql_packets as packets
from pghaul.sources import mysql
from pghaul.sources.mysql import MysqlSource
from pghaul.sources.protocol import engine_of

ORDERS = """
CREATE TABLE orders (
    id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    customer int NOT NULL COMMENT 'who',
    state enum('new','it''s paid') NOT NULL DEFAULT 'new',
    tags set('a','b'),
    price decimal(65,30),
    note varchar(200) CHARACTER SET latin1 DEFAULT 'none',
    doc json,
    made timestamp(6) NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6),
    twice int AS (customer * 2) STORED,
    secret int INVISIBLE DEFAULT 1,
    UNIQUE KEY by_state (state, customer DESC),
    KEY note_start (note(10)),
    FULLTEXT KEY words (note),
    CONSTRAINT positive CHECK (customer > 0),
    CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE CASCADE
) COMMENT 'all of them' AUTO_INCREMENT = 77
"""
ROWS = (
    "CREATE TABLE r (id int PRIMARY KEY, v varchar(50), w double) AS SELECT seq AS id, {v} AS v, seq / 3 AS w FROM {s}"
)


def test_the_engine_is_found_by_both_its_schemes() -> None:
    assert engine_of("mysql") is mysql
    assert engine_of("mariadb") is mysql


def test_a_database_is_described_with_all_that_hangs_on_it(mariadb: MariaDatabase) -> None:
    mariadb.run(
        "CREATE TABLE customers (id int PRIMARY KEY)",
        ORDERS,
        "CREATE VIEW paid AS SELECT id, price FROM orders WHERE state <> 'new'",
        "CREATE TRIGGER looks BEFORE INSERT ON orders FOR EACH ROW SET NEW.secret = 2",
        "CREATE PROCEDURE works() SELECT 1",
        "CREATE EVENT happens ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",
        "CREATE SEQUENCE counts",
    )
    with opened(mariadb.url) as source:
        found = source.database()
        orders = table_of(source, "orders")
    columns = {c.name: c for c in orders.columns}
    assert found.product.startswith("MariaDB 1")
    assert (orders.comment, columns["customer"].comment) == ("all of them", "who")
    assert {n: c.pg_type for n, c in columns.items()} == {
        "id": "bigint",
        "customer": "integer",
        "state": "text",
        "tags": "text[]",
        "price": "numeric(65,30)",
        "note": "character varying(200)",
        "doc": "jsonb",
        "made": "timestamp(6) with time zone",
        "twice": "integer",
        "secret": "integer",
    }
    assert (columns["id"].identity, columns["id"].identity_next, columns["id"].not_null) == (True, 77, True)
    assert (columns["state"].values, columns["tags"].values) == (("new", "it's paid"), ("a", "b"))
    assert (columns["state"].default, columns["note"].charset) == ("'new'", "latin1")
    assert columns["twice"].generated == "`customer` * 2"
    assert orders.primary is not None
    assert orders.primary.columns == ("id",)
    indexes = {i.name: i for i in orders.indexes}
    assert (indexes["by_state"].unique, indexes["by_state"].descending) == (True, (False, True))
    assert (indexes["note_start"].prefix, indexes["words"].kind) == ((10,), "fulltext")
    assert orders.references == (
        ForeignReference(
            name="of_customer",
            columns=("customer",),
            table=Name("", "customers"),
            referenced=("id",),
            on_delete="CASCADE",
            on_update="RESTRICT",
        ),
    )
    assert [(c.name, c.expression) for c in orders.checks] == [("positive", "`customer` > 0")]
    assert [v.name.name for v in found.views] == ["paid"]
    assert mariadb.name not in found.views[0].definition
    assert {(o.kind, o.name) for o in found.others} == {
        ("ON UPDATE", "orders.made"),
        ("TRIGGER", "looks"),
        ("PROCEDURE", "works"),
        ("EVENT", "happens"),
        ("SEQUENCE", "counts"),
    }


def test_rows_come_in_batches_that_are_no_larger_than_asked_for(mariadb: MariaDatabase) -> None:
    """Also where the first row tells nothing of the width of the others."""
    mariadb.run(
        ROWS.format(v="CONCAT(seq, '한글😀')", s="seq_1_to_3000"),
        "CREATE TABLE wide AS SELECT seq AS id, REPEAT('x', IF(seq % 7, 10, 300000)) AS v FROM seq_1_to_70",
    )
    with opened(mariadb.url) as source:
        batches = list(source.read(reading(source, "r", batch_rows=256)))
        assert [b.num_rows for b in batches] == [256] * 11 + [184]
        whole = pa.Table.from_batches(batches)
        assert whole.column("v").to_pylist() == [f"{i}한글😀" for i in range(1, 3001)]
        assert whole.column("w").to_pylist()[:3] == pytest.approx([1 / 3, 2 / 3, 1], abs=1e-4)
        wide = list(source.read(reading(source, "wide", batch_bytes=1 << 20, ordered=("id",))))
        assert max(b.nbytes for b in wide) < (1 << 20) + 310_000
        assert len(wide) > 2
        lengths = [len(v) for b in wide for v in b.column("v").to_pylist()]
        assert lengths == [10 if i % 7 else 300_000 for i in range(1, 71)]


def test_nothing_but_nulls_and_nothing_at_all_have_a_schema(mariadb: MariaDatabase) -> None:
    mariadb.run(
        "CREATE TABLE n (id int PRIMARY KEY, a int, b text, c decimal(5,2), d date)", "INSERT INTO n(id) VALUES (1)"
    )
    with opened(mariadb.url) as source:
        full = read(source, reading(source, "n"))
        empty = read(source, reading(source, "n", where="id > 1"))
    assert full.to_pylist() == [{"id": 1, "a": None, "b": None, "c": None, "d": None}]
    assert empty.num_rows == 0
    assert empty.schema == full.schema
    assert [str(t) for t in full.schema.types] == ["int32", "int32", "string", "decimal128(5, 2)", "date32[day]"]


def test_ranges_of_a_key_are_whole_and_do_not_overlap(mariadb: MariaDatabase) -> None:
    high = 2**64 - 1
    mariadb.run(
        "CREATE TABLE u (k bigint unsigned, n int)",
        f"INSERT INTO u VALUES (1, 1), (9, 2), ({high}, 3), (NULL, 4)",
    )
    with opened(mariadb.url) as source:
        name = Name("", "u")
        assert source.bounds(name, "k") == (1, high)
        assert source.bounds(name, "k", "n = 4") is None
        ranges = [KeyRange(column="k", low=a, high=b) for a, b in ((None, 9), (9, high), (high, None))]
        found = [read(source, reading(source, "u", range=r)).column("n").to_pylist() for r in ranges]
        assert [sorted(f) for f in found] == [[1, 4], [2], [3]]
        assert [source.count(name, range_=r) for r in ranges] == [2, 1, 1]
        assert source.count(name, "n < 3 -- a comment") == 2
        assert read(source, reading(source, "u", where="n < 3 -- a comment", limit=1)).num_rows == 1


def test_what_is_not_there_is_named(mariadb: MariaDatabase) -> None:
    mariadb.run("CREATE TABLE t (a int)")
    with opened(mariadb.url) as source:
        columns = (ReadColumn(name="b", native="int", pg_type="integer"),)
        with pytest.raises(NotFoundError, match="t has no column b"):
            source.read(Reading(table=Name("", "t"), columns=columns))
        with pytest.raises(NotFoundError, match="no table u"):
            source.read(Reading(table=Name("", "u"), columns=columns))
        with pytest.raises(NotFoundError, match="nothing"):
            source.read(reading(source, "t", where="nothing = 1"))
        assert read(source, reading(source, "t")).num_rows == 0


def test_a_password_is_in_no_error(mariadb: MariaDatabase, capfd: pytest.CaptureFixture[str]) -> None:
    wrong = mariadb.server.url(mariadb.name, password="wr0ng/one")
    with pytest.raises(AccessError, match="Access denied") as refused:
        opened(wrong)
    assert "wr0ng" not in str(refused.value) + str(refused.value.where) + capfd.readouterr().err
    with pytest.raises(AccessError, match="Unknown database"):
        opened(mariadb.server.url("nowhere"))
    with pytest.raises(ConnectionLostError):
        opened("mysql://u:secret@127.0.0.1:1/db")


def test_cancel_ends_a_query_at_once(mariadb: MariaDatabase, capfd: pytest.CaptureFixture[str]) -> None:
    """One that is silent, and one that sends rows that nobody takes; the source goes on to be used."""
    mariadb.run(ROWS.format(v="REPEAT('x', 50)", s="seq_1_to_20000"))
    with opened(mariadb.url) as source:
        silent = reading(source, "r", where="id = 1 AND SLEEP(200) = 0")
        ended = threading.Event()
        canceller = threading.Thread(target=_cancel_until, args=(source, ended))
        canceller.start()
        begun = time.monotonic()
        with pytest.raises(StoppedError):
            read(source, silent)
        ended.set()
        canceller.join()
        assert time.monotonic() - begun < 60  # the query by itself takes more than three minutes
        batches = source.read(reading(source, "r", batch_rows=256))
        rows = iter(batches)
        next(rows)
        source.cancel()
        with pytest.raises(StoppedError):
            list(rows)
        batches.close()
        unread = source.read(reading(source, "r", batch_rows=256))
        next(iter(unread))
        unread.close()
        unread.close()
        assert read(source, reading(source, "r")).num_rows == 20000
    assert capfd.readouterr().err == ""


def _cancel_until(source: MysqlSource, ended: threading.Event) -> None:
    """Again and again: the first time the query may not have begun."""
    while not ended.wait(0.1):
        source.cancel()


def test_a_lost_session_is_a_passing_fault_and_another_one_goes_on(mariadb: MariaDatabase) -> None:
    mariadb.run(ROWS.replace("(50)", "(900)").format(v="REPEAT('x', 900)", s="seq_1_to_20000"))
    with opened(mariadb.url) as source:
        rows = iter(source.read(reading(source, "r", batch_rows=256)))
        next(rows)
        for (number,) in mariadb.run(
            "SELECT id FROM information_schema.processlist WHERE user <> 'root' AND command <> 'Sleep'"
        ):
            mariadb.run(f"KILL {number}")
        with pytest.raises(ConnectionLostError):
            list(rows)
        assert read(source, reading(source, "r")).num_rows == 20000


def test_all_who_join_see_the_moment_of_the_one_who_holds(mariadb: MariaDatabase) -> None:
    mariadb.run("CREATE TABLE a (id int PRIMARY KEY) ENGINE=InnoDB", "INSERT INTO a VALUES (1)")
    with opened(mariadb.url, snapshot=True) as leader, opened(mariadb.url, snapshot=True) as worker:
        assert leader.guarantees.consistency is Consistency.SNAPSHOT
        wanted = reading(leader, "a")
        token = leader.hold()
        writer = threading.Thread(target=lambda: mariadb.run("INSERT INTO a VALUES (2)"))
        writer.start()
        worker.join(token)
        assert (worker.count(wanted.table), read(worker, wanted).num_rows) == (1, 1)
        leader.check()
        worker.check()
        leader.close()
        writer.join(60)
        assert not writer.is_alive()
        assert (worker.count(wanted.table), read(worker, wanted).num_rows) == (1, 1)
        with pytest.raises(SnapshotLostError):
            worker.check()
        with opened(mariadb.url, snapshot=True) as late, pytest.raises(SnapshotLostError):
            late.join(token)


def test_who_may_not_stop_the_server_locks_each_table(mariadb: MariaDatabase) -> None:
    mariadb.run(
        "CREATE TABLE a (id int PRIMARY KEY)",
        "CREATE TABLE b (id int PRIMARY KEY)",
        "CREATE USER weak@'127.0.0.1' IDENTIFIED BY 'weak1'",
        f"GRANT SELECT, LOCK TABLES ON {mariadb.name}.* TO weak@'127.0.0.1'",
    )
    try:
        url = f"mysql://weak:weak1@127.0.0.1:{mariadb.server.port}/{mariadb.name}"
        with opened(url, snapshot=True) as leader, opened(url, snapshot=True) as worker:
            wanted = reading(leader, "b")
            worker.join(leader.hold())
            with pytest.raises(pymysql.err.OperationalError, match=r"[Ll]ock"):
                mariadb.run("SET lock_wait_timeout = 0", "INSERT INTO b VALUES (2)")
            assert read(worker, wanted).num_rows == 0
    finally:
        mariadb.run("DROP USER weak@'127.0.0.1'")


def test_a_process_that_dies_is_a_passing_fault(mariadb: MariaDatabase, capfd: pytest.CaptureFixture[str]) -> None:
    """In the middle of a result, and between two."""
    mariadb.run(ROWS.format(v="REPEAT('x', 40)", s="seq_1_to_20000"))
    with opened(mariadb.url) as source:
        wanted = reading(source, "r", batch_rows=256)
        running = iter(source.read(wanted))
        next(running)
        psutil.Process(_reader_of(source)).kill()
        with pytest.raises(TransientError):
            list(running)
        assert read(source, wanted).num_rows == 20000
        psutil.Process(_reader_of(source)).kill()
        with pytest.raises(TransientError):
            read(source, wanted)
        assert read(source, wanted).num_rows == 20000
    assert PASSWORD not in capfd.readouterr().err


def _reader_of(source: MysqlSource) -> int:
    assert source._link is not None
    return source._link.pid


def test_nobody_else_is_served(mariadb: MariaDatabase) -> None:
    """Who finds the port, and leaves or says a wrong password, neither gets rows nor ends the reading."""
    mariadb.run(ROWS.format(v="'x'", s="seq_1_to_1000"))
    with opened(mariadb.url) as source:
        wanted = reading(source, "r", batch_rows=256)
        read(source, wanted)
        ports = {c.laddr.port for c in psutil.Process(_reader_of(source)).net_connections() if c.status == "LISTEN"}
        (port,) = ports
        with socket.create_connection(("127.0.0.1", port)):
            pass
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(packets.packet(b"let me in" + bytes(40), 1))
            assert read(source, wanted).num_rows == 1000
            heard = b"".join(iter(lambda: stranger.recv(4096), b""))
            assert b"pghaul" in heard
            assert len(heard) < 200


def test_without_a_moment_of_its_own_each_query_sees_what_is_there(mariadb: MariaDatabase) -> None:
    mariadb.run("CREATE TABLE a (id int PRIMARY KEY) ENGINE=InnoDB")
    with opened(mariadb.url) as source:
        assert source.guarantees.consistency is Consistency.STATEMENT
        source.join(source.hold())
        mariadb.run("INSERT INTO a VALUES (1)")
        assert read(source, reading(source, "a")).num_rows == 1
        source.check()


def test_several_databases_keep_their_names(mariadb: MariaDatabase) -> None:
    mariadb.run("CREATE TABLE `a.b``c` (`x y` int)", "INSERT INTO `a.b``c` VALUES (5)")
    with opened(mariadb.server.url(query=f"?databases={mariadb.name}")) as source:
        (table,) = source.database().tables
        assert table.name == Name(mariadb.name, "a.b`c")
        columns = (ReadColumn(name="x y", native="int(11)", pg_type="integer"),)
        assert read(source, Reading(table=table.name, columns=columns)).column(0).to_pylist() == [5]
    with (
        opened(mariadb.server.url(query="?databases=nowhere")) as source,
        pytest.raises(NotFoundError, match="nowhere"),
    ):
        source.database()
    with opened(mariadb.server.url()) as source:
        assert mariadb.name in {t.name.schema for t in source.database().tables}
        assert not {"mysql", "sys", "information_schema"} & {t.name.schema for t in source.database().tables}


def test_closing_ends_all_its_sessions(mariadb: MariaDatabase) -> None:
    mariadb.run("CREATE TABLE a (id int)")
    source = opened(mariadb.url)
    read(source, reading(source, "a"))
    ours = "SELECT COUNT(*) FROM information_schema.processlist WHERE user <> 'root' AND db = DATABASE()"
    assert mariadb.run(ours) == [(2,)]
    source.close()
    source.close()
    deadline = time.monotonic() + 60
    while mariadb.run(ours) != [(0,)]:
        assert time.monotonic() < deadline
    assert PASSWORD not in repr(source)


def test_a_reader_that_cannot_log_in_says_so(mariadb: MariaDatabase) -> None:
    """The password is changed behind the back of a source that is open."""
    mariadb.run(
        "CREATE TABLE a (id int)",
        "CREATE USER other@'127.0.0.1' IDENTIFIED BY 'one1'",
        "GRANT ALL ON *.* TO other@'127.0.0.1'",
    )
    try:
        url = f"mysql://other:one1@127.0.0.1:{mariadb.server.port}/{mariadb.name}"
        with opened(url) as source:
            wanted = reading(source, "a")
            mariadb.run("ALTER USER other@'127.0.0.1' IDENTIFIED BY 'two2'")
            with pytest.raises(AccessError, match="Access denied"):
                source.read(wanted)
    finally:
        with contextlib.suppress(Exception):
            mariadb.run("DROP USER other@'127.0.0.1'")


def test_dates_that_are_none_are_counted_and_refused_or_read_as_asked(mariadb: MariaDatabase) -> None:
    mariadb.run(
        "CREATE TABLE z (id int PRIMARY KEY, d date NOT NULL, t datetime, s timestamp NULL)",
        "INSERT INTO z VALUES (1, '2024-02-29', '2024-02-29', '2024-02-29'), (2, '0000-00-00', '2024-00-10', 0)",
        "INSERT INTO z VALUES (3, '2023-02-29', NULL, NULL)",
    )
    with opened(mariadb.url) as source:
        columns = {c.name: c for c in table_of(source, "z").columns}
        assert "2 values are no dates" in columns["d"].note
        assert columns["d"].not_null
        with pytest.raises(SourceError, match="2 values of d in z are no dates") as refused:
            read(source, reading(source, "z"))
        assert "zero-dates=null" in refused.value.advice
        assert read(source, reading(source, "z", where="id = 1")).num_rows == 1
    with opened(mariadb.asking("zero-dates=null")) as source:
        assert not {c.name: c for c in table_of(source, "z").columns}["d"].not_null
        assert read(source, reading(source, "z", ordered=("id",))).column("d").null_count == 2
    with opened(mariadb.asking("zero-dates=text")) as source:
        found = read(source, reading(source, "z", ordered=("id",)))
        assert found.column("d").to_pylist() == ["2024-02-29", "0000-00-00", "2023-02-29"]
        assert found.column("t").to_pylist() == ["2024-02-29 00:00:00", "2024-00-10 00:00:00", None]


def test_a_table_of_which_the_server_counts_nothing_has_its_rows(mariadb: MariaDatabase) -> None:
    """InnoDB's numbers are those of its last look; of a table that was just filled they say 0."""
    stale = "ENGINE=InnoDB STATS_PERSISTENT=1 STATS_AUTO_RECALC=0"
    mariadb.run(
        f"CREATE TABLE few (id int PRIMARY KEY, v varchar(50)) {stale}",
        f"CREATE TABLE many (id int PRIMARY KEY, v varchar(50)) {stale}",
        "INSERT INTO few SELECT seq, 'x' FROM seq_1_to_700",
        "INSERT INTO many SELECT seq, REPEAT('x', 40) FROM seq_5_to_30004",
    )
    with opened(mariadb.url) as source:
        found = {t.name.name: t for t in source.database().tables}
    assert (found["few"].rows, found["many"].rows) == (700, 30_000)
    assert found["many"].bytes >= 30_000 * 40
