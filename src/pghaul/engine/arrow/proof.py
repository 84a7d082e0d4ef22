"""The target's side of a chunk's proof: what it holds now, read back in the transaction that has written it.

Both sides are hashed column by column, in one order. Values that the server spells in its own way (jsonb, intervals …)
may differ as texts and be the same: where only such columns differ, the others are the proof, and it is said so.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from typing import TYPE_CHECKING

from pghaul.engine.arrow.stage import Stage
from pghaul.model.table import Name
from pghaul.target.arrow.digest import Digest
from pghaul.target.arrow.reading_back import WORDS, BackReader, spelled_by_server

if TYPE_CHECKING:
    from pghaul.engine.hands import Hands
    from pghaul.engine.job import Job, ReadBack


async def of_both(job: Job, back: ReadBack | None, stage: Stage, hands: Hands) -> tuple[str, str, tuple[str, ...]]:
    """The hashes of source and target, and the columns that they leave out."""
    ours = stage.digest
    if ours is None or back is None or job.target is None:
        return "", "", ()
    theirs = await of_target(Name(job.target.schema, job.target.table), back, stage, hands)
    left_out = set(ours.differing(theirs))
    if not left_out <= set(spelled_by_server(stage.encoding)) or ours.rows != theirs.rows:
        left_out = set()
    return hash_of(ours, left_out), hash_of(theirs, left_out), tuple(n for n in ours.schema.names if n in left_out)


async def of_target(table: Name, back: ReadBack, stage: Stage, hands: Hands, *, facts: bool = False) -> Digest:
    """The target's rows, as they are read back."""
    from pghaul.target.arrow.reading_back_sql import query  # noqa: PLC0415 -- psycopg's composer

    reader = BackReader(stage.encoding)
    digest = Digest(reader.schema, facts=facts)

    async def sink(data: bytes) -> None:
        for batch in reader.feed(data):
            digest.update(batch)

    select = query(stage.encoding, table, own=back.own, where=back.where or None, order=back.order)
    await hands.waiting(hands.target.copy_from_query(select, output=sink, **WORDS))
    for batch in reader.end():
        digest.update(batch)
    return digest


def hash_of(digest: Digest, left_out: Collection[str] = ()) -> str:
    """Of the rows and of all other columns, as it stands in a receipt."""
    whole = blake2b(str(digest.rows).encode(), digest_size=16)
    for name, column in digest.columns().items():
        if name not in left_out:
            whole.update(f"\n{column} {name}".encode())
    return whole.hexdigest()
