"""The proof for a chunk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from pghaul.model.table import Name

# What may become of a row that was read, by the names of the fields; `deleted` is beside them.
BECAME = ("inserted", "updated", "unchanged", "ignored", "rejected")


class Proof(Enum):
    COUNT = "count"  # the command tags of both sides agree
    STREAM = "stream"  # the same bytes in the same order (blake2b)
    ROWS = "rows"  # the same sum of row hashes, whatever the order


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """`source_hash` and `target_hash` are hex; empty where the proof is by count.

    `rows` are those that were read. Where conflicts are updated or ignored, not all of them are new on the target.
    """

    table: Name
    chunk: str
    rows: int
    bytes: int
    seconds: float
    epoch: int
    proof: Proof = Proof.COUNT
    source_hash: str = ""
    target_hash: str = ""
    updated: int = 0  # were there, and differed
    unchanged: int = 0  # were there, and were the same
    ignored: int = 0  # conflicted with a row that was there, which stays as it is; or came to nothing in a merge
    rejected: int = 0  # the target could not hold them: they are in quarantine
    deleted: int = 0  # rows of the target that the source no longer has: none of those that were read

    @property
    def inserted(self) -> int:
        """Rows that the target did not have."""
        return self.rows - self.updated - self.unchanged - self.ignored - self.rejected

    @property
    def agrees(self) -> bool:
        """False only where both sides were hashed and differ."""
        return not (self.source_hash and self.target_hash) or self.source_hash == self.target_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """What several receipts come to. `seconds` are those of the workers, added up."""

    rows: int
    bytes: int
    seconds: float
    inserted: int
    updated: int
    unchanged: int
    ignored: int
    rejected: int
    deleted: int
    proofs: frozenset[Proof]
    agrees: bool

    @property
    def met(self) -> bool:
        """Some of the rows were there before, or rows were deleted."""
        return self.inserted != self.rows or self.deleted > 0

    @property
    def became(self) -> Mapping[str, int]:
        """What has become of the rows, by the name of the field; and of the target's own."""
        return {k: getattr(self, k) for k in (*BECAME, "deleted")}


def sum_of(receipts: Iterable[Receipt]) -> Sum:
    """Of none: zeros, and nothing that differs."""
    parts = tuple(receipts)
    return Sum(
        rows=sum(r.rows for r in parts),
        bytes=sum(r.bytes for r in parts),
        seconds=sum(r.seconds for r in parts),
        inserted=sum(r.inserted for r in parts),
        updated=sum(r.updated for r in parts),
        unchanged=sum(r.unchanged for r in parts),
        ignored=sum(r.ignored for r in parts),
        rejected=sum(r.rejected for r in parts),
        deleted=sum(r.deleted for r in parts),
        proofs=frozenset(r.proof for r in parts if r.rows or not r.rejected),
        agrees=all(r.agrees for r in parts),
    )


def by_table(receipts: Iterable[Receipt]) -> list[tuple[Name, list[Receipt]]]:
    """Those of each table; the one with the most rows first."""
    found: dict[Name, list[Receipt]] = {}
    for receipt in receipts:
        found.setdefault(receipt.table, []).append(receipt)
    return sorted(found.items(), key=lambda item: -sum(r.rows for r in item[1]))
