"""INSERT in batches, with a savepoint for each: a batch that is refused is halved until the row at fault is alone.

A statement that is refused names no row. Its batch is taken apart in half as often as it takes: fifteen statements for
one row among twenty thousand. Halves keep their order, so that of rows with the same key the first one stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import asyncpg

from pghaul.engine.careful import literal
from pghaul.engine.careful.aside import Aside
from pghaul.engine.careful.refusal import Refusal, refused
from pghaul.engine.careful.savepoint import BACK, BEGIN, END, FRESH
from pghaul.engine.hands import Hands
from pghaul.engine.insert import Batch, Inserted, answers, insert, prepared
from pghaul.engine.job import Care, Job


class Part:
    """Some rows of a batch; its values are taken apart when they are needed."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    @cached_property
    def _columns(self) -> list[list[bytes | None]]:
        return [literal.elements(text) for text in self.batch.literals]

    def halves(self) -> tuple[Part, Part]:
        """In their order."""
        middle = self.batch.rows // 2
        return self._rows(0, middle), self._rows(middle, self.batch.rows)

    def line(self) -> bytes:
        """Of a single row."""
        return literal.line(column[0] for column in self._columns)

    def _rows(self, start: int, end: int) -> Part:
        columns = [column[start:end] for column in self._columns]
        part = Part(Batch(rows=end - start, literals=tuple(map(literal.literal, columns)), sum=0))
        part.__dict__["_columns"] = columns
        return part


@dataclass(frozen=True, slots=True, kw_only=True)
class Sieved:
    """What became of a chunk's rows."""

    moved: Inserted
    aside: Aside


async def sieve(job: Job, care: Care, hands: Hands) -> Sieved:
    """As insert(), with rows set aside. Raises QuarantineError, LookedError."""
    if job.insert is None:
        raise ValueError(f"an insert job without a plan: {job.relation} {job.chunk}")
    moved, aside, target = Inserted(), Aside(job, care, hands), hands.target
    writes = await prepared(target, job.insert)
    relation = job.target.table if job.target else ""

    async def put(batch: Batch) -> None:
        aside.check()
        whole, parts = Inserted(), [Part(batch)]
        while parts:
            part = parts.pop()
            try:
                whole.add(part.batch, await answers(part.batch, writes))
            except asyncpg.PostgresError as exc:
                if not refused(exc):
                    raise
                await target.execute(BACK)
                if part.batch.rows > 1:
                    parts += reversed(part.halves())
                    continue
                number = moved.rows + whole.rows + whole.rejected + 1
                aside.add(Refusal.of(part.line(), number, exc, relation, care.columns))
                whole.rejected += 1
            else:
                await target.execute(FRESH)
            await aside.flush_many()
        moved.take(batch, whole)

    await hands.waiting(target.execute(BEGIN))
    await insert(job, hands, moved, put)
    await hands.waiting(aside.flush())
    await hands.waiting(target.execute(END))
    aside.conclude(moved.rows)
    return Sieved(moved=moved, aside=aside)
