"""What each kind of job does. Everything that a chunk writes happens inside one transaction on the target."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import asyncpg

from pghaul.engine import hashing, uniqueness
from pghaul.engine.careful.aside import Aside
from pghaul.engine.careful.copying import sift
from pghaul.engine.careful.inserting import sieve
from pghaul.engine.careful.proof import prove_without, without
from pghaul.engine.careful.refusal import RefusedError, refused, refusing
from pghaul.engine.hands import Hands
from pghaul.engine.insert import Inserted, insert
from pghaul.engine.job import ArrowPlan, HashPlan, InsertPlan, Job, JobKind, JobResult, Readiness
from pghaul.engine.pace import Pace
from pghaul.engine.relay import Relayed, relay
from pghaul.engine.streams import reading, writing
from pghaul.engine.watch import Pulse
from pghaul.model.chunk import WHOLE
from pghaul.model.errors import ShapeChangedError, TransientError
from pghaul.model.receipt import Proof, Receipt
from pghaul.model.table import Name
from pghaul.model.text import say
from pghaul.target import load
from pghaul.target.ledger_sql import MARKER_UNLOGGED

if TYPE_CHECKING:
    from pghaul.engine.arrow.load import Loaded


async def perform(job: Job, hands: Hands) -> JobResult:
    """Do the job. Raises driver errors as they are; the worker translates them."""
    if job.kind is JobKind.CHECK:
        return await _check(job, hands)
    transaction = hands.target.transaction()
    await hands.waiting(transaction.start())
    try:
        result = await _IN_TRANSACTION[job.kind](job, hands)
    except asyncpg.UniqueViolationError as exc:
        if f"{exc.schema_name}.{exc.table_name}" != job.marker:
            raise
        await hands.waiting(transaction.rollback())
        return await _adopt(job, hands)
    if job.kind is JobKind.KEEP and not result.agrees:  # then it is no marker's business
        await hands.waiting(transaction.rollback())
        return result
    await _commit(transaction, hands)
    return result


async def _commit(transaction: Any, hands: Hands) -> None:
    """Constraints may have been deferred to this moment."""
    try:
        await hands.waiting(transaction.commit())
    except asyncpg.PostgresError as exc:
        if refused(exc):
            raise RefusedError(exc) from exc
        raise


async def _adopt(job: Job, hands: Hands) -> JobResult:
    """The marker was there: an earlier try had committed, and its answer was lost."""
    found = await load.find(hands.target, job.marker, job.run, job.relation, job.chunk)
    if found is None:
        raise TransientError(
            say("the marker of {table} {chunk} was there, and is gone", table=job.relation, chunk=job.chunk), code=2033
        )
    receipt = receipt_of(
        job,
        rows=found["rows"] or 0,
        size=found["bytes"] or 0,
        seconds=found["seconds"] or 0.0,
        proof=Proof(found["proof"] or "count"),
        source_hash=found["source_hash"] or "",
        target_hash=found["target_hash"] or "",
        updated=found["updated"] or 0,
        unchanged=found["unchanged"] or 0,
        ignored=found["ignored"] or 0,
        rejected=found["rejected"] or 0,
        deleted=found["deleted"] or 0,
    )
    return JobResult(receipt=receipt, adopted=True, agrees=receipt.agrees)


async def _begin(job: Job, hands: Hands, *, forget: str | None, forget_all: bool = False) -> None:
    await hands.waiting(load.own(hands.target, job.run, job.relation, job.epoch))
    if forget_all or _is_again(job):
        await hands.waiting(load.take_back(hands.target, job.run, [job.relation]))
    if forget is not None or forget_all:
        await hands.waiting(load.unmark(hands.target, job.marker, job.run, job.relation, forget))
    await hands.waiting(load.mark(hands.target, job.marker, job.run, job.relation, job.chunk, job.epoch))
    if job.replica_role:  # for TRUNCATE's triggers as well as for COPY's
        await hands.waiting(hands.target.execute("SET LOCAL session_replication_role = replica"))


def _is_again(job: Job) -> bool:
    """Does it load all of a table that it may have loaded before? A crash empties an UNLOGGED one with its marker."""
    return job.kind.loads and (job.redo or (job.marker == MARKER_UNLOGGED and job.chunk == WHOLE))


async def empty(job: Job, hands: Hands) -> None:
    """Lock and empty what will be filled, unless its rows are to stay."""
    if job.readiness is Readiness.KEEP:
        return
    await hands.waiting(
        load.ready(
            hands.target,
            lock=job.lock_target,
            is_empty=job.is_empty_sql,
            truncate=job.truncate_sql,
            must_be_empty=job.readiness is Readiness.MUST_BE_EMPTY,
            relation=job.relation,
        )
    )


async def _copy(job: Job, hands: Hands) -> JobResult:
    started = time.monotonic()
    await _begin(job, hands, forget=job.chunk if job.redo else None)
    await _lock_source(job, hands)
    await empty(job, hands)
    digest = hashlib.blake2b() if job.hash is not None and job.hash.stream else None
    if job.careful and job.care is not None:
        sifted = await sift(job, job.care, hands, digest)
        moved, aside = Relayed(rows=sifted.rows, bytes=sifted.bytes), sifted.aside
    else:
        moved, aside = await transfer(job, hands, digest), None
    stream = digest.hexdigest() if digest else ""
    proof, source_hash, target_hash = await _prove_loaded(job, hands, stream, aside)
    losers = await run_statements(job, hands)
    receipt = receipt_of(
        job,
        rows=moved.rows,
        size=moved.bytes,
        seconds=time.monotonic() - started,
        proof=proof,
        source_hash=source_hash,
        target_hash=target_hash,
        rejected=losers + (aside.count if aside else 0),
    )
    await _complete(receipt, job, hands)
    return JobResult(receipt=receipt, agrees=receipt.agrees, reasons=tuple(aside.reasons) if aside else ())


async def _insert(job: Job, hands: Hands) -> JobResult:
    """As _copy, by INSERT: the source's hashes come along with its batches."""
    if job.insert is None:
        raise ValueError(f"an insert job without a plan: {job.relation} {job.chunk}")
    started = time.monotonic()
    await _begin(job, hands, forget=job.chunk if job.redo else None)
    await _lock_source(job, hands)
    await empty(job, hands)
    if job.careful and job.care is not None:
        sieved = await sieve(job, job.care, hands)
        moved, aside = sieved.moved, sieved.aside
    else:
        moved, aside = await insert(job, hands), None
    proof, source_hash, target_hash = await _prove_inserted(job, job.insert, hands, moved, aside)
    losers = await run_statements(job, hands)
    facts = moved.facts(job.insert)
    receipt = receipt_of(
        job,
        **(facts | {"rejected": facts["rejected"] + losers}),
        seconds=time.monotonic() - started,
        proof=proof,
        source_hash=source_hash,
        target_hash=target_hash,
    )
    await _complete(receipt, job, hands)
    return JobResult(receipt=receipt, agrees=receipt.agrees, reasons=tuple(aside.reasons) if aside else ())


async def _arrow(job: Job, hands: Hands) -> JobResult:
    """As _copy, from a source that is not PostgreSQL."""
    from pghaul.engine.arrow import careful  # noqa: PLC0415 -- pyarrow is nothing that a relay needs
    from pghaul.engine.arrow import load as lane  # noqa: PLC0415

    plan = job.arrow
    if plan is None:
        raise ValueError(f"nothing says how it is read: {job.relation} {job.chunk}")
    started = time.monotonic()
    await _begin(job, hands, forget=None)
    await empty(job, hands)
    if job.careful and job.care is not None:
        loaded = await careful.load(job, plan, job.care, hands)
    else:
        loaded = await lane.load(job, plan, hands)
    losers = await run_statements(job, hands)
    result = result_of(job, loaded, seconds=time.monotonic() - started, losers=losers)
    await _complete(result.receipt, job, hands)
    return result


def result_of(job: Job, loaded: Loaded, *, seconds: float, losers: int = 0) -> JobResult:
    """Of rows that came from a source that is not PostgreSQL."""
    receipt = receipt_of(
        job,
        rows=loaded.rows,
        size=loaded.bytes,
        seconds=seconds,
        proof=Proof.STREAM if loaded.source_hash else Proof.COUNT,
        source_hash=loaded.source_hash,
        target_hash=loaded.target_hash,
        rejected=losers + loaded.rejected,
    )
    return JobResult(
        receipt=receipt,
        agrees=receipt.agrees,
        reasons=loaded.reasons,
        unproven=loaded.unproven,
        replaced=loaded.replaced,
    )


async def _prove_inserted(
    job: Job, plan: InsertPlan, hands: Hands, moved: Inserted, aside: Aside | None
) -> tuple[Proof, str, str]:
    """A whole table is read back; of rows among others, those with the keys of the batches have been."""
    left = await without(hands, aside) if plan.hashed and aside and aside.count else (0, 0)
    if not plan.hashed or left is None:
        return Proof.COUNT, "", ""
    source = hashing.as_text((moved.rows - left[0], moved.sum - left[1]))
    if plan.found:
        return Proof.ROWS, source, hashing.as_text((moved.found_rows, moved.found_sum))
    if job.hash is None or not job.hash.target_rows:  # a range: compared when the whole table is there
        return Proof.ROWS, source, ""
    return Proof.ROWS, source, hashing.as_text(await hashing.row_sum(hands, hands.target, (job.hash.target_rows,)))


async def _lock_source(job: Job, hands: Hands) -> None:
    """With locks = chunk: a TRUNCATE or rewrite since the snapshot would read as 0 rows, without any error."""
    if not job.lock_source or hands.source is None:
        return
    await hands.waiting(hands.source.execute(job.lock_source))
    for query, planned in job.filenodes:
        if await hands.waiting(hands.source.fetchval(query)) == planned:
            continue
        raise ShapeChangedError(
            say("{table} was truncated or rewritten on the source after the snapshot was taken", table=job.relation),
            advice=say("resume the run: it takes a new snapshot"),
            code=5831,
        )


async def transfer(job: Job, hands: Hands, digest: Any, *, before: int = 0) -> Relayed:
    """One stream from source to target; `before` are the bytes that the job has moved already."""
    source, target = job.source, job.target
    if source is None or target is None or hands.source is None:
        raise ValueError(f"a copy job without two sides: {job.relation} {job.chunk}")
    pulse = Pulse()

    def on_bytes(count: int) -> None:
        pulse.beat()
        hands.control.set_bytes(before + count)

    with Pace(hands.control, pulse) as pace:
        return await hands.waiting(
            relay(
                reading(hands.source, source),
                refusing(writing(hands.target, target, freeze=job.freeze)),
                on_bytes=on_bytes,
                digest=digest,
                where=f"{job.relation} {job.chunk}",
                between=pace.between,
            ),
            pulse,
        )


async def _prove_loaded(job: Job, hands: Hands, stream: str, aside: Aside | None) -> tuple[Proof, str, str]:
    if aside is None or not aside.count:
        return await prove(job, hands, stream)
    return await prove_without(job, hands, stream, aside)


async def prove(job: Job, hands: Hands, stream: str) -> tuple[Proof, str, str]:
    """Before the commit, so that the receipt is whole when the rows become visible."""
    plan = job.hash
    if plan is None:
        return Proof.COUNT, "", ""
    if plan.stream and job.target is not None:
        back = await hashing.stream_hash(hands, hands.target, job.target)
        if back == stream or not plan.target_rows:
            return Proof.STREAM, stream, back
    return await _prove_rows(plan, hands)


async def _prove_rows(plan: HashPlan, hands: Hands) -> tuple[Proof, str, str]:
    source = plan.known_source or await hashing.row_sum(hands, hands.source, plan.source_rows)
    if not plan.target_rows:  # a range: the target is compared when the whole table is there
        return Proof.ROWS, hashing.as_text(source), ""
    target = await hashing.row_sum(hands, hands.target, (plan.target_rows,))
    return Proof.ROWS, hashing.as_text(source), hashing.as_text(target)


async def _step(job: Job, hands: Hands) -> JobResult:
    started = time.monotonic()
    await _begin(job, hands, forget=job.chunk if job.redo else None)
    await empty(job, hands)
    if job.helpers and hands.parallel_index:
        await hands.waiting(hands.target.execute(f"SET LOCAL max_parallel_maintenance_workers = {job.helpers:d}"))
    aside = await run_statements(job, hands)
    receipt = receipt_of(job, seconds=time.monotonic() - started, rejected=aside)
    await _complete(receipt, job, hands)
    return JobResult(receipt=receipt)


async def _make_ready(job: Job, hands: Hands) -> JobResult:
    """Empty a table that several chunks will fill, and forget what an earlier start of it had finished."""
    await _begin(job, hands, forget=None, forget_all=True)
    await empty(job, hands)
    receipt = receipt_of(job)
    await _complete(receipt, job, hands)
    return JobResult(receipt=receipt)


async def _compare(job: Job, plan: HashPlan, hands: Hands) -> tuple[Proof, str, str]:
    proof, source_hash, target_hash = Proof.STREAM, "", "-"
    if plan.stream and job.source is not None and job.target is not None:
        source_hash = await hashing.stream_hash(hands, hands.source, job.source)
        target_hash = await hashing.stream_hash(hands, hands.target, job.target)
    if source_hash != target_hash and plan.target_rows:
        proof, source_hash, target_hash = await _prove_rows(plan, hands)
    return proof, source_hash, target_hash


async def _keep(job: Job, hands: Hands) -> JobResult:
    """Where both sides are equal, the markers say so; the table itself is read, and nothing else."""
    started = time.monotonic()
    if job.hash is None:
        raise ValueError("nothing to compare by")
    await _begin(job, hands, forget=None)
    await _lock_source(job, hands)
    proof, source_hash, target_hash = await _compare(job, job.hash, hands)
    rows = int(target_hash.partition(":")[0]) if proof is Proof.ROWS else 0
    if source_hash == target_hash and job.count_sql:
        rows = await hands.waiting(hands.target.fetchval(job.count_sql))
    receipt = receipt_of(
        job,
        rows=rows,
        seconds=time.monotonic() - started,
        proof=proof,
        source_hash=source_hash,
        target_hash=target_hash,
    )
    if not receipt.agrees:
        return JobResult(receipt=receipt, agrees=False)
    for chunk in job.covers:
        other = replace(job, chunk=chunk)
        await _begin(other, hands, forget=None)
        await _complete(replace(receipt_of(other), proof=proof), other, hands)
    await _complete(receipt, job, hands)
    return JobResult(receipt=receipt)


async def _check(job: Job, hands: Hands) -> JobResult:
    """Compare what is there under this snapshot: streams first, where both sides are whole tables."""
    if job.arrow is not None:
        return await _compare_arrow(job, job.arrow, hands)
    started = time.monotonic()
    plan = job.hash
    if plan is None:
        raise ValueError("a check without a plan for its hashes")
    proof, source_hash, target_hash = await _compare(job, plan, hands)
    rows = int(target_hash.partition(":")[0]) if proof is Proof.ROWS else 0
    receipt = receipt_of(
        job,
        rows=rows,
        seconds=time.monotonic() - started,
        proof=proof,
        source_hash=source_hash,
        target_hash=target_hash,
    )
    return JobResult(receipt=receipt, agrees=source_hash == target_hash)


async def _compare_arrow(job: Job, plan: ArrowPlan, hands: Hands) -> JobResult:
    from pghaul.engine.arrow.check import check  # noqa: PLC0415 -- pyarrow is nothing that a relay needs

    verdict, columns = await check(job, plan, hands)
    return JobResult(
        receipt=receipt_of(job, rows=verdict.source_rows),
        agrees=bool(verdict.agrees),
        verdict=verdict,
        columns=columns,
    )


async def run_statements(job: Job, hands: Hands) -> int:
    """What is not there yet; how many rows were set aside for it."""
    aside = 0
    for statement in job.statements:
        if statement.exists and await hands.waiting(hands.target.fetchval(statement.exists)):
            continue
        if statement.duplicates:
            aside += await uniqueness.build(job, statement, statement.duplicates, hands)
        else:
            await hands.waiting(hands.target.execute(statement.sql))
    return aside


async def _complete(receipt: Receipt, job: Job, hands: Hands) -> None:
    await hands.waiting(
        load.complete(
            hands.target,
            job.marker,
            job.run,
            job.relation,
            job.chunk,
            rows=receipt.rows,
            size=receipt.bytes,
            seconds=receipt.seconds,
            proof=receipt.proof.value,
            source_hash=receipt.source_hash,
            target_hash=receipt.target_hash,
            updated=receipt.updated,
            unchanged=receipt.unchanged,
            ignored=receipt.ignored,
            rejected=receipt.rejected,
            deleted=receipt.deleted,
        )
    )


def receipt_of(job: Job, **facts: Any) -> Receipt:
    """Of the job's chunk."""
    schema, name = (job.target.schema, job.target.table) if job.target else ("", job.relation)
    blank = Receipt(table=Name(schema, name), chunk=job.chunk, rows=0, bytes=0, seconds=0.0, epoch=job.epoch)
    return replace(blank, **{("bytes" if k == "size" else k): v for k, v in facts.items()})


_IN_TRANSACTION: dict[JobKind, Callable[[Job, Hands], Awaitable[JobResult]]] = {
    JobKind.COPY: _copy,
    JobKind.INSERT: _insert,
    JobKind.ARROW: _arrow,
    JobKind.READY: _make_ready,
    JobKind.STEP: _step,
    JobKind.EMPTY: _step,
    JobKind.KEEP: _keep,
}
