"""Which leaves are loaded together, and what their one transaction does."""

from __future__ import annotations

from dataclasses import replace

from pghaul.engine.batching import MOST_BYTES, MOST_LEAVES, SMALL, gathered
from pghaul.engine.dispatch import Task
from pghaul.engine.job import CopySide, Job, JobKind, Readiness, Statement
from pghaul.model.table import Name

SIDE = CopySide(schema="s", table="t", columns=("a",), format="text", encoding=None)


def leaf(number: int, size: int = 100, **changes: object) -> Task:
    name = Name("s", f"t{number}")
    job = Job(
        run="0123456789ab",
        epoch=1,
        kind=JobKind.COPY,
        relation=str(name),
        chunk="leaf",
        snapshot="00000003-1",
        marker="pghaul.chunk_marker",
        source=SIDE,
        target=SIDE,
        readiness=Readiness.MUST_BE_EMPTY,
        lock_target=f"LOCK {name}",
        is_empty_sql=f"SELECT empty {name}",
        statements=(Statement(name="i", sql=f"INDEX {name}", exists="SELECT …"), Statement(name="a", sql=f"A {name}")),
    )
    return Task(job=replace(job, **changes), table=name, size=size)  # type: ignore[arg-type]


def sizes(tasks: list[Task]) -> list[int]:
    return sorted(len(t.parts) or 1 for t in tasks)


def test_every_leaf_is_in_one_task_and_a_worker_gets_several() -> None:
    leaves = [leaf(n) for n in range(1000)]
    tasks = gathered(leaves, workers=2)
    assert sorted(p.table for t in tasks for p in t.parts or (t,)) == sorted(t.table for t in leaves)
    assert max(sizes(tasks)) == MOST_LEAVES
    assert sizes(gathered(leaves[:40], workers=2)) == [5] * 8


def test_few_leaves_are_left_alone() -> None:
    leaves = [leaf(n) for n in range(9)]
    assert gathered(leaves, workers=2) == leaves


def test_what_is_large_or_has_a_way_of_its_own_stays_alone() -> None:
    alone = [
        leaf(1, SMALL + 1),
        leaf(2, redo=True),
        leaf(3, lock_source="LOCK"),
        leaf(4, kind=JobKind.READY),
        leaf(5, source=replace(SIDE, query="SELECT 1")),
    ]
    tasks = gathered([*alone, *(leaf(n) for n in range(10, 50))], workers=1)
    assert tasks[: len(alone)] == alone
    assert sizes(tasks[len(alone) :]) == [10] * 4


def test_a_batch_is_bounded_by_bytes() -> None:
    tasks = gathered([leaf(n, SMALL) for n in range(512)], workers=1)
    assert max(t.size for t in tasks) == MOST_BYTES


def test_leaves_that_are_emptied_or_marked_in_other_ways_are_not_mixed() -> None:
    ways: list[dict[str, object]] = [
        {},
        {"marker": "pghaul.chunk_marker_unlogged"},
        {"replica_role": True},
        {"readiness": Readiness.KEEP},
        {"truncate_sql": "TRUNCATE"},
    ]
    tasks = gathered([leaf(10 * n + i, **way) for n in range(10) for i, way in enumerate(ways)], workers=1)
    seen = [{(p.job.marker, p.job.replica_role, p.job.readiness, p.job.truncate_sql) for p in t.parts} for t in tasks]
    assert all(len(kinds) == 1 for kinds in seen)


def test_a_batch_says_each_thing_once_for_all() -> None:
    job = gathered([leaf(n) for n in range(8)], workers=1)[0].job
    assert (job.kind, [p.relation for p in job.batch]) == (JobKind.BATCH, ["s.t0", "s.t1"])
    assert job.lock_target == "LOCK s.t0;\nLOCK s.t1"
    assert job.is_empty_sql == "SELECT (SELECT empty s.t0)\nAND (SELECT empty s.t1)"
    assert [s.sql for s in job.statements] == ["INDEX s.t0;\nINDEX s.t1", "A s.t0;\nA s.t1"]
    assert [bool(s.exists) for s in job.statements] == [True, False]
