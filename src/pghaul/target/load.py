"""A chunk's transaction on the target, as a worker runs it (asyncpg).

Order is the guarantee: own the run and the claim, insert the marker, only then touch the table. Whoever comes second
with the same chunk waits at the marker and finds it done; whoever comes with an old epoch finds nothing to own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import asyncpg

from pghaul.model.errors import StaleRunError, TargetNotEmptyError
from pghaul.model.receipt import Receipt
from pghaul.model.text import say
from pghaul.target import ledger_sql as sql


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A row that the target refuses. `line` is its COPY text in `encoding`, `key` the JSON text of the source's key."""

    key: str | None
    columns: Sequence[str]
    line: bytes
    encoding: str
    sqlstate: str
    message: str
    column: str | None
    constraint: str | None


async def own(connection: asyncpg.Connection, run: str, relation: str, epoch: int) -> None:
    """Hold the run's and the claim's rows until this transaction ends.

    Raises StaleRunError when a newer epoch or another run owns the table.
    """
    found = await connection.fetchval(sql.OWNED, run, relation)
    if found != epoch:
        if not found:
            raise StaleRunError(say("{relation} belongs to another run now", relation=relation), code=5604)
        raise StaleRunError(
            say("{relation} belongs to epoch {now} now, not to {epoch}", relation=relation, now=found, epoch=epoch),
            code=5603,
        )


async def own_all(connection: asyncpg.Connection, run: str, relations: Sequence[str], epoch: int) -> None:
    """The same for the tables of a batch."""
    found = await connection.fetchval(sql.OWNED_ALL, run, relations, epoch)
    if found != len(relations):
        raise StaleRunError(
            say(
                "{n} of {all} tables do not belong to epoch {epoch} now",
                n=len(relations) - found,
                all=len(relations),
                epoch=epoch,
            ),
            code=5605,
        )


async def mark(connection: asyncpg.Connection, marker: str, run: str, relation: str, chunk: str, epoch: int) -> None:
    """Insert the marker; a unique violation means that the chunk is done."""
    await connection.execute(sql.insert_marker(marker), run, relation, chunk, epoch)


async def mark_all(
    connection: asyncpg.Connection, marker: str, run: str, leaves: Sequence[tuple[str, str]], epoch: int
) -> None:
    """Insert the markers of a batch; in one order everywhere, so that two of them cannot wait for each other."""
    relations, chunks = zip(*sorted(leaves), strict=True)
    await connection.execute(sql.insert_markers(marker), run, relations, chunks, epoch)


async def unmark(connection: asyncpg.Connection, marker: str, run: str, relation: str, chunk: str | None) -> None:
    """Forget one chunk, or (None) all of a table."""
    if chunk is None:
        await connection.execute(sql.delete_markers(marker), run, relation)
    else:
        await connection.execute(sql.delete_marker(marker), run, relation, chunk)


async def take_back(connection: asyncpg.Connection, run: str, relations: Sequence[str]) -> None:
    """These tables are loaded from their beginning again: none of their rows is set aside any more."""
    await connection.execute(sql.TAKE_BACK, run, relations)


async def set_aside(
    connection: asyncpg.Connection, run: str, relation: str, chunk: str, rows: Iterable[SetAside]
) -> None:
    """Rows into quarantine; they are committed with their chunk or not at all."""
    await connection.executemany(
        sql.SET_ASIDE,
        [
            (run, relation, chunk, r.key, r.columns, r.line, r.encoding, r.sqlstate, r.message, r.column, r.constraint)
            for r in rows
        ],
    )


async def find(
    connection: asyncpg.Connection, marker: str, run: str, relation: str, chunk: str
) -> asyncpg.Record | None:
    """The committed marker: rows, bytes, seconds, proof, source_hash, target_hash, epoch."""
    return await connection.fetchrow(sql.read_marker(marker), run, relation, chunk)


async def complete(
    connection: asyncpg.Connection,
    marker: str,
    run: str,
    relation: str,
    chunk: str,
    *,
    rows: int,
    size: int,
    seconds: float,
    proof: str,
    source_hash: str,
    target_hash: str,
    updated: int,
    unchanged: int,
    ignored: int,
    rejected: int = 0,
    deleted: int = 0,
) -> None:
    """Write the receipt into the marker, last before commit."""
    facts = (rows, size, seconds, proof, source_hash, target_hash, updated, unchanged, ignored, rejected, deleted)
    await connection.execute(sql.complete_marker(marker), run, relation, chunk, *facts)


async def complete_all(
    connection: asyncpg.Connection,
    marker: str,
    run: str,
    leaves: Sequence[tuple[str, str]],
    receipts: Sequence[Receipt],
) -> None:
    """Write the receipts of a batch into its markers."""
    await connection.execute(
        sql.complete_markers(marker),
        run,
        [relation for relation, _ in leaves],
        [chunk for _, chunk in leaves],
        [r.rows for r in receipts],
        [r.bytes for r in receipts],
        [r.seconds for r in receipts],
        [r.proof.value for r in receipts],
        [r.source_hash for r in receipts],
        [r.target_hash for r in receipts],
    )


async def ready(
    connection: asyncpg.Connection, *, lock: str, is_empty: str, truncate: str, must_be_empty: bool, relation: str
) -> None:
    """Lock the table against everybody and empty it; without `truncate` it is known to be new.

    Raises TargetNotEmptyError where rows were to be refused: they came after the run had looked.
    """
    await connection.execute(lock)
    if must_be_empty and not await connection.fetchval(is_empty):
        raise TargetNotEmptyError(
            say("{relation} has rows", relation=relation),
            advice=say("choose what to do with them: --on-existing truncate | append | skip"),
            code=5402,
        )
    if truncate:
        await connection.execute(truncate)
