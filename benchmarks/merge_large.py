"""A million changed rows into ten: half of them are there already, half are new."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.bench import Bench
from benchmarks.measure import Usage, interleave, median
from benchmarks.merge_peers import OURS, SCRIPT, SCRIPT_COPY, Program, as_primed, prime, programs
from benchmarks.merging import BASE, ROWS, Content, both, change, equal, sourced
from benchmarks.peer_tools import tools
from benchmarks.result import Result, compared

CHANGED = 1_000_000
BAR = 0.34  # of the best tool; a script is not a tool, but is told all the same
NOTE = "half updates, half inserts; every run from the same target, primed by the same program's own first run"


def merge_large(bench: Bench) -> Iterator[Result]:
    """One process, from its start to its end."""
    found = programs(bench, tools(bench.say))
    rows = both(bench, rows=bench.rows(ROWS))
    changed = bench.rows(CHANGED)
    for program in found.values():
        _prime(bench, program)
    change(bench, updates=changed // 2, inserts=changed // 2)
    bench.say(f"  {changed:,} rows of {rows:,} are changed or new")
    wanted = sourced(bench.pair)
    used = interleave({n: partial(_once, bench, p, wanted) for n, p in found.items()}, bench.runs, bench.say)
    ours = used.pop(OURS)
    for peer in sorted(used, key=lambda p: median(used[p], lambda u: u.wall_s)):
        bar = None if peer in {SCRIPT, SCRIPT_COPY} else BAR
        yield compared("merge_large", peer, changed, ours, used[peer], bar=bar, note=NOTE)


def _prime(bench: Bench, program: Program) -> None:
    if program.primed:
        bench.pair.target_like(BASE)
        prime(program, bench.pair)
        bench.pair.target_like(bench.pair.database, name=_template(program))


def _once(bench: Bench, program: Program, wanted: Content) -> Usage:
    bench.pair.target_like(_template(program) if program.primed else BASE)
    as_primed(program)
    usage = bench.measure(program.build(bench.pair))
    equal(bench.pair, wanted)
    return usage


def _template(program: Program) -> str:
    return f"primed {program.name}"
