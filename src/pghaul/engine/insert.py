"""The lane of the recipe `insert`: batches read from the source and inserted into the target, the next one being read
while the last one is written.

asyncpg has no pipeline mode; with one statement per batch of half a megabyte a round trip more is not worth one, and
keeping both servers busy at once is. Memory is bounded by the batches in the queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg

from pghaul.engine.careful.refusal import RefusedError, refused
from pghaul.engine.hands import Hands
from pghaul.engine.job import ByKey, ByPages, Counts, InsertPlan, Job, Write
from pghaul.engine.pace import Pace
from pghaul.engine.relay import both
from pghaul.engine.watch import Pulse
from pghaul.model.errors import CountMismatchError, RowError
from pghaul.model.text import say

DEPTH = 2  # batches between reader and writer
BATCH_BYTES = 1 << 19
BATCH_ROWS = 20_000
FIRST_ROWS, FIRST_PLACES = 64, 128  # before anybody knows how wide rows are
GROWTH = 8
MOST_PLACES = 1 << 17  # of an empty stretch of the heap, after which a full one may come


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    rows: int
    literals: tuple[bytes, ...]  # one per column
    sum: int  # of the rows' hashes
    last: tuple[str, ...] = ()  # the key of the last row

    @property
    def size(self) -> int:
        """Bytes of its values as text, with what parts them."""
        return sum(map(len, self.literals))


@dataclass(slots=True, kw_only=True)
class Inserted:
    """What became of a chunk's rows."""

    rows: int = 0
    bytes: int = 0
    sum: int = 0
    inserted: int = 0
    updated: int = 0
    rejected: int = 0
    found_rows: int = 0  # on the target, under the keys of the batches
    found_sum: int = 0

    def facts(self, plan: InsertPlan) -> dict[str, int]:
        """For the receipt: every row that was read stands in one of the numbers."""
        left = self.rows - self.rejected - self.inserted - self.updated
        facts = {"rows": self.rows, "size": self.bytes, "updated": self.updated, "rejected": self.rejected}
        return facts | {"ignored" if plan.on_conflict == "ignore" else "unchanged": left}

    def add(self, batch: Batch, answers: Counted) -> None:
        """A batch is written."""
        self.rows += batch.rows
        self.bytes += batch.size
        self.sum += batch.sum
        for field, number in answers.items():
            setattr(self, field, getattr(self, field) + number)

    def take(self, batch: Batch, parts: Inserted) -> None:
        """A batch is written in parts, whose sums nobody knows."""
        self.rejected += parts.rejected
        counted = {f: getattr(parts, f) for f in ("inserted", "updated", "found_rows", "found_sum")}
        self.add(batch, counted)


Counted: TypeAlias = dict[str, int]  # by the fields of Inserted
Writer: TypeAlias = Callable[[Batch], Awaitable[None]]


class Step:
    """How much the next batch asks for, from what the last one was."""

    def __init__(self, first: int, most: int) -> None:
        self.size = first
        self._most = most

    def learn(self, batch: Batch) -> None:
        """Towards BATCH_BYTES or BATCH_ROWS, whichever comes first; down at once, up by steps."""
        room = min(BATCH_BYTES / max(1, batch.size), BATCH_ROWS / max(1, batch.rows))
        self.size = max(1, min(self._most, int(self.size * min(GROWTH, room))))


async def insert(job: Job, hands: Hands, moved: Inserted | None = None, write: Writer | None = None) -> Inserted:
    """Move the chunk's rows; by `write` if it is given, which counts them in `moved` itself.

    Raises CountMismatchError, RefusedError, and whatever either server raises.
    """
    plan, source = job.insert, hands.source
    if plan is None or source is None:
        raise ValueError(f"an insert job without a plan or a source: {job.relation} {job.chunk}")
    for statement in plan.before:
        await hands.waiting(hands.target.execute(statement))
    pulse, moved = Pulse(), moved or Inserted()
    queue: asyncio.Queue[Batch | None] = asyncio.Queue(DEPTH)

    async def reader() -> None:
        size = 0
        for each in plan.readers:
            async for batch in _batches(each, source, plan, pulse):
                await queue.put(batch)
                size += batch.size
                await pace.between(size)
        await queue.put(None)

    async def writer() -> None:
        put = write or await _straight(hands.target, plan, moved)
        while (batch := await queue.get()) is not None:
            await put(batch)
            pulse.beat()
            hands.control.set_bytes(moved.bytes)

    with Pace(hands.control, pulse) as pace:
        await hands.waiting(both(reader(), writer()), pulse)
    _count(job, plan, moved)
    return moved


def _count(job: Job, plan: InsertPlan, moved: Inserted) -> None:
    """Without conflicts every row that was read is one that was written."""
    written = moved.inserted + moved.updated + moved.rejected
    if written > moved.rows or (plan.on_conflict == "error" and written != moved.rows):
        raise CountMismatchError(
            say("read {read} rows, wrote {written}", read=moved.rows, written=written),
            where=f"{job.relation} {job.chunk}",
            code=5930,
        )


async def _batches(
    reader: ByKey | ByPages, source: asyncpg.Connection, plan: InsertPlan, pulse: Pulse
) -> AsyncIterator[Batch]:
    read = _by_key if isinstance(reader, ByKey) else _by_pages
    async for batch in read(reader, source, plan.columns):  # type: ignore[arg-type]
        pulse.beat()
        if batch.rows:
            yield batch


async def _by_key(reader: ByKey, source: asyncpg.Connection, columns: int) -> AsyncIterator[Batch]:
    first, following = await source.prepare(reader.first), await source.prepare(reader.following)
    step = Step(FIRST_ROWS, BATCH_ROWS)
    asked = step.size
    batch = _batch(await first.fetchrow(asked), columns)
    yield batch
    while batch.rows == asked:
        step.learn(batch)
        asked = step.size
        batch = _batch(await following.fetchrow(asked, *batch.last), columns)
        yield batch


async def _by_pages(reader: ByPages, source: asyncpg.Connection, columns: int) -> AsyncIterator[Batch]:
    statement = await source.prepare(reader.batch)
    pages, per_page = await source.fetchrow(reader.extent)
    at, end = reader.first_page * per_page, (pages if reader.end_page is None else reader.end_page) * per_page
    step = Step(FIRST_PLACES, MOST_PLACES)
    while at < end:
        upto = min(end, at + step.size)
        batch = _batch(await statement.fetchrow(at, upto, per_page), columns)
        at = upto
        step.learn(batch)
        yield batch


def _batch(row: Any, columns: int) -> Batch:
    rows, total, *rest = row
    return Batch(
        rows=rows,
        sum=int(total or 0),
        literals=tuple(rest[:columns]) if rows else (),
        last=tuple(rest[columns:]),
    )


_Prepared = list[tuple[Write, Any]]


async def prepared(target: asyncpg.Connection, plan: InsertPlan) -> _Prepared:
    """The statements that one batch takes."""
    statements = (*plan.writes, *([plan.found] if plan.found else []))
    return [(write, await target.prepare(write.sql)) for write in statements]


async def _straight(target: asyncpg.Connection, plan: InsertPlan, moved: Inserted) -> Writer:
    writes = await prepared(target, plan)

    async def put(batch: Batch) -> None:
        try:
            moved.add(batch, await answers(batch, writes))
        except asyncpg.UniqueViolationError as exc:
            raise RefusedError(exc, _conflict(exc)) from exc
        except asyncpg.PostgresError as exc:
            if refused(exc):
                raise RefusedError(exc) from exc
            raise

    return put


async def answers(batch: Batch, writes: _Prepared) -> Counted:
    """Write one batch; what the servers count."""
    counted: Counted = {}
    for write, statement in writes:
        arguments: list[Any] = [batch.literals[i] for i in write.parameters] or [batch.rows]
        answer = await statement.fetch(*arguments)
        match write.counts:
            case Counts.INSERTED:
                counted["inserted"] = counted.get("inserted", 0) + _tagged(statement)
            case Counts.UPDATED:
                counted["updated"] = _tagged(statement)
            case Counts.BOTH:
                counted["inserted"], counted["updated"] = answer[0]
            case Counts.FOUND:
                counted["found_rows"], counted["found_sum"] = answer[0][0], int(answer[0][1])
    return counted


def _tagged(statement: Any) -> int:
    """The number at the end of a command tag: "INSERT 0 42", "UPDATE 42"."""
    return int(statement.get_statusmsg().rpartition(" ")[2])


def _conflict(exc: asyncpg.UniqueViolationError) -> RowError:
    return RowError(
        "; ".join(part for part in (exc.message, exc.detail) if part),  # the server's own words
        where=f"{exc.schema_name}.{exc.table_name}",
        advice=say("rows that are there may stay or be brought up to date: --on-conflict ignore | update"),
        sqlstate=exc.sqlstate,
    )
