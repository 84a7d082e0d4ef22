"""How long it takes until something moves: 10,000 leaves described, and the first byte with 1,000 of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial

import psycopg

from benchmarks import peers
from benchmarks.bench import Bench
from benchmarks.measure import Command, CommandFailedError, Usage, interleave, measure, median
from benchmarks.result import Result
from benchmarks.servers import DAY, FIRST_DAY, HISTORY, make_leaf

MANY, SOME = 10_000, 1_000
MANY_BAR_S = 10.0
FIRST_BYTE_FACTOR, FIRST_BYTE_GRACE_S = 1.2, 1.0
ROWS_PER_LEAF = 10
ROWS = """
INSERT INTO point_history
SELECT path, %s + day::int8 * %s, 'v', true
FROM generate_series(0, %s - 1) AS day, generate_series(1, %s) AS path
"""


def planning(bench: Bench) -> Iterator[Result]:
    """Both cases."""
    yield _catalogue(bench, MANY // 100 if bench.quick else MANY)
    yield _first_byte(bench, SOME // 20 if bench.quick else SOME)


def _catalogue(bench: Bench, leaves: int) -> Result:
    _fill(bench, leaves, rows_per_leaf=0)
    script = (sys.executable, "-m", "benchmarks.plan_catalogue", bench.pair.from_url, "public.point_history")
    command = Command(name="planning", steps=((script,),))
    usages = interleave({"planning": partial(measure, command)}, bench.runs, bench.say)["planning"]
    seconds = median(usages, lambda u: float(json.loads(u.stdout)["seconds"]))
    return Result(
        name="planning",
        peer=f"{MANY_BAR_S:.0f} s",
        rows=0,
        wall_s=seconds,
        cpu_s=median(usages, lambda u: u.cpu_s),
        peak_rss_mb=median(usages, lambda u: u.peak_rss_mb),
        peer_wall_s=MANY_BAR_S,
        ratio=seconds / MANY_BAR_S,
        bar=1.0,
        note="connect, select, describe and plan; the process's own start is not in wall_s",
        extra={"leaves": leaves, "runs": len(usages), "process_walls_s": [round(u.wall_s, 2) for u in usages]},
    )


def _first_byte(bench: Bench, leaves: int) -> Result:
    _fill(bench, leaves, rows_per_leaf=ROWS_PER_LEAF)
    subjects = {"pghaul": partial(_until_first_byte, bench), "pre-data": partial(_pre_data, bench)}
    used = interleave(subjects, bench.runs, bench.say)
    ours, theirs = (median(used[k], lambda u: u.wall_s) for k in ("pghaul", "pre-data"))
    allowed = FIRST_BYTE_FACTOR * theirs + FIRST_BYTE_GRACE_S
    return Result(
        name="planning",
        peer="pg_dump + pg_restore of pre-data",
        rows=leaves * ROWS_PER_LEAF,
        wall_s=ours,
        cpu_s=median(used["pghaul"], lambda u: u.cpu_s),
        peak_rss_mb=median(used["pghaul"], lambda u: u.peak_rss_mb),
        peer_wall_s=theirs,
        ratio=ours / theirs,
        note=f"until an event reports bytes; allowed: {FIRST_BYTE_FACTOR} x peer + {FIRST_BYTE_GRACE_S} s",
        extra={"leaves": leaves, "runs": bench.runs, "bar_s": round(allowed, 3), "met": ours <= allowed},
    )


def _until_first_byte(bench: Bench) -> Usage:
    """Read until bytes are reported, then left to finish: a killed one would leave its sessions behind."""
    bench.pair.fresh_target()
    command = peers.pghaul(bench.pair, ["public.point_history"], "--no-analyze", "--json")
    started, first = time.monotonic(), None
    env = os.environ | dict(command.env)
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(
            command.steps[0][0], env=env, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process:
            for line in process.stdout or ():
                if first is None and _reports_bytes(json.loads(line)):
                    first = time.monotonic() - started
        errors.seek(0)
        if first is None or process.returncode != 0:
            raise CommandFailedError(f"pghaul ended with {process.returncode}: {errors.read()[-2000:]}")
    return Usage(wall_s=first, cpu_s=0.0, peaks=())


def _reports_bytes(event: dict[str, object]) -> bool:
    return event["event"] == "chunk_done" or (event["event"] == "progress" and bool(event.get("bytes")))


def _pre_data(bench: Bench) -> Usage:
    bench.pair.fresh_target()
    return measure(peers.pre_data(bench.pair))


def _fill(bench: Bench, leaves: int, *, rows_per_leaf: int) -> None:
    bench.pair.fresh_source("plant")
    with bench.pair.on_source() as session:
        session.execute(HISTORY)
        _make_leaves(session, leaves)
        if rows_per_leaf:
            session.execute(ROWS, [FIRST_DAY, DAY, leaves, rows_per_leaf])
        session.execute("ANALYZE")
    bench.say(f"  {leaves:,} leaves")


def _make_leaves(session: psycopg.Connection, leaves: int) -> None:
    for start in range(0, leaves, 500):  # one transaction each: locks and fsyncs both stay few
        with session.transaction():
            for number in range(start, min(start + 500, leaves)):
                make_leaf(session, number)
