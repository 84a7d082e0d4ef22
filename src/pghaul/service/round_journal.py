"""The journal of a round: held back until there is something to tell, for an empty round leaves nothing in the history.

A run has to be recorded before it changes the target, so that it can be resumed. A round need not be: the next one
reads from the marks on the target whatever this one did not bring to its end, and its series is recorded.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from pghaul.engine.deferred import Deferred, Write
from pghaul.model.chunk import ChunkState
from pghaul.model.errors import StateError
from pghaul.model.manifest import Manifest
from pghaul.model.plan import Plan
from pghaul.model.run import Run, Wish
from pghaul.model.sample import PastRate, Sample
from pghaul.model.table import Name
from pghaul.store.repository import Store

LONG = 2.0  # seconds after which a round is shown while it goes on: somebody may want to watch it


class RoundJournal(Deferred):
    """Implements `Journal` for one round of a series, whose wishes are the round's. Over `Store`."""

    def __init__(self, store: Store, series_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(store)
        self._store = store
        self._series = series_id
        self._clock = clock
        self._since = clock()
        self._held: list[Write] = []
        self._latest: Write | None = None  # the run's own row: only the last word counts
        self.planned: str | None = None  # the run's id, once there is something to record
        self._shown = False

    # --- what becomes of it --------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Into the history. StateError: what could not be written is held, for the next time."""
        if self.planned is None:
            return
        self._shown = True
        while self._held:
            self._held[0]()
            del self._held[0]
        if self._latest is not None:
            self._latest()
            self._latest = None

    def drop(self) -> None:
        """Nothing of it is to be seen."""
        self._held.clear()
        self._latest = None
        if self._shown and self.planned is not None:
            self._store.series.forget_round(self.planned)

    @property
    def shown(self) -> bool:
        """It is in the history already."""
        return self._shown

    # --- the engine's Journal ------------------------------------------------------------------------------------

    def create_run(self, run: Run, plan: Plan, manifest: Manifest) -> None:
        """Held, unless the round is shown."""
        self.planned = run.id
        self._write(partial(self._store.create_run, run, plan, manifest))

    def save_run(self, run: Run) -> None:
        """The last word counts."""
        self._write_latest(partial(self._store.save_run, run))

    def save_progress(self, run: Run, progress: dict[str, Any], sample: Sample | None) -> None:
        """The last word counts."""
        self._write_latest(partial(self._store.save_progress, run, progress, sample))

    def past_rates(self, source: str, target: str, tables: Iterable[Name]) -> dict[Name, PastRate]:  # noqa: ARG002
        """An increment takes as long as it has rows: nobody can tell."""
        return {}

    def chunk_states(self, run_id: str) -> dict[tuple[Name, str], ChunkState]:
        """Of what is held, none."""
        return self._store.chunk_states(run_id) if self._shown else {}

    def wish(self, run_id: str) -> Wish:  # noqa: ARG002
        """What somebody asked of the series."""
        return self._store.series.wish(self._series)

    # --- within --------------------------------------------------------------------------------------------------

    def _write(self, write: Write) -> None:
        if self._shown and not self._held:
            write()
            return
        self._held.append(write)
        self._show_if_long()

    def _write_latest(self, write: Write) -> None:
        if self._shown and not self._held:
            write()
            return
        self._latest = write
        self._show_if_long()

    def _show_if_long(self) -> None:
        """Where the store cannot be written now, all of it stays held."""
        if self._shown or self._clock() - self._since >= LONG:
            with contextlib.suppress(StateError):
                self.keep()
