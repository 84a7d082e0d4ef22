"""One large table with three indexes: several readers and writers of one table, against programs with one or more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from psycopg import sql

from benchmarks import peers
from benchmarks.against import OURS, OURS_ANALYZED, PGCOPYDB, Subject, against, optional
from benchmarks.bench import Bench
from benchmarks.measure import Command, Usage
from benchmarks.result import Result

ROWS = 8_000_000
TABLE = "reading"
SPLIT = "64MB"
BAR = 0.85  # against the best of them
# What a plant's flat history looks like: narrow, in the order of time, looked up by sensor and by time.
CREATE = """
CREATE TABLE reading (
    id int8 NOT NULL, sensor int4 NOT NULL, taken_at timestamptz NOT NULL, value numeric(12,3) NOT NULL, note text
)
"""
FILL = """
INSERT INTO reading
SELECT i, hashint8(i) %% 5000, timestamptz '2024-01-01 00:00+00' + i * interval '250 ms',
       round((random() * 1000)::numeric, 3), CASE WHEN i %% 10 = 0 THEN md5(i::text) END
FROM generate_series(1, %s) AS i
"""
INDEXES = (
    "ALTER TABLE reading ADD PRIMARY KEY (id)",
    "CREATE INDEX reading_sensor ON reading (sensor, taken_at)",
    "CREATE INDEX reading_taken_at ON reading (taken_at)",
)


def pg_big_table(bench: Bench) -> Iterator[Result]:
    """8 million rows, a primary key and two more indexes."""
    rows = _fill(bench)
    yield from against(bench, "pg_big_table", rows, _subjects(bench, rows), bars={}, best_bar=BAR)


def _subjects(bench: Bench, rows: int) -> dict[str, Subject]:
    pair = bench.pair
    ours = partial(peers.pghaul, pair, [f"public.{TABLE}"], "--split-size", SPLIT)
    builds: dict[str, Callable[[], Command | None]] = {
        OURS: partial(ours, "--no-analyze"),
        "pg_dump -Z0": partial(peers.dump_restore, pair, "-Z0"),
        "pg_dump": partial(peers.dump_restore, pair),
        "pg_dump -Fc -Z0 | pg_restore": partial(peers.dump_pipe, pair),
        "psql | psql": partial(peers.psql_copy, pair, [TABLE]),
        PGCOPYDB: partial(peers.pgcopydb, pair, "--split-tables-larger-than", SPLIT),
    }
    if builds[PGCOPYDB]() is not None:
        builds[OURS_ANALYZED] = ours
    return optional(bench, {name: partial(_once, bench, build, rows) for name, build in builds.items()}, builds)


def _once(bench: Bench, build: Callable[[], Command | None], rows: int) -> Usage:
    return bench.once(lambda: peers.present(build()), TABLE, rows, checked=_indexed)


def _indexed(bench: Bench) -> None:
    bench.expect("SELECT count(*) FROM pg_index WHERE indrelid = 'reading'::regclass AND indisvalid", len(INDEXES))


def _fill(bench: Bench) -> int:
    bench.pair.fresh_source("big")
    rows = bench.rows(ROWS)
    with bench.pair.on_source() as session:
        session.execute(CREATE)
        session.execute(sql.SQL(FILL), [rows])
        for statement in INDEXES:
            session.execute(statement.encode())
        session.execute("VACUUM (ANALYZE)")
    bench.say(f"  one table, {rows:,} rows, {len(INDEXES)} indexes")
    return rows
