"""Two equal tables compared, and three rows found that differ: against reading the slower of them out to nowhere."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from functools import partial

import psycopg
from psycopg import sql

from benchmarks import peers
from benchmarks.bench import Bench, WrongContentError
from benchmarks.measure import Command, Usage, interleave, measure, median
from benchmarks.result import Result, compared
from benchmarks.servers import DAY, FIRST_DAY

ROWS = 20_000_000
PATHS = 2_000
SUM_BAR, ROWS_BAR = 1.3, 1.5
OURS, SOURCE, TARGET = "pghaul verify", "COPY TO of the source", "COPY TO of the target"
CREATE = """
CREATE TABLE history (
    path_id int8 NOT NULL, issued_date int8 NOT NULL, changed_value varchar(100), connection_status bool,
    PRIMARY KEY (path_id, issued_date)
)
"""
# The same rows on both sides, in the order in which a plant writes them.
FILL = """
INSERT INTO history
SELECT 1 + i %% {paths}, {first} + i / {paths} * {step}, round((i::int8 * 7919 %% 1000003) / 1000.0, 3)::text,
       i %% 97 <> 0
FROM generate_series(0, %s - 1) AS i
"""
# One of each kind, far from each other.
DAMAGE = (
    "DELETE FROM history WHERE path_id = 17 AND issued_date = (SELECT min(issued_date) FROM history)",
    "UPDATE history SET changed_value = changed_value || ' ' "
    "WHERE path_id = 1003 AND issued_date = (SELECT max(issued_date) FROM history WHERE path_id = 1003)",
    "INSERT INTO history SELECT 1999, 1 + max(issued_date), '0', true FROM history",
)
FOUND = {"missing": 1, "extra": 1, "different": 1}


def verify(bench: Bench) -> Iterator[Result]:
    """Both are equal; then three rows of the target are not."""
    rows = _fill(bench)
    reads = {name: partial(measure, _read(bench, url)) for name, url in _ends(bench).items()}
    used = interleave(reads | {OURS: partial(_ours, bench, code=0)}, bench.runs, bench.say)
    slower = max((SOURCE, TARGET), key=lambda n: median(used[n], lambda u: u.wall_s))
    yield _result("verify", "checksum of both sides", rows, used, slower, SUM_BAR)
    with bench.pair.on_target() as session:
        for statement in DAMAGE:
            session.execute(statement.encode())
    used |= interleave({OURS: partial(_ours, bench, code=3)}, bench.runs, bench.say)
    yield _result("verify_rows", "and the three rows that differ", rows, used, slower, ROWS_BAR)


def _result(name: str, note: str, rows: int, used: dict[str, list[Usage]], slower: str, bar: float) -> Result:
    return compared(name, f"{slower}, alone", rows, used[OURS], used[slower], bar=bar, note=note)


def _ends(bench: Bench) -> dict[str, str]:
    return {SOURCE: bench.pair.from_url, TARGET: bench.pair.to_url}


def _read(bench: Bench, url: str) -> Command:
    program = str(bench.pair.programs / "psql")
    stage = (program, "-qX", "-o", os.devnull, "-c", "COPY history TO STDOUT", url)
    return Command(name="psql", steps=((stage,),), env=peers.environment(bench.pair))


def _ours(bench: Bench, *, code: int) -> Usage:
    ends = ("--from", bench.pair.from_url, "--to", bench.pair.to_url, "--table", "public.history")
    stage = (sys.executable, "-m", "pghaul", "verify", *ends, "--json")
    command = Command(name=OURS, steps=((stage,),), env=peers.environment(bench.pair), codes=(code,))
    usage = measure(command)
    (table,) = json.loads(usage.stdout)["tables"]
    if code and {k: table[k] for k in FOUND} != FOUND:
        raise WrongContentError(f"not the three rows: {table}")
    return usage


def _fill(bench: Bench) -> int:
    bench.pair.fresh_source("verify")
    bench.pair.fresh_target()
    rows = bench.rows(ROWS)
    for session in (bench.pair.on_source(), bench.pair.on_target()):
        with session:
            _fill_one(session, rows)
    bench.say(f"  two tables of {rows:,} rows")
    return rows


def _fill_one(session: psycopg.Connection, rows: int) -> None:
    session.execute(CREATE)
    step = max(1, DAY // max(1, rows // PATHS))
    words = {"paths": PATHS, "first": FIRST_DAY, "step": step}
    session.execute(sql.SQL(FILL).format(**{k: sql.Literal(v) for k, v in words.items()}), [rows])
    session.execute("VACUUM (ANALYZE, FREEZE) history")
    session.execute("CHECKPOINT")
