"""Other databases into PostgreSQL: ours, pgloader and Sling, each with its table, its primary key, and no ANALYZE.

pgloader exits with 0 whatever happens to rows, so what counts is the content: sums over every column whose type is
the same with all of them. What they make of dates, enums and bytes differs; there the values that are no NULL count.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from psycopg import sql

from benchmarks import peers
from benchmarks.against import OURS, Subject, against
from benchmarks.bench import Bench, WrongContentError
from benchmarks.measure import Command, Usage
from benchmarks.peer_tools import sling, sling_environment
from benchmarks.result import Result

TABLE, KEY = "reading", "id"
PGLOADER, SLING = "pgloader", "Sling"
MEMORY_MIB = 250.0
# Its manual's words for large tables; it has two cores here, like everyone.
WITH = "create tables, create indexes, reset sequences, workers = 4, concurrency = 1, prefetch rows = 25000"


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """What is moved, and how each program is told."""

    name: str
    url: str
    sling_url: str
    sling_stream: str
    rows: int
    content: str  # a query with one row, the same on the target of every program
    wanted: Sequence[object]
    pgloader: str  # its command file but for FROM, INTO and WITH
    pgloader_with: str = WITH
    pid: int | None = None  # of the source's server


def moved(bench: Bench, case: Foreign, *, bar: float, best_bar: float | None) -> Iterator[Result]:
    """A result for each peer, and one for memory."""
    if case.pid is not None:
        bench.pair.others = (case.pid,)
    subjects: dict[str, Subject] = {
        name: partial(_once, bench, case, build) for name, build in _builds(bench, case).items()
    }
    peaks: list[float] = []
    for result in against(bench, case.name, case.rows, subjects, bars={PGLOADER: bar}, best_bar=best_bar):
        peaks.append(result.peak_rss_mb)
        yield result
    if peaks:
        yield _memory(case, peaks[0], result)


def _memory(case: Foreign, peak: float, like: Result) -> Result:
    """The largest process of ours against what it may take."""
    return Result(
        name=f"{case.name}_memory",
        peer=f"{MEMORY_MIB:.0f} MiB",
        rows=case.rows,
        wall_s=like.wall_s,
        cpu_s=like.cpu_s,
        peak_rss_mb=peak,
        peer_wall_s=like.wall_s,
        ratio=peak / MEMORY_MIB,
        bar=1.0,
        extra={"ratio_of": "peak_rss_mb"},
    )


def _builds(bench: Bench, case: Foreign) -> dict[str, Callable[[], Command]]:
    """Ours and those that are here; what is missing is said."""
    found: dict[str, Callable[[], Command]] = {OURS: partial(_ours, bench, case)}
    if program := shutil.which(PGLOADER):
        found[PGLOADER] = partial(_pgloader, program, bench, case)
    else:
        bench.say(f"  {PGLOADER}: not installed, left out")
    if own := sling(bench.say):
        found[SLING] = partial(_sling, str(own), bench, case)
    return found


def _once(bench: Bench, case: Foreign, build: Callable[[], Command]) -> Usage:
    return bench.once(build, TABLE, case.rows, checked=lambda b: _same(b, case))


def _same(bench: Bench, case: Foreign) -> None:
    """WrongContentError where a sum differs."""
    with bench.pair.on_target() as session:
        session.execute("SET TimeZone TO 'UTC'")
        found = session.execute(sql.SQL(case.content)).fetchone() or ()
    if tuple(found) != tuple(case.wanted):
        raise WrongContentError(f"{found} instead of {case.wanted}")


def _ours(bench: Bench, case: Foreign) -> Command:
    return peers.pghaul(bench.pair, [], "--all", "--no-analyze", "--no-vacuum", source=case.url)


def _pgloader(program: str, bench: Bench, case: Foreign) -> Command:
    file = bench.pair.folder / "pgloader.load"
    words = f"LOAD DATABASE FROM {case.url} INTO {bench.pair.to_url} WITH {case.pgloader_with} {case.pgloader};\n"
    file.write_text(words)
    stage = (program, "--quiet", "--root-dir", str(bench.pair.folder / "pgloader"))
    return Command(name=PGLOADER, steps=(((*stage, str(file)),),), env=peers.environment(bench.pair))


def _sling(program: str, bench: Bench, case: Foreign) -> Command:
    source = ("--src-conn", "BENCH_FROM", "--src-stream", case.sling_stream)
    target = ("--tgt-conn", "BENCH_TO", "--tgt-object", f"public.{TABLE}")
    options = ("--tgt-options", json.dumps({"table_keys": {"primary": [KEY]}}))
    stage = (program, "run", *source, *target, *options, "--mode", "full-refresh", "--primary-key", KEY)
    places = {"BENCH_FROM": case.sling_url, "BENCH_TO": f"{bench.pair.to_url}?sslmode=disable"}
    return Command(name=SLING, steps=((stage,),), env=places | sling_environment())
