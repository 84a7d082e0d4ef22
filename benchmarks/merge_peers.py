"""How a table is kept in step by each program: what it is given, what it has to have done before, its best settings.

dlt: `sql_table` by connectorx, parquet and ADBC into its staging table (faster than pyarrow, and than CSV), strategy
`upsert` (MERGE) or `delete-insert`; its own state stays in a folder between the runs. Sling: mode `incremental` with
primary key and update key, bulk COPY; the target's newest row is its state. A script: likewise.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

from benchmarks import peers
from benchmarks.bench import Bench
from benchmarks.measure import Command, measure
from benchmarks.merging import CURSOR, FILLED_FROM, KEY, ROWS, TABLE
from benchmarks.peer_tools import FOLDER, Tools, sling_environment
from benchmarks.servers import Pair

OURS = "pghaul"
DLT, DLT_DELETE = "dlt upsert", "dlt delete-insert"
SLING = "Sling"
SCRIPT, SCRIPT_COPY = "script: executemany", "script: COPY"
FIRST = 100  # rows of dlt's first run, which is told from where on: by this way it cannot load an empty increment

Build: TypeAlias = Callable[[Pair], Command]


@dataclass(frozen=True, kw_only=True)
class Program:
    """One that keeps a table in step."""

    name: str
    build: Build
    primed: bool = False  # a first run tells it where it stands; `state` is what that leaves on this machine
    state: Path | None = None


def programs(bench: Bench, tools: Tools) -> Mapping[str, Program]:
    """Ours and those that are installed."""
    found = [Program(name=OURS, build=ours, primed=True)]
    if tools.python is not None:
        found += [_dlt(bench, tools.python, DLT, "upsert"), _dlt(bench, tools.python, DLT_DELETE, "delete-insert")]
    if tools.sling is not None:
        sling = tools.sling
        found.append(Program(name=SLING, build=lambda pair: _sling(sling, pair)))
    found += [
        Program(name=SCRIPT, build=lambda pair: _script("executemany", pair)),
        Program(name=SCRIPT_COPY, build=lambda pair: _script("copy", pair)),
    ]
    return {p.name: p for p in found}


def prime(program: Program, pair: Pair) -> None:
    """The first run; what it leaves on this machine is kept beside."""
    if not program.primed:
        return
    if program.state is not None:
        shutil.rmtree(program.state, ignore_errors=True)
    measure(program.build(pair))
    if program.state is not None:
        shutil.rmtree(_kept(program.state), ignore_errors=True)
        shutil.copytree(program.state, _kept(program.state))


def as_primed(program: Program) -> None:
    """The program's own state as the first run left it."""
    if program.state is not None:
        shutil.rmtree(program.state, ignore_errors=True)
        shutil.copytree(_kept(program.state), program.state)


def loop(program: Program, pair: Pair) -> tuple[Command, bool] | None:
    """The same program as one that stays, and whether it is told of every increment; None where it has no loop."""
    command = program.build(pair)
    if program.name == OURS:
        command = ours(pair, "--every", "50ms")
    elif program.name == SLING:
        return None
    else:
        command = replace(command, steps=(((*command.steps[0][0], "--loop"),),))
    return command, program.name != OURS


def ours(pair: Pair, *options: str) -> Command:
    """By the watermark; the primary key is the key."""
    return peers.pghaul(pair, [f"public.{TABLE}"], "--recipe", "merge", "--watermark", CURSOR, *options)


def dlt_words(python: Path, state: Path, strategy: str, since: str, pair: Pair) -> tuple[str, ...]:
    """The command line of dlt's script."""
    script = str(Path(__file__).with_name("dlt_script.py"))
    where = (pair.from_url, pair.to_url, TABLE, KEY, CURSOR, since, str(state))
    return (str(python), script, *where, "--strategy", strategy)


def dlt_environment() -> dict[str, str]:
    """Nothing of the person's who measures; nothing is reported to anybody."""
    return {
        "DLT_DATA_DIR": str(FOLDER.resolve() / "dlt-data"),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "CRITICAL",
        # It wants one; these servers trust whoever is on this machine.
        "DESTINATION__POSTGRES__CREDENTIALS__PASSWORD": "none",
    }


def _dlt(bench: Bench, python: Path, name: str, strategy: str) -> Program:
    since = (FILLED_FROM + timedelta(seconds=bench.rows(ROWS) - FIRST)).isoformat()

    state = bench.pair.folder / f"scratch-{strategy}"

    def build(pair: Pair) -> Command:
        return Command(name=name, steps=((dlt_words(python, state, strategy, since, pair),),), env=dlt_environment())

    return Program(name=name, build=build, primed=True, state=state)


def _sling(program: Path, pair: Pair) -> Command:
    source = ("--src-conn", "BENCH_FROM", "--src-stream", f"public.{TABLE}")
    target = ("--tgt-conn", "BENCH_TO", "--tgt-object", f"public.{TABLE}")
    stage = (
        str(program),
        "run",
        *source,
        *target,
        "--mode",
        "incremental",
        "--primary-key",
        KEY,
        "--update-key",
        CURSOR,
    )
    env = {
        "BENCH_FROM": f"{pair.from_url}?sslmode=disable",
        "BENCH_TO": f"{pair.to_url}?sslmode=disable",
    }
    return Command(name=SLING, steps=((stage,),), env=env | sling_environment())


def _script(way: str, pair: Pair) -> Command:
    words = (sys.executable, "-m", "benchmarks.merge_script", way, pair.from_url, pair.to_url, TABLE, KEY, CURSOR)
    return Command(name=f"script: {way}", steps=((words,),))


def _kept(state: Path) -> Path:
    return state.with_name(f"{state.name}-primed")
