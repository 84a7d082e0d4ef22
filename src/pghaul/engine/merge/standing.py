"""What stays open between the rounds of a run that is repeated: both sessions of the leader, and the workers' threads.

After any error all of it is given back: the next round begins with nothing.
"""

from __future__ import annotations

import contextlib

from pghaul.engine import scene
from pghaul.engine.local_pool import LocalPool
from pghaul.model.errors import PghaulError
from pghaul.model.plan import Plan
from pghaul.model.profile import Endpoint
from pghaul.postgres.session import Session

NAME = "SELECT pg_catalog.set_config('application_name', %s, false)"
UNLOCK = "SELECT pg_catalog.pg_advisory_unlock_all()"  # the lead of the round before


class Standing:
    """Lends what is open to one round after the other; not for several threads."""

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()
        self._sessions: tuple[Session, Session] | None = None
        self._pool: LocalPool | None = None

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
        sessions[1].value(UNLOCK)
        return sessions

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
            pool.close(1.0)

    def drop(self) -> None:
        """Give everything back: an error may have left it in any state."""
        self.let_pool_go()
        self._sessions = None
        self._held.close()
        self._held = contextlib.ExitStack()

    close = drop
