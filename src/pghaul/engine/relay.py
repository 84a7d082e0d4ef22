"""The relay lane: COPY … TO STDOUT of one server into COPY … FROM STDIN of another, bytes untouched.

Memory is bounded by the hand-over between reader and writer: DEPTH buffers of what asyncpg hands out at once (at most
256 KiB each, or one row if that is larger). Back-pressure is the queue's: a slow target pauses the source's socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from pghaul.model.errors import CountMismatchError
from pghaul.model.text import say

# Four buffers keep both sockets busy (measured: 1 costs a third of the rate, 16 gains nothing).
DEPTH = 4

R = TypeVar("R")
W = TypeVar("W")
Sink: TypeAlias = Callable[[bytes], Awaitable[None]]
Read: TypeAlias = Callable[[Sink], Coroutine[Any, Any, str]]
Buffer: TypeAlias = bytes | memoryview
Write: TypeAlias = Callable[[AsyncIterator[Buffer]], Coroutine[Any, Any, str]]


class Digest(Protocol):
    """What hashlib's objects can do."""

    def update(self, data: Buffer, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Relayed:
    rows: int
    bytes: int


def rows_of(tag: str) -> int:
    """The number in a command tag: "COPY 42" → 42."""
    return int(tag.rpartition(" ")[2])


async def relay(
    read: Read,
    write: Write,
    *,
    on_bytes: Callable[[int], None],
    digest: Digest | None = None,
    where: str = "",
    between: Callable[[int], Awaitable[None]] | None = None,
) -> Relayed:
    """Move one stream from `read` to `write`.

    The writer sees the end of the stream only after the reader's command has completed: a source that fails half-way
    fails the writer too, and its COPY is never finished as if it were whole. Raises CountMismatchError when the
    command tags of both sides differ, and whatever either side raises. `between` is awaited after each buffer, with the
    bytes so far: while it waits, nothing is read.
    """
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(DEPTH)
    total = 0

    async def sink(data: bytes) -> None:
        nonlocal total
        total += len(data)
        if digest is not None:
            digest.update(data)
        await queue.put(data)
        on_bytes(total)
        if between is not None:
            await between(total)

    async def source() -> AsyncIterator[bytes]:
        while (data := await queue.get()) is not None:
            yield data

    async def reader() -> str:
        tag = await read(sink)
        await queue.put(None)
        return tag

    async def writer() -> str:
        return await write(source())

    read_tag, written_tag = await both(reader(), writer())
    if rows_of(read_tag) != rows_of(written_tag):
        raise CountMismatchError(
            say("read {read} rows, wrote {written}", read=rows_of(read_tag), written=rows_of(written_tag)),
            where=where,
            code=5930,
        )
    return Relayed(rows=rows_of(written_tag), bytes=total)


async def both(reader: Coroutine[Any, Any, R], writer: Coroutine[Any, Any, W]) -> tuple[R, W]:
    """Run both; when one fails the other is cancelled, and the first error is raised as it is, ungrouped."""
    read, written = asyncio.ensure_future(reader), asyncio.ensure_future(writer)
    tasks: tuple[asyncio.Future[Any], ...] = (read, written)
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        return read.result(), written.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
