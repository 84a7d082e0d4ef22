"""The main job: a partitioned history from one server to another, against the programs people use for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from benchmarks import peers
from benchmarks.bench import Bench
from benchmarks.measure import Command, Usage, interleave
from benchmarks.result import Result, compared
from benchmarks.servers import fill_history, leaf_name

LEAVES = 30
ROWS_PER_LEAF = 144_000  # 100 paths, one row a minute
ROWS_PER_LEAF_20M = 699_840  # 486 paths: 20,995,200 rows in all
TABLE = "point_history"
ROOT = f"public.{TABLE}"
OURS, OURS_ANALYZED = "pghaul", "pghaul with ANALYZE"
BARS = {"pg_dump -Z0": 1.0, "pg_dump": 0.65, "pgcopydb": 0.85}


def pg_partitions(bench: Bench) -> Iterator[Result]:
    """30 leaves of 144,000 rows."""
    return _against_peers(bench, "pg_partitions", ROWS_PER_LEAF)


def pg_partitions_20m(bench: Bench) -> Iterator[Result]:
    """The same 30 leaves with more than 20 million rows."""
    return _against_peers(bench, "pg_partitions_20m", ROWS_PER_LEAF_20M)


def pg_partitions_checksum(bench: Bench) -> Iterator[Result]:
    """What proof costs: the stream hash of whole leaves, and the row hash that split tables need."""
    per_leaf = bench.rows(ROWS_PER_LEAF)
    rows = _fill(bench, per_leaf)
    # Two ranges of every leaf: rows of two streams have no order to rely on, so their hashes are summed.
    split = f"{_leaf_bytes(bench) // 2 // 1024 + 8}kB"
    checksum = ("--verify", "checksum")
    subjects = {
        "count": _ours(bench, rows, "--no-analyze"),
        "checksum": _ours(bench, rows, "--no-analyze", *checksum),
        "split, count": _ours(bench, rows, "--no-analyze", "--split-size", split),
        "split, checksum": _ours(bench, rows, "--no-analyze", "--split-size", split, *checksum),
    }
    used = interleave(subjects, bench.runs, bench.say)
    name = "pg_partitions_checksum"
    peer = "pghaul --verify count"
    note = "stream hash: every leaf whole"
    yield compared(name, peer, rows, used["checksum"], used["count"], bar=1.2, note=note)
    note = f"row hash: every leaf read in two ranges ({split})"
    peer = "pghaul --verify count, leaves split"
    yield compared(name, peer, rows, used["split, checksum"], used["split, count"], bar=1.5, note=note)


def _against_peers(bench: Bench, name: str, rows_per_leaf: int) -> Iterator[Result]:
    rows = _fill(bench, bench.rows(rows_per_leaf))
    used = interleave(_subjects(bench, rows), bench.runs, bench.say)
    for peer, theirs in used.items():
        if peer in {OURS, OURS_ANALYZED}:
            continue
        analyzed = peer == "pgcopydb"
        note = "ANALYZE in both (theirs with VACUUM, which it cannot leave out)" if analyzed else "ANALYZE in neither"
        ours = used[OURS_ANALYZED if analyzed else OURS]
        yield compared(name, peer, rows, ours, theirs, bar=BARS.get(peer), note=note)


def _subjects(bench: Bench, rows: int) -> dict[str, Callable[[], Usage]]:
    pair = bench.pair
    leaves = [leaf_name(n) for n in range(LEAVES)]
    subjects: dict[str, Callable[[], Usage]] = {
        OURS: _ours(bench, rows, "--no-analyze"),
        "pg_dump -Z0": _measured(bench, partial(peers.dump_restore, pair, "-Z0"), rows),
        "pg_dump": _measured(bench, partial(peers.dump_restore, pair), rows),
    }
    optional: dict[str, Callable[[], Command | None]] = {
        "psql | psql": partial(peers.psql_copy, pair, leaves),
        "pgcopydb": partial(peers.pgcopydb, pair),
    }
    for peer, build in optional.items():
        if build() is None:
            bench.say(f"  {peer}: not installed, left out")
        else:
            subjects[peer] = _measured(bench, build, rows)
    if "pgcopydb" in subjects:
        subjects[OURS_ANALYZED] = _ours(bench, rows)
    return subjects


def _ours(bench: Bench, rows: int, *options: str) -> Callable[[], Usage]:
    return _measured(bench, partial(peers.pghaul, bench.pair, [ROOT], *options), rows)


def _measured(bench: Bench, build: Callable[[], Command | None], rows: int) -> Callable[[], Usage]:
    return lambda: bench.once(lambda: peers.present(build()), TABLE, rows)


def _fill(bench: Bench, per_leaf: int) -> int:
    bench.pair.fresh_source("plant")
    rows = fill_history(bench.pair, leaves=LEAVES, rows_per_leaf=per_leaf)
    bench.say(f"  {LEAVES} leaves, {rows:,} rows")
    return rows


def _leaf_bytes(bench: Bench) -> int:
    with bench.pair.on_source() as session:
        row = session.execute("SELECT pg_relation_size(%s)", [leaf_name(0)]).fetchone()
    return int(row[0]) if row else 0
