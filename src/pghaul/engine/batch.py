"""What a worker does with a batch of small leaves: what it would do with each, but in one transaction."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace

import asyncpg

from pghaul.engine.hands import Hands
from pghaul.engine.job import ArrowPlan, Job, JobResult
from pghaul.engine.perform import empty, prove, receipt_of, result_of, run_statements, transfer
from pghaul.model.errors import TransientError
from pghaul.model.receipt import Receipt
from pghaul.model.text import say
from pghaul.target import load
from pghaul.target.ledger_sql import MARKER_UNLOGGED


async def perform_batch(job: Job, hands: Hands) -> JobResult:
    """All leaves or none. An error names no leaf: whoever handed the batch out tries each by itself."""
    transaction = hands.target.transaction()
    await hands.waiting(transaction.start())
    try:
        parts = await _load(job, hands)
    except asyncpg.UniqueViolationError as exc:
        if f"{exc.schema_name}.{exc.table_name}" != job.marker:
            raise
        raise TransientError(
            say("a leaf of the batch has been loaded already"), where=f"{exc.schema_name}.{exc.table_name}", code=2032
        ) from exc
    await hands.waiting(transaction.commit())
    receipts = [p.receipt for p in parts]
    rows, size = sum(r.rows for r in receipts), sum(r.bytes for r in receipts)
    whole = replace(receipts[0], chunk=job.chunk, rows=rows, bytes=size, seconds=sum(r.seconds for r in receipts))
    return JobResult(receipt=whole, parts=tuple(parts))


async def _load(job: Job, hands: Hands) -> list[JobResult]:
    target, leaves = hands.target, [(j.relation, j.chunk) for j in job.batch]
    await hands.waiting(load.own_all(target, job.run, [r for r, _ in leaves], job.epoch))
    if job.marker == MARKER_UNLOGGED:  # a crash may have emptied them, with their markers
        await hands.waiting(load.take_back(target, job.run, [r for r, _ in leaves]))
    await hands.waiting(load.mark_all(target, job.marker, job.run, leaves, job.epoch))
    if job.replica_role:
        await hands.waiting(target.execute("SET LOCAL session_replication_role = replica"))
    await empty(job, hands)
    results: list[JobResult] = []
    for part in job.batch:
        if part.arrow is not None:
            results.append(await _foreign(part, part.arrow, hands))
            continue
        receipt = await _leaf(part, hands, before=sum(r.receipt.bytes for r in results))
        results.append(JobResult(receipt=receipt, agrees=receipt.agrees))
    await _statements(job, hands)
    await hands.waiting(load.complete_all(target, job.marker, job.run, leaves, [r.receipt for r in results]))
    return results


async def _foreign(part: Job, plan: ArrowPlan, hands: Hands) -> JobResult:
    """A leaf of a source that is not PostgreSQL."""
    from pghaul.engine.arrow import load as lane  # noqa: PLC0415 -- pyarrow is nothing that a relay needs

    started = time.monotonic()
    loaded = await lane.load(part, plan, hands)
    return result_of(part, loaded, seconds=time.monotonic() - started)


async def _leaf(part: Job, hands: Hands, *, before: int) -> Receipt:
    started = time.monotonic()
    digest = hashlib.blake2b() if part.hash is not None and part.hash.stream else None
    moved = await transfer(part, hands, digest, before=before)
    proof, source_hash, target_hash = await prove(part, hands, digest.hexdigest() if digest else "")
    return receipt_of(
        part,
        rows=moved.rows,
        size=moved.bytes,
        seconds=time.monotonic() - started,
        proof=proof,
        source_hash=source_hash,
        target_hash=target_hash,
    )


async def _statements(job: Job, hands: Hands) -> None:
    """At once; where some index is there already (an UNLOGGED table was emptied by a crash), leaf by leaf."""
    for statement in job.statements:
        if statement.exists and await hands.waiting(hands.target.fetchval(statement.exists)):
            for part in job.batch:
                await run_statements(replace(part, statements=tuple(s for s in part.statements if s.exists)), hands)
        else:
            await hands.waiting(hands.target.execute(statement.sql))
