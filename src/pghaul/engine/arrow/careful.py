"""A chunk of the Arrow lane that holds rows which the target cannot take: those are set aside, all others are loaded.

Two kinds of them: rows that have no canonical form (target/arrow/checks.py: what COPY would change without a word), and
rows that the server refuses (target/arrow/refusing.py finds them behind savepoints). Both go the way of any row that is
set aside, with the line that a replay reads. The proof is of what was loaded, on both sides.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import numpy as np
import pyarrow as pa

from pghaul.engine.arrow import proof
from pghaul.engine.arrow.load import Loaded, writing
from pghaul.engine.arrow.settled import settled
from pghaul.engine.arrow.stage import Stage
from pghaul.engine.careful.aside import Aside
from pghaul.engine.careful.refusal import Refusal, RefusedError, is_certain, line_of, refusing
from pghaul.engine.careful.savepoint import BACK, BEGIN, END, FRESH
from pghaul.engine.pace import Pace
from pghaul.engine.relay import Buffer, rows_of
from pghaul.engine.watch import Pulse
from pghaul.model.errors import CountMismatchError
from pghaul.model.text import say
from pghaul.sources import misfits
from pghaul.target.arrow import refusing as trying
from pghaul.target.arrow import row_text
from pghaul.target.arrow.encoding import Refused
from pghaul.target.arrow.reading_back import ours
from pghaul.transforms.chain import Rejected

if TYPE_CHECKING:
    from pghaul.engine.hands import Hands
    from pghaul.engine.job import ArrowPlan, Care, Job


async def load(job: Job, plan: ArrowPlan, care: Care, hands: Hands) -> Loaded:
    """As load.load(). Raises QuarantineError for one row too many, LookedError where none may be set aside."""
    reader = hands.reader
    if reader is None or job.target is None:
        raise ValueError(f"a chunk without two sides: {job.relation} {job.chunk}")
    plan = await hands.waiting(settled(plan, job.target, hands.target))
    schema = await hands.waiting(reader.begin(replace(plan.reading, loose=True), job.snapshot))
    stage = Stage(schema, plan, relation=job.relation, proves=plan.back is not None, strict=False)
    pulse, aside = Pulse(), Aside(job, care, hands)
    with Pace(hands.control, pulse) as pace:
        sifting = _Sifting(job, care, stage, aside, hands, pace, pulse)
        await hands.waiting(sifting.run(), pulse)
    await hands.waiting(reader.end())
    aside.conclude(stage.rows)
    source_hash, target_hash, unproven = await proof.of_both(job, plan.back, stage, hands)
    return Loaded(
        rows=stage.rows,
        bytes=sifting.bytes,
        rejected=aside.count,
        source_hash=source_hash,
        target_hash=target_hash,
        unproven=unproven,
        replaced=tuple(stage.replaced.items()),
        reasons=tuple(aside.reasons),
    )


class _Sifting:
    """One chunk, batch by batch."""

    def __init__(
        self, job: Job, care: Care, stage: Stage, aside: Aside, hands: Hands, pace: Pace, pulse: Pulse
    ) -> None:
        self._job = job
        self._care = care
        self._stage = stage
        self._aside = aside
        self._hands = hands
        self._pace = pace
        self._pulse = pulse
        self._write = refusing(writing(stage, job, hands.target))
        self._table = job.target.table if job.target else ""
        self._tries = trying.Tries(
            stage.encoding,
            copy=self._copy,
            keep=self._keep,
            undo=self._undo,
            named=self._named,
            certain=self._is_certain,
        )
        self._loaded = 0
        self.bytes = 0

    async def run(self) -> None:
        """All that the source has."""
        reader = self._hands.reader
        await self._hands.target.execute(BEGIN)
        while reader is not None and (batch := await reader.next()) is not None:
            self._pulse.beat()
            await self._one(batch)
            self._stage.rows += batch.num_rows
        await self._aside.flush()
        await self._hands.target.execute(END)
        if self._stage.rows != self._loaded + self._aside.count:
            raise CountMismatchError(
                say(
                    "read {read} rows, wrote {written}", read=self._stage.rows, written=self._loaded + self._aside.count
                ),
                where=f"{self._job.relation} {self._job.chunk}",
                code=5930,
            )

    async def _one(self, batch: pa.RecordBatch) -> None:
        applied = await asyncio.to_thread(self._stage.transformed, batch, misfits.told(batch))
        numbers = np.arange(batch.num_rows) if applied.kept is None else applied.kept
        for place, found in enumerate(applied.rejected):
            await self._refused(applied.aside, place, found.row, found)
        sifted = await asyncio.to_thread(self._stage.encoding.sift, applied.batch)
        for lost in sifted.refused:
            await self._refused(applied.batch, lost.row, int(numbers[lost.row]), lost)
        numbers = numbers if sifted.kept is None else numbers[sifted.kept]
        async for part in self._tries.of(sifted.batch):
            if isinstance(part, trying.Loaded):
                self._taken(part.batch)
            elif isinstance(part.error, asyncpg.PostgresError):
                line, number = row_text.line_of(sifted.batch, part.row), self._stage.rows + int(numbers[part.row]) + 1
                self._aside.add(Refusal.of(line, number, part.error, self._table, self._care.columns))
            await self._aside.flush_many()
            self._aside.check()

    async def _refused(self, batch: pa.RecordBatch, row: int, number: int, why: Rejected | Refused) -> None:
        """A row of a batch, whose number is that among all that were read with it."""
        self._aside.add(
            Refusal(
                line=row_text.line_of(batch, row),
                number=self._stage.rows + number + 1,
                sqlstate=why.sqlstate,
                message=why.message,
                column=why.column,
                constraint=None,
            )
        )
        await self._aside.flush_many()

    def _taken(self, batch: pa.RecordBatch) -> None:
        self._loaded += batch.num_rows
        if self._stage.digest is not None:
            self._stage.digest.update(ours(self._stage.encoding, batch))

    async def _copy(self, stream: AsyncIterator[bytes]) -> None:
        try:
            rows_of(await self._write(self._counted(stream)))
        except RefusedError as exc:
            raise trying.Refusal(exc.error) from exc

    async def _counted(self, stream: AsyncIterator[bytes]) -> AsyncIterator[Buffer]:
        async for piece in stream:
            yield piece
            self.bytes += len(piece)
            self._pulse.beat()
            self._hands.control.set_bytes(self.bytes)
            self._hands.control.set_rows(self._stage.rows)
            await self._pace.between(self.bytes)
            await asyncio.sleep(0)  # the answer may be there: the driver has to come to read it

    async def _keep(self) -> None:
        await self._hands.target.execute(FRESH)

    async def _undo(self) -> None:
        await self._hands.target.execute(BACK)

    def _named(self, error: Exception) -> int | None:
        return line_of(error, self._table) if isinstance(error, asyncpg.PostgresError) else None

    def _is_certain(self, error: Exception) -> bool:
        return isinstance(error, asyncpg.PostgresError) and is_certain(error, self._table)
