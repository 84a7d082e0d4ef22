"""The relay between two fakes: bounded memory, every byte once and in order, and no side left waiting for the other."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest

from pghaul.engine.relay import DEPTH, Read, Relayed, Sink, Write, relay, rows_of
from pghaul.model.errors import CountMismatchError, RowError

BLOCKS = [bytes([n]) * (n + 1) for n in range(40)]


def reading(blocks: list[bytes], tag: str = "COPY 7", pushed: list[bytes] | None = None) -> Read:
    async def read(sink: Sink) -> str:
        for block in blocks:
            await sink(block)
            if pushed is not None:
                pushed.append(block)
        return tag

    return read


def writing(taken: list[bytes], tag: str = "COPY 7") -> Write:
    async def write(stream: AsyncIterator[bytes]) -> str:
        taken.extend([block async for block in stream])
        return tag

    return write


def relayed(read: Read, write: Write, **rest: object) -> Relayed:
    words = {"on_bytes": lambda _: None} | rest
    return asyncio.run(asyncio.wait_for(relay(read, write, **words), 5))  # type: ignore[arg-type]


def test_every_byte_passes_once_and_in_order_and_is_counted_and_hashed() -> None:
    taken: list[bytes] = []
    counted: list[int] = []
    digest = hashlib.blake2b()
    moved = relayed(reading(BLOCKS), writing(taken), on_bytes=counted.append, digest=digest)
    whole = b"".join(BLOCKS)
    assert b"".join(taken) == whole
    assert moved == Relayed(rows=7, bytes=len(whole))
    assert counted == [sum(map(len, BLOCKS[: n + 1])) for n in range(len(BLOCKS))]
    assert digest.hexdigest() == hashlib.blake2b(whole).hexdigest()


def test_a_slow_writer_holds_the_reader_back() -> None:
    """Memory is bounded: whatever the size of the table, so many buffers are between the two."""
    pushed: list[bytes] = []
    ahead: list[int] = []

    async def write(stream: AsyncIterator[bytes]) -> str:
        written = 0
        async for _ in stream:
            for _ in range(50):  # whoever could run meanwhile does
                await asyncio.sleep(0)
            written += 1
            ahead.append(len(pushed) - written)
        return "COPY 7"

    relayed(reading(BLOCKS, pushed=pushed), write)
    assert max(ahead) == DEPTH
    assert pushed == BLOCKS


def test_a_writer_that_fails_frees_a_reader_that_waits_to_hand_over() -> None:
    ended: list[str] = []

    async def read(sink: Sink) -> str:
        try:
            while True:
                await sink(b"for ever")
        finally:
            ended.append("reader")

    async def write(stream: AsyncIterator[bytes]) -> str:
        async for _ in stream:
            raise RowError("not here")
        return "COPY 0"

    with pytest.raises(RowError, match="not here"):
        relayed(read, write)
    assert ended == ["reader"]


def test_a_reader_that_fails_cancels_the_writer_before_the_error_is_told() -> None:
    ended: list[type[BaseException]] = []

    async def read(sink: Sink) -> str:
        await sink(b"some")
        raise ConnectionResetError

    async def write(stream: AsyncIterator[bytes]) -> str:
        try:
            taken = [block async for block in stream]
        except BaseException as exc:
            ended.append(type(exc))
            raise
        return f"COPY {len(taken)}"

    with pytest.raises(ConnectionResetError):
        relayed(read, write)
    assert ended == [asyncio.CancelledError]


def test_a_relay_that_is_cancelled_cancels_both_sides() -> None:
    ended: list[str] = []

    async def wait(name: str) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)
        return "COPY 0"

    async def both() -> None:
        task = asyncio.ensure_future(relay(lambda _: wait("r"), lambda _: wait("w"), on_bytes=lambda _: None))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(both(), 5))
    assert sorted(ended) == ["r", "w"]


@pytest.mark.parametrize(("read", "written"), [(7, 6), (7, 8), (0, 1)])
def test_command_tags_that_disagree_are_an_error(read: int, written: int) -> None:
    with pytest.raises(CountMismatchError, match=f"read {read} rows, wrote {written}"):
        relayed(reading(BLOCKS, f"COPY {read}"), writing([], f"COPY {written}"), where="public.t leaf")


@pytest.mark.parametrize(("tag", "rows"), [("COPY 0", 0), ("COPY 123456789012", 123456789012)])
def test_the_number_of_rows_stands_at_the_end_of_the_tag(tag: str, rows: int) -> None:
    assert rows_of(tag) == rows
