"""COPY of one side as a function: of a sink for the source, of a stream for the target."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import asyncpg

from pghaul.engine.job import CopySide
from pghaul.engine.relay import Buffer, Read, Sink, Write


def reading(connection: asyncpg.Connection, side: CopySide) -> Read:
    """COPY … TO STDOUT of a table or a query, as a function of a sink."""
    words: dict[str, Any] = {"format": side.format}
    if side.format == "text" and side.encoding:
        words["encoding"] = side.encoding

    async def read(sink: Sink) -> str:
        if side.query is not None:
            tag = await connection.copy_from_query(side.query, output=sink, **words)
        else:
            tag = await connection.copy_from_table(
                side.table, schema_name=side.schema, columns=side.columns, output=sink, **words
            )
        return str(tag)

    return read


def writing(connection: asyncpg.Connection, side: CopySide, *, freeze: bool) -> Write:
    """COPY … FROM STDIN into a table, as a function of a stream."""
    words: dict[str, Any] = {"format": side.format}
    if freeze:
        words["freeze"] = True
    if side.format == "text" and side.encoding:
        words["encoding"] = side.encoding

    async def write(stream: AsyncIterator[Buffer]) -> str:
        tag = await connection.copy_to_table(
            side.table, schema_name=side.schema, columns=side.columns, source=heard(connection, stream), **words
        )
        return str(tag)

    return write


async def heard(connection: asyncpg.Connection, stream: AsyncIterator[Buffer]) -> AsyncIterator[Buffer]:
    """The stream, as long as the server takes it: asyncpg would go on to send all of it after an error, too."""
    answer: asyncio.Future[Any] | None = None
    async with _closing(stream):
        async for data in stream:
            answer = answer or _answer(connection)
            if answer is not None and _is_no(answer):
                return
            yield data


def _answer(connection: asyncpg.Connection) -> asyncio.Future[Any] | None:
    """What asyncpg waits for while it sends. It offers no way to it; where it is not found, only time is lost."""
    held = gc.get_referents(getattr(connection, "_protocol", None))
    return next((f for f in held if isinstance(f, asyncio.Future) and not f.done()), None)


def _is_no(answer: asyncio.Future[Any]) -> bool:
    """An error has come. Nothing else ends a stream that is not at its end."""
    return answer.done() and not answer.cancelled() and answer.exception() is not None


def _closing(stream: AsyncIterator[Buffer]) -> contextlib.AbstractAsyncContextManager[Any]:
    return contextlib.aclosing(stream) if isinstance(stream, AsyncGenerator) else contextlib.nullcontext()
