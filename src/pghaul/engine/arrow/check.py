"""A table of another kind of database, or a range of its key, compared with the target's, in a worker.

By hashes first, then row by row.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from pghaul.engine.arrow import proof
from pghaul.engine.arrow.settled import settled
from pghaul.engine.arrow.stage import Stage
from pghaul.engine.watch import Pulse
from pghaul.model.errors import RowError, SourceError
from pghaul.model.plan import Undecodable
from pghaul.model.table import Name
from pghaul.model.verification import Difference, RowDifference, TableVerdict
from pghaul.sources.misfits import SQLSTATE
from pghaul.target.arrow.reading_back import spelled_by_server

if TYPE_CHECKING:
    from pghaul.engine.arrow.reader import Reader
    from pghaul.engine.hands import Hands
    from pghaul.engine.job import ArrowPlan, Job, Narrowing
    from pghaul.target.arrow.facts import Pair


Found: TypeAlias = "tuple[TableVerdict, tuple[Pair, ...]]"  # and what is in the columns


RULES = ("undecodable", "nul")  # of a mapping, for rows that cannot go on
ALTER = 'ALTER COLUMN "{column}" TYPE {type}'
UNSORTED = 100_000  # rows; tables as small as that may lie in another order than they were sent


async def check(job: Job, plan: ArrowPlan, hands: Hands) -> Found:
    """What is the same, and what is not, and what is in the columns; nothing of it stays on the target."""
    if hands.reader is None or job.target is None or plan.back is None:
        raise ValueError(f"a comparison without two sides: {job.relation}")
    started = time.monotonic()
    transaction = hands.target.transaction(isolation="repeatable_read")
    await hands.waiting(transaction.start())
    try:
        plan = _without_domains(plan, await hands.waiting(settled(plan, job.target, hands.target)))
        judge = _verdict if plan.known is None else _confirmed
        verdict, columns = await judge(job, plan, hands, hands.reader)
    finally:
        await hands.waiting(transaction.rollback())
    return replace(verdict, seconds=round(time.monotonic() - started, 3)), columns


def _without_domains(before: ArrowPlan, plan: ArrowPlan) -> ArrowPlan:
    """Into the temporary table goes what the rules of a domain have kept out of the target's."""
    below = [f for f, domain in zip(plan.fields, before.fields, strict=True) if f.type != domain.type]
    if plan.narrowing is None or not below:
        return plan
    changes = ", ".join(ALTER.format(column=f.name.replace('"', '""'), type=f.type) for f in below)
    create = f"{plan.narrowing.create}; ALTER TABLE pg_temp.{plan.narrowing.table} {changes}"
    return replace(plan, narrowing=replace(plan.narrowing, create=create))


async def _verdict(job: Job, plan: ArrowPlan, hands: Hands, reader: Reader) -> Found:
    try:
        stage = await _read(job, plan, hands, reader)
    except (RowError, SourceError) as exc:
        if not _is_of_rows(exc):
            raise
        await hands.waiting(reader.end())
        return await _sifted(job, _lenient(plan), hands, reader)
    return await _compared(job, plan, hands, stage)


def _is_of_rows(error: RowError | SourceError) -> bool:
    """The target cannot hold some of its rows; they may have been set aside."""
    return isinstance(error, RowError) or error.sqlstate == SQLSTATE


def _lenient(plan: ArrowPlan) -> ArrowPlan:
    """To be read once more, without the rows that no target can hold, whatever the plan says of them."""
    aside = {r: Undecodable.QUARANTINE for r in RULES if getattr(plan.mapping, r) is Undecodable.FAIL}
    mapping = plan.mapping.model_copy(update=aside)
    return replace(plan, reading=replace(plan.reading, loose=True), mapping=mapping)


async def _sifted(job: Job, plan: ArrowPlan, hands: Hands, reader: Reader) -> Found:
    """Rows that cannot be held are missing on the target; all others are compared."""
    try:
        stage = await _read(job, plan, hands, reader)
    except (RowError, SourceError) as exc:  # a source that cannot tell such rows apart, a rule that says fail
        if not _is_of_rows(exc):
            raise
        await hands.waiting(reader.end())
        verdict, columns = _judged(plan, job, rows=0, agrees=False)
        return replace(verdict, agrees=None, why=exc.message), columns
    apart, missing = tuple(stage.apart), stage.rejected
    verdict, columns = await _compared(job, plan, hands, stage)
    return _lacking(verdict, plan, apart, missing) if missing else verdict, columns


def _lacking(
    verdict: TableVerdict, plan: ArrowPlan, apart: Sequence[tuple[str | None, ...]], missing: int
) -> TableVerdict:
    """These rows are on the source alone. The hashes are of the others: they would seem to say that all is the same."""
    names = [f.name for f in plan.fields]
    key = verdict.key or names
    rows = [tuple(p for p in zip(names, values, strict=True) if p[0] in key) for values in apart]
    named = [RowDifference(kind=Difference.MISSING, key=r, times=(1, 0)) for r in rows]
    return replace(
        verdict,
        agrees=False,
        source_rows=verdict.source_rows + missing,
        source_hash="",
        target_hash="",
        missing=verdict.missing + missing,
        rows=(*named, *verdict.rows),
        complete=verdict.complete and len(named) == missing,
    )


async def _confirmed(job: Job, plan: ArrowPlan, hands: Hands, reader: Reader) -> Found:
    """Of a chunk that was loaded before: the source alone tells, where the receipt's hash is of all columns."""
    try:
        stage = await _read(job, plan, hands, reader)
    except (RowError, SourceError) as exc:  # none of the rows that were loaded was refused
        if not _is_of_rows(exc):
            raise
        await hands.waiting(reader.end())
        return _judged(plan, job, rows=0, agrees=False)
    certain = not spelled_by_server(stage.encoding)
    if plan.known and stage.digest is not None:
        agrees = proof.hash_of(stage.digest) == plan.known
        if agrees or certain:
            return _judged(plan, job, rows=stage.rows, agrees=agrees)
    if certain and stage.rows > UNSORTED:
        plan = replace(plan, narrowing=None)  # it is loaded again whichever rows differ
    return await _compared(job, plan, hands, stage)


def _judged(plan: ArrowPlan, job: Job, *, rows: int, agrees: bool) -> Found:
    target = job.target
    name = Name(target.schema, target.table) if target else Name("", job.relation)
    return TableVerdict(source=plan.reading.table, target=name, agrees=agrees, source_rows=rows), ()


async def _compared(job: Job, plan: ArrowPlan, hands: Hands, stage: Stage) -> Found:
    """With what the target holds."""
    ours = stage.digest
    if ours is None or job.target is None or plan.back is None:
        raise ValueError("a comparison without a digest")
    target = Name(job.target.schema, job.target.table)
    theirs = await proof.of_target(target, plan.back, stage, hands, facts=plan.known is None)
    key = plan.narrowing.key if plan.narrowing else ()
    verdict = TableVerdict(
        source=plan.reading.table,
        target=target,
        agrees=ours.hexdigest() == theirs.hexdigest(),
        source_rows=ours.rows,
        target_rows=theirs.rows,
        source_hash=ours.hexdigest(),
        target_hash=theirs.hexdigest(),
        key=key,
    )
    columns = tuple(zip(ours.collected(), theirs.collected(), strict=True))
    if not verdict.agrees and plan.narrowing is not None:
        verdict = await _narrowed(verdict, job, plan, plan.narrowing, hands, stage)
    return verdict, columns


async def _read(job: Job, plan: ArrowPlan, hands: Hands, reader: Reader) -> Stage:
    schema = await hands.waiting(reader.begin(plan.reading, job.snapshot))
    loose, named = plan.reading.loose, plan.narrowing.limit if plan.narrowing else 0
    stage = Stage(
        schema, plan, relation=job.relation, proves=True, facts=plan.known is None, strict=not loose, named=named
    )
    take = stage.sift if loose else stage.take
    while (batch := await hands.waiting(reader.next())) is not None:
        take(batch)
    await hands.waiting(reader.end())
    return stage


async def _narrowed(
    verdict: TableVerdict, job: Job, plan: ArrowPlan, narrowing: Narrowing, hands: Hands, stage: Stage
) -> TableVerdict:
    """The rows that differ. Where none does, only the order or the spelling was another: the table agrees."""
    await hands.waiting(hands.target.execute(narrowing.create))
    await _put(job, plan, narrowing, hands, stage)
    missing, extra, different = await hands.waiting(hands.target.fetchrow(narrowing.counts))
    if not (missing or extra or different):
        told = "" if spelled_by_server(stage.encoding) else verdict.source_hash
        return replace(verdict, agrees=True, source_hash=told, target_hash=told)
    rows = await hands.waiting(hands.target.fetch(narrowing.rows)) if narrowing.limit else []
    names = [f.name for f in plan.fields]
    make = _keyed if narrowing.key else _plain
    found = tuple(make(tuple(row), names, narrowing.key) for row in rows)
    complete = len(found) == missing + extra + different or not narrowing.key
    return replace(verdict, missing=missing, extra=extra, different=different, rows=found, complete=complete)


async def _put(job: Job, plan: ArrowPlan, narrowing: Narrowing, hands: Hands, stage: Stage) -> None:
    """The source's rows once more, into the temporary table."""
    reader = hands.reader
    if reader is None:
        raise ValueError("nothing to read from")
    await hands.waiting(reader.begin(plan.reading, job.snapshot))
    pulse = Pulse()
    take = stage.sift if plan.reading.loose else stage.take

    async def pieces() -> AsyncIterator[bytes | memoryview]:
        while (batch := await reader.next()) is not None:
            for piece in stage.encoding.encode(take(batch)):
                pulse.beat()
                yield piece
        if end := stage.finish():
            yield end

    names = [f.name for f in plan.fields]
    copy = hands.target.copy_to_table(
        narrowing.table, schema_name="pg_temp", columns=names, source=pieces(), **stage.words
    )
    await hands.waiting(copy, pulse)
    await hands.waiting(reader.end())


def _keyed(row: tuple[Any, ...], names: Sequence[str], key: Sequence[str]) -> RowDifference:
    mine, there, ours, theirs = row
    here = dict(zip(names, (ours if mine else theirs) or (), strict=False))
    named = tuple((k, here.get(k)) for k in key)
    if not there:
        return RowDifference(kind=Difference.MISSING, key=named, times=(1, 0))
    if not mine:
        return RowDifference(kind=Difference.EXTRA, key=named, times=(0, 1))
    pairs = zip(names, ours or (), theirs or (), strict=True)
    return RowDifference(kind=Difference.DIFFERENT, key=named, columns=tuple(p for p in pairs if p[1] != p[2]))


def _plain(row: tuple[Any, ...], names: Sequence[str], _key: Sequence[str]) -> RowDifference:
    values, mine, there = row
    kind = Difference.TIMES if mine and there else Difference.MISSING if mine else Difference.EXTRA
    return RowDifference(kind=kind, key=tuple(zip(names, values, strict=True)), times=(mine, there))
