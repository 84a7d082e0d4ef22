"""VACUUM of tables that were loaded: in no transaction, table by table, and never a reason for a run to fail.

What it finds out (which pages everybody sees, how values are spread) the server would find out by itself, later. A
marker says that it was done or tried, so that a resume does not do it again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import asyncpg

from pghaul.engine.hands import Hands
from pghaul.engine.job import Job, JobResult
from pghaul.engine.perform import receipt_of
from pghaul.model.text import Text, say
from pghaul.target import load

CHUNK = "vacuum"  # its marker, and what a worker is said to do


async def vacuum(job: Job, hands: Hands) -> JobResult:
    """Each of the job's statements is named for its table."""
    began, refused = time.monotonic(), []
    for statement in job.statements:
        with _heard(hands.target) as words:
            try:
                await hands.waiting(hands.target.execute(statement.sql))
            except asyncpg.PostgresError as exc:
                if hands.target.is_closed():
                    raise
                words.append(str(exc))
        refused += [_told(statement.name, w) for w in words]
    leaves = [(s.name, CHUNK) for s in job.statements]
    receipt = receipt_of(job, seconds=time.monotonic() - began)
    async with hands.target.transaction():
        await hands.waiting(load.own_all(hands.target, job.run, [s.name for s in job.statements], job.epoch))
        for relation, chunk in leaves:  # of a try whose answer was lost
            await hands.waiting(load.unmark(hands.target, job.marker, job.run, relation, chunk))
        await hands.waiting(load.mark_all(hands.target, job.marker, job.run, leaves, job.epoch))
        await hands.waiting(load.complete_all(hands.target, job.marker, job.run, leaves, [receipt] * len(leaves)))
    return JobResult(receipt=receipt, reasons=tuple(refused))


def _told(table: str, words: str) -> Text:
    return say("{table} was not vacuumed: {why}", table=table, why=words)


@contextlib.contextmanager
def _heard(target: asyncpg.Connection) -> Iterator[list[str]]:
    """A role that may not vacuum a table is told so by a warning, and the table is skipped."""
    words: list[str] = []

    def listen(_: Any, message: Any) -> None:
        if message.severity_en == "WARNING":
            words.append(message.message)

    target.add_log_listener(listen)
    try:
        yield words
    finally:
        target.remove_log_listener(listen)
