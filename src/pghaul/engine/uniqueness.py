"""A unique index is built; where rows are in its way, they are set aside first, as the plan says, or named.

All of it lies within the job's transaction: index, rows and marker are committed together.
"""

from __future__ import annotations

import asyncpg

from pghaul.engine.hands import Hands
from pghaul.engine.job import Duplicates, Job, Statement
from pghaul.model.errors import QuarantineError, RowError
from pghaul.model.rejects import allowance
from pghaul.model.text import joined, say

SHORT = 200  # characters of one key
SET_ASIDE_BEFORE = "SELECT pg_catalog.count(*) FROM pghaul.quarantine WHERE run_id = $1 AND relation = $2"


async def build(job: Job, statement: Statement, duplicates: Duplicates, hands: Hands) -> int:
    """How many rows were set aside for it. Raises RowError, QuarantineError."""
    execute = hands.target.execute
    await hands.waiting(execute("SAVEPOINT before_index"))
    try:
        await hands.waiting(execute(statement.sql))
    except asyncpg.UniqueViolationError as exc:
        await hands.waiting(execute("ROLLBACK TO SAVEPOINT before_index"))
        moved = await _set_aside(job, duplicates, hands, exc)
        await hands.waiting(execute(statement.sql))
    else:
        moved = 0
    await hands.waiting(execute("RELEASE SAVEPOINT before_index"))
    return moved


async def _set_aside(job: Job, duplicates: Duplicates, hands: Hands, exc: asyncpg.PostgresError) -> int:
    target = hands.target
    await hands.waiting(target.execute("SET LOCAL lock_timeout = 0"))  # other indexes of the table may take their time
    await hands.waiting(target.execute(duplicates.lock))
    found = await hands.waiting(target.fetch(duplicates.look))
    if not found:
        raise exc
    rows = int(found[0]["rows"])
    await _allow(job, duplicates, hands, rows, [str(r["shown"])[:SHORT] for r in found])
    await hands.waiting(target.execute(duplicates.move, job.run, job.relation, job.chunk))
    return rows


async def _allow(job: Job, duplicates: Duplicates, hands: Hands, rows: int, keys: list[str]) -> None:
    place = {"where": f"{job.relation} {duplicates.index}", "sqlstate": "23505"}
    if duplicates.rule == "fail":
        raise RowError(
            say(
                "{n} rows have a key that another row has, too, and the index {index} is unique; the first: {keys}",
                n=rows,
                index=duplicates.index,
                keys=joined("; ", keys),
            ),
            advice=say(
                "mend them on the source, or let them be set aside: --duplicates first --duplicates-by COLUMN "
                "--max-rejects N"
            ),
            code=3080,
            **place,
        )
    before = await hands.waiting(hands.target.fetchval(SET_ASIDE_BEFORE, job.run, job.relation))
    asked = duplicates.limit if duplicates.limit.endswith("%") else int(duplicates.limit)
    there = await hands.waiting(hands.target.fetchval(duplicates.count)) if isinstance(asked, str) else 0
    if rows + before > allowance(asked, there + before):
        raise QuarantineError(
            say(
                "{n} rows of {table} have a key that another row has, too: more than may be set aside ({limit}); "
                "the first: {keys}",
                n=rows,
                table=job.relation,
                limit=duplicates.limit,
                keys=joined("; ", keys),
            ),
            code=6847,
            **place,
        )
