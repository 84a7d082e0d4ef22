"""The relay alone: one stream of narrow rows, against one pipe of psql."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from benchmarks import peers
from benchmarks.bench import Bench
from benchmarks.measure import Command, Usage, interleave, median
from benchmarks.result import Result, compared

ROWS = 2_000_000
WALL_BAR, CPU_BAR = 1.05, 1.0
TABLE = "narrow"
WARM_UP = 2  # rounds that do not count: half a second is too short to pay for cold files
CREATE = "CREATE TABLE narrow (path_id int8, issued_date int8, changed_value varchar(100), connection_status bool)"
FILL = """
INSERT INTO narrow
SELECT i %% 100, i::int8 * 600, (i %% 1000)::text, i %% 97 <> 0 FROM generate_series(1, %s) AS i
"""
NOTE = (
    "one stream; binary, as the engine chooses here, against psql's text; "
    "ours without the interpreter's start (process_*: with it)"
)


def relay(bench: Bench) -> Iterator[Result]:
    """CPU of the client and wall time."""
    rows = bench.rows(ROWS)
    _fill(bench, rows)
    ours = Command(name="relay", steps=((_stream(bench),),))
    subjects: dict[str, Callable[[], Usage]] = {
        "pghaul": partial(_once, bench, ours, rows),
        "psql | psql": partial(_once, bench, peers.psql_stream(bench.pair, TABLE), rows),
    }
    interleave(subjects, WARM_UP, lambda _: None)
    used = interleave(subjects, bench.runs, bench.say)
    whole, theirs = used["pghaul"], used["psql | psql"]
    inside = [_inside(u) for u in whole]
    result = compared("relay", "psql | psql", rows, inside, theirs, bar=WALL_BAR, note=NOTE)
    cpu_ratio = result.cpu_s / median(theirs, lambda u: u.cpu_s)
    more = {
        "cpu_ratio": cpu_ratio,
        "cpu_bar": CPU_BAR,
        "met": cpu_ratio <= CPU_BAR and result.ratio <= WALL_BAR,
        "process_wall_s": median(whole, lambda u: u.wall_s),
        "process_cpu_s": median(whole, lambda u: u.cpu_s),
    }
    yield replace(result, extra=result.extra | more)


def _fill(bench: Bench, rows: int) -> None:
    bench.pair.fresh_source("relay")
    with bench.pair.on_source() as session:
        session.execute(CREATE)
        session.execute(FILL, [rows])
        session.execute("VACUUM (ANALYZE)")


def _stream(bench: Bench) -> tuple[str, ...]:
    return (sys.executable, "-m", "benchmarks.relay_stream", bench.pair.from_url, bench.pair.to_url, TABLE)


def _once(bench: Bench, command: Command, rows: int) -> Usage:
    return bench.once(lambda: command, TABLE, rows, prepare=_create_target)


def _create_target(bench: Bench) -> None:
    with bench.pair.on_target() as session:
        session.execute(CREATE)


def _inside(usage: Usage) -> Usage:
    told = json.loads(usage.stdout)
    return replace(usage, wall_s=told["wall_s"], cpu_s=told["cpu_s"])
