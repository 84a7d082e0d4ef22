"""The table of the merges: as it is on both servers, how it changes on the source, and whether both are equal again.

A change stamps its rows by the source's clock, as applications do. The rows that it updates lie all over the table:
every one on a page of its own, which is the worst case, and the same for everyone.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeAlias

import psycopg
from psycopg import sql

from benchmarks.bench import Bench, WrongContentError
from benchmarks.measure import Command, measure
from benchmarks.servers import Pair

Content: TypeAlias = tuple[object, ...]

ROWS = 10_000_000
TABLE, KEY, CURSOR = "orders", "id", "updated_at"
FILLED_FROM = datetime(2025, 1, 1, tzinfo=UTC)  # a second per row: all of it before any change
BASE = "orders_base"  # the target's database that each program's own begins as
CREATE = """
CREATE TABLE {table} (
    id int8 NOT NULL, customer int4 NOT NULL, state text NOT NULL, amount numeric(12,2) NOT NULL, note text,
    updated_at timestamptz NOT NULL)
"""
VALUES = """
i, hashint8(i) & 65535, (ARRAY['new', 'paid', 'packed', 'sent'])[1 + i %% 4], (i * 7919 %% 1000003) / 100.0,
CASE WHEN i %% 5 = 0 THEN md5(i::text) END
"""
FILL = f"INSERT INTO {{table}} SELECT {VALUES}, timestamptz '{FILLED_FROM.isoformat()}' + i * interval '1 s' "
FILL += "FROM generate_series(1, %s::int8) AS i"
PRIMARY_KEY = "ALTER TABLE {table} ADD PRIMARY KEY (id)"
CURSOR_INDEX = "CREATE INDEX ON {table} (updated_at)"
VACUUM = "VACUUM (ANALYZE) {table}"
UPDATE = "UPDATE orders SET amount = amount + 1, state = 'back', updated_at = clock_timestamp() WHERE id %% %s = %s"
INSERT = f"INSERT INTO orders SELECT {VALUES}, clock_timestamp() FROM generate_series(%s + 1, %s + %s::int8) AS i"
DELETE = "DELETE FROM orders WHERE id %% %s = %s"
GREATEST = "SELECT max(id) FROM orders"
CONTENT = """
SELECT count(*), sum(hashtextextended((id, customer, state, amount, note, updated_at)::text, 0)::numeric) FROM orders
"""


def both(bench: Bench, *, rows: int, newest: bool = False) -> int:
    """The same table on both servers; the target's also as the template BASE. `newest`: the target has an index over
    the cursor, for programs that ask it for its newest row every time.
    """
    bench.pair.fresh_source(TABLE)
    bench.pair.fresh_target()
    with bench.pair.on_source() as session:
        fill(session, rows)
    with bench.pair.on_target() as session:
        session.execute(sql.SQL(CREATE).format(table=sql.Identifier(TABLE)))
    measure(relay(bench.pair, TABLE))
    with bench.pair.on_target() as session:
        index(session, cursor=newest)
    bench.pair.target_like(TABLE, name=BASE)
    bench.say(f"  {rows:,} rows on both servers")
    return rows


def fill(session: psycopg.Connection, rows: int, *, table: str = TABLE) -> None:
    """Rows in the order of their keys."""
    words = {"table": sql.Identifier(table)}
    session.execute(sql.SQL(CREATE).format(**words))
    session.execute(sql.SQL(FILL).format(**words), [rows])
    index(session, table=table)


def index(session: psycopg.Connection, *, table: str = TABLE, cursor: bool = True) -> None:
    """As the last step, and vacuumed: nobody pays for hint bits."""
    for statement in (PRIMARY_KEY, *((CURSOR_INDEX,) if cursor else ()), VACUUM):
        session.execute(sql.SQL(statement).format(table=sql.Identifier(table)))


def relay(pair: Pair, table: str) -> Command:
    """One COPY of the table through a pipe: nothing moves it whole in less."""
    psql = (str(pair.programs / "psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-c")
    read, write = f"COPY {table} TO STDOUT", f"COPY {table} FROM STDIN"
    return Command(name="psql | psql", steps=(((*psql, read, pair.from_url), (*psql, write, pair.to_url)),))


def change(bench: Bench, *, updates: int, inserts: int, deletes: int = 0, turn: int = 0, vacuum: bool = True) -> None:
    """On the source, in one transaction; another `turn` takes other rows."""
    with bench.pair.on_source() as session, session.transaction():
        (greatest,) = session.execute(GREATEST).fetchone() or (0,)
        for statement, number, offset in ((UPDATE, updates, 0), (DELETE, deletes, 7)):
            if number:
                step = max(1, greatest // number)
                session.execute(sql.SQL(statement), [step, (turn * 31 + offset) % step])
        session.execute(sql.SQL(INSERT), [greatest, greatest, inserts])
    if vacuum:
        with bench.pair.on_source() as session:
            session.execute("VACUUM (ANALYZE) orders")


def content(session: psycopg.Connection) -> Content:
    """How many rows, and a sum of their hashes: equal on both servers when every row is."""
    session.execute("SET TimeZone TO 'UTC'")
    return session.execute(CONTENT.encode()).fetchone() or ()


def sourced(pair: Pair) -> Content:
    """What every target has to become."""
    with pair.on_source() as session:
        return content(session)


def equal(pair: Pair, wanted: Content) -> None:
    """WrongContentError unless the target has become what the source is."""
    with pair.on_target() as session:
        found = content(session)
    if found != wanted:
        raise WrongContentError(f"{pair.into or pair.database}: {found} instead of {wanted}")


def own(pair: Pair, database: str) -> Pair:
    """The same servers, with a target database of a program's own."""
    return replace(pair, into=database)
