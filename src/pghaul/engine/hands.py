"""What a worker works with: its two connections, and a way of waiting for them that cannot hang."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from pghaul.engine.control import Control
from pghaul.engine.watch import Probe, Pulse, watched

if TYPE_CHECKING:
    from pghaul.engine.arrow.reader import Reader

T = TypeVar("T")


@dataclass(kw_only=True)
class Hands:
    """What a job works with."""

    source: asyncpg.Connection | None
    target: asyncpg.Connection
    control: Control
    stall_timeout: float
    source_probe: Probe
    target_probe: Probe
    reader: Reader | None = None  # of a source that is not PostgreSQL
    parallel_index: bool = False  # the target can build an index with several processes

    async def waiting(self, work: Coroutine[Any, Any, T], pulse: Pulse | None = None) -> T:
        """Await one statement or relay under watch."""
        return await watched(
            work,
            pulse=pulse or Pulse(),
            probes=(self.source_probe, self.target_probe),
            control=self.control,
            stall_timeout=self.stall_timeout,
        )
