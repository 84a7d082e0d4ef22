"""A load with a hundred rows that the target refuses, far from each other, against the same load without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from psycopg import sql

from benchmarks import peers
from benchmarks.bench import Bench
from benchmarks.measure import Usage, interleave
from benchmarks.merging import CREATE, PRIMARY_KEY, ROWS, fill
from benchmarks.result import Result, compared

REFUSED = 100
BAR = 1.5
CLEAN, BAD = "orders_clean", "orders_bad"
SPOIL = "UPDATE orders_bad SET amount = -amount WHERE id %% %s = 1"
CHECK = "ALTER TABLE {table} ADD CHECK (amount >= 0)"
ASIDE = "SELECT count(*) FROM pghaul.quarantine WHERE sqlstate = '23514'"
NOTE = "into an empty table with its primary key and a CHECK that 100 rows, far from each other, do not meet"


def quarantine(bench: Bench) -> Iterator[Result]:
    """Both begin with an empty table that has its constraints."""
    rows = bench.rows(ROWS)
    bench.pair.fresh_source("quarantine")
    with bench.pair.on_source() as session:
        for table in (CLEAN, BAD):
            fill(session, rows, table=table)
        session.execute(sql.SQL(SPOIL), [rows // REFUSED])
        session.execute("VACUUM FULL orders_bad")
        session.execute("VACUUM (ANALYZE) orders_bad")
    bench.say(f"  {rows:,} rows, {REFUSED} of them bad")
    subjects: dict[str, Callable[[], Usage]] = {
        BAD: partial(_once, bench, BAD, rows - REFUSED),
        CLEAN: partial(_once, bench, CLEAN, rows),
    }
    used = interleave(subjects, bench.runs, bench.say)
    yield compared("quarantine", "pghaul, no bad row", rows, used[BAD], used[CLEAN], bar=BAR, note=NOTE)


def _once(bench: Bench, table: str, rows: int) -> Usage:
    build = partial(peers.pghaul, bench.pair, [f"public.{table}"], "--max-rejects", str(REFUSED))
    code = 3 if table == BAD else 0
    return bench.once(
        lambda: peers.ending(build(), code),
        table,
        rows,
        prepare=partial(_create, table=table),
        checked=_set_aside if table == BAD else lambda _: None,
    )


def _create(bench: Bench, table: str) -> None:
    with bench.pair.on_target() as session:
        for statement in (CREATE, PRIMARY_KEY, CHECK):
            session.execute(sql.SQL(statement).format(table=sql.Identifier(table)))


def _set_aside(bench: Bench) -> None:
    bench.expect(ASIDE, REFUSED)
