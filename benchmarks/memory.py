"""Memory must not follow the size of a table: the high-water marks of a worker and of the main process."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from psycopg import sql

from benchmarks import peers
from benchmarks.bench import Bench
from benchmarks.measure import Usage, interleave, median
from benchmarks.result import Result

ROW_BYTES = 1000
SMALL, LARGE = 100_000, 2_000_000  # rows: 100 MB and 2 GB
WORKER_MIB, MAIN_MIB, GROWTH_MIB = 80.0, 160.0, 10.0
# Sequential pages of plain text: neither compressed nor moved out of line.
CREATE = "CREATE TABLE {} (id int8 PRIMARY KEY, body text STORAGE PLAIN)"
FILL = "INSERT INTO {} SELECT i, rpad(md5(i::text), %s, 'x') FROM generate_series(1, %s) AS i"


def memory(bench: Bench) -> Iterator[Result]:
    """One table of 100 MB, one of 2 GB."""
    sizes = {"small": bench.rows(SMALL), "large": bench.rows(LARGE)}
    _fill(bench, sizes)
    subjects = {t: partial(_once, bench, t, rows) for t, rows in sizes.items()}
    used = interleave(subjects, min(bench.runs, 3), bench.say)
    large, small = used["large"], used["small"]
    main, worker = median(large, _main), median(large, _worker)
    growth = max(main - median(small, _main), worker - median(small, _worker))
    wall, small_wall = median(large, lambda u: u.wall_s), median(small, lambda u: u.wall_s)
    yield Result(
        name="memory",
        peer="pghaul, a table of 100 MB",
        rows=sizes["large"],
        wall_s=wall,
        cpu_s=median(large, lambda u: u.cpu_s),
        peak_rss_mb=max(main, worker),
        peer_wall_s=small_wall,
        ratio=max(main, worker) / max(median(small, _main), median(small, _worker)),
        note="ratio: peak memory at 2 GB / at 100 MB",
        extra={
            "worker_rss_mb": round(worker, 1),
            "main_rss_mb": round(main, 1),
            "growth_mb": round(growth, 1),
            "bar": {"worker_rss_mb": WORKER_MIB, "main_rss_mb": MAIN_MIB, "growth_mb": GROWTH_MIB},
            "met": worker <= WORKER_MIB and main <= MAIN_MIB and growth <= GROWTH_MIB,
        },
    )


def _fill(bench: Bench, sizes: dict[str, int]) -> None:
    bench.pair.fresh_source("memory")
    with bench.pair.on_source() as session:
        for table, rows in sizes.items():
            session.execute(sql.SQL(CREATE).format(sql.Identifier(table)))
            session.execute(sql.SQL(FILL).format(sql.Identifier(table)), [ROW_BYTES, rows])
        session.execute("VACUUM (ANALYZE)")


def _once(bench: Bench, table: str, rows: int) -> Usage:
    build = partial(peers.pghaul, bench.pair, [f"public.{table}"], "--no-analyze", workers=2)
    return bench.once(build, table, rows)


def _main(usage: Usage) -> float:
    return max((p.rss_mb for p in usage.peaks if p.root), default=0.0)


def _worker(usage: Usage) -> float:
    """Of the largest; the mark that multiprocessing leaves on the command line tells them from pg_dump."""
    return max((p.rss_mb for p in usage.peaks if "--multiprocessing-fork" in p.words), default=0.0)
