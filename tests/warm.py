"""Workers of runs within a test's process, forked from a server that has imported everything.

The program spawns its workers, and so do the tests that start it. Most of the others only want rows to be moved: with
forked workers they take two thirds of the time, and to measure the workers' coverage, too, costs next to nothing.
Windows cannot fork.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import context, reduction, util
from typing import Any

from pghaul.engine import pool

PRELOADED = [
    "pghaul.engine.worker",
    "pghaul.engine.insert",
    # What carries other databases' rows: of each such run, it and pyarrow would take half the time.
    "pghaul.engine.arrow.reader",
    "pghaul.engine.arrow.load",
    "pghaul.engine.arrow.careful",
    "pghaul.engine.arrow.check",
    "pghaul.sources.sqlite",
    "tests.warm",
    "coverage",
]


class _Process(context.ForkServerProcess):  # type: ignore[misc]
    """One that sees its parent's environment and streams of this moment, as a spawned one does."""

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"environ": dict(os.environ), "streams": [reduction.DupFd(n) for n in (1, 2)]}

    def run(self) -> None:
        state: dict[str, Any] = self.__dict__
        os.environ.clear()
        os.environ.update(state["environ"])
        for number, stream in enumerate(state["streams"], start=1):
            inherited = stream.detach()
            os.dup2(inherited, number)
            os.close(inherited)
        super().run()


class _Context(context.ForkServerContext):
    Process = _Process


@contextmanager
def warm_workers() -> Iterator[None]:
    """All pools of this process fork theirs."""
    made = _Context()
    made.set_forkserver_preload([m for m in PRELOADED if m != "coverage" or m in sys.modules])
    util.get_temp_dir()  # where the server listens: not in the folder of the test that comes first
    before, pool.CONTEXT = pool.CONTEXT, made
    try:
        yield
    finally:
        pool.CONTEXT = before
