"""Content hashes of one side: of a stream, where both sides give the same order, else a sum over rows.

The sum of row hashes does not depend on order, and unlike XOR it does not lose pairs of equal rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import asyncpg

from pghaul.engine.hands import Hands
from pghaul.engine.job import CopySide
from pghaul.engine.pace import Pace
from pghaul.engine.streams import reading
from pghaul.engine.watch import Pulse


async def stream_hash(hands: Hands, connection: asyncpg.Connection | None, side: CopySide) -> str:
    """blake2b over COPY's bytes, in physical order, hex."""
    if connection is None:
        raise ValueError("no connection to hash over")
    digest = hashlib.blake2b()
    pulse, total = Pulse(), 0

    with Pace(hands.control, pulse) as pace:

        async def sink(data: bytes) -> None:
            nonlocal total
            digest.update(data)
            pulse.beat()
            total += len(data)
            await pace.between(total)

        await hands.waiting(reading(connection, side)(sink), pulse)
    return digest.hexdigest()


async def row_sum(hands: Hands, connection: asyncpg.Connection | None, statements: Sequence[str]) -> tuple[int, int]:
    """(rows, sum of row hashes), added up over the statements."""
    if connection is None:
        raise ValueError("no connection to hash over")
    count, total = 0, 0
    for statement in statements:
        row = await hands.waiting(connection.fetchrow(statement))
        count += row[0]
        total += int(row[1])
    return count, total


def as_text(value: tuple[int, int]) -> str:
    """rows:sum, as kept in receipts."""
    return f"{value[0]}:{value[1]}"


def from_text(value: str) -> tuple[int, int]:
    """The other way."""
    count, _, total = value.partition(":")
    return int(count), int(total)
