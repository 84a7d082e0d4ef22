"""A round of a series by the engine: a run of the merge recipe over sessions and threads that stay open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pghaul.engine.journal import Journal
from pghaul.model.errors import PghaulError
from pghaul.model.event import Listener
from pghaul.model.plan import Plan
from pghaul.model.profile import Endpoint
from pghaul.model.run import Run, RunState

WORTH_HOLDING = 120.0  # seconds; what rests for longer is made anew, before some firewall forgets it


class EngineRounds:
    """Implements `Rounds`."""

    def __init__(self, plan: Plan, source: Endpoint, target: Endpoint) -> None:
        from pghaul.engine.merge.standing import Standing  # noqa: PLC0415 -- drivers

        self._plan = plan
        self._source = source
        self._target = target
        self._standing = Standing()

    def perform(self, run: Run, journal: Journal, listener: Listener, stop: Callable[[], bool]) -> Run:
        """One round from its beginning to its end; raises what ended it."""
        from pghaul.engine.runner import Runner  # noqa: PLC0415

        if self._has_nothing_to_do():
            return replace(run, state=RunState.DONE)
        try:
            ended = Runner(
                run=run,
                plan=self._plan,
                source=self._source,
                target=self._target,
                journal=lambda: journal,
                listener=listener,
                stop=stop,
                standing=self._standing,
            ).execute()
        except BaseException:
            self._standing.drop()
            raise
        self._plan = self._plan.once_read()
        return ended

    def _has_nothing_to_do(self) -> bool:
        """Whatever goes wrong with it, the round will tell."""
        try:
            return self._standing.has_nothing_to_do()
        except PghaulError:
            self._standing.drop()
            return False

    def rest(self, seconds: float) -> None:
        """The leader's sessions stay: they keep others away from the tables."""
        if seconds == float("inf"):
            self._standing.drop()
        elif seconds > WORTH_HOLDING:
            self._standing.let_pool_go()

    def forget(self, runs: list[str]) -> None:
        """Nor need the target's ledger know of them."""
        self._standing.forget(runs)

    def close(self) -> None:
        """The series has ended."""
        self._standing.close()
