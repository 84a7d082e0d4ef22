"""The little that the engine knows of the store, so that it never sees SQLAlchemy.

The ledger on the target decides what is done; a journal is its mirror, for people and for the next attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from pghaul.model.chunk import ChunkState
from pghaul.model.event import Event
from pghaul.model.manifest import Manifest
from pghaul.model.plan import Plan
from pghaul.model.receipt import Receipt
from pghaul.model.run import Run, Wish
from pghaul.model.sample import PastRate, Sample
from pghaul.model.table import Name


class Journal(Protocol):
    """Every method is one short transaction. Only the runner writes; any process may set a wish."""

    def create_run(self, run: Run, plan: Plan, manifest: Manifest) -> None:
        """Record a run together with its chunks: a run without them could never be resumed."""
        ...

    def load_run(self, run_id: str) -> tuple[Run, Plan, Manifest]:
        """What `create_run` recorded, with the run as last saved. NotFoundError when there is none."""
        ...

    def save_run(self, run: Run) -> None:
        """State, epoch, totals, error and pid; called at intervals, not per chunk."""
        ...

    def save_progress(self, run: Run, progress: dict[str, Any], sample: Sample | None) -> None:
        """As `save_run`, for who watches from another process; at most once a second."""
        ...

    def save_facts(self, run_id: str, attempt: dict[str, Any], servers: dict[str, Any]) -> None:
        """Who makes this attempt, where and with what, is kept beside the earlier ones; `servers` as they are now."""
        ...

    def past_rates(self, source: str, target: str, tables: Iterable[Name]) -> dict[Name, PastRate]:
        """What these tables took when they were last moved between these databases."""
        ...

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
        """The chunk's state; a receipt stays until another replaces it or the chunk is pending again."""
        ...

    def save_done(self, run_id: str, receipts: Sequence[Receipt]) -> None:
        """Chunks that were committed together."""
        ...

    def chunk_states(self, run_id: str) -> dict[tuple[Name, str], ChunkState]:
        """All chunks of a run, in one query; read once per attempt."""
        ...

    def save_event(self, event: Event) -> None:
        """Keep what `show` tells later; PROGRESS events are dropped."""
        ...

    def wish(self, run_id: str) -> Wish:
        """What somebody asked of the run since it began or was resumed."""
        ...

    def wait_at_most(self, seconds: float) -> None:
        """For another process that holds the store; then StateError."""
        ...

    def set_wish(self, run_id: str, wish: Wish) -> None:
        """Ask something of a run, from any process. NotFoundError when there is none."""
        ...
