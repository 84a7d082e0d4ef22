"""A round of a series by the engine: an ordinary run of the merge recipe, without what only a long one needs."""

from __future__ import annotations

from collections.abc import Callable

from pghaul.engine.journal import Journal
from pghaul.model.event import Listener
from pghaul.model.plan import Plan
from pghaul.model.profile import Endpoint
from pghaul.model.run import Run


class EngineRounds:
    """Implements `Rounds`."""

    def __init__(self, plan: Plan, source: Endpoint, target: Endpoint) -> None:
        self._plan = plan
        self._source = source
        self._target = target

    def perform(self, run: Run, journal: Journal, listener: Listener, stop: Callable[[], bool]) -> Run:
        """One round from its beginning to its end; raises what ended it."""
        from pghaul.engine.runner import Runner  # noqa: PLC0415 -- drivers

        return Runner(
            run=run,
            plan=self._plan,
            source=self._source,
            target=self._target,
            journal=lambda: journal,
            listener=listener,
            stop=stop,
        ).execute()

    def rest(self, seconds: float) -> None:
        """Nothing is held yet."""

    def forget(self, runs: list[str]) -> None:
        """These rounds are in the history no more."""

    def close(self) -> None:
        """Nothing is held yet."""
