"""Which way the joins of a merge go, where the planner would take the slower one.

Where a tenth of a large table changes, the planner hashes the staged rows, reads the whole target and writes to it in
an order that none of its indexes profits from. Staged rows in the order of their keys, each looked up by the index,
cost half: neighbours find their pages in memory, and what is written lies in the target's own order. The planner cannot
know, as it takes every lookup for the only one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from psycopg.sql import SQL, Literal

from pghaul.model.merging import MergeDesign
from pghaul.postgres.session import Session
from pghaul.target.merge_target import Target, quoted

# Up to which share of the target's rows lookups are faster. Measured with a tenth of 10 million rows, CPU of the
# server for the whole merge: 11.1 s as the planner has it, 4.6 s by lookups; 15.5 s where the rows of neighbouring keys
# lie far from each other, so that every lookup needs a page of its own.
NEAR, FAR = 1 / 4, 1 / 50
IN_ORDER = 0.9  # correlation of the key's first column with the place of its rows

ESTIMATE = SQL("EXPLAIN (FORMAT JSON) SELECT 1 FROM {table}")
CORRELATION = SQL(
    "SELECT pg_catalog.max(pg_catalog.abs(s.correlation)) FROM pg_catalog.pg_stats AS s"
    " WHERE s.schemaname = {schema} AND s.tablename = {name} AND s.attname = {column}"
)
STEER = SQL(
    "SELECT pg_catalog.set_config('enable_hashjoin', {on}, true), pg_catalog.set_config('enable_mergejoin', {on}, true)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """`rows`: about how many the target has. `near`: neighbours by their key lie near each other on disk."""

    rows: float = 0
    near: bool = False

    def looks_up(self, staged: int) -> bool:
        """Whether so many staged rows are looked up one by one, in the order of their keys."""
        return staged <= self.rows * (NEAR if self.near else FAR)

    def looks_up_changes(self, changes: int) -> bool:
        """The same for changes: they are in the order of the target's rows anyway."""
        return 0 < changes <= self.rows * NEAR


def find(session: Session, target: Target, design: MergeDesign) -> Way:
    """Ask the server what it knows. Without an index over the key there is only one way."""
    if design.nulls_match or target.inherited or not target.unique(design.key, immediate=False):
        return Way()
    plan = session.value(ESTIMATE.format(table=quoted(target.name)))
    index = next(k for k in target.keys if frozenset(k.columns) == frozenset(design.key))
    correlation = session.value(
        CORRELATION.format(
            schema=Literal(target.name.schema), name=Literal(target.name.name), column=Literal(index.columns[0])
        )
    )
    return Way(rows=plan[0]["Plan"]["Plan Rows"], near=(correlation or 0) >= IN_ORDER)


@contextlib.contextmanager
def lookups(session: Session, wanted: bool) -> Iterator[None]:
    """No other joins, until the end of the block; inside the caller's transaction."""
    if not wanted:
        yield
        return
    session.rows(STEER.format(on=Literal("off")))
    yield
    session.rows(STEER.format(on=Literal("on")))
