"""COPY into a server that has said no: what asyncpg does not tell by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from pghaul.engine.job import CopySide
from pghaul.engine.streams import writing
from pghaul.postgres.dsn import resolve
from pghaul.postgres.relay_connection import open_connection

BUFFERS = 20_000
SIDE = CopySide(schema="public", table="t", columns=("id",), format="text", encoding="UTF8")


@pytest.mark.template(source="CREATE TABLE public.t (id int4)")
def test_nothing_more_is_sent_to_a_server_that_has_refused_a_row(db_source: str) -> None:
    sent = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b"none\n"
        for _ in range(BUFFERS):
            sent += 1
            yield b"1\n" * 500
            await asyncio.sleep(0)  # where the answer is read

    async def refused() -> None:
        connection = await open_connection(resolve(db_source), application_name="pghaul/test", settings=())
        try:
            with pytest.raises(asyncpg.InvalidTextRepresentationError):
                await writing(connection, SIDE, freeze=False)(stream())
        finally:
            await connection.close()

    asyncio.run(refused())
    assert 0 < sent < BUFFERS
