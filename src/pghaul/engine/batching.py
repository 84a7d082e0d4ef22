"""Small leaves are loaded many at a time: one job, one transaction, their statements side by side.

A table of twenty rows costs its statements, its round trips and its commit, not its rows. Rows and markers are still
committed together, those of all leaves of a batch; a batch that fails is taken apart, so that the leaf that it failed
for is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from pghaul.engine import statements
from pghaul.engine.dispatch import Task
from pghaul.engine.job import Job, JobKind, Readiness, Statement
from pghaul.model.chunk import WHOLE
from pghaul.model.table import Name

SMALL = 1 << 20  # bytes: what a leaf may hold to be loaded with others
MOST_BYTES = 8 << 20  # of a batch: what a failure costs
# Each takes about six locks on the target until the commit (table, toast, indexes); the lock table is everybody's.
MOST_LEAVES = 64
SHARES = 4  # batches per worker, at least, where there are leaves enough: none waits long for the last one


def gathered(tasks: Sequence[Task], workers: int, *, most: int = MOST_LEAVES) -> list[Task]:
    """The same work with small leaves in batches of up to `most`; everything else as it was."""
    small = sorted((t for t in tasks if _fits(t)), key=_kind)
    rest = [t for t in tasks if not _fits(t)]
    most = max(1, min(most, MOST_LEAVES, len(small) // (workers * SHARES)))
    batches = [b for _, same in groupby(small, key=_kind) for b in _portions(same, most)]
    return rest + [b[0] if len(b) == 1 else _batch(b) for b in batches]


def _fits(task: Task) -> bool:
    job = task.job
    plain = job.kind is JobKind.COPY and job.source is not None and job.source.query is None
    other = job.kind is JobKind.ARROW and job.chunk == WHOLE
    return (plain or other) and not task.after and not job.redo and not job.lock_source and task.size <= SMALL


def _kind(task: Task) -> tuple[Any, ...]:
    """What all leaves of a batch have in common: one marker table, one way of emptying, one setting of triggers."""
    job = task.job
    return (job.marker, job.replica_role, job.readiness.value, bool(job.truncate_sql))


def _portions(tasks: Iterable[Task], most: int) -> Iterator[list[Task]]:
    portion: list[Task] = []
    size = 0
    for task in tasks:
        if portion and (len(portion) == most or size + task.size > MOST_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(task)
        size += task.size
    if portion:
        yield portion


def _batch(tasks: Sequence[Task]) -> Task:
    first, jobs = tasks[0], [t.job for t in tasks]
    tables = [t.table for t in tasks]
    job = Job(
        run=first.job.run,
        epoch=first.job.epoch,
        kind=JobKind.BATCH,
        relation=f"{first.job.relation} +{len(tasks) - 1}",
        chunk="batch",
        snapshot=first.job.snapshot,
        marker=first.job.marker,
        replica_role=first.job.replica_role,
        readiness=first.job.readiness,
        lock_target=_one_after_another(j.lock_target for j in jobs),
        is_empty_sql=_all_true(j.is_empty_sql for j in jobs) if first.job.readiness is Readiness.MUST_BE_EMPTY else "",
        truncate_sql=_one_after_another(j.truncate_sql for j in jobs),
        statements=tuple(_together(tables, jobs)),
        batch=tuple(jobs),
    )
    return Task(job=job, table=first.table, size=sum(t.size for t in tasks), parts=tuple(tasks))


def _together(tables: Sequence[Name], jobs: Sequence[Job]) -> Iterator[Statement]:
    """All indexes in one message while no table has any; where `exists` says that some has, each looks for itself."""
    building = [s.sql for j in jobs for s in j.statements if s.exists]
    if building:
        yield Statement(name="indexes", sql=_one_after_another(building), exists=statements.any_index(tables))
    always = [s.sql for j in jobs for s in j.statements if not s.exists]
    if always:
        yield Statement(name="analyze", sql=_one_after_another(always))


def _one_after_another(texts: Iterable[str]) -> str:
    """One message to the server, which runs them as if they had come one by one."""
    return ";\n".join(t for t in texts if t)


def _all_true(queries: Iterable[str]) -> str:
    return "SELECT " + "\nAND ".join(f"({q})" for q in queries)
