"""A journal over another one, whose writes may come later: the same for all of them, whoever decides when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from pghaul.engine.journal import Journal
from pghaul.model.chunk import ChunkState
from pghaul.model.event import Event
from pghaul.model.manifest import Manifest
from pghaul.model.plan import Plan
from pghaul.model.receipt import Receipt
from pghaul.model.run import Run, Wish
from pghaul.model.table import Name

Write: TypeAlias = Callable[[], None]


class Deferred(ABC):
    """What of `Journal` every such journal does alike."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @abstractmethod
    def _write(self, write: Write) -> None:
        """Now, or later, in the order in which they came."""

    # --- at once --------------------------------------------------------------------------------------------------

    def load_run(self, run_id: str) -> tuple[Run, Plan, Manifest]:
        """As recorded."""
        return self._journal.load_run(run_id)

    def set_wish(self, run_id: str, wish: Wish) -> None:
        """As any process would."""
        self._journal.set_wish(run_id, wish)

    def wait_at_most(self, seconds: float) -> None:
        """For another process that holds the store."""
        self._journal.wait_at_most(seconds)

    # --- perhaps later --------------------------------------------------------------------------------------------

    def save_facts(self, run_id: str, attempt: dict[str, Any], servers: dict[str, Any]) -> None:
        """Kept until it is written."""
        self._write(partial(self._journal.save_facts, run_id, attempt, servers))

    def save_chunk(
        self,
        run_id: str,
        table: Name,
        key: str,
        state: ChunkState,
        *,
        receipt: Receipt | None = None,
        error: str | None = None,
        attempts: int = 0,
    ) -> None:
        """Kept until it is written."""
        save = self._journal.save_chunk
        self._write(partial(save, run_id, table, key, state, receipt=receipt, error=error, attempts=attempts))

    def save_done(self, run_id: str, receipts: Sequence[Receipt]) -> None:
        """Kept until it is written."""
        self._write(partial(self._journal.save_done, run_id, receipts))

    def save_event(self, event: Event) -> None:
        """Kept until it is written."""
        self._write(partial(self._journal.save_event, event))
