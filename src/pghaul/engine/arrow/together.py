"""What was found of the parts of a table, put together: large ones are compared range by range of their key.

So several workers compare one table, and of what differs no more than a range goes into a temporary table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

from pghaul.engine.job import JobResult
from pghaul.model.verification import ColumnVerdict, TableVerdict
from pghaul.target.arrow.facts import Pair


class Together:
    """Of one table, cut into these chunks."""

    def __init__(self, chunks: Sequence[str], limit: int) -> None:
        self._chunks = chunks
        self._limit = limit
        self._verdicts: dict[str, TableVerdict] = {}
        self._columns: tuple[Pair, ...] = ()

    def add(self, chunk: str, result: JobResult) -> TableVerdict | None:
        """One more; the verdict on the table, once nothing is missing."""
        if result.verdict is None or chunk in self._verdicts:
            return None
        self._verdicts[chunk] = result.verdict
        for known, new in zip(self._columns, result.columns, strict=False):
            known[0].add(new[0])
            known[1].add(new[1])
        self._columns = self._columns or result.columns
        return self._judged() if len(self._verdicts) == len(self._chunks) else None

    def _judged(self) -> TableVerdict:
        parts = [self._verdicts[c] for c in self._chunks]
        rows = tuple(r for p in parts for r in p.rows)
        return replace(
            parts[0],
            agrees=_agree([p.agrees for p in parts]),
            why=next((p.why for p in parts if p.why), ""),
            source_rows=sum(p.source_rows for p in parts),
            target_rows=sum(p.target_rows for p in parts),
            source_hash=_hash([p.source_hash for p in parts]),
            target_hash=_hash([p.target_hash for p in parts]),
            missing=sum(p.missing for p in parts),
            extra=sum(p.extra for p in parts),
            different=sum(p.different for p in parts),
            rows=rows[: self._limit],
            complete=all(p.complete for p in parts) and len(rows) <= self._limit,
            seconds=round(sum(p.seconds for p in parts), 3),
            columns=tuple(_column(p) for p in self._columns),
        )


def _agree(parts: Sequence[bool | None]) -> bool | None:
    """None: a part of it could not be compared."""
    return False if False in parts else None if None in parts else True


def _hash(parts: Sequence[str]) -> str:
    """Of the hashes, in the order of the key; none where one has been left out."""
    if len(parts) == 1 or not all(parts):
        return parts[0] if all(parts) else ""
    return blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def _column(pair: Pair) -> ColumnVerdict:
    """Side by side, what a person looks at."""
    ours, theirs = (side.told() for side in pair)
    return ColumnVerdict(
        name=ours.name,
        nulls=(ours.nulls, theirs.nulls),
        least=(ours.least, theirs.least),
        greatest=(ours.greatest, theirs.greatest),
        total=(ours.total, theirs.total),
    )
