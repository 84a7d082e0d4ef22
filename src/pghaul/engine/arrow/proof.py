"""The target's side of a chunk's proof: what it holds now, read back in the transaction that has written it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pghaul.engine.arrow.stage import Stage
    from pghaul.engine.hands import Hands
    from pghaul.engine.job import Field, Job, ReadBack


async def of_target(job: Job, back: ReadBack, fields: Sequence[Field], stage: Stage, hands: Hands) -> str:
    """The hash of the target's rows."""
    raise NotImplementedError
