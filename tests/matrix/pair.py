"""One pair of servers: a database moved as a user does it, killed on the way, resumed, and compared by everything."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from pghaul.service.embedded import Cluster
from tests.compare import assert_same_content, contents
from tests.databases import database_pair
from tests.faults.program import Program
from tests.faults.proxy import Connection, Moment, Proxy, Trigger
from tests.looking import markers
from tests.matrix import schema
from tests.matrix.structure import differing, structure

KILL_AFTER = 3  # chunks
SECONDS = 120.0
OPTIONS = ("--table", "*.*", "--workers", "2", "--verify", "checksum", "--split-size", "1MB", "--json")
RUN_ID = "a0b1c2d3e4f5"


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What came over; `chunks_before` were committed when the run was killed."""

    tables: int
    rows: int
    chunks_before: int
    seconds: float


def move_killed_and_resumed(source: Cluster, target: Cluster, known: int, folder: Path) -> Moved:
    """Fails unless all rows and all structure are on the target; `known` is the older of the two versions."""
    with database_pair(source, target, source_sql=schema.script(known)) as pair, Proxy(target.port) as proxy:
        program = Program(folder)
        begun = time.monotonic()
        try:
            _arm(proxy, pair.target, program)
            ends = ("--from", pair.source, "--to", proxy.url(pair.target))
            program.start("run", *ends, "--run-id", RUN_ID, *OPTIONS)
            assert program.wait(SECONDS) == -9, _end(program)
            before = len(markers(pair.target))
            program.resume(RUN_ID)
            assert program.wait(SECONDS) == 0, _end(program)
        finally:
            program.kill_all()
        seconds = time.monotonic() - begun
        names = schema.tables(known)
        assert_same_content(pair.source, pair.target, names)
        here, there = structure(pair.source), structure(pair.target)
        assert not differing(here, there), differing(here, there)
        rows = sum(c.rows.total() for c in contents(pair.target, names).values())
        return Moved(tables=len(names), rows=rows, chunks_before=before, seconds=round(seconds, 1))


def _end(program: Program) -> str:
    return program.said()[-1500:]


def _arm(proxy: Proxy, target: str, program: Program) -> None:
    """Kill the main process when enough chunks are committed: between a worker's commit and the next thing it does."""

    def look(_: Connection) -> None:
        if len(markers(target)) >= KILL_AFTER:
            program.kill_main()
        else:
            _arm(proxy, target, program)

    proxy.arm(Trigger(moment=Moment.ANSWER, pattern="^COMMIT", application="/worker$", action=look))
