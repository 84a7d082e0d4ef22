"""Increments of a thousand rows into ten million: one process for each, and programs that stay.

`merge_small`: wall time of one process, from its start to its end. `merge_small_resident`: from the commit on the
source until the last row is seen on the target, with a program that runs all the time. Ours looks by itself, every
50 ms; dlt and the script are loops that are told the moment the rows are there, which spares them the looking. Sling
has no such loop: ours is compared with its process.
"""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import IO

import psutil
import psycopg

from benchmarks.bench import Bench, WrongContentError
from benchmarks.measure import Usage, environ, median
from benchmarks.merge_peers import OURS, SCRIPT, SCRIPT_COPY, SLING, Program, loop, prime, programs
from benchmarks.merging import BASE, ROWS, both, change, equal, own, sourced
from benchmarks.peer_tools import tools
from benchmarks.result import Result, compared
from benchmarks.servers import Pair

UPDATES = INSERTS = 500
INCREMENTS = 11  # of each kind; the first of a process is as good as any, that of a loop is not counted
BAR = 0.2
PATIENCE = 120.0  # seconds
NEWEST = "SELECT max(updated_at) FROM orders"
PROCESS_NOTE = "500 updates and 500 inserts; one process for each increment"
LOOP_NOTE = "500 updates and 500 inserts; from their commit until they are seen on the target, both loops running"
SLING_NOTE = "ours running, from the commit until the rows are seen; its process, as it has no loop"


def merge_small(bench: Bench) -> Iterator[Result]:
    """Every program has a target of its own, and gets every increment."""
    found = programs(bench, tools(bench.say))
    both(bench, rows=bench.rows(ROWS), newest=True)
    own_pairs = {name: _begin(bench, p, number) for number, (name, p) in enumerate(found.items())}
    used = _processes(bench, found, own_pairs)
    yield from _results("merge_small", used, PROCESS_NOTE)
    running = _loops(bench, {n: p for n, p in found.items() if loop(p, own_pairs[n]) is not None}, own_pairs)
    yield from _results("merge_small_resident", running, LOOP_NOTE)
    if SLING in used:
        yield compared(
            "merge_small_resident", SLING, UPDATES + INSERTS, running[OURS], used[SLING], bar=BAR, note=SLING_NOTE
        )


def _begin(bench: Bench, program: Program, number: int) -> Pair:
    pair = own(bench.pair, f"orders_{number}")
    pair.target_like(BASE)
    prime(program, pair)
    return pair


def _results(name: str, used: Mapping[str, list[Usage]], note: str) -> Iterator[Result]:
    peers = sorted(used.keys() - {OURS}, key=lambda p: median(used[p], lambda u: u.wall_s))
    for peer in peers:
        bar = None if peer in {SCRIPT, SCRIPT_COPY} else BAR
        yield compared(name, peer, UPDATES + INSERTS, used[OURS], used[peer], bar=bar, note=note)


# --- a process for each ---


def _processes(bench: Bench, found: Mapping[str, Program], pairs: Mapping[str, Pair]) -> dict[str, list[Usage]]:
    used: dict[str, list[Usage]] = {name: [] for name in found}
    for turn in range(3 if bench.quick else INCREMENTS):
        change(bench, updates=UPDATES, inserts=INSERTS, turn=turn, vacuum=False)
        for name in _rotated(list(found), turn):
            used[name].append(bench.measure(found[name].build(pairs[name])))
            _seen(bench, pairs[name])
    wanted = sourced(bench.pair)
    for name in found:
        equal(pairs[name], wanted)
        bench.say(f"  {name}: {median(used[name], lambda u: u.wall_s) * 1000:.0f} ms")
    return used


def _seen(bench: Bench, pair: Pair) -> None:
    with bench.pair.on_source() as source, pair.on_target() as target:
        if _newest(source) != _newest(target):
            raise WrongContentError(f"{pair.into}: the increment is not there")


# --- programs that stay ---


class _Resident:
    """A running program. `told`: it waits for a line, and answers with one."""

    def __init__(self, process: subprocess.Popen[bytes], pair: Pair, *, told: bool) -> None:
        self._process = process
        self._told = told
        self._pair = pair
        self.target = pair.on_target()

    def wait_for(self, newest: object) -> Usage:
        """From now, when the rows have been committed, until they are seen on the target."""
        began, cpu, servers = time.monotonic(), self._cpu(), self._pair.cpu()
        if self._told:
            _pipe(self._process.stdin).write(b"go\n")
            _pipe(self._process.stdin).flush()
        while _newest(self.target) != newest:
            if self._process.poll() is not None or time.monotonic() - began > PATIENCE:
                raise WrongContentError("the increment does not arrive")
            time.sleep(0.002)
        wall = time.monotonic() - began
        if self._told and not _pipe(self._process.stdout).readline():
            raise WrongContentError("the loop has ended")
        return Usage(wall_s=wall, cpu_s=self._cpu() - cpu, peaks=(), servers_cpu_s=max(0.0, self._pair.cpu() - servers))

    def _cpu(self) -> float:
        root = psutil.Process(self._process.pid)
        times = [p.cpu_times() for p in (root, *root.children(recursive=True))]
        return float(sum(t.user + t.system for t in times))


def _loops(bench: Bench, found: Mapping[str, Program], pairs: Mapping[str, Pair]) -> dict[str, list[Usage]]:
    """One at a time: a loop that looks every 50 ms would take from what the others are measured with."""
    used: dict[str, list[Usage]] = {}
    turns = itertools.count(INCREMENTS)
    for name, program in found.items():
        with _running(program, pairs[name]) as resident:
            done = [_increment(bench, resident, next(turns)) for _ in range(4 if bench.quick else INCREMENTS + 1)]
        used[name] = done[1:]
        equal(pairs[name], sourced(bench.pair))
        bench.say(f"  {name}, running: {median(used[name], lambda u: u.wall_s) * 1000:.0f} ms")
    return used


def _increment(bench: Bench, resident: _Resident, turn: int) -> Usage:
    change(bench, updates=UPDATES, inserts=INSERTS, turn=turn, vacuum=False)
    with bench.pair.on_source() as source:
        newest = _newest(source)
    usage = resident.wait_for(newest)
    time.sleep(0.3 + 0.013 * (turn % 7))  # what comes after a round is over, and the beat is not always met alike
    return usage


@contextmanager
def _running(program: Program, pair: Pair) -> Iterator[_Resident]:
    command, told = loop(program, pair) or (program.build(pair), False)
    ((words,),) = command.steps
    with ExitStack() as stack:
        log = stack.enter_context((pair.folder / "loop.log").open("wb"))
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE if told else log, stderr=log, env=environ(command)
        )
        stack.callback(_end, process)
        resident = _Resident(process, pair, told=told)
        stack.enter_context(resident.target)
        yield resident


def _end(process: subprocess.Popen[bytes]) -> None:
    _pipe(process.stdin).close()
    process.terminate()
    process.wait(30)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise LookupError("opened as a pipe")
    return pipe


def _newest(session: psycopg.Connection) -> object:
    return (session.execute(NEWEST.encode()).fetchone() or (None,))[0]


def _rotated(names: list[str], by: int) -> list[str]:
    return names[by % len(names) :] + names[: by % len(names)]
