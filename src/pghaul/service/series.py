"""Series as a face may ask for them: begin one, go on with it, look at it, and ask something of it from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pghaul.model.errors import TerminalError, UsageError
from pghaul.model.event import Listener
from pghaul.model.plan import Plan, Recipe
from pghaul.model.profile import Endpoint
from pghaul.model.run import Run, RunState, Wish
from pghaul.model.series import Series
from pghaul.model.text import say, saying
from pghaul.model.wording import worded
from pghaul.service.engine_rounds import EngineRounds
from pghaul.service.outlets import telling
from pghaul.service.recording import checked, kept, new_run_id, still_told, tell_lost, telling_also
from pghaul.service.rounds import Rounds, SeriesLoop
from pghaul.store.repository import Store

NOTHING: Mapping[str, Any] = {}
GO_ON = saying("go on with it: pghaul resume {run}")

Ends = tuple[Endpoint, Endpoint]


@dataclass(frozen=True, slots=True, kw_only=True)
class Awake:
    """A series whose process lives. `asked`: its pause was a wish, which is withdrawn now."""

    series: Series
    asked: bool


class SeriesDesk:
    """Part of `MigrationService`; methods raise PghaulError only. `ends` resolves two URLs with their passwords."""

    def __init__(
        self,
        store: Callable[[], Store],
        ends: Callable[[str, str, str | None, str | None], Ends],
        rounds: Callable[[Plan, Endpoint, Endpoint], Rounds] = EngineRounds,
    ) -> None:
        self._store = store
        self._ends = ends
        self._rounds = rounds

    # --- move -----------------------------------------------------------------------------------------------------

    def run(
        self,
        plan: Plan,
        every: float,
        *,
        listener: Listener,
        series_id: str | None = None,
        fresh: bool = False,
        limit: int | None = None,
        source_password: str | None = None,
        target_password: str | None = None,
        stop: Callable[[], bool],
    ) -> Series:
        """Do a merge plan every so many seconds; returns after `limit` rounds, raises what ended it before.

        `fresh`: nobody can have used the series_id before.
        """
        check_merges(plan)
        source, target = self._ends(plan.source, plan.target, source_password, target_password)
        series = Series(
            id=checked(series_id) if series_id else new_run_id(),
            state=RunState.RUNNING,
            source=source.display,
            target=target.display,
            every=every,
            started=datetime.now(UTC),
            pid=os.getpid(),
        )
        if series_id and not fresh:
            self._refuse_known(series_id)
        return self._repeat(series, plan, kept(plan, source, target), (source, target), listener, limit, stop)

    def resume(
        self,
        series_id: str,
        *,
        listener: Listener,
        source: str | None = None,
        target: str | None = None,
        source_password: str | None = None,
        target_password: str | None = None,
        outlets: Mapping[str, Any] = NOTHING,
        every: float | None = None,
        limit: int | None = None,
        stop: Callable[[], bool],
    ) -> Series:
        """Begin again with a series whose process is gone; its counters go on."""
        series, plan = self._store().series.load(series_id)
        if self._store().series.lives_here(series_id, elsewhere=True):
            raise TerminalError(
                say("series {series} still runs, in process {pid}", series=series_id, pid=str(series.pid)),
                advice=say(
                    "stop it first: pghaul stop {run}; if it hangs, end process {pid}",
                    run=series_id,
                    pid=str(series.pid),
                ),
                code=5034,
            )
        ends = self._ends(source or plan.source, target or plan.target, source_password, target_password)
        series = replace(
            series, state=RunState.RUNNING, finished=None, pid=os.getpid(), note=None, every=every or series.every
        )
        to_tell, lost = still_told(telling_also(plan, outlets))
        return self._repeat(series, to_tell, plan, ends, listener, limit, stop, lost)

    def _repeat(
        self,
        series: Series,
        plan: Plan,
        recorded: Plan,
        ends: Ends,
        listener: Listener,
        limit: int | None,
        stop: Callable[[], bool],
        lost: list[str] | None = None,
    ) -> Series:
        with telling(listener, _as_run(series), plan) as told:
            tell_lost(told, series.id, lost or [])
            loop = SeriesLoop(
                series=series,
                plan=recorded,
                store=self._store(),
                rounds=self._rounds(recorded, *ends),
                listener=told,
                stop=stop,
            )
            return loop.execute(limit)

    # --- look -----------------------------------------------------------------------------------------------------

    def find(self, identifier: str) -> Series | None:
        """The series of this id, or the one that the run of this id is a round of."""
        store = self._store()
        if found := store.series.find(identifier):
            return found
        named = store.series_of(identifier)
        return store.series.find(named) if named else None

    def all(self, limit: int = 20) -> list[Series]:
        """The latest first."""
        return self._store().series.all(limit)

    def rounds(self, series_id: str, limit: int = 20) -> list[Run]:
        """Its latest rounds that moved rows, or failed."""
        return self._store().runs(limit, series=series_id)

    def latest(self, run: Run | None) -> Series | None:
        """The latest series, unless `run` (the latest there is) is later, and none of its rounds."""
        found = self.all(100)
        if not found:
            return None
        series = max(found, key=_when)
        return series if run is None or run.series or _when(series) >= run.started else None

    # --- ask ------------------------------------------------------------------------------------------------------

    def request_stop(self, series: Series) -> None:
        """Ask a series, in whatever process, to stop: between two buffers of a round, or at once."""
        if not series.lives:
            raise TerminalError(
                say("series {series} does not run: it is {state}", series=series.id, state=worded(series.state)),
                advice=GO_ON.format(run=series.id),
                code=5035,
            )
        self._store().series.set_wish(series.id, Wish.STOP)

    def request_pause(self, series: Series, *, let_go: bool = False) -> None:
        """Ask a series to pause, in the midst of a round, too."""
        if not series.lives:
            raise TerminalError(
                say("series {series} cannot be paused: it is {state}", series=series.id, state=worded(series.state)),
                advice=GO_ON.format(run=series.id),
                code=5036,
            )
        if self._store().series.wish(series.id) is Wish.STOP:
            raise TerminalError(
                say("series {series} cannot be paused: it is stopping", series=series.id),
                advice=GO_ON.format(run=series.id),
                code=5037,
            )
        self._store().series.set_wish(series.id, Wish.FREE if let_go else Wish.PAUSE)

    def wake(self, series: Series) -> Awake | None:
        """Withdraw the pause of a series whose process lives; None where no process of this machine does."""
        table = self._store().series
        if not series.lives or not table.lives_here(series.id):
            return None
        asked = table.wish(series.id) in {Wish.PAUSE, Wish.FREE}
        if asked:
            table.set_wish(series.id, Wish.NONE)
        return Awake(series=series, asked=asked)

    # --- within ---------------------------------------------------------------------------------------------------

    def _refuse_known(self, series_id: str) -> None:
        if self.find(series_id) is not None:
            words = say("there is a series {series} already", series=series_id)
            raise UsageError(words, advice=GO_ON.format(run=series_id), code=1094)


def check_merges(plan: Plan) -> None:
    """UsageError where a round would be more than an increment: a copy again and again is not what anybody wants."""
    recipes = {s.recipe or plan.options.recipe for s in plan.tables} or {plan.options.recipe}
    if plan.whole:
        recipes.add(plan.options.recipe)
    others = sorted(r.value for r in recipes if r is not Recipe.MERGE)
    if others:
        raise UsageError(
            say("--every repeats merges only; this plan has recipe = {recipes}", recipes=", ".join(others)),
            advice=say("say --recipe merge, with --watermark or --mode full-sync; docs/increments.md shows how"),
            code=1086,
        )


def _when(series: Series) -> datetime:
    return max(series.started, series.last_round or series.started)


def _as_run(series: Series) -> Run:
    """For the outlets: what they tell of is the series."""
    return Run(
        id=series.id,
        state=series.state,
        source=series.source,
        target=series.target,
        started=series.started,
        pid=series.pid,
    )
