"""A chunk: the one unit of work, retry, checkpoint, verification and rollback."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pghaul.model.table import Name

WHOLE = "leaf"  # the key of a chunk that is all of a relation


class ChunkKind(Enum):
    LEAF = "leaf"  # the whole heap of one relation (COPY t, which never descends to children)
    INCREMENT = "increment"  # what is new or changed of one table or query: staged, then merged in one transaction
    RANGE = "range"  # a range of an integer key, of a source that is not PostgreSQL
    CTID = "ctid"  # a range of heap pages of a big table; valid within one snapshot only


class ChunkState(Enum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"  # its marker is committed on the target
    FAILED = "failed"
    SKIPPED = "skipped"  # on_existing = skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """`table` is the target's: what is filled. Its placement says from where.

    `first_page` inclusive, `end_page` exclusive; end_page None reads to the end of the heap as it will be.
    """

    table: Name
    kind: ChunkKind
    first_page: int = 0
    end_page: int | None = None
    column: str = ""  # the key of a RANGE, which goes from `low` to below `high`; None is open
    low: int | None = None
    high: int | None = None
    bytes: int = 0  # estimate, for order and ETA
    rows: int | None = None  # estimate

    def __post_init__(self) -> None:
        """A range that holds nothing is a mistake of the planner."""
        if self.end_page is not None and self.end_page <= self.first_page:
            raise ValueError(f"an empty page range: {self.first_page}..{self.end_page}")

    @property
    def key(self) -> str:
        """Stable over resumes; unique within its table."""
        if self.kind is ChunkKind.LEAF:
            return WHOLE
        if self.kind is ChunkKind.INCREMENT:
            return "increment"
        if self.kind is ChunkKind.RANGE:
            low, high = ("" if v is None else str(v) for v in (self.low, self.high))
            return f"range:{self.column}:{low}-{high}"
        end = "" if self.end_page is None else str(self.end_page)
        return f"ctid:{self.first_page}-{end}"
