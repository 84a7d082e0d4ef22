"""`python -m benchmarks --out build/bench.json`: every case, or one of them."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench, Case
from benchmarks.big_table import pg_big_table
from benchmarks.full_sync import full_sync
from benchmarks.insert import insert
from benchmarks.memory import memory
from benchmarks.merge_large import merge_large
from benchmarks.merge_small import merge_small
from benchmarks.mysql import mysql
from benchmarks.partitions import pg_partitions, pg_partitions_20m, pg_partitions_checksum
from benchmarks.planning import planning
from benchmarks.quarantine import quarantine
from benchmarks.relay import relay
from benchmarks.result import Result
from benchmarks.servers import two_servers
from benchmarks.small_tables import pg_small_tables
from benchmarks.sqlite import sqlite
from benchmarks.verify import verify

CASES: Mapping[str, Case] = {
    case.__name__: case
    for case in (
        pg_partitions,
        pg_partitions_20m,
        pg_partitions_checksum,
        pg_big_table,
        pg_small_tables,
        relay,
        memory,
        planning,
        insert,
        verify,
        merge_large,
        merge_small,
        full_sync,
        quarantine,
        mysql,
        sqlite,
    )
}


def main() -> int:
    """Measure; 0 when every bar is met, 1 otherwise."""
    words = _arguments()
    results: list[Result] = []
    for name in words.only or CASES:
        _say(f"{name}:")
        # New servers for every case: none inherits another's bloat, cache or WAL.
        with two_servers(words.target) as pair:
            bench = Bench(pair=pair, runs=words.runs, quick=words.quick, scale=words.scale, say=_say)
            for result in CASES[name](bench):
                results.append(result)
                _say(f"  {json.dumps(result.as_json())}")
                _write(words.out, results, words)
    return 0 if all(r.as_json().get("met", True) for r in results) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--only", action="append", choices=list(CASES), help="this case; may be given again")
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs of each program")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the rows: does everything run?")
    parser.add_argument("--scale", type=float, default=1.0, help="of all sides' rows, where a machine is small")
    parser.add_argument("--target", type=int, choices=(16, 18), default=18, help="version of the target server")
    return parser.parse_args()


def _write(path: Path, results: list[Result], words: argparse.Namespace) -> None:
    """After every result, so that an interrupted hour is not lost."""
    place: dict[str, Any] = {
        "machine": f"{platform.platform()}, {os.cpu_count()} CPUs",
        "servers": f"16 to {words.target}, fsync on",
    }
    place |= {"quick": True} if words.quick else {}
    place |= {"scale": words.scale} if words.scale != 1 else {}
    objects = [r.as_json() | place for r in results]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(objects, indent=2) + "\n")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
