"""A sample of the campaign, one case of each kind, and two runs that want the same table.

All of them: `make faults`. One of them again: `python -m tests.faults.campaign --seed N --only INDEX`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.compare import assert_same_content
from tests.components import missing
from tests.faults.case import RUN_ID, TIMEOUT, play
from tests.faults.faults import FAULTS, WORKER
from tests.faults.lane import Lane, why_no_small_disk
from tests.faults.plant import TABLES
from tests.faults.program import Program
from tests.faults.proxy import Connection, Fate, Moment, Proxy, Trigger
from tests.faults.schedule import Case, by, case_at

pytestmark = pytest.mark.faults

SEED = int(os.environ.get("PGHAUL_FAULT_SEED", "20"))
OTHER_RUN = "ba9876543210"
# Of the changes of the source only the hardest of each mode: the campaign has all of them.
CHANGES = (("source_truncate", "during"), ("source_update", "snapshot"), ("source_delete", "between"))


def first(kind: str, mode: str = "") -> Case:
    """The first case of this kind in the campaign of the seed."""
    return next(c for c in (case_at(SEED, i) for i in itertools.count()) if (c.kind, c.mode) == (kind, mode))


@pytest.mark.parametrize(("kind", "mode"), [*((k, "") for k in FAULTS), *CHANGES])
def test_nothing_is_lost_or_doubled(lane: Lane, tmp_path: Path, kind: str, mode: str) -> None:
    """And no help is needed, unless the main process itself was killed."""
    if kind == "disk_full" and (reason := why_no_small_disk()):
        missing(reason)
    case = first(kind, mode)
    result = play(lane, case, keep=tmp_path)
    assert result.injected, f"case {case} found no moment to strike: {result.notes}"
    assert not result.wrong, f"--seed {SEED} --only {case.index}: {result.wrong} {result.notes}"
    assert (result.lost, result.doubled) == (0, 0)
    assert result.helped == 0 or case.needs_resume, f"--seed {SEED} --only {case.index}: {result.notes}"


@pytest.mark.parametrize(
    ("kind", "recipe"),
    [
        *((kind, "insert") for kind in ("worker_killed", "main_killed", "stale_worker", "connection_reset")),
        *((kind, "update") for kind in ("worker_killed", "main_killed", "server_crash")),
    ],
)
def test_nothing_is_lost_or_doubled_by_inserts(lane: Lane, tmp_path: Path, kind: str, recipe: str) -> None:
    """Into a new database, and over an older state of the tables."""
    case = by(first(kind), recipe)
    result = play(lane, case, keep=tmp_path)
    assert result.injected, f"case {case} found no moment to strike: {result.notes}"
    assert not result.wrong, f"{case}: {result.wrong} {result.notes}"
    assert (result.lost, result.doubled) == (0, 0)
    assert result.helped == 0 or case.needs_resume, f"{case}: {result.notes}"


@pytest.mark.parametrize(
    ("kind", "recipe"),
    [
        ("worker_killed", "upsert by processes"),
        ("server_crash", "upsert"),
        ("main_killed", "full-sync"),
        ("connection_reset", "careful"),
        ("half_open", "careful merge"),
        ("backend_terminated", "replay"),
    ],
)
def test_a_story_ends_well(lane: Lane, tmp_path: Path, kind: str, recipe: str) -> None:
    """Merges, rows that are set aside, and those that are replayed: all are where they belong, once."""
    case = by(first(kind), recipe)
    result = play(lane, case, keep=tmp_path)
    assert result.injected, f"case {case} found no moment to strike: {result.notes}"
    assert not result.wrong, f"--seed {SEED} --only {case.index} --recipe '{recipe}': {result.wrong} {result.notes}"
    assert (result.lost, result.doubled) == (0, 0)
    assert result.helped == 0 or case.needs_resume, f"{case}: {result.notes}"


@contextmanager
def two_programs(tmp_path: Path) -> Iterator[tuple[Program, Program]]:
    """Each with a state store of its own, as on two machines."""
    programs = Program(tmp_path / "first"), Program(tmp_path / "second")
    for program in programs:
        program.folder.mkdir()
    try:
        yield programs
    finally:
        for program in programs:
            program.kill_all()


def test_a_second_run_on_the_same_table_is_refused(lane: Lane, tmp_path: Path) -> None:
    """The first is held in the middle of its copying, and ends well after the second was refused."""
    refused: list[int | None] = []
    with lane.databases() as names, two_programs(tmp_path) as (one, two), Proxy(lane.target.port) as proxy:
        source, target = lane.source.url(names[0]), lane.target.url(names[1])

        def start_second(_: Connection) -> None:
            two.run(source, target, OTHER_RUN, "--on-existing", "truncate")
            refused.append(two.wait(TIMEOUT))

        trigger = Trigger(moment=Moment.QUERY, pattern="chunk_marker", application=WORKER, skip=1, action=start_second)
        proxy.arm(trigger)
        one.run(source, proxy.url(target), RUN_ID, "--stall-timeout", "60")
        code = one.wait(TIMEOUT)
        assert (trigger.error, refused) == (None, [1])
        assert RUN_ID in two.said()
        assert code == 0, one.said()
        assert_same_content(source, target, TABLES)


@pytest.mark.parametrize("fate", [Fate.STALL, Fate.HALF_OPEN])
def test_a_second_run_doubles_nothing_when_the_first_leader_has_silently_died(
    lane: Lane, tmp_path: Path, fate: Fate
) -> None:
    """The first leader's session on the target is ended by the server, unseen; its workers go on."""
    with lane.databases() as names, two_programs(tmp_path) as (one, two), Proxy(lane.target.port) as proxy:
        source, target = lane.source.url(names[0]), lane.target.url(names[1])

        def lose_leader(_: Connection) -> None:
            leaders = [c for c in proxy.connections if c.application.endswith("/leader")]
            proxy.lose(leaders, fate)
            _terminate(target, [c.backend_pid for c in leaders])
            two.run(source, target, OTHER_RUN, "--on-existing", "truncate")

        trigger = Trigger(moment=Moment.QUERY, pattern="chunk_marker", application=WORKER, skip=2, action=lose_leader)
        proxy.arm(trigger)
        one.run(source, proxy.url(target), RUN_ID)
        codes = one.wait(TIMEOUT), two.wait(TIMEOUT)
        assert trigger.done.is_set()
        assert trigger.error is None
        assert 0 in codes, one.said() + two.said()
        assert_same_content(source, target, TABLES)


def _terminate(url: str, pids: list[int]) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(p, 3000) FROM unnest(%s::int[]) p", [pids])
