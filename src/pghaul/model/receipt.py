"""The proof for a chunk."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pghaul.model.table import Name


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
    ignored: int = 0  # conflicted with a row that was there, which stays as it is

    @property
    def inserted(self) -> int:
        """Rows that the target did not have."""
        return self.rows - self.updated - self.unchanged - self.ignored

    @property
    def agrees(self) -> bool:
        """False only where both sides were hashed and differ."""
        return not (self.source_hash and self.target_hash) or self.source_hash == self.target_hash
