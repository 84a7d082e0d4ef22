"""Connections for the relay: asyncpg, because its block-wise COPY costs the least CPU.

Imports nothing heavy: a worker process holds this module and little else.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import Any

import asyncpg

from pghaul.model.errors import NotSupportedError, PghaulError
from pghaul.model.profile import Endpoint
from pghaul.model.text import say
from pghaul.postgres.dsn import asyncpg_params, keepalive_seconds
from pghaul.postgres.liveness import working_sql
from pghaul.postgres.settings import APPLY_ASYNCPG_SQL, arguments
from pghaul.postgres.sqlstate import translating

PROBE_SECONDS = 8.0  # a probe that gets no answer for so long is an answer
CLOSE_SECONDS = 2.0
POOLER = 5309  # the number of pooler_error


async def open_connection(
    endpoint: Endpoint, *, application_name: str, settings: Sequence[tuple[str, str]]
) -> asyncpg.Connection:
    """A connection with these settings. Raises ours: NotSupportedError behind a pooler, AccessError, …"""
    with translating(endpoint.display):
        connection = await asyncpg.connect(**asyncpg_params(endpoint, application_name=application_name))
    try:
        with translating(endpoint.display):
            async with asyncio.timeout(PROBE_SECONDS):
                _keep_alive(connection, endpoint)
                await _refuse_pooler(connection, endpoint)
                await connection.fetch(APPLY_ASYNCPG_SQL, *arguments(settings))
    except BaseException:
        connection.terminate()
        raise
    return connection


async def is_working(endpoint: Endpoint, pid: int, *, wait_events: bool) -> bool:
    """Whether backend `pid` is busy, and not waiting for its client; False when it is gone.

    Raises ours where the server cannot be asked; ConnectionLostError when it does not answer in time.
    """
    return bool(await _ask(endpoint, working_sql(wait_events=wait_events, placeholder="$1"), pid))


async def end_backend(endpoint: Endpoint, pid: int) -> None:
    """End a backend that a dead path has cut off from us: it would keep its locks until the server notices.

    Never raises: where the server cannot be asked, the next epoch ends the old one's sessions.
    """
    with contextlib.suppress(PghaulError):
        await _ask(endpoint, "SELECT pg_catalog.pg_terminate_backend($1)", pid)


async def _ask(endpoint: Endpoint, question: str, pid: int) -> Any:
    with translating(endpoint.display):
        async with asyncio.timeout(PROBE_SECONDS):
            connection = await asyncpg.connect(**asyncpg_params(endpoint, application_name="pghaul/probe"))
            try:
                return await connection.fetchval(question, pid)
            finally:
                await _close(connection)


async def _close(connection: asyncpg.Connection) -> None:
    with contextlib.suppress(Exception):
        await connection.close(timeout=CLOSE_SECONDS)


async def _refuse_pooler(connection: asyncpg.Connection, endpoint: Endpoint) -> None:
    if await connection.fetchval("SELECT pg_catalog.pg_backend_pid()") != connection.get_server_pid():
        raise pooler_error(endpoint)


def pooler_error(endpoint: Endpoint) -> NotSupportedError:
    """Session locks and exported snapshots break behind a pooler."""
    return NotSupportedError(
        say("there is a connection pooler between us and the server"),
        where=endpoint.display,
        advice=say("give host and port of the PostgreSQL server itself"),
        code=5309,
    )


def _keep_alive(connection: asyncpg.Connection, endpoint: Endpoint) -> None:
    """The same keepalives as libpq's; options that an operating system lacks are left out."""
    transport: Any = getattr(connection, "_transport", None)  # asyncpg offers no public way to its socket
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    idle, interval, count, user_timeout = keepalive_seconds(endpoint)
    if idle <= 0:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wanted = {"TCP_KEEPIDLE": idle, "TCP_KEEPALIVE": idle, "TCP_KEEPINTVL": interval, "TCP_KEEPCNT": count}
    for name, value in (wanted | {"TCP_USER_TIMEOUT": user_timeout}).items():
        option = getattr(socket, name, None)
        if option is not None and value > 0:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
