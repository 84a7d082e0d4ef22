"""How a run went over time, and what earlier runs of the same tables took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Totals of a run at one moment. `in_flight` are bytes of chunks that are not committed yet."""

    at: datetime
    rows: int
    bytes: int
    in_flight: int
    chunks_done: int

    @property
    def moved(self) -> int:
        """Everything that has passed: committed or not."""
        return self.bytes + self.in_flight


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRate:
    """What one table took when it was last moved whole: COPY's bytes, and worker seconds summed over its chunks."""

    rows: int
    bytes: int
    seconds: float
