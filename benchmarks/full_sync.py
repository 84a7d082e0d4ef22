"""Ten million rows of which one in a hundred is changed, new or gone, made equal; against one COPY of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from psycopg import sql

from benchmarks import peers
from benchmarks.bench import Bench
from benchmarks.measure import Command, Usage, interleave
from benchmarks.merging import BASE, CREATE, PRIMARY_KEY, ROWS, TABLE, Content, both, change, equal, relay, sourced
from benchmarks.result import Result, compared

SHARE = 100  # one row in so many: a third each is updated, inserted, deleted
BAR = 3.0
OURS, BARE, KEYED = "pghaul full-sync", "psql | psql", "psql | psql, primary key"
NOTE = "a third each updated, inserted, deleted; the peer copies the whole table into an empty one, logged"


def full_sync(bench: Bench) -> Iterator[Result]:
    """The peer moves the rows only, without an index, and with its primary key there."""
    rows = both(bench, rows=bench.rows(ROWS))
    each = rows // SHARE // 3
    change(bench, updates=each, inserts=each, deletes=each)
    wanted = sourced(bench.pair)
    subjects: dict[str, Callable[[], Usage]] = {
        OURS: partial(_ours, bench, wanted),
        BARE: partial(_copy, bench, wanted, keyed=False),
        KEYED: partial(_copy, bench, wanted, keyed=True),
    }
    used = interleave(subjects, bench.runs, bench.say)
    ours = used.pop(OURS)
    for peer, theirs in used.items():
        yield compared("full_sync", peer, rows, ours, theirs, bar=BAR if peer == BARE else None, note=NOTE)


def _ours(bench: Bench, wanted: Content) -> Usage:
    bench.pair.target_like(BASE)
    usage = bench.measure(synced(bench))
    equal(bench.pair, wanted)
    return usage


def synced(bench: Bench) -> Command:
    """All rows are read."""
    return peers.pghaul(bench.pair, [f"public.{TABLE}"], "--recipe", "merge", "--mode", "full-sync")


def _copy(bench: Bench, wanted: Content, *, keyed: bool) -> Usage:
    bench.pair.fresh_target()
    with bench.pair.on_target() as session:
        for statement in (CREATE, *((PRIMARY_KEY,) if keyed else ())):
            session.execute(sql.SQL(statement).format(table=sql.Identifier(TABLE)))
    usage = bench.measure(relay(bench.pair, TABLE))
    equal(bench.pair, wanted)
    return usage
