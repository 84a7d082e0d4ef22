"""`pghaul verify` where the source is not PostgreSQL: workers as those that copy read every table on both sides."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pghaul.engine.arrow import comparing, compose, decided, ground, ranges
from pghaul.engine.arrow.compose import Loading
from pghaul.engine.arrow.ground import Ground
from pghaul.engine.arrow.together import Together
from pghaul.engine.compose import Epoch
from pghaul.engine.dispatch import Dispatcher, Hooks, InFlight, Task
from pghaul.engine.job import JobResult, ReadBack
from pghaul.engine.pool import WorkerPool, lane
from pghaul.engine.statements import count as counting
from pghaul.engine.verify import Request
from pghaul.model.chunk import Chunk
from pghaul.model.errors import NotFoundError, PghaulError, StoppedError
from pghaul.model.event import Event, EventKind, Listener
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.manifest import Manifest
from pghaul.model.mapped import MappedTable
from pghaul.model.plan import Plan
from pghaul.model.profile import Endpoint
from pghaul.model.table import Name, RelationKind
from pghaul.model.text import say
from pghaul.model.verification import Method, TableVerdict
from pghaul.target import quarantine
from pghaul.target.foreign import existing
from pghaul.target.foreign.selection import fits, said

GRACE = 3.0  # seconds that workers get to let go


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is compared, by whose order."""

    id: str
    plan: Plan
    source: ForeignEndpoint
    target: Endpoint
    manifest: Manifest | None  # of a run: what it has planned
    request: Request
    run: str | None = None  # that has moved it


def verify(asked: Comparison, listener: Listener, stop: Callable[[], bool]) -> tuple[TableVerdict, ...]:
    """A verdict for each table. Raises what keeps us from looking at all; StoppedError after a wish."""
    run = f"verify/{asked.id}"
    with ground.opened(run, 0, asked.plan, asked.source, asked.target, asked.manifest) as held:
        mapped = existing.matched(held.mapped, held.there)
        wanted = [t for t in mapped.tables if _is_wanted(t, asked.request.patterns)]
        unread = _unread(held, asked.request.patterns)
        if not wanted and not unread:
            shown = ", ".join(asked.request.patterns)
            raise NotFoundError(say("no table that is to be verified matches {pattern}", pattern=shown), code=5276)
        told = _Told(asked, listener, len(wanted))
        for table in wanted:
            if table.name not in held.there:
                told.keep(table.name, _absent(table))
        there = [t for t in wanted if t.name in held.there]
        if asked.request.method is Method.COUNT:
            for table in there:
                told.begin(table.name)
                told.keep(table.name, _counted(held, asked.plan, table))
                if stop():
                    raise _stopped()
        else:
            _compare(asked, held, there, told, stop)
        held.source.check()
        found = told.verdicts([t.name for t in wanted])
        return (*_beside(found, quarantine.waiting(held.target, asked.run)), *unread)


def _beside(found: Sequence[TableVerdict], waiting: Mapping[str, int]) -> Iterator[TableVerdict]:
    """With what is known of rows that are missing."""
    for one in found:
        lacking = one.missing or max(0, one.source_rows - one.target_rows)
        yield replace(one, aside=min(lacking, waiting.get(str(one.target), 0))) if one.agrees is False else one


def _is_wanted(table: MappedTable, patterns: Sequence[str]) -> bool:
    return not patterns or any(fits(p, n) for p in patterns for n in (table.source.name, table.name))


def _unread(held: Ground, patterns: Sequence[str]) -> tuple[TableVerdict, ...]:
    """Tables of the source that are meant and cannot be read."""
    return tuple(
        TableVerdict(source=t.name, target=t.name, agrees=None, why=t.trouble.what)
        for t in held.database.tables
        if t.trouble is not None and t.name in held.names and (not patterns or any(fits(p, t.name) for p in patterns))
    )


def _absent(table: MappedTable) -> TableVerdict:
    why = say("the target has no table {table}", table=str(table.name))
    return TableVerdict(source=table.source.name, target=table.name, agrees=None, why=why)


def _stopped() -> StoppedError:
    return StoppedError(say("the comparison was stopped"), code=4036)


def _counted(held: Ground, plan: Plan, table: MappedTable) -> TableVerdict:
    ours = held.source.count(table.source.name, said(plan, table.source.name, "where"))
    own = held.there[table.name].kind is not RelationKind.PARTITIONED
    theirs = int(held.target.value(counting(table.name, own=own)))
    return TableVerdict(
        source=table.source.name,
        target=table.name,
        agrees=ours == theirs,
        source_rows=ours,
        target_rows=theirs,
    )


class _Told:
    """What is known so far, and who hears of it."""

    def __init__(self, asked: Comparison, listener: Listener, tables: int) -> None:
        self._asked = asked
        self._listener = listener
        self._tables = tables
        self._verdicts: dict[Name, TableVerdict] = {}

    def begin(self, table: Name) -> None:
        """One is looked at."""
        self._tell(EventKind.PROGRESS, None, working=str(table), rows=0)

    def keep(self, table: Name, verdict: TableVerdict) -> None:
        """One is judged."""
        self._verdicts[table] = verdict
        proof = self._asked.request.method.value
        self._tell(EventKind.VERIFIED, str(table), agrees=verdict.agrees, rows=verdict.source_rows, proof=proof)

    def verdicts(self, order: Sequence[Name]) -> tuple[TableVerdict, ...]:
        """All of them."""
        return tuple(self._verdicts[name] for name in order)

    def _tell(self, kind: EventKind, table: str | None, **data: object) -> None:
        counts = {"tables": self._tables, "tables_done": len(self._verdicts)}
        self._listener(Event(kind=kind, run=self._asked.id, table=table, data=data | counts))


def _compare(
    asked: Comparison, held: Ground, tables: Sequence[MappedTable], told: _Told, stop: Callable[[], bool]
) -> None:
    workers = asked.request.workers if held.source.guarantees.parallel else 1
    tasks = _tasks(asked, held, tables, workers)
    parts: dict[Name, list[str]] = {}
    for task in tasks:
        parts.setdefault(task.table, []).append(task.job.chunk)
    found = {name: Together(chunks, asked.request.limit) for name, chunks in parts.items()}
    with _pool(asked, held, min(workers, len(tasks) or 1)) as pool:
        options = asked.plan.options
        hooks = _hooks(told, found, stop)
        dispatcher = Dispatcher(pool, hooks, retries=options.retries, stall_timeout=options.stall_timeout)
        dispatcher.run(tasks)
        pool.wind_down()


@contextlib.contextmanager
def _pool(asked: Comparison, held: Ground, size: int) -> Iterator[WorkerPool]:
    config = ground.worker_config(f"verify/{asked.id}", 0, asked.plan, held)
    pool = WorkerPool(size, config, duty=lane(held.endpoint.engine))
    try:
        pool.warm_up()
        yield pool
    finally:
        pool.close(GRACE)


def _hooks(told: _Told, found: Mapping[Name, Together], stop: Callable[[], bool]) -> Hooks:
    def finished(task: Task, result: JobResult) -> None:
        verdict = found[task.table].add(task.job.chunk, result)
        if verdict is not None:
            told.keep(task.table, verdict)

    def failed(task: Task, exc: PghaulError) -> None:
        """The error itself is raised by the dispatcher."""

    def look(_flying: Sequence[InFlight]) -> None:
        if stop():
            raise _stopped()

    return Hooks(
        started=lambda task: told.begin(task.table),
        finished=finished,
        finished_together=lambda _: None,
        retried=lambda _task, _exc, _pause: None,
        failed=failed,
        look=look,
    )


def _tasks(asked: Comparison, held: Ground, tables: Sequence[MappedTable], workers: int) -> list[Task]:
    """One for each table, or for each range of its key where it is large."""
    mapped = existing.matched(held.mapped, held.there)
    chunks = [c for t in tables for c in _chunks(held, t, workers)]
    dispositions = {t.name: "truncate" for t in mapped.tables}
    loadings = decided.loadings(asked.plan, mapped, held.there, chunks, dispositions)
    epoch = Epoch(run=f"verify/{asked.id}", number=0, snapshot=held.token)
    return [_task(ld, c, epoch, asked.request.limit) for ld in loadings for c in ld.chunks]


def _chunks(held: Ground, table: MappedTable, workers: int) -> list[Chunk]:
    return ranges.chunks(
        table, held.source, held.there[table.name], split_bytes=ranges.LEAST, workers=workers, whole=False
    )


def _task(loading: Loading, chunk: Chunk, epoch: Epoch, limit: int) -> Task:
    plan = compose.compared(loading, chunk)
    narrowing = comparing.narrowing(loading.there, plan.fields, plan.back or ReadBack(), limit)
    return compose.check(loading, epoch, chunk, plan, narrowing)
