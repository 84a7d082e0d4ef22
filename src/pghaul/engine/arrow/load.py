"""A chunk from a source that is not PostgreSQL into the target: read, transformed, cast, encoded, copied.

Three things go on at once: the source's thread reads a batch, a second thread turns the one before it into COPY's
bytes, and the connection sends those of the one before that. Between them stands one batch each, so that memory is
bounded by the size of a batch whatever the table's; a slow target so holds up the source.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncpg
import pyarrow as pa

from pghaul.engine.arrow import proof
from pghaul.engine.arrow.reader import Reader
from pghaul.engine.arrow.settled import settled
from pghaul.engine.arrow.stage import Stage
from pghaul.engine.careful.refusal import RefusedError, refusing
from pghaul.engine.pace import Pace
from pghaul.engine.relay import Buffer, Write, both, rows_of
from pghaul.engine.streams import heard
from pghaul.engine.watch import Pulse
from pghaul.model.errors import CountMismatchError, RowError, SourceError
from pghaul.model.text import Text, say
from pghaul.sources.misfits import SQLSTATE

if TYPE_CHECKING:
    from pghaul.engine.hands import Hands
    from pghaul.engine.job import ArrowPlan, Job

DEPTH = 1  # batches that wait between two of the three: more would only take memory
ENOUGH = 1 << 22  # bytes that are encoded before they are handed on: a batch of csv may be many times as large
LARGE = 5 << 20  # bytes; a source makes batches of 4 MiB, or of one row
PIECE = 1 << 18  # bytes that are sent between two looks at the pace, as the relay's


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What has become of a chunk."""

    rows: int  # read
    bytes: int  # sent
    rejected: int = 0
    source_hash: str = ""
    target_hash: str = ""
    unproven: tuple[str, ...] = ()  # columns that the hashes leave out
    replaced: tuple[tuple[str, int], ...] = ()  # values that were changed to be held at all, by column
    reasons: tuple[Text, ...] = ()


@dataclass(kw_only=True)
class _Flow:
    """One chunk on its way."""

    reader: Reader
    stage: Stage
    pace: Pace
    pulse: Pulse
    hands: Hands
    read: asyncio.Queue[pa.RecordBatch | None] = field(default_factory=lambda: asyncio.Queue(DEPTH))
    encoded: asyncio.Queue[list[Buffer] | None] = field(default_factory=lambda: asyncio.Queue(DEPTH))
    bytes: int = 0

    async def reading(self) -> None:
        """From the source into the first queue. Of batches that a wide row makes large, there is only one."""
        while (batch := await self.reader.next()) is not None:
            self.pulse.beat()
            large = batch.nbytes > LARGE
            await self.read.put(batch)
            del batch
            if large:
                await self.read.join()
        await self.read.put(None)

    async def encoding(self) -> None:
        """From the first queue into the second. The end comes only behind a source that was read to its end."""
        while (batch := await self.read.get()) is not None:
            pieces = self.stage.encode(batch)
            del batch
            while some := await asyncio.to_thread(_some, pieces):
                await self.encoded.put(some)
            del pieces
            self.read.task_done()
        await self.encoded.put([self.stage.finish()])
        await self.encoded.put(None)

    async def sending(self) -> AsyncIterator[Buffer]:
        """From the second queue to the target, in pieces."""
        while (buffers := await self.encoded.get()) is not None:
            for piece in _pieces(buffers):
                yield piece
                self.bytes += len(piece)
                self.pulse.beat()
                self.hands.control.set_bytes(self.bytes)
                self.hands.control.set_rows(self.stage.rows)
                await self.pace.between(self.bytes)

    async def produce(self) -> None:
        """Read and encode."""
        await both(self.reading(), self.encoding())


def _some(pieces: Iterator[Buffer]) -> list[Buffer]:
    """The next of them, so many bytes as are worth a thread's turn; nothing at the end."""
    taken: list[Buffer] = []
    size = 0
    while size < ENOUGH and (piece := next(pieces, None)) is not None:
        taken.append(piece)
        size += len(piece)
    return taken


def _pieces(buffers: Iterable[Buffer]) -> Iterable[Buffer]:
    for data in buffers:
        view = memoryview(data)
        yield from (view[at : at + PIECE] for at in range(0, len(view), PIECE))


async def load(job: Job, plan: ArrowPlan, hands: Hands) -> Loaded:
    """In the chunk's transaction, which has emptied the table where that was to be done."""
    reader = hands.reader
    if reader is None or job.target is None:
        raise ValueError(f"a chunk without two sides: {job.relation} {job.chunk}")
    plan = await hands.waiting(settled(plan, job.target, hands.target))
    schema = await hands.waiting(reader.begin(plan.reading, job.snapshot))
    stage = Stage(schema, plan, relation=job.relation, proves=plan.back is not None)
    pulse = Pulse()
    with Pace(hands.control, pulse) as pace:
        flow = _Flow(reader=reader, stage=stage, pace=pace, pulse=pulse, hands=hands)
        try:
            await hands.waiting(_move(flow, job, hands.target), pulse)
        except RowError as exc:
            raise as_refused(exc) from exc
        except SourceError as exc:
            if exc.sqlstate != SQLSTATE:
                raise
            raise as_refused(exc) from exc
    await hands.waiting(reader.end())
    source_hash, target_hash, unproven = await proof.of_both(job, plan.back, stage, hands)
    return Loaded(
        rows=stage.rows,
        bytes=flow.bytes,
        rejected=stage.rejected,
        source_hash=source_hash,
        target_hash=target_hash,
        unproven=unproven,
        replaced=tuple(stage.replaced.items()),
        reasons=tuple(stage.reasons),
    )


async def _move(flow: _Flow, job: Job, target: asyncpg.Connection) -> None:
    _, tag = await both(flow.produce(), refusing(writing(flow.stage, job, target))(flow.sending()))
    written, expected = rows_of(tag), flow.stage.rows - flow.stage.rejected
    if written != expected:
        raise CountMismatchError(
            say("read {read} rows, wrote {written}", read=expected, written=written),
            where=f"{job.relation} {job.chunk}",
            code=5930,
        )


def as_refused(error: RowError | SourceError) -> RefusedError:
    """Rows that never came as far as the server: as if it had refused them."""
    said = asyncpg.PostgresError.new({"C": error.sqlstate or "22000", "M": str(error.message)})
    return RefusedError(said, error)


def writing(stage: Stage, job: Job, target: asyncpg.Connection) -> Write:
    """COPY … FROM STDIN, as a function of a stream."""
    side = job.target
    if side is None:
        raise ValueError("nowhere to write to")
    words = dict(stage.words) | ({"freeze": True} if job.freeze else {})

    async def write(stream: AsyncIterator[Buffer]) -> str:
        tag = await target.copy_to_table(
            side.table, schema_name=side.schema, columns=side.columns, source=heard(target, stream), **words
        )
        return str(tag)

    return write
