"""From a MariaDB into a PostgreSQL: what only a whole run shows."""

from __future__ import annotations

import pytest
from tests.looking import value
from tests.mariadb import MariaDatabase
from tests.moving import assert_done, rows
from tests.mysql_reading import carried

from pghaul.model.finding import Severity
from pghaul.model.plan import Mapping, Plan, ReadConsistency, Verify
from pghaul.model.run import RunState
from pghaul.service.migration import MigrationService

KEYS = "SELECT confdeltype::text, convalidated FROM pg_constraint WHERE contype = 'f'"
TOTAL = "12345678901234567890123456789012345.123456789012345678901234567891"
ORDER = "SELECT id, customer, state::text, tags, total::text, flags::text, took::text, at::text, done, place, doc, raw"

pytestmark = pytest.mark.parametrize("db_source", ["pg18"], indirect=True)


def test_types_keys_and_sequences_arrive(mariadb: MariaDatabase, db_source: str, state: str) -> None:
    mariadb.run(
        "CREATE TABLE customer (id int unsigned AUTO_INCREMENT PRIMARY KEY, name varchar(40) CHARACTER SET latin1)",
        """CREATE TABLE orders (
            id bigint unsigned AUTO_INCREMENT PRIMARY KEY, customer int unsigned, state enum('new', 'it''s paid'),
            tags set('a', 'b"'), total decimal(65,30), flags bit(3), took time, at datetime(6), done tinyint(1),
            place point, doc json, raw varbinary(5), half double AS (customer / 2) STORED,
            KEY (customer), CONSTRAINT c FOREIGN KEY (customer) REFERENCES customer (id) ON DELETE CASCADE)""",
        "INSERT INTO customer VALUES (7, 'Zoë'), (9, NULL)",
        f"""INSERT INTO orders (id, customer, state, tags, total, flags, took, at, done, place, doc, raw) VALUES
           (9007199254740993, 7, 'it''s paid', 'a,b"', {TOTAL},
            5, '-838:59:59', '1000-01-01 00:00:00.000001', 1, ST_GeomFromText('POINT(1 2)'), '{{"a": "한"}}',
            x'00ff'),
           (1, NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)""",
    )
    moved = carried(mariadb, db_source, verify=Verify.CHECKSUM, mapping=Mapping(consistency=ReadConsistency.SNAPSHOT))
    assert_done(moved)
    assert rows(db_source, f"{ORDER} FROM orders WHERE id > 1")[0] == (
        9007199254740993,
        7,
        "it's paid",
        ["a", 'b"'],
        TOTAL,
        "101",
        "-838:59:59",
        "1000-01-01 00:00:00.000001",
        True,
        "POINT(1 2)",
        {"a": "한"},
        b"\x00\xff",
    )
    assert rows(db_source, "SELECT tags FROM orders WHERE id = 1") == [([],)]
    assert value(db_source, "INSERT INTO customer (name) VALUES ('new') RETURNING id") == 10
    assert rows(db_source, "SELECT confdeltype::text, convalidated FROM pg_constraint WHERE contype = 'f'") == [
        ("c", True)
    ]


def test_dates_that_are_none_are_set_aside_where_that_is_permitted(
    mariadb: MariaDatabase, db_source: str, state: str
) -> None:
    mariadb.run(
        "CREATE TABLE z (id int PRIMARY KEY, d date NOT NULL)",
        "INSERT INTO z SELECT seq, IF(seq % 40 = 0, '0000-00-00', '2024-02-29') FROM seq_1_to_100",
    )
    moved = carried(mariadb, db_source, query="zero-dates=text", max_rejects=5)
    assert moved.run.state is RunState.DIFFERENT
    assert value(db_source, "SELECT count(*) FROM z") == 98
    assert value(db_source, "SELECT count(*) FROM pghaul.quarantine") == 2


def test_bytes_that_say_latin1_become_what_they_are(mariadb: MariaDatabase, db_source: str, state: str) -> None:
    words = ["한글", "똠방각하", "ascii"]
    stored = ", ".join(f"({i}, x'{w.encode('cp949').hex()}')" for i, w in enumerate(words))
    mariadb.run(
        "CREATE TABLE old (id int PRIMARY KEY, word text CHARACTER SET latin1)", f"INSERT INTO old VALUES {stored}"
    )
    mariadb.run("CREATE TABLE west (a varchar(20) CHARACTER SET latin1)", "INSERT INTO west VALUES ('Zoë'), ('ÄÖÜß?')")
    plan = Plan(source=mariadb.url, target=db_source, whole=True)
    (told,) = [f for f in MigrationService().plan(plan).findings if f.severity is Severity.WARNING]
    assert told.what == "old.word says latin1, and what is not ASCII in its first rows reads as cp949"
    mariadb.run("DROP TABLE west")
    assert_done(carried(mariadb, db_source, mapping=Mapping(encoding="cp949")))
    assert [w for (w,) in rows(db_source, "SELECT word FROM old ORDER BY id")] == words


def test_a_key_beyond_what_a_sequence_gives_arrives(mariadb: MariaDatabase, db_source: str, state: str) -> None:
    mariadb.run(
        "CREATE TABLE a (id bigint unsigned AUTO_INCREMENT PRIMARY KEY)", "INSERT INTO a VALUES (18446744073709551614)"
    )
    assert_done(carried(mariadb, db_source))
    assert value(db_source, "SELECT id::text FROM a") == "18446744073709551614"
    assert value(db_source, "SELECT last_value FROM a_id_seq") == 2**63 - 1


def test_keys_stay_numbers_and_share_their_types(mariadb: MariaDatabase, db_source: str, state: str) -> None:
    mariadb.run(
        "CREATE TABLE state (id tinyint(1) AUTO_INCREMENT PRIMARY KEY, big bigint unsigned UNIQUE)",
        "CREATE TABLE kind (k enum('x', 'Y') PRIMARY KEY)",
        """CREATE TABLE item (id int PRIMARY KEY, state tinyint(1) REFERENCES state (id), k enum('x', 'Y'),
           big bigint unsigned, done tinyint(1), level tinyint(1) DEFAULT 5,
           FOREIGN KEY (k) REFERENCES kind (k), FOREIGN KEY (big) REFERENCES state (big))""",
        "INSERT INTO state VALUES (1, 18446744073709551615), (2, 7)",
        "INSERT INTO kind VALUES ('x')",
        "INSERT INTO item VALUES (1, 1, 'x', 7, 1, 1)",
    )
    assert_done(carried(mariadb, db_source))
    assert value(db_source, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated") == 3
    types = "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'item'::regclass"
    assert dict(rows(db_source, f"{types} AND attnum > 0")) == {
        "id": "integer",
        "state": "smallint",
        "k": "item_k",
        "big": "numeric(20,0)",
        "done": "boolean",
        "level": "smallint",
    }
    assert value(db_source, "INSERT INTO state (big) VALUES (8) RETURNING id") == 3


def test_a_plan_says_what_would_end_the_run(mariadb: MariaDatabase, db_source: str, state: str) -> None:
    mariadb.run(
        "CREATE TABLE p (code varchar(9) COLLATE utf8mb4_general_ci PRIMARY KEY, d date)",
        "CREATE TABLE c (id int PRIMARY KEY, code varchar(9) COLLATE utf8mb4_general_ci REFERENCES p (code))",
        "INSERT INTO p VALUES ('a', '0000-00-00'), ('b', '2024-02-29')",
        "INSERT INTO c VALUES (1, 'A'), (2, 'b '), (3, 'b'), (4, NULL)",
        "CREATE PROCEDURE q (x int) SELECT x,\n x + 1",
    )
    plan = Plan(source=mariadb.url, target=db_source, whole=True)
    found = MigrationService().plan(plan)
    assert [f.what for f in found.findings if f.severity is Severity.ERROR] == [
        "p.d cannot be read whole as date: 1 values are no dates, such as 0000-00-00: refused, unless zero-dates in"
        " the URL says otherwise",
        "2 rows of c refer to rows of p that are not there: code",
    ]
    (left,) = found.not_carried
    assert left.why == f"{left.reason}. Its text: SELECT x, x + 1"
    others = plan.model_copy(update={"source": mariadb.asking("zero-dates=null")})
    assert [f.object for f in MigrationService().plan(others).findings if f.severity is Severity.ERROR] == ["c"]
