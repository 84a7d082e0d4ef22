"""The proof of a chunk some of whose rows were set aside: both sides are compared without them.

Where the table was filled by one stream, what was loaded of it is compared with the target as it lies there, as ever.
Else the rows' hashes are: the source adds up all of the chunk's and those of the rows that were set aside, by their
keys. Without a key counting has to do, and a notice says so.
"""

from __future__ import annotations

from pghaul.engine import hashing
from pghaul.engine.careful.aside import Aside
from pghaul.engine.hands import Hands
from pghaul.engine.job import HashPlan, Job
from pghaul.model.receipt import Proof


async def prove_without(job: Job, hands: Hands, stream: str, aside: Aside) -> tuple[Proof, str, str]:
    """Proof, and the hashes of both sides; as for any other chunk."""
    plan = job.hash
    if plan is None:
        return Proof.COUNT, "", ""
    if plan.stream and job.target is not None:
        back = await hashing.stream_hash(hands, hands.target, job.target)
        if back == stream:
            return Proof.STREAM, stream, back
    source = await _source_without(plan, hands, aside)
    if source is None:
        return Proof.COUNT, "", ""
    if not plan.target_rows:  # a range: the target is compared when the whole table is there
        return Proof.ROWS, hashing.as_text(source), ""
    return (
        Proof.ROWS,
        hashing.as_text(source),
        hashing.as_text(await hashing.row_sum(hands, hands.target, (plan.target_rows,))),
    )


async def _source_without(plan: HashPlan, hands: Hands, aside: Aside) -> tuple[int, int] | None:
    """What the source's rows of the chunk come to without those; None where they cannot be found again."""
    if not plan.source_rows:
        return None
    left = await without(hands, aside)
    if left is None:
        return None
    rows, total = await hashing.row_sum(hands, hands.source, plan.source_rows)
    return rows - left[0], total - left[1]


async def without(hands: Hands, aside: Aside) -> tuple[int, int] | None:
    """The number and the hashes of the source's rows with the keys of those that were set aside."""
    statement, keys = aside.hash_by_key, aside.keys
    if not statement or keys is None or hands.source is None:
        return None
    arrays = [list(values) for values in zip(*keys, strict=True)]
    row = await hands.waiting(hands.source.fetchrow(statement, *arrays))
    return (row[0], int(row[1])) if row[0] == aside.count else None
