"""COPY, in batches with a savepoint for each: a batch that is refused is parted at the line at fault, and goes on.

A batch streams as the fast path does, but its lines are kept until the target has taken them. When it is refused, what
comes before the line that the server names goes by itself, then this line, then the rest. Where it names none, or a
wrong one, the batch is halved. So whatever a server says, every line but those that are refused alone is loaded; only
what no other row can change (a value that is none of its type, a NULL, a CHECK) is believed without trying.

Batches are as large as the distance of the rows at fault advises: see Step, and docs/quarantine.md for figures.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from math import isqrt
from typing import Any

import asyncpg

from pghaul.engine.careful.aside import Aside
from pghaul.engine.careful.lines import NEWLINE, Feed, Span, count, parted, size
from pghaul.engine.careful.refusal import Refusal, is_certain, line_of, refused
from pghaul.engine.careful.savepoint import BACK, BEGIN, END, FRESH
from pghaul.engine.hands import Hands
from pghaul.engine.job import Care, CopySide, Job
from pghaul.engine.pace import Pace
from pghaul.engine.relay import Digest, both, rows_of
from pghaul.engine.streams import reading, writing
from pghaul.engine.watch import Pulse
from pghaul.model.errors import CountMismatchError
from pghaul.model.text import say

FIRST_BATCH = 1 << 18  # bytes
SMALLEST = 1 << 12
LARGEST = 1 << 22  # larger ones gain nothing
COST = 1 << 17  # bytes: what could be moved in the time that a batch takes for itself
ROOM = 2  # the part of the memory that may be in hand: drivers and sockets hold some of it a second time
SHARE_OF_BATCH = 8  # the part of it that a batch may have


@dataclass(frozen=True, slots=True, kw_only=True)
class Sifted:
    """What became of a chunk's rows. `rows` were read."""

    rows: int
    bytes: int
    aside: Aside


async def sift(job: Job, care: Care, hands: Hands, digest: Digest | None) -> Sifted:
    """One stream from source to target; `digest` hears what is loaded. Raises QuarantineError, LookedError."""
    source, target = job.source, job.target
    if source is None or target is None or hands.source is None:
        raise ValueError(f"a copy job without two sides: {job.relation} {job.chunk}")
    pulse, feed = Pulse(), Feed(care.memory // ROOM)
    aside = Aside(job, care, hands)
    loader = Loader(target, care, hands, feed, aside, digest, pulse)
    with Pace(hands.control, pulse) as pace:
        moving = both(_read(reading(hands.source, source), care, feed, aside, loader, pace.between), loader.load())
        (rows, moved), loaded = await hands.waiting(moving, pulse)
    aside.conclude(rows)
    if rows != loaded + aside.count:
        raise CountMismatchError(
            say("read {read} rows, wrote {written}", read=rows, written=loaded + aside.count),
            where=f"{job.relation} {job.chunk}",
            code=5930,
        )
    return Sifted(rows=rows, bytes=moved, aside=aside)


async def _read(
    read: Callable[[Callable[[bytes], Awaitable[None]]], Any],
    care: Care,
    feed: Feed,
    aside: Aside,
    loader: Loader,
    between: Callable[[int], Awaitable[None]],
) -> tuple[int, int]:
    total, skip = 0, care.skip

    async def sink(data: bytes) -> None:
        nonlocal total, skip
        total += len(data)
        loader.moved(total)
        aside.check()
        if skip:
            data, skip = _without(data, skip)
        if data:
            await feed.put(data)
        await between(total)

    tag = await read(sink)
    feed.end()
    return rows_of(tag), total


def _without(data: bytes, lines: int) -> tuple[bytes, int]:
    """The buffer without its first lines, and how many of them are still to come."""
    span = Span(data, 0, len(data))
    here = span.lines
    return (b"", lines - here) if here <= lines else (data[span.behind(lines) :], 0)


class Step:
    """How large the next batch is.

    A row at fault costs half a batch, which is loaded twice; a batch costs its round trips. With rows at fault so many
    bytes apart, both together are least at the root of twice the distance times a batch's own cost.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._since = 0  # bytes since the last row at fault
        self._distance = FIRST_BATCH**2 // COST // 2
        self.size = 0
        self._decide()

    def taken(self, size: int) -> None:
        """A batch of so many bytes."""
        self._since += size
        self._distance = max(self._distance, self._since)
        self._decide()

    def refused(self) -> None:
        """One that is parted."""
        self._distance = (self._distance + self._since) // 2
        self._since = 0
        self._decide()

    def _decide(self) -> None:
        self.size = max(SMALLEST, min(self._largest, isqrt(2 * self._distance * COST)))


class Loader:
    """The writer's side of one job."""

    def __init__(
        self,
        target: CopySide,
        care: Care,
        hands: Hands,
        feed: Feed,
        aside: Aside,
        digest: Digest | None,
        pulse: Pulse,
    ) -> None:
        self._target = target
        self._care = care
        self._hands = hands
        self._feed = feed
        self._aside = aside
        self._digest = digest
        self._pulse = pulse
        self._step = Step(min(LARGEST, care.memory // ROOM // SHARE_OF_BATCH))
        self._write = writing(hands.target, target, freeze=False)
        self._loaded = 0

    def moved(self, total: int) -> None:
        """Bytes that were read so far."""
        self._pulse.beat()
        self._hands.control.set_bytes(total)

    async def load(self) -> int:
        """All that comes. Returns how many rows were loaded."""
        await self._execute(BEGIN)
        while await self._feed.more():
            self._aside.check()
            await self._one_batch()
        await self._aside.flush()
        await self._execute(END)
        return self._loaded

    async def _one_batch(self) -> None:
        held: list[Span] = []
        try:
            tag = await self._write(self._stream(held))
        except asyncpg.PostgresError as exc:
            if not refused(exc):
                raise
            await self._execute(BACK)
            await self._refused(held, exc)
        else:
            self._taken(held, rows_of(tag))
            await self._execute(FRESH)
        await self._aside.flush_many()

    async def _stream(self, held: list[Span]) -> AsyncIterator[memoryview]:
        taken = 0
        while taken < self._step.size:
            span = await self._feed.take(self._step.size - taken, at_least_one=not held)
            if span is None:
                return
            held.append(span)
            taken += span.size
            for piece in span.pieces():
                yield piece
                self._pulse.beat()
                await asyncio.sleep(0)  # the answer may be there: the driver has to come to read it

    def _taken(self, held: list[Span], rows: int) -> None:
        self._loaded += rows
        if self._digest is not None:
            for span in held:
                for piece in span.pieces():
                    self._digest.update(piece)
        self._step.taken(size(held))
        self._feed.done()

    async def _refused(self, held: list[Span], error: asyncpg.PostgresError) -> None:
        """One line is set aside; more go on in parts."""
        lines = count(held)
        if lines == 1:
            self._set_aside(held[0], error)
            return
        self._step.refused()
        number = line_of(error, self._target.table)
        if number is None or not 1 <= number <= lines:
            self._feed.give_back(*parted(held, lines // 2))
            return
        before, rest = parted(held, number - 1)
        line, after = parted(rest, 1)
        if is_certain(error, self._target.table):
            self._set_aside(line[0], error, ahead=number - 1)
            self._feed.give_back(*(part for part in (before, after) if part))
            return
        self._feed.give_back(*(part for part in (before, line, after) if part))

    def _set_aside(self, span: Span, error: asyncpg.PostgresError, *, ahead: int = 0) -> None:
        line = span.data[span.start : span.end - len(NEWLINE)]
        number = self._care.skip + self._loaded + self._aside.count + ahead + 1
        self._feed.done()
        self._aside.add(Refusal.of(line, number, error, self._target.table, self._care.columns))

    async def _execute(self, statement: str) -> None:
        await self._hands.target.execute(statement)
        self._pulse.beat()
