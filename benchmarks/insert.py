"""The recipe `insert` against scripts that fetch and executemany, and against our own COPY.

The target's table is there, with its primary key, and empty: so it is where such scripts are used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial

from psycopg import sql

from benchmarks import peers
from benchmarks.bench import Bench
from benchmarks.measure import Command, Usage, interleave
from benchmarks.result import Result, compared

ROWS = 600_000
BAR = 0.1  # ten times as fast as LIMIT and OFFSET with executemany
TABLE = "readings"
CREATE = """
CREATE TABLE readings (
    path_id int8 NOT NULL, issued_date int8 NOT NULL, changed_value varchar(100), connection_status bool,
    PRIMARY KEY (path_id, issued_date))
"""
FILL = """
INSERT INTO readings
SELECT 1 + i %% 280, 1704034800000 + i / 280 * 60000, round((random() * 1000)::numeric, 3)::text, i %% 97 <> 0
FROM generate_series(0, %s - 1) AS i
"""
NOTE = "into an empty table with its primary key; ours with one worker, its start and its ledger"


def insert(bench: Bench) -> Iterator[Result]:
    """Ours against both scripts, and against COPY."""
    rows = bench.rows(ROWS)
    bench.pair.fresh_source("insert")
    with bench.pair.on_source() as session:
        session.execute(CREATE)
        session.execute(FILL, [rows])
        session.execute("VACUUM (ANALYZE)")
    subjects: dict[str, Callable[[], Usage]] = {
        "pghaul --recipe insert": partial(_once, bench, partial(_ours, bench, "--recipe", "insert"), rows),
        "LIMIT/OFFSET and executemany": partial(_once, bench, partial(_script, bench, "offset"), rows),
        "server-side cursor and executemany": partial(_once, bench, partial(_script, bench, "cursor"), rows),
        "pghaul --recipe copy": partial(_once, bench, partial(_ours, bench), rows),
    }
    used = interleave(subjects, 1 if bench.quick else min(bench.runs, 3), bench.say)
    ours = used.pop("pghaul --recipe insert")
    for peer, theirs in used.items():
        bar = BAR if peer.startswith("LIMIT") else None
        name = "insert" if bar else "insert_cursor" if "cursor" in peer else "insert_copy"
        yield compared(name, peer, rows, ours, theirs, bar=bar, note=NOTE)


def _ours(bench: Bench, *options: str) -> Command:
    return peers.pghaul(bench.pair, [f"public.{TABLE}"], *options, workers=1)


def _script(bench: Bench, way: str) -> Command:
    words = (sys.executable, "-m", "benchmarks.insert_script", way, bench.pair.from_url, bench.pair.to_url, TABLE)
    return Command(name=way, steps=((words,),))


def _once(bench: Bench, build: Callable[[], Command], rows: int) -> Usage:
    return bench.once(build, TABLE, rows, prepare=_create)


def _create(bench: Bench) -> None:
    with bench.pair.on_target() as session:
        session.execute(sql.SQL(CREATE))
