"""From a mapped table to jobs: how it is loaded, proven and done again, and what is made of it afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from psycopg import sql

from pghaul.engine import statements
from pghaul.engine.arrow import ranges, shape
from pghaul.engine.arrow.cares import care_of
from pghaul.engine.batching import SMALL
from pghaul.engine.compose import READY, SPARED, Epoch
from pghaul.engine.dispatch import Task
from pghaul.engine.job import ArrowPlan, CopySide, Job, JobKind, Narrowing, ReadBack, Readiness, Statement
from pghaul.model.chunk import Chunk, ChunkKind
from pghaul.model.foreign import KeyRange, Reading
from pghaul.model.mapped import Made, MappedTable
from pghaul.model.plan import Mapping as PlanMapping
from pghaul.model.plan import Selection
from pghaul.model.receipt import Receipt
from pghaul.model.table import Name, RelationKind, Table
from pghaul.model.transforming import Transform
from pghaul.target.ledger_sql import MARKER, MARKER_UNLOGGED

# Bytes of a batch: some of them are in hand at once, as rows and as COPY's bytes (rows of 6 MB: 316 MiB with four times
# as much). Rows of 60 bytes fill it with as many as a batch may have.
BATCH = 4 << 20
OF_A_TABLE = frozenset({"primary", "unique", "index", "check"})  # what is built of one table alone
KEYS = 12  # foreign keys of small tables in one job: each takes its two tables until the commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """Everything decided about one table before its jobs are made. `builds` is made of it after its rows."""

    table: MappedTable
    there: Table
    chunks: tuple[Chunk, ...]
    disposition: str  # created | empty | truncate | append
    builds: tuple[Made, ...]
    verify: bool
    analyze: bool
    replica_role: bool
    mapping: PlanMapping
    selection: Selection | None
    transforms: tuple[Transform, ...]
    where: str | None
    max_rejects: int | str = 0  # rows, or a share of them, that the target may refuse
    memory_limit: int | None = None  # bytes of a worker

    @property
    def name(self) -> Name:
        """The target's."""
        return self.table.name

    @property
    def split(self) -> bool:
        """Filled by several chunks."""
        return self.chunks[0].kind is ChunkKind.RANGE

    @property
    def appended(self) -> bool:
        """The target holds rows that are not ours."""
        return self.disposition == "append"


def tasks(loading: Loading, epoch: Epoch, done: Mapping[str, Receipt]) -> list[Task]:
    """What is left to do for a table."""
    care = care_of(loading, sum(r.rejected for r in done.values()))
    made = _tasks(loading, epoch, done)
    for task in made:
        if task.job.kind.loads:
            task.job = replace(task.job, care=care)
    return made


def _tasks(loading: Loading, epoch: Epoch, done: Mapping[str, Receipt]) -> list[Task]:
    if loading.split:
        return _split_tasks(loading, epoch, done)
    chunk = loading.chunks[0]
    if chunk.key in done:
        return []
    return [_task(_whole_job(loading, epoch, chunk), loading, chunk.bytes)]


def _split_tasks(loading: Loading, epoch: Epoch, done: Mapping[str, Receipt]) -> list[Task]:
    ready = [] if READY in done else [_ready(loading, epoch)]
    loads = [
        replace_after(_task(_load_job(loading, epoch, c), loading, c.bytes), ready)
        for c in loading.chunks
        if c.key not in done
    ]
    before = ready + loads
    steps = [_step(s, loading, epoch, before) for s in building(loading.builds) if s.name not in done]
    if loading.analyze and "analyze" not in done:
        steps.append(_step(_analyze(loading), loading, epoch, before + steps))
    return before + steps


def replace_after(task: Task, after: list[Task]) -> Task:
    """The same, behind these."""
    task.after = after
    return task


def _ready(loading: Loading, epoch: Epoch) -> Task:
    job = replace(job_of(loading, epoch, JobKind.READY, READY), **_emptying(loading, spared=False))
    return _task(job, loading, loading.table.source.bytes)


def _whole_job(loading: Loading, epoch: Epoch, chunk: Chunk) -> Job:
    """A small table that this run has made needs no TRUNCATE, which costs new files and a commit that waits."""
    spared = loading.disposition == "created" and chunk.bytes <= SPARED and not loading.verify
    steps = list(building(loading.builds))
    if loading.analyze:
        steps.append(_analyze(loading))
    return replace(
        _load_job(loading, epoch, chunk),
        **_emptying(loading, spared=spared),
        freeze=not loading.appended and not spared,
        statements=tuple(steps),
    )


def _load_job(loading: Loading, epoch: Epoch, chunk: Chunk) -> Job:
    plan = arrow_plan(loading, chunk)
    return replace(job_of(loading, epoch, JobKind.ARROW, chunk.key), target=_target(loading, plan), arrow=plan)


def arrow_plan(loading: Loading, chunk: Chunk, *, limit: int | None = None) -> ArrowPlan:
    """How a chunk is read and proven; with `limit` a sample of it."""
    key = _key(loading, chunk)
    there = {c.name: c for c in loading.there.columns}
    reading = Reading(
        table=loading.table.source.name,
        columns=shape.read_columns(loading.table, there, loading.transforms),
        where=loading.where,
        range=KeyRange(column=chunk.column, low=chunk.low, high=chunk.high) if key else None,
        ordered=(chunk.column,) if key and loading.verify else (),
        limit=limit,
        batch_rows=loading.mapping.batch_rows,
        batch_bytes=BATCH,
    )
    return ArrowPlan(
        reading=reading,
        fields=shape.fields(loading.table, there),
        mapping=loading.mapping,
        selection=loading.selection,
        carried=tuple(c.source.name for c in loading.table.carried),
        transforms=loading.transforms,
        back=_back(key, chunk) if loading.verify and not loading.appended else None,
    )


def compared(loading: Loading, chunk: Chunk) -> ArrowPlan:
    """How all of a table is compared, or a range of it: by an integer key, which both sides sort alike."""
    plan = arrow_plan(loading, chunk)
    own = loading.there.kind is not RelationKind.PARTITIONED
    if name := _key(loading, chunk):
        back = replace(_back(name, chunk), own=own)
        return replace(plan, reading=replace(plan.reading, ordered=(chunk.column,)), back=back)
    key = ranges.key_of(loading.table, loading.there)
    there = loading.table.named(key) if key else None
    if key is None or there is None:
        return replace(plan, back=ReadBack(own=own))
    return replace(plan, reading=replace(plan.reading, ordered=(key,)), back=ReadBack(order=(there,), own=own))


def check(loading: Loading, epoch: Epoch, chunk: Chunk, plan: ArrowPlan, narrowing: Narrowing) -> Task:
    """Compare this part of it."""
    bare = job_of(loading, epoch, JobKind.CHECK, chunk.key)
    made = replace(bare, target=_target(loading, plan), arrow=replace(plan, narrowing=narrowing))
    return _task(made, loading, chunk.bytes)


def deleting(loading: Loading, chunk: Chunk) -> str:
    """Take out what a range has loaded."""
    within = _within(_key(loading, chunk) or "", chunk)
    return f"DELETE FROM ONLY {statements.identifier(loading.name).as_string(None)} WHERE {within}"  # noqa: S608


def _target(loading: Loading, plan: ArrowPlan) -> CopySide:
    return CopySide(
        schema=loading.name.schema,
        table=loading.name.name,
        columns=tuple(f.name for f in plan.fields),
        format="binary",
        encoding=None,
    )


def _key(loading: Loading, chunk: Chunk) -> str | None:
    """The target's name of the key that a range is of."""
    if chunk.kind is not ChunkKind.RANGE:
        return None
    return loading.table.named(chunk.column)


def _back(key: str | None, chunk: Chunk) -> ReadBack:
    return ReadBack(where=_within(key, chunk), order=(key,)) if key else ReadBack()


def _within(key: str, chunk: Chunk) -> str:
    """The target's rows of a range; a NULL key belongs to the first."""
    column = sql.Identifier(key)
    parts: list[sql.Composable] = []
    if chunk.low is not None:
        parts.append(sql.SQL("{} OPERATOR(pg_catalog.>=) {}").format(column, sql.Literal(chunk.low)))
    if chunk.high is not None:
        parts.append(sql.SQL("{} OPERATOR(pg_catalog.<) {}").format(column, sql.Literal(chunk.high)))
    condition = sql.SQL(" AND ").join(parts) if parts else sql.SQL("true")
    if chunk.low is None:
        condition = sql.SQL("({} OR {} IS NULL)").format(condition, column)
    return condition.as_string(None)


def building(made: Iterable[Made]) -> list[Statement]:
    """As statements of a job, each of which knows whether it has been done."""
    return [Statement(name=m.name, sql=m.sql, exists=m.exists) for m in made]


def adding(
    made: Sequence[Made], loaded: Mapping[Name, Loading], epoch: Epoch, done: Mapping[Name, Mapping[str, Receipt]]
) -> list[Task]:
    """Foreign keys, one after the other: each takes two tables for a moment. Those of small tables go by the dozen."""
    wanted = [
        (m, loaded[m.table])
        for m in made
        if m.table is not None and m.table in loaded and m.name not in done.get(m.table, {})
    ]
    tasks: list[Task] = []
    for several, same in groupby(wanted, key=lambda w: w[1].table.source.bytes <= SMALL):
        parts = list(same)
        most = KEYS if several else 1
        for at in range(0, len(parts), most):
            some = parts[at : at + most]
            task = _step(building([some[0][0]])[0], some[0][1], epoch, tasks[-1:])
            task.job = replace(task.job, statements=tuple(building(m for m, _ in some)))
            tasks.append(task)
    return tasks


def _step(statement: Statement, loading: Loading, epoch: Epoch, after: list[Task]) -> Task:
    job = replace(job_of(loading, epoch, JobKind.STEP, statement.name), statements=(statement,))
    return replace_after(_task(job, loading, loading.table.source.bytes), after)


def _analyze(loading: Loading) -> Statement:
    return Statement(name="analyze", sql=statements.analyze(loading.name))


def _emptying(loading: Loading, *, spared: bool) -> dict[str, Any]:
    readiness = {"append": Readiness.KEEP, "truncate": Readiness.TRUNCATE}
    return {
        "readiness": readiness.get(loading.disposition, Readiness.MUST_BE_EMPTY),
        "lock_target": statements.lock_target(loading.name),
        "is_empty_sql": statements.is_empty(loading.name),
        "truncate_sql": "" if spared else statements.truncate(loading.name),
    }


def job_of(loading: Loading, epoch: Epoch, kind: JobKind, chunk: str) -> Job:
    """Of a table's chunk or step, with nothing to do yet."""
    return Job(
        run=epoch.run,
        epoch=epoch.number,
        kind=kind,
        relation=str(loading.name),
        chunk=chunk,
        snapshot=epoch.snapshot,
        marker=MARKER_UNLOGGED if loading.there.unlogged else MARKER,
        replica_role=loading.replica_role,
    )


def _task(job: Job, loading: Loading, size: int) -> Task:
    return Task(job=job, table=loading.name, size=size)
