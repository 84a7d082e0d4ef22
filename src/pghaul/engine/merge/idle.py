"""Whether there is anything to do for a round at all: the rows that the last one has read are still the same.

An increment begins at its mark, itself included, so each reading finds rows that are merged already. Where a round has
found all of them unchanged, the next one compares a digest of the same rows, which the source makes by its index, and
writes nothing to the target. Sound because a reading of an unchanged mark is the same query: whatever is new would be
among its rows. A full-sync is never skipped, for it is about what only the target has; nor is xmin,
whose query moves on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from psycopg import sql

from pghaul.model.merging import Reading, WatermarkKind
from pghaul.model.plan import MergeMode
from pghaul.model.table import Name
from pghaul.postgres.session import Session

MOST = 20_000  # rows that are worth a digest: of more, a round by itself costs little more
LOOK_EVERY = 60.0  # seconds between two whole looks at both sides: somebody may have emptied the target meanwhile
DIGEST = sql.SQL("""
SELECT pg_catalog.count(*)::text, pg_catalog.md5(pg_catalog.string_agg(s.h, '' ORDER BY s.h COLLATE pg_catalog."C"))
FROM (SELECT pg_catalog.md5({row}::text) AS h FROM (
{query}
) AS {row} LIMIT {most}) AS s
""")
ROW = "pghaul row"  # the alias of whole rows, which no column is called


class Idle:
    """What is known of the last round; not for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[Name, tuple[str, str]] = {}  # by target, the query and its digest
        self._looked = 0.0

    def forget(self) -> None:
        """Rows were moved, or something went wrong."""
        self._seen = {}

    def remember(self, source: Session, readings: Mapping[Name, Reading]) -> None:
        """These readings have just been merged and changed nothing; still in their snapshot."""
        self._seen = {}
        digests: dict[Name, tuple[str, str]] = {}
        for name, reading in readings.items():
            digest = _digest(source, reading.query) if _is_fit(reading) else None
            if digest is None:
                return
            digests[name] = (reading.query, digest)
        self._seen, self._looked = digests, self._clock()

    def still_holds(self, source: Session, readings: Mapping[Name, Reading]) -> bool:
        """The same would be read, and come to the same. Asked in the snapshot of a new round."""
        known = {n: (r.query, _digest(source, r.query)) for n, r in readings.items() if n in self._seen}
        same = bool(self._seen) and known == self._seen and len(known) == len(readings)
        if same:
            self._looked = self._clock()
        return same

    def at_a_glance(self, source: Session) -> bool:
        """As still_holds(), without a look at anything else; False where it is time for one."""
        if not self._seen or self._clock() - self._looked >= LOOK_EVERY:
            return False
        return all(_digest(source, query) == digest for query, digest in self._seen.values())


def _is_fit(reading: Reading) -> bool:
    mode = reading.merge.mode if reading.merge else MergeMode.FULL_SYNC
    return mode is not MergeMode.FULL_SYNC and reading.kind is not WatermarkKind.XMIN


def _digest(source: Session, query: str) -> str | None:
    """None of more rows than are worth it."""
    statement = DIGEST.format(row=sql.Identifier(ROW), query=sql.SQL(query), most=sql.Literal(MOST + 1))
    count, digest = source.rows(statement)[0]
    return None if int(count) > MOST else f"{count} {digest}"
