"""Staged rows by themselves, before the target is looked at: are they all there, and who is the latest of each key?"""

from __future__ import annotations

import contextlib

from psycopg.sql import SQL, Composable, Identifier

from pghaul.model.errors import MergeError, RowError, TerminalError
from pghaul.model.merging import MergeDesign
from pghaul.model.text import listed, say
from pghaul.postgres.session import Session
from pghaul.target.merge_target import quoted
from pghaul.target.merge_terms import COMMA, OR, s

LARGE = 20_000  # rows from which statistics and memory pay

KEYS = SQL(
    "SELECT coalesce(pg_catalog.sum(g.n), 0)::pg_catalog.int8,"
    " coalesce(pg_catalog.sum(CASE WHEN g.empty THEN g.n ELSE 0 END), 0)::pg_catalog.int8,"
    " coalesce(pg_catalog.sum(g.n - 1), 0)::pg_catalog.int8"
    " FROM (SELECT pg_catalog.count(*) AS n, {empty} AS empty FROM {staging} AS s GROUP BY {key}) AS g"
)
TWICE = SQL(
    "SELECT ROW({key})::pg_catalog.text FROM {staging} AS s GROUP BY {key} HAVING pg_catalog.count(*) > 1"
    ' ORDER BY pg_catalog.count(*) DESC, ROW({key})::pg_catalog.text COLLATE pg_catalog."C" LIMIT 3'
)
RANKED = SQL(
    "SELECT s.ctid AS place, ROW({key})::pg_catalog.text AS key, ROW({all})::pg_catalog.text AS image,"
    " pg_catalog.rank() OVER w AS rank, pg_catalog.row_number() OVER w AS number,"
    " pg_catalog.lag(ROW({all})::pg_catalog.text) OVER"
    " (PARTITION BY {key} ORDER BY {latest} DESC NULLS LAST,"
    ' ROW({all})::pg_catalog.text COLLATE pg_catalog."C") AS other'
    " FROM {staging} AS s WINDOW w AS (PARTITION BY {key} ORDER BY {latest} DESC NULLS LAST)"
)
# Of several latest rows all have to be the same.
TIES = SQL(
    "SELECT r.key FROM ({ranked}) AS r WHERE r.rank = 1 AND r.other <> r.image"
    ' ORDER BY r.key COLLATE pg_catalog."C" LIMIT 3'
)
SUPERSEDE = SQL(
    "DELETE FROM {staging} WHERE ctid = ANY (ARRAY(SELECT r.place FROM ({ranked}) AS r WHERE r.number > 1))"
)
UNIQUE = SQL("CREATE UNIQUE INDEX ON {staging} ({key})")
HELD = SQL("SELECT pg_catalog.count(*), pg_catalog.count(CASE WHEN {empty} THEN 1 END), 0 FROM {staging} AS s")
ANALYZE = SQL("ANALYZE {staging} ({columns})")


class StagedRows:
    """Of one merge, inside the caller's transaction. `rows` is how many the staging table was given."""

    def __init__(self, session: Session, design: MergeDesign, rows: int) -> None:
        self._session = session
        self._design = design
        self._rows = rows

    @property
    def are_many(self) -> bool:
        """So that statistics, memory and indexes pay."""
        return self._rows >= LARGE

    def analyze(self) -> None:
        """Joins ask about keys only."""
        columns = COMMA.join([Identifier(k) for k in self._design.key])
        self._session.execute(ANALYZE.format(staging=self._staging, columns=columns))

    def check(self) -> int:
        """Of several rows with one key only the latest stays: how many were removed. Raises MergeError."""
        rows, empty, doubled = self._session.rows(self._keys_sql(unique=self._are_unique()))[0]
        if rows != self._rows:
            raise MergeError(
                say(
                    "{staged} rows were staged for {table}, and {rows} are there",
                    staged=self._rows,
                    table=str(self._design.target),
                    rows=rows,
                ),
                where=self._session.server.database,
                advice=say("a crash of the server empties staging tables: `pghaul resume` stages them again"),
                code=6603,
            )
        if empty and not self._design.nulls_match:
            raise MergeError(
                say(
                    "{n} rows for {table} have a NULL in their key ({key})",
                    n=empty,
                    table=str(self._design.target),
                    key=listed(self._design.key),
                ),
                where=self._session.server.database,
                advice=say('leave them out with `where`, or let NULL match NULL: null_keys = "match"'),
                code=6604,
            )
        return self._resolve(doubled) if doubled else 0

    def _are_unique(self) -> bool:
        """Of many rows an index tells sooner than counting them by key; where it says no, they are counted."""
        if not self.are_many or self._design.nulls_match:
            return False
        with contextlib.suppress(RowError, TerminalError), self._session.transaction():
            self._session.execute(
                UNIQUE.format(staging=self._staging, key=COMMA.join([Identifier(k) for k in self._design.key]))
            )
            return True
        return False

    def _resolve(self, doubled: int) -> int:
        if self._design.latest_by is None:
            keys = keys_in_words(self._session, TWICE.format(staging=self._staging, key=self._key))
            raise MergeError(
                say(
                    "{n} rows for {table} have a key that another one has, too: {keys}",
                    n=doubled,
                    table=str(self._design.target),
                    keys=keys,
                ),
                where=self._session.server.database,
                advice=say("say which column tells the latest: latest_by, or choose another key"),
                code=6605,
            )
        if keys := keys_in_words(self._session, TIES.format(ranked=self._ranked)):
            raise MergeError(
                say(
                    "of the rows for {table} with one key, several are the latest by {column}, and they differ: {keys}",
                    table=str(self._design.target),
                    column=self._design.latest_by,
                    keys=keys,
                ),
                where=self._session.server.database,
                advice=say("choose a latest_by that tells them apart"),
                code=6606,
            )
        return self._session.execute(SUPERSEDE.format(staging=self._staging, ranked=self._ranked))

    def _keys_sql(self, *, unique: bool) -> Composable:
        """All rows, those with a NULL in their key, and those that share one with another; `unique`: none do."""
        empty = OR.join([s(k) + SQL(" IS NULL") for k in self._design.key])
        if unique:
            return HELD.format(staging=self._staging, empty=empty)
        return KEYS.format(staging=self._staging, key=self._key, empty=empty)

    @property
    def _ranked(self) -> Composable:
        return RANKED.format(
            staging=self._staging,
            key=self._key,
            all=COMMA.join([s(c) for c in self._design.columns]),
            latest=s(self._design.latest_by or ""),
        )

    @property
    def _key(self) -> Composable:
        return COMMA.join([s(k) for k in self._design.key])

    @property
    def _staging(self) -> Composable:
        return quoted(self._design.staging)


def keys_in_words(session: Session, statement: Composable) -> str:
    """The first keys that a statement finds; empty where it finds none."""
    return ", ".join(key for (key,) in session.rows(statement))
