"""How a person would move the same tables with other programs, and with ours: each as one Command.

Every one starts at an empty target database and ends with rows, indexes and constraints in place. None of
them runs ANALYZE, but for pgcopydb, which cannot leave its VACUUM ANALYZE out: ours runs ANALYZE against it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import Command
from benchmarks.servers import Pair

JOBS = 2

PSQL_COPY = r"""
set -euo pipefail
pg_dump --section=pre-data --no-owner "$FROM" | psql -qX -v ON_ERROR_STOP=1 -o "$SCRATCH/pre.out" "$TO"
one() { psql -qX -c "COPY $1 TO STDOUT" "$FROM" | psql -qX -v ON_ERROR_STOP=1 -c "COPY $1 FROM STDIN" "$TO"; }
export -f one
printf '%s\n' "$@" | xargs -P "$JOBS" -I{} bash -euo pipefail -c 'one {}'
pg_dump -Fc --section=post-data --no-owner -f "$SCRATCH/post.dump" "$FROM"
pg_restore -j "$JOBS" --no-owner -d "$TO" "$SCRATCH/post.dump"
"""


def environment(pair: Pair) -> dict[str, str]:
    """The same client programs for all, and a state store of its own for ours."""
    return {
        "PATH": os.pathsep.join((str(pair.programs), os.environ.get("PATH", ""))),
        "PG_CONFIG": str(pair.programs / "pg_config"),
        "PGHAUL_PG_BIN": str(pair.programs),
        "PGHAUL_STATE": f"sqlite:///{(pair.folder / 'state.db').as_posix()}",
    }


def pghaul(pair: Pair, tables: Sequence[str], *options: str, workers: int = JOBS, source: str = "") -> Command:
    """Ours, through its command line; `source` where it is not the pair's."""
    selected = tuple(word for table in tables for word in ("--table", table))
    words = (sys.executable, "-m", "pghaul", "run", "--from", source or pair.from_url, "--to", pair.to_url)
    stage = (*words, *selected, "--workers", str(workers), *options)
    return Command(name="pghaul", steps=((stage,),), env=environment(pair))


def ending(command: Command, code: int) -> Command:
    """One that is expected to end with this code alone."""
    return replace(command, codes=(code,))


def dump_restore(pair: Pair, *compression: str) -> Command:
    """pg_dump into a folder, then pg_restore, both with two jobs."""
    folder = str(_scratch(pair, "dump"))
    dump = (
        _program(pair, "pg_dump"),
        "-Fd",
        *compression,
        f"-j{JOBS}",
        "--no-owner",
        "-f",
        folder,
        pair.from_url,
    )
    restore = (_program(pair, "pg_restore"), f"-j{JOBS}", "--no-owner", "-d", pair.to_url, folder)
    return Command(name=" ".join(("pg_dump", *compression)), steps=((dump,), (restore,)), env=environment(pair))


def psql_copy(pair: Pair, leaves: Sequence[str]) -> Command | None:
    """One pipe per leaf, two at a time, indexes afterwards; None without bash and xargs."""
    if not (shutil.which("bash") and shutil.which("xargs")):
        return None
    scratch = _scratch(pair, "psql")
    scratch.mkdir()
    env = {"FROM": pair.from_url, "TO": pair.to_url, "SCRATCH": str(scratch), "JOBS": str(JOBS)}
    stage = ("bash", "-c", PSQL_COPY, "bash", *leaves)
    return Command(name="psql | psql", steps=((stage,),), env=environment(pair) | env)


def dump_pipe(pair: Pair) -> Command:
    """One pg_dump into one pg_restore, without a file between them."""
    dump = (_program(pair, "pg_dump"), "-Fc", "-Z0", "--no-owner", pair.from_url)
    restore = (_program(pair, "pg_restore"), "--no-owner", "-d", pair.to_url)
    return Command(name="pg_dump | pg_restore", steps=((dump, restore),), env=environment(pair))


def dump_restore_at_once(pair: Pair) -> Command:
    """pg_restore in one transaction: thousands of small objects then cost one flush to disk."""
    file = str(_scratch(pair, "dump.one"))
    dump = (_program(pair, "pg_dump"), "-Fc", "-Z0", "--no-owner", "-f", file, pair.from_url)
    restore = (_program(pair, "pg_restore"), "-1", "--no-owner", "-d", pair.to_url, file)
    return Command(name="pg_dump, pg_restore -1", steps=((dump,), (restore,)), env=environment(pair))


def present(command: Command | None) -> Command:
    """What was found to be installed a moment ago."""
    if command is None:
        raise LookupError("the program was here a moment ago")
    return command


def pgcopydb(pair: Pair, *options: str) -> Command | None:
    """Debian's; None where it is not installed."""
    program = shutil.which("pgcopydb")
    if program is None:
        return None
    words = (program, "clone", "--source", pair.from_url, "--target", pair.to_url)
    jobs = ("--table-jobs", str(JOBS), "--index-jobs", str(JOBS))
    spared = ("--no-owner", "--no-acl", "--no-comments", "--skip-large-objects", "--skip-extensions")
    stage = (*words, *jobs, *spared, *options, "--dir", str(_scratch(pair, "pgcopydb")))
    return Command(name="pgcopydb", steps=((stage,),), env=environment(pair))


def psql_stream(pair: Pair, table: str) -> Command:
    """One table through one pipe."""
    psql = (_program(pair, "psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-c")
    read, write = f"COPY {table} TO STDOUT", f"COPY {table} FROM STDIN"
    return Command(name="psql | psql", steps=(((*psql, read, pair.from_url), (*psql, write, pair.to_url)),))


def pre_data(pair: Pair) -> Command:
    """The least that has to be done before a first row can travel."""
    file = str(_scratch(pair, "pre-data"))
    dump = (_program(pair, "pg_dump"), "-Fc", "--section=pre-data", "--no-owner", "-f", file, pair.from_url)
    restore = (_program(pair, "pg_restore"), "--no-owner", "-d", pair.to_url, file)
    return Command(name="pg_dump + pg_restore of pre-data", steps=((dump,), (restore,)))


def _program(pair: Pair, name: str) -> str:
    return str(pair.programs / name)


def _scratch(pair: Pair, name: str) -> Path:
    """A path that does not exist: what the run before left there is not part of the measurement."""
    path = pair.folder / f"scratch-{name}"
    shutil.rmtree(path, ignore_errors=True)
    if path.is_file():
        path.unlink()
    return path
