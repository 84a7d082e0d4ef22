"""COPY of one side as a function: of a sink for the source, of a stream for the target."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg

from pghaul.engine.job import CopySide
from pghaul.engine.relay import Read, Sink, Write


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

    async def write(stream: AsyncIterator[bytes]) -> str:
        tag = await connection.copy_to_table(
            side.table, schema_name=side.schema, columns=side.columns, source=stream, **words
        )
        return str(tag)

    return write
