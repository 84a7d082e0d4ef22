"""Rows that were set aside by earlier runs, and of which the source has a later version now: nobody may replay those.

A row that is mended on the source comes with the next increment. The one that waits in quarantine is older than it, and
a replay would put it in the place of the later one. So the merge that brings the later one is done with it, in the same
transaction.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence

from psycopg.sql import SQL, Composable, Identifier, Literal

from pghaul.model.errors import RowError
from pghaul.model.merging import MergeDesign
from pghaul.model.plan import MergeMode
from pghaul.postgres.session import Session

AT_ONCE = 5000  # keys that are compared in one statement
# A version of a history that never came is no older state of anything; and update-only need not have brought the row.
LATER = (MergeMode.UPSERT, MergeMode.FULL_SYNC, MergeMode.INSERT_ONLY)

WAITING = """
SELECT q.id, q.source_key FROM pghaul.quarantine AS q
 WHERE q.relation = %s AND q.run_id <> %s AND q.replayed_at IS NULL AND q.source_key IS NOT NULL AND q.id > %s
 ORDER BY q.id LIMIT %s
"""
# By the text of the keys, as COPY has written it. Values are literals: names may have a percent sign in them.
DONE = SQL(
    "UPDATE pghaul.quarantine SET replayed_by = {run}, replayed_at = pg_catalog.clock_timestamp()"
    " WHERE id IN (SELECT w.id FROM (SELECT {values}) AS w JOIN {staging} AS s ON {same})"
)
ALL_DONE = """
UPDATE pghaul.quarantine SET replayed_by = %s, replayed_at = pg_catalog.clock_timestamp()
 WHERE relation = %s AND run_id <> %s AND replayed_at IS NULL
"""
# Refused once more, in another state: of two that wait, the older one would be the wrong one.
REFUSED_LATER = """
UPDATE pghaul.quarantine AS q SET replayed_by = %s, replayed_at = pg_catalog.clock_timestamp()
 WHERE q.relation = %s AND q.run_id <> %s AND q.replayed_at IS NULL AND EXISTS (
    SELECT 1 FROM pghaul.quarantine AS o WHERE o.run_id = %s AND o.relation = q.relation
       AND o.source_key = q.source_key AND o.row_data <> q.row_data AND pg_catalog.left(o.chunk, 6) = 'stage:')
"""


def settle(session: Session, run: str, design: MergeDesign) -> int:
    """Call it after the merge, before its staging table is dropped; how many rows are done with."""
    if design.mode not in LATER:
        return 0
    relation = str(design.target)
    if design.mode is MergeMode.FULL_SYNC and not design.scope:  # what has not come now, the source has no more
        return session.execute(ALL_DONE, (run, relation, run))
    refused = session.execute(REFUSED_LATER, (run, relation, run, run))
    return refused + sum(
        _settle(session, run, design, ids, keys) for ids, keys in _portions(session, run, relation, design.key)
    )


def _portions(
    session: Session, run: str, relation: str, key: Sequence[str]
) -> Iterator[tuple[list[int], list[list[str]]]]:
    last = 0
    while found := session.rows(WAITING, (relation, run, last, AT_ONCE)):
        last = found[-1][0]
        known = [(number, json.loads(said)) for number, said in found]
        fit = [(number, [said[k] for k in key]) for number, said in known if set(said) == set(key)]
        if fit:
            yield [number for number, _ in fit], [[values[i] for _, values in fit] for i in range(len(key))]


def _settle(session: Session, run: str, design: MergeDesign, ids: list[int], keys: list[list[str]]) -> int:
    """A key may have letters that this database cannot hold, and be set aside for it: then it has not come either."""
    with contextlib.suppress(RowError), session.transaction():
        return _settle_at_once(session, run, design, ids, keys)
    middle = len(ids) // 2
    halves = ((ids[:middle], [k[:middle] for k in keys]), (ids[middle:], [k[middle:] for k in keys]))
    return sum(_settle(session, run, design, *half) for half in halves) if middle else 0


def _settle_at_once(session: Session, run: str, design: MergeDesign, ids: list[int], keys: list[list[str]]) -> int:
    return session.execute(
        DONE.format(
            run=Literal(run),
            values=_values(ids, keys),
            staging=Identifier(design.staging.schema, design.staging.name),
            same=_same(design.key),
        )
    )


def _values(ids: list[int], keys: list[list[str]]) -> Composable:
    """Arrays side by side, as servers before 9.4 have them, too."""
    words: list[Composable] = [SQL("pg_catalog.unnest({}::int8[]) AS id").format(Literal(ids))]
    for number, values in enumerate(keys):
        words.append(SQL("pg_catalog.unnest({}::text[]) AS {}").format(Literal(values), Identifier(f"k{number}")))
    return SQL(", ").join(words)


def _same(key: Sequence[str]) -> Composable:
    pairs = [
        SQL("pg_catalog.format('%s', s.{}) = w.{}").format(Identifier(k), Identifier(f"k{i}"))
        for i, k in enumerate(key)
    ]
    return SQL(" AND ").join(pairs)
