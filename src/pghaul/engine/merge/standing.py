"""What stays open between the rounds of a run that is repeated: both sessions of the leader, and the workers' threads.

The target's session keeps the lead and the claims of the last round until the next one has its own: so nobody else can
take the tables between two rounds. After any error all of it is given back: the next round begins with nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from pghaul.engine import scene
from pghaul.engine.local_pool import LocalPool
from pghaul.engine.merge.choice import Asked
from pghaul.engine.merge.idle import Idle
from pghaul.model.errors import PghaulError
from pghaul.model.plan import Plan
from pghaul.model.profile import Endpoint
from pghaul.postgres.session import Session
from pghaul.target import ledger

GRACE = 3.0  # seconds that workers get to let go of what is in flight
NAME = "SELECT pg_catalog.set_config('application_name', %s, false)"


class Standing:
    """Lends what is open to one round after the other; not for several threads."""

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()
        self._sessions: tuple[Session, Session] | None = None
        self._pool: LocalPool | None = None
        self._leading: str | None = None  # the last round that opened the ledger
        self.asked: tuple[Asked, ...] | None = None  # as the last round has described it
        self.idle = Idle()

    def sessions(self, run: str, epoch: int, plan: Plan, source: Endpoint, target: Endpoint) -> tuple[Session, Session]:
        """Of the source and of the target, under the name of this run."""
        if self._sessions is not None and epoch == 1:
            with contextlib.suppress(PghaulError):
                return self._renamed(self._sessions, run, epoch)
        self.drop()
        self._sessions = scene.connected(self._held, run, epoch, plan, source, target, reconnect=True)
        return self._sessions

    def _renamed(self, sessions: tuple[Session, Session], run: str, epoch: int) -> tuple[Session, Session]:
        for session in sessions:
            session.value(NAME, (scene.application_name(run, epoch, "leader"),))
        return sessions

    def leads(self, run: str) -> None:
        """The ledger is open for this round: the lead of the one before can be let go."""
        if self._leading is not None and self._leading != run and self._sessions is not None:
            ledger.release_lead(self._sessions[1], self._leading)
        self._leading = run

    def has_nothing_to_do(self) -> bool:
        """By a glance at the source, while the lead on the target is still ours. Raises what keeps us from it."""
        if self._sessions is None or self._leading is None:
            return False
        here, there = self._sessions
        return self.idle.at_a_glance(here) and ledger.has_lead(there, self._leading)

    def forget(self, runs: Sequence[str]) -> None:
        """The target need not know of these rounds any more; while nothing is open, it may as well."""
        if self._sessions is not None:
            ledger.forget_runs(self._sessions[1], runs)

    def pool(self, size: int) -> LocalPool:
        """Threads, with the connections that they have."""
        if self._pool is None or self._pool.size < size:
            self.let_pool_go()
            self._pool = LocalPool(size)
        return self._pool

    def let_pool_go(self) -> None:
        """Close the workers' connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close(GRACE)

    def drop(self) -> None:
        """Give everything back: an error may have left it in any state."""
        self.let_pool_go()
        self.idle.forget()
        self._sessions, self._leading, self.asked = None, None, None
        self._held.close()
        self._held = contextlib.ExitStack()

    def close(self) -> None:
        """The last round has ended: its tables are free."""
        if self._sessions is not None and self._leading is not None:
            with contextlib.suppress(PghaulError):
                ledger.release_claims(self._sessions[1], self._leading)
        self.drop()
