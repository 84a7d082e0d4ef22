"""From a decided table to jobs. Here, and only here, is said how a table is loaded, proven and done again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pghaul.engine import duplicates, hashing, statements
from pghaul.engine.cares import care_of
from pghaul.engine.dispatch import Task
from pghaul.engine.inserts import Inserting, insert_plan, unproven
from pghaul.engine.job import CopySide, Duplicates, HashPlan, Job, JobKind, Readiness, Statement
from pghaul.model.chunk import Chunk, ChunkKind
from pghaul.model.placement import Placement
from pghaul.model.receipt import Proof, Receipt
from pghaul.model.table import Column, Index, Name, Table
from pghaul.model.text import Text, say
from pghaul.postgres.rowhash import Agreement, row_hash_sql, unhashable
from pghaul.postgres.widening import type_changes
from pghaul.target.ledger_sql import MARKER, MARKER_UNLOGGED

READY = "ready"
SPARED = 1 << 20  # bytes: a table of that size has little to gain from FREEZE


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """Everything decided about one target relation before its jobs are made.

    `source` is the relation whose columns it takes, with those that are copied; `origins` are all that fill it.
    """

    placement: Placement
    source: Table
    origins: tuple[Table, ...]
    target: Table
    chunks: tuple[Chunk, ...]
    disposition: str  # created | empty | truncate | append | skip
    format: Literal["text", "binary"]
    encodings: tuple[str, str]
    verify: bool
    build_indexes: bool
    analyze: bool
    agreement: Agreement  # how rows are hashed alike on both servers
    replica_role: bool
    lock_per_chunk: bool
    inserting: Inserting | None = None  # by the recipe `insert`; None: by COPY
    max_rejects: int | str = 0  # rows, or a share of them, that the target may refuse
    memory_limit: int | None = None
    duplicates: duplicates.Rule = "fail"  # which of the rows stays that a unique index will not have twice
    duplicates_by: str | None = None

    @property
    def name(self) -> Name:
        """The target's: it keys the ledger, the chunks and the events."""
        return self.target.name

    @property
    def split(self) -> bool:
        """Filled by several chunks."""
        return len(self.chunks) > 1 or self.chunks[0].kind is ChunkKind.CTID

    @property
    def appended(self) -> bool:
        """The target holds rows that are not ours: nothing of it can be truncated or compared as a whole."""
        return self.disposition == "append"

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is copied, in the source's order."""
        return self.source.copied_columns

    @property
    def hashable(self) -> bool:
        """Can rows be hashed alike on both servers?"""
        return not unhashable(self.columns, float_binary=self.agreement.float_binary)

    @property
    def comparable(self) -> bool:
        """Is there any way to compare the whole table by content?"""
        return not self.appended and (self.hashable or self.same_text)

    @property
    def same_text(self) -> bool:
        """Do both sides' COPY give the same bytes where the rows agree? Inserted rows lie in another order."""
        if self.inserting:
            return False
        return self.format == "binary" or not (self.agreement.float_binary and any(c.holds_float for c in self.columns))

    @property
    def unproven(self) -> Text | None:
        """Why content cannot be compared, so that the proof is by count alone."""
        if self.inserting and self.appended:
            return unproven(self, self.inserting)
        if self.appended:
            return say("rows that were there before")
        if self.comparable and (self.hashable or not self.split):
            return None
        return say("types that two servers write differently")


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What all jobs of an attempt share."""

    run: str
    number: int
    snapshot: str


def load_tasks(loading: Loading, epoch: Epoch, done: Mapping[str, Receipt], *, redo: bool, restart: bool) -> list[Task]:
    """What is left to do for a table. `redo`: its leaf differs. `restart`: a split table begins again."""
    if loading.split:
        done = {} if restart else done
        before = sum(r.rejected for r in done.values())
        return [_careful(t, loading, before) for t in _split_tasks(loading, epoch, done, restart=restart)]
    chunk = loading.chunks[0]
    if chunk.key in done and not redo:
        return []
    task = Task(job=_leaf_job(loading, epoch, chunk, redo=redo), table=loading.name, size=chunk.bytes)
    return [_careful(task, loading, 0)]


def _careful(task: Task, loading: Loading, before: int) -> Task:
    """With what becomes of rows that the target refuses; `before`: those of the table that are set aside already."""
    if task.job.kind.loads:
        task.job = replace(task.job, care=care_of(loading, before))
    return task


def _leaf_job(loading: Loading, epoch: Epoch, chunk: Chunk, *, redo: bool) -> Job:
    steps: list[Statement] = []
    if loading.build_indexes:
        steps += _unique(loading, statements.in_one_transaction(loading.name, loading.source.indexes))
    if loading.analyze:
        steps.append(_analyze(loading))
    readiness = _readiness(loading, again=redo)
    emptying = _emptying(loading, readiness)
    if _is_spared(loading, chunk, again=redo):
        emptying["truncate_sql"] = ""
    return replace(
        _load_job(loading, epoch, chunk),
        **emptying,
        redo=redo,
        freeze=readiness is not Readiness.KEEP and not loading.inserting and bool(emptying["truncate_sql"]),
        hash=_whole_hash(loading) if loading.verify and loading.comparable else None,
        statements=tuple(steps),
    )


def _is_spared(loading: Loading, chunk: Chunk, *, again: bool) -> bool:
    """A small table that this run has made needs no TRUNCATE: it costs new files, and a commit that waits for the disk.

    It is locked and found empty all the same. What is lost is FREEZE, and the order of rows that a stream's hash needs.
    """
    return (
        loading.disposition == "created"
        and not again
        and chunk.bytes <= SPARED
        and not loading.verify
        and loading.hashable
    )


def _split_tasks(loading: Loading, epoch: Epoch, done: Mapping[str, Receipt], *, restart: bool) -> list[Task]:
    ready = [] if READY in done else [_ready_task(loading, epoch, again=restart)]
    ranges = [
        Task(job=_range_job(loading, epoch, c), table=loading.name, size=c.bytes, after=ready)
        for c in loading.chunks
        if c.key not in done
    ]
    return ready + ranges + _steps_after(loading, epoch, done, after=ready + ranges)


def _steps_after(loading: Loading, epoch: Epoch, done: Mapping[str, Receipt], *, after: list[Task]) -> list[Task]:
    size = loading.source.bytes

    def step(statement: Statement, after: list[Task]) -> Task:
        job = replace(_job(loading, epoch, JobKind.STEP, statement.name), statements=(statement,))
        return Task(job=job, table=loading.name, size=size, after=after)

    tasks: list[Task] = []
    if loading.build_indexes:
        builds, constraints = statements.side_by_side(loading.name, loading.source.indexes)
        tasks = [step(s, after) for s in _unique(loading, builds) if s.name not in done]
        # One after another: each takes the table for itself, for a moment.
        previous = after + tasks
        for statement in constraints:
            if statement.name not in done:
                tasks.append(step(statement, previous))
                previous = [*previous, tasks[-1]]
    if loading.analyze and "analyze" not in done:
        tasks.append(step(_analyze(loading), after + tasks))
    return tasks


def _unique(loading: Loading, building: Iterable[Statement]) -> list[Statement]:
    """With what becomes of rows that are in the way of a unique index."""
    indexes = {f"index:{i.name}": i for i in loading.source.indexes}
    indexes |= {f"constraint:{i.constraint}": i for i in loading.source.indexes if i.constraint}
    primary = next((i.columns for i in loading.source.indexes if i.constraint_kind == "p"), ())

    def of(index: Index) -> Duplicates | None:
        return duplicates.duplicates(
            loading.name,
            loading.columns,
            index,
            rule=loading.duplicates,
            by=loading.duplicates_by,
            limit=loading.max_rejects,
            primary=primary,
        )

    return [replace(s, duplicates=of(indexes[s.name])) for s in building]


def _ready_task(loading: Loading, epoch: Epoch, *, again: bool) -> Task:
    job = replace(_job(loading, epoch, JobKind.READY, READY), **_emptying(loading, _readiness(loading, again=again)))
    return Task(job=job, table=loading.name, size=loading.source.bytes)


def _range_job(loading: Loading, epoch: Epoch, chunk: Chunk) -> Job:
    proof = None
    if loading.verify and not loading.appended and loading.hashable:
        proof = HashPlan(stream=False, source_rows=(_rows_sql(loading, loading.source, chunk),))
    return replace(_load_job(loading, epoch, chunk), hash=proof)


def _load_job(loading: Loading, epoch: Epoch, chunk: Chunk) -> Job:
    kind = JobKind.INSERT if loading.inserting else JobKind.COPY
    job = replace(_job(loading, epoch, kind, chunk.key), **_sides(loading, chunk))
    return replace(job, insert=insert_plan(loading, loading.inserting, chunk)) if loading.inserting else job


def with_rejects(
    loadings: Iterable[Loading], done: Mapping[Name, Mapping[str, Receipt]]
) -> tuple[list[Name], list[Name]]:
    """Tables of which rows are set aside cannot be compared with the source: those that are done, and those that are
    half done. Ranges of a new snapshot do not go with those of an old one, so the latter begin again.
    """
    complete: list[Name] = []
    halves: list[Name] = []
    for loading in loadings:
        found = done.get(loading.name, {})
        if any(r.rejected for r in found.values()):
            (complete if loading.appended or all(c.key in found for c in loading.chunks) else halves).append(
                loading.name
            )
    return complete, halves


def recheck_task(loading: Loading, epoch: Epoch, done: Mapping[str, Receipt]) -> Task | None:
    """Compare what earlier epochs finished with this epoch's snapshot; None where it cannot be compared."""
    chunks = [c for c in loading.chunks if c.key in done]
    if not chunks or loading.appended:
        return None
    if not loading.split:
        return _check_task(loading, epoch, chunks[0], _whole_hash(loading))
    if not loading.hashable:
        return None
    plan = HashPlan(
        stream=False,
        source_rows=tuple(_rows_sql(loading, loading.source, c) for c in chunks),
        target_rows=_rows_sql(loading, loading.target),
    )
    return _check_task(loading, epoch, chunks[0], plan)


def keep_task(loading: Loading, epoch: Epoch) -> Task | None:
    """Of a table to be refreshed: is it equal already? None where it cannot be compared.

    By hashes of rows where that is possible: they need no transfer, and no order.
    """
    if not loading.comparable or (loading.split and not loading.hashable):
        return None
    first, *others = [c.key for c in loading.chunks]
    job = replace(
        _job(loading, epoch, JobKind.KEEP, first),
        **_sides(loading, loading.chunks[0]),
        hash=replace(_whole_hash(loading), stream=not loading.hashable),
        covers=(*others, READY, "analyze") if loading.split else (),
        count_sql="" if loading.hashable else statements.count(loading.name),
    )
    return Task(job=job, table=loading.name, size=loading.source.bytes)


def unproven_rejects(done: Mapping[str, Receipt]) -> bool:
    """Were rows set aside in chunks whose hashes cannot be told without them?"""
    return any(r.rejected and r.proof is Proof.COUNT for r in done.values())


def final_check(loading: Loading, epoch: Epoch, done: Mapping[str, Receipt]) -> Task | None:
    """A split table's proof: the ranges' hashes, taken as they were read, against the whole target table."""
    if not (loading.split and loading.verify and loading.hashable) or loading.appended or unproven_rejects(done):
        return None
    sums = [hashing.from_text(done[c.key].source_hash) for c in loading.chunks if done[c.key].source_hash]
    known = (sum(s[0] for s in sums), sum(s[1] for s in sums)) if len(sums) == len(loading.chunks) else None
    plan = HashPlan(
        stream=False,
        known_source=known,
        source_rows=() if known else (_rows_sql(loading, loading.source),),
        target_rows=_rows_sql(loading, loading.target),
    )
    return _check_task(loading, epoch, loading.chunks[0], plan)


def _check_task(loading: Loading, epoch: Epoch, chunk: Chunk, plan: HashPlan) -> Task:
    key = chunk.key if not loading.split else "all"
    sides = _sides(loading, chunk)
    job = replace(_job(loading, epoch, JobKind.CHECK, key), source=sides["source"], target=sides["target"], hash=plan)
    return Task(job=job, table=loading.name, size=loading.source.bytes)


def _whole_hash(loading: Loading) -> HashPlan:
    rows = loading.hashable
    return HashPlan(
        stream=loading.same_text,
        source_rows=(_rows_sql(loading, loading.source),) if rows else (),
        target_rows=_rows_sql(loading, loading.target) if rows else "",
    )


def _rows_sql(loading: Loading, side: Table, chunk: Chunk | None = None) -> str:
    agreed = loading.agreement
    here = side is loading.source
    return row_hash_sql(
        loading.columns,
        side.name,
        extended=agreed.extended,
        float_binary=agreed.float_binary,
        recode=agreed.source_recode if here else agreed.target_recode,
        changes=type_changes(loading.columns, loading.target.columns),
        query=statements.rows_query(loading.placement, loading.columns, chunk) if here else None,
    )


def _job(loading: Loading, epoch: Epoch, kind: JobKind, chunk: str) -> Job:
    return Job(
        run=epoch.run,
        epoch=epoch.number,
        kind=kind,
        relation=str(loading.name),
        chunk=chunk,
        snapshot=epoch.snapshot,
        marker=MARKER_UNLOGGED if loading.target.unlogged else MARKER,
        replica_role=loading.replica_role,
    )


def _sides(loading: Loading, chunk: Chunk) -> dict[str, Any]:
    columns = tuple(c.name for c in loading.columns) or None
    source = CopySide(
        schema=loading.source.name.schema,
        table=loading.source.name.name,
        columns=columns,
        format=loading.format,
        encoding=loading.encodings[0],
        query=statements.rows_query(loading.placement, loading.columns, chunk),
    )
    target = replace(
        source,
        schema=loading.name.schema,
        table=loading.name.name,
        encoding=loading.encodings[1],
        query=None,
    )
    if not loading.lock_per_chunk:
        return {"source": source, "target": target}
    return {
        "source": source,
        "target": target,
        "lock_source": statements.lock_source([t.name for t in loading.origins]),
        "filenodes": tuple((statements.filenode(t.name), t.filenode) for t in loading.origins),
    }


def _readiness(loading: Loading, *, again: bool) -> Readiness:
    if loading.appended:
        return Readiness.KEEP
    if loading.disposition in {"truncate", "refresh"} or again:
        return Readiness.TRUNCATE
    return Readiness.MUST_BE_EMPTY


def _emptying(loading: Loading, readiness: Readiness) -> dict[str, Any]:
    return {
        "readiness": readiness,
        "lock_target": statements.lock_target(loading.name),
        "is_empty_sql": statements.is_empty(loading.name),
        "truncate_sql": statements.truncate(loading.name),
    }


def _analyze(loading: Loading) -> Statement:
    return Statement(name="analyze", sql=statements.analyze(loading.name))


def total_bytes(chunks: Iterable[Chunk]) -> int:
    """The estimate that progress is measured by."""
    return sum(c.bytes for c in chunks)


def chunks_by_table(chunks: Sequence[Chunk]) -> dict[Name, tuple[Chunk, ...]]:
    """In the order of the plan."""
    grouped: dict[Name, list[Chunk]] = {}
    for chunk in chunks:
        grouped.setdefault(chunk.table, []).append(chunk)
    return {n: tuple(c) for n, c in grouped.items()}
