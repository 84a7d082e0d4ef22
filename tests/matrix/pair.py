"""One pair of servers: a database moved as a user does it, killed on the way, resumed, and compared by everything."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pghaul.service.embedded import Cluster
from tests.compare import assert_same_content, contents
from tests.databases import database_pair
from tests.faults.program import Program, wait_until
from tests.looking import markers, value
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
    with database_pair(source, target, source_sql=schema.script(known)) as pair:
        program = Program(folder)
        begun = time.monotonic()
        try:
            program.start("run", "--from", pair.source, "--to", pair.target, "--run-id", RUN_ID, *OPTIONS)
            assert wait_until(_some_done(pair.target, program), SECONDS), _end(program)
            program.kill_main()
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


def _some_done(target: str, program: Program) -> Callable[[], bool]:
    """Whether enough chunks are committed; also true when the program has ended, which then is the failure."""

    def done() -> bool:
        if program.wait(0) is not None:
            return True
        return value(target, "SELECT to_regclass('pghaul.undo')") is not None and len(markers(target)) >= KILL_AFTER

    return done
