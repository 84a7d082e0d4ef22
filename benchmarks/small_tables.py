"""Thousands of small tables: what counts is what each of them costs besides its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from psycopg import sql

from benchmarks import peers
from benchmarks.against import OURS, OURS_ANALYZED, PGCOPYDB, Subject, against, optional
from benchmarks.bench import Bench
from benchmarks.measure import Command, Usage
from benchmarks.result import Result

TABLES = 2_000
ROWS_PER_TABLE = 20
BARS = {PGCOPYDB: 0.8}  # against pg_dump and pg_restore, in whatever way: 1.0
CREATE = """
CREATE TABLE {table} (
    id int4 PRIMARY KEY, name text NOT NULL, amount numeric(12,2), changed timestamptz NOT NULL, above int4{above}
)
"""
INDEX = "CREATE INDEX {index} ON {table} (name)"  # on every second table
ABOVE = " REFERENCES {table}"  # every fifth table refers to the one before it
FILL = """
INSERT INTO {table} SELECT i, 'name ' || i, i / 7.0, timestamptz '2024-01-01 00:00+00' + i * interval '1 hour', i
FROM generate_series(1, %s) AS i
"""
FOREIGN_KEYS = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated"
INDEXES = (
    "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid "
    "WHERE c.relnamespace = 'public'::regnamespace AND i.indisvalid"
)


def pg_small_tables(bench: Bench) -> Iterator[Result]:
    """2,000 tables of 20 rows: a primary key each, an index on every second, a foreign key on every fifth."""
    tables = TABLES // 20 if bench.quick else TABLES
    _fill(bench, tables)
    rows = tables * ROWS_PER_TABLE
    yield from against(bench, "pg_small_tables", rows, _subjects(bench, tables), bars=BARS, best_bar=1.0)


def _subjects(bench: Bench, tables: int) -> dict[str, Subject]:
    pair = bench.pair
    ours = partial(peers.pghaul, pair, ["public.*"])
    builds: dict[str, Callable[[], Command | None]] = {
        OURS: partial(ours, "--no-analyze"),
        "pg_dump -Z0": partial(peers.dump_restore, pair, "-Z0"),
        "pg_dump -Fc -Z0 | pg_restore": partial(peers.dump_pipe, pair),
        "pg_dump -Fc -Z0, pg_restore -1": partial(peers.dump_restore_at_once, pair),
        PGCOPYDB: partial(peers.pgcopydb, pair),
    }
    if builds[PGCOPYDB]() is not None:
        builds[OURS_ANALYZED] = ours
    return optional(bench, {name: partial(_once, bench, build, tables) for name, build in builds.items()}, builds)


def _once(bench: Bench, build: Callable[[], Command | None], tables: int) -> Usage:
    checked = partial(_complete, tables=tables)
    return bench.once(lambda: peers.present(build()), _name(0), ROWS_PER_TABLE, checked=checked, keep=True)


def _complete(bench: Bench, tables: int) -> None:
    bench.expect(INDEXES, tables + tables // 2)
    bench.expect(FOREIGN_KEYS, len([n for n in range(tables) if _refers(n)]))
    for start in range(0, tables, 500):
        counts = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(_name(n)))
            for n in range(start, min(start + 500, tables))
        )
        batch = min(500, tables - start)
        bench.expect(sql.SQL("SELECT sum(count)::int8 FROM ({}) AS x").format(counts), batch * ROWS_PER_TABLE)


def _fill(bench: Bench, tables: int) -> None:
    bench.pair.fresh_source("small")
    with bench.pair.on_source() as session:
        for start in range(0, tables, 500):  # one transaction each: locks and fsyncs both stay few
            with session.transaction():
                for number in range(start, min(start + 500, tables)):
                    for statement in _statements(number):
                        session.execute(statement)
                    fill = sql.SQL(FILL).format(table=sql.Identifier(_name(number)))
                    session.execute(fill, [ROWS_PER_TABLE])
        session.execute("VACUUM (ANALYZE)")
    bench.say(f"  {tables:,} tables of {ROWS_PER_TABLE} rows")


def _statements(number: int) -> Iterator[sql.Composed]:
    table = sql.Identifier(_name(number))
    above = sql.SQL(ABOVE).format(table=sql.Identifier(_name(number - 1))) if _refers(number) else sql.SQL("")
    yield sql.SQL(CREATE).format(table=table, above=above)
    if number % 2 == 0:
        yield sql.SQL(INDEX).format(index=sql.Identifier(f"{_name(number)}_name"), table=table)


def _refers(number: int) -> bool:
    return number % 5 == 4


def _name(number: int) -> str:
    return f"small_{number:05d}"
