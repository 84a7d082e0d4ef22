"""The journal as a run sees it: what it cannot write now it writes later, for the target's ledger is the truth.

Strict is only what a resume cannot do without: the record of a new run, with its plan and its chunks, which is written
before anything changes on the target. Everything after that can be found in the ledger again, so a store that is
locked, full or damaged does not end a run; it is said once, tried again now and then, and at the end for longer.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from pghaul.engine.deferred import Deferred, Write
from pghaul.engine.journal import Journal
from pghaul.model.chunk import ChunkState
from pghaul.model.errors import NotFoundError, StateError
from pghaul.model.manifest import Manifest
from pghaul.model.plan import Plan
from pghaul.model.run import Run, Wish
from pghaul.model.sample import PastRate, Sample
from pghaul.model.table import Name
from pghaul.model.text import Text, say, saying

HURRY = 1.0  # seconds that a write waits while the run goes on: the workers wait with it
CALM = 10.0  # … and at its end
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between two tries
TRIES_AT_THE_END = 3  # the first may set a damaged store aside, the second meet a record that no store takes
MOST_LATE = 50_000  # writes that are kept; of a run that has more to record, the oldest are lost

LOST = saying(
    "the state store cannot be written, and the run goes on without it: {why}. The target's ledger has what is done; "
    "pause, stop and watch do not reach this run from elsewhere meanwhile"
)
BACK = say("the state store can be written again, and has all that happened meanwhile")
BACK_IN_PART = saying("the state store can be written again; {n} records of what happened meanwhile are lost")
NEVER = saying(
    "the end of this run could not be recorded in the state store: {why}. `pghaul runs` shows it as it was last "
    "recorded; what is done stands in the target's ledger"
)


class Mirror(Deferred):
    """Implements `Journal` over another one. `tell` hears what a person should know."""

    def __init__(self, journal: Journal, tell: Callable[[Text], None]) -> None:
        super().__init__(journal)
        self._tell = tell
        self._late: deque[Write] = deque(maxlen=MOST_LATE)
        self._dropped = 0
        self._latest: Write | None = None  # the run's own row: only the last word counts
        self._recorded: tuple[Run, Plan, Manifest] | None = None
        self._why: StateError | NotFoundError | None = None  # None: all is well
        self._tries = 0
        self._next = 0.0
        self._said = False
        self._wish = Wish.NONE
        self._deaf_until = 0.0
        self._refused: Write | None = None
        self._settling = False

    # --- strict -------------------------------------------------------------------------------------------------------

    def create_run(self, run: Run, plan: Plan, manifest: Manifest) -> None:
        """StateError: then nothing has changed on the target, and nothing is going to."""
        self._journal.create_run(run, plan, manifest)
        self.remember(run, plan, manifest)

    def remember(self, run: Run, plan: Plan, manifest: Manifest) -> None:
        """What is to be recorded again where the store is replaced while the run goes on."""
        self._recorded = (run, plan, manifest)
        self._journal.wait_at_most(HURRY)

    # --- what may come later ------------------------------------------------------------------------------------------

    def save_run(self, run: Run) -> None:
        """The last word counts."""
        self._write_latest(run, partial(self._journal.save_run, run))

    def save_progress(self, run: Run, progress: dict[str, Any], sample: Sample | None) -> None:
        """The last word counts; samples of a time when nothing could be written are lost."""
        self._write_latest(run, partial(self._journal.save_progress, run, progress, sample))

    # --- what can be done without -------------------------------------------------------------------------------------

    def past_rates(self, source: str, target: str, tables: Iterable[Name]) -> dict[Name, PastRate]:
        """None where nobody can tell."""
        try:
            return self._journal.past_rates(source, target, tables)
        except StateError as exc:
            self._failed(exc)
            return {}

    def chunk_states(self, run_id: str) -> dict[tuple[Name, str], ChunkState]:
        """None where nobody can tell: then all that the ledger says is recorded anew."""
        try:
            return self._journal.chunk_states(run_id)
        except StateError as exc:
            self._failed(exc)
            return {}

    def wish(self, run_id: str) -> Wish:
        """The last that could be read. A store that cannot be written may well be read."""
        if time.monotonic() >= self._deaf_until:
            try:
                self._wish = self._journal.wish(run_id)
            except StateError as exc:
                self._failed(exc)
                self._deaf_until = self._next
        return self._wish

    # --- the end ------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """The run has ended: the last try, with more patience."""
        self._journal.wait_at_most(CALM)
        if self._why is None:
            return
        self._settling = True
        for _ in range(TRIES_AT_THE_END):
            self._next = 0.0
            self._try_again()
            if self._why is None:
                return
        self._tell(NEVER.format(why=self._why.message))

    # --- within -------------------------------------------------------------------------------------------------------

    def _write_latest(self, run: Run, write: Write) -> None:
        if self._recorded is not None:
            self._recorded = (run, *self._recorded[1:])
        if self._why is None and self._done(write):
            return
        self._latest = write
        self._try_again()

    def _write(self, write: Write) -> None:
        if self._why is None and self._done(write):
            return
        self._dropped += len(self._late) == MOST_LATE
        self._late.append(write)
        self._try_again()

    def _done(self, write: Write) -> bool:
        try:
            write()
        except (StateError, NotFoundError) as exc:  # no such run: somebody has put another store in its place
            self._failed(exc)
            return False
        return True

    def _failed(self, exc: StateError | NotFoundError) -> None:
        """Told at the second failure: another program that is at it for a moment is not worth a word."""
        self._why = exc
        self._tries += 1
        self._next = time.monotonic() + min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._tries - 1))
        if self._tries > 1 and not self._said and not self._settling:
            self._said = True
            self._tell(LOST.format(why=exc.message))

    def _try_again(self) -> None:
        if time.monotonic() < self._next:
            return
        try:
            self._record_again()
            while self._late:
                self._write_first()
            if self._latest is not None:
                self._latest()
        except (StateError, NotFoundError) as exc:
            self._failed(exc)
            return
        self._latest, self._why, self._tries = None, None, 0
        if self._said:
            self._said = False
            self._tell(BACK_IN_PART.format(n=self._dropped) if self._dropped else BACK)
            self._dropped = 0

    def _write_first(self) -> None:
        """A store that takes the run and not this, twice, will never take it: better lose one record than all."""
        write = self._late[0]
        try:
            write()
        except (StateError, NotFoundError):
            if self._refused is not write:
                self._refused = write
                raise
            self._dropped += 1
        self._late.popleft()

    def _record_again(self) -> None:
        """In a store that does not know the run, as after a damaged one was set aside."""
        if self._recorded is None:
            return
        run = self._recorded[0]
        try:
            self._journal.save_run(run)
        except NotFoundError:
            self._journal.create_run(*self._recorded)
