"""Does a merge plan again and again: a round at each beat, until somebody stops it or it cannot go on.

What may pass (a server that is down, a lock, a full disk) is waited for, longer each time, and told once. What cannot
(a plan, a column, duplicates, a watermark, too many rows set aside) ends the series: a person has to look.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from pghaul.engine.journal import Journal
from pghaul.engine.mirror import BACK as STORE_BACK
from pghaul.engine.steering import ASKED, GOES_ON, HELD
from pghaul.model.errors import (
    NoSpaceError,
    NotFoundError,
    PghaulError,
    StateError,
    StoppedError,
    TableTakenError,
    TransientError,
)
from pghaul.model.event import EMPTY, Event, EventKind, Listener
from pghaul.model.figures import count
from pghaul.model.plan import Plan
from pghaul.model.run import Run, RunState, Wish
from pghaul.model.series import Series
from pghaul.model.text import Text, say, saying
from pghaul.model.wording import became
from pghaul.service.beat import Beat, interval, patience
from pghaul.service.recording import new_run_id
from pghaul.service.round_events import RoundTelling
from pghaul.service.round_journal import RoundJournal
from pghaul.store.repository import Store

NAP = 0.2  # seconds between looks at the wishes while no round is due
SAVE_EVERY = 1.0  # seconds between two writes of the counter of empty rounds
SELDOM = 600.0  # seconds between two words on rounds that take too long: they may do so now and then
TIDY_EVERY = 50  # rounds of the history, between two looks for those that are too old for it
READ_ONLY = "25006"  # after a failover, until the way to the primary is changed
UNKNOWN_HOST = 5101  # a name server that is away; a wrong name would not have got so far

BEGUN = saying("every {every}: series {series}; stop it from anywhere: pghaul stop {series}")
STOPPED = say("the series was stopped; what was in flight is rolled back")
MOVED = saying("round {n}: {rows} rows, {became}, in {seconds:.1f} s; run {run}")
FAILED = saying("round {n} failed, and is tried again in {seconds:.0f} s: {error}")
BACK = saying("a round went well again, after {n} that failed")
LATE = saying(
    "a round took {seconds:.1f} s, longer than its interval of {every}: the next ones begin as soon as one is done"
)
STORE_AWAY = saying("the state store cannot be written, and the series goes on without it: {why}")
STORE_BACK_IN_PART = saying(
    "the state store can be written again; it has lost {n} rounds of those that moved rows meanwhile"
)


class Rounds(Protocol):
    """How one round is done, and what is kept between two of them."""

    def perform(self, run: Run, journal: Journal, listener: Listener, stop: Callable[[], bool]) -> Run:
        """One round from its beginning to its end; raises what ended it."""
        ...

    def rest(self, seconds: float) -> None:
        """Nothing is to be done for so long: what is not worth being held is let go."""
        ...

    def forget(self, runs: list[str]) -> None:
        """These rounds are in the history no more; nor need the target know of them."""
        ...

    def close(self) -> None:
        """The series has ended."""
        ...


class SeriesLoop:
    """One per series and process. `stop` is asked at least five times a second."""

    def __init__(
        self,
        *,
        series: Series,
        plan: Plan,
        store: Store,
        rounds: Rounds,
        listener: Listener,
        stop: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        nap: Callable[[float], None] = time.sleep,
    ) -> None:
        self._series = series
        self._plan = plan
        self._store = store
        self._rounds = rounds
        self._listener = listener
        self._stop = stop
        self._clock = clock
        self._nap = nap
        self._telling = RoundTelling(self._hear, clock)
        self._beat = Beat(series.every, clock)
        self._proven = series.rounds > series.failed_rounds
        self._begun = False  # a round of this process has gone well: the tables were ours
        self._failure: PghaulError | None = None
        self._late_at = -SELDOM
        self._store_told = False
        self._saved_at = -SAVE_EVERY
        self._unsaved: list[RoundJournal] = []
        self._lost = 0  # rounds that no store will tell of
        self._kept = 0

    def execute(self, limit: int | None = None) -> Series:
        """Until somebody stops it, or after `limit` rounds. Raises what ended it, after that is recorded."""
        self._store.series.create(self._series, self._plan)
        begun = BEGUN.format(every=interval(self._series.every), series=self._series.id)
        self._tell(EventKind.RUN_STARTED, begun, every=self._series.every)
        try:
            self._repeat(limit)
        except (StoppedError, KeyboardInterrupt):
            self._end(RunState.STOPPED)
            raise
        except Exception as exc:
            said, code = (exc.said, exc.code) if isinstance(exc, PghaulError) else (str(exc), None)
            self._end(RunState.FAILED, said, code)
            raise
        finally:
            self._rounds.close()
        self._end(RunState.DIFFERENT if self._series.different_rounds else RunState.DONE)
        return self._series

    def _repeat(self, limit: int | None) -> None:
        done = 0
        while limit is None or done < limit:
            self._await_beat()
            self._round()
            done += 1
        if self._failure is not None:
            raise self._failure

    # --- between two rounds ---------------------------------------------------------------------------------------

    def _await_beat(self) -> None:
        """StoppedError when somebody wants it; a pause lasts until it is withdrawn."""
        since: float | None = None
        while True:
            wish = self._wish()
            if self._stop() or wish is Wish.STOP:
                raise StoppedError(STOPPED, code=4061)
            if wish in {Wish.PAUSE, Wish.FREE}:
                if since is None:
                    since = self._clock()
                    self._hold()
            elif since is not None:
                seconds, since = self._clock() - since, None
                self._beat.at_once()
                self._tell(EventKind.RESUMED, GOES_ON.format(seconds=seconds), cause="asked", seconds=round(seconds, 1))
            elif not self._beat.left():
                return
            self._nap(NAP if since is not None else min(NAP, self._beat.left()))

    def _hold(self) -> None:
        self._rounds.rest(float("inf"))
        self._tell(EventKind.PAUSED, HELD.format(why=ASKED.format(run=self._series.id)), cause="asked")

    def _wish(self) -> Wish:
        try:
            return self._store.series.wish(self._series.id)
        except StateError as exc:
            self._say_store_is_away(exc)
            return Wish.NONE

    # --- one round ------------------------------------------------------------------------------------------------

    def _round(self) -> None:
        began, moment = self._clock(), datetime.now(UTC)
        run = Run(
            id=new_run_id(),
            state=RunState.RUNNING,
            source=self._series.source,
            target=self._series.target,
            started=moment,
            series=self._series.id,
        )
        journal = RoundJournal(self._store, self._series.id, self._clock)
        self._telling.begin()
        try:
            ended = self._rounds.perform(run, journal, self._telling, self._stop)
        except PghaulError as exc:
            self._ended_by(exc, run, journal)
        except BaseException:
            self._into_history(journal)
            raise
        else:
            self._went_well(ended, journal, moment, self._clock() - began)
        self._rounds.rest(self._beat.left())
        self._tidy()

    def _went_well(self, run: Run, journal: RoundJournal, moment: datetime, seconds: float) -> None:
        series, failed, self._failure = self._series, self._series.failures, None
        empty = run.state is RunState.DONE and not self._telling.changed
        different = run.state is RunState.DIFFERENT or bool(self._telling.figures["rejected"])
        if empty:
            self._out_of_history(journal)
        else:
            self._telling.open()
            self._into_history(journal)
        self._proven = self._begun = True
        self._change(
            rounds=series.rounds + 1,
            empty_rounds=series.empty_rounds + empty,
            different_rounds=series.different_rounds + different,
            rows=series.rows + self._telling.moved,
            last_round=datetime.now(UTC),
            read_at=moment,
            last_run=series.last_run if empty else run.id,
            failures=0,
            marks={**series.marks, **self._telling.marks},
        )
        state = EMPTY if empty else RunState.DIFFERENT.value if different else run.state.value
        facts: dict[str, Any] = {"seconds": round(seconds, 3)} | ({} if empty else self._telling.figures)
        facts |= {"failed_before": failed} if failed else {}
        self._tell_round(run, state, "" if empty else self._words(run, seconds), **facts)
        if failed:
            self._telling.recovered()
            self._tell(EventKind.NOTICE, BACK.format(n=failed), name=series.id)
        self._keep_time(seconds)
        self._save(at_once=not empty or bool(failed))

    def _keep_time(self, seconds: float) -> None:
        if not self._beat.done() and self._clock() - self._late_at >= SELDOM:
            self._late_at = self._clock()
            words = LATE.format(seconds=seconds, every=interval(self._series.every))
            self._tell(EventKind.WARNING, words)

    def _ended_by(self, exc: PghaulError, run: Run, journal: RoundJournal) -> None:
        """Raises it where nothing can be hoped for from the next round."""
        if isinstance(exc, StoppedError):
            if journal.shown or self._telling.changed:
                self._into_history(journal)
            raise exc
        self._into_history(journal)
        series, again = self._series, self._failure is not None and self._failure.number == exc.number
        recorded = run.id if journal.planned else series.last_run
        self._failure = exc
        self._change(
            rounds=series.rounds + 1,
            failed_rounds=series.failed_rounds + 1,
            failures=series.failures + 1,
            last_round=datetime.now(UTC),
            last_run=recorded,
            error=exc.said,
            error_at=datetime.now(UTC),
        )
        passes = self._proven and may_pass(exc) and (self._begun or not isinstance(exc, TableTakenError))
        self._beat.done()
        if passes:
            self._beat.put_off(patience(self._series.failures))
        wait = self._beat.left()
        words = FAILED.format(n=self._series.rounds, seconds=wait, error=exc.said) if passes else exc.said
        facts = {"code": exc.code, "sqlstate": exc.sqlstate, "again": again} | (
            {"wait": round(wait, 1)} if passes else {}
        )
        self._tell_round(run, RunState.FAILED.value, words, **{k: v for k, v in facts.items() if v or k == "wait"})
        self._save(at_once=True)
        if not passes:
            raise exc

    def _words(self, run: Run, seconds: float) -> str:
        figures = self._telling.figures
        rows = count(figures["rows"])
        return MOVED.format(n=self._series.rounds, rows=rows, became=became(figures), seconds=seconds, run=run.id)

    # --- the history ----------------------------------------------------------------------------------------------

    def _into_history(self, journal: RoundJournal) -> None:
        """A store that is away is written to later; the target's ledger has what is done."""
        self._unsaved.append(journal)
        self._keep_unsaved()

    def _keep_unsaved(self) -> None:
        waiting, self._unsaved = self._unsaved, []
        for each in waiting:
            try:
                each.keep()
                self._kept += 1
            except StateError as exc:
                self._unsaved.append(each)
                self._say_store_is_away(exc)
            except NotFoundError as exc:  # another store stands in the place of the one that had its beginning
                self._lost += 1
                self._say_store_is_away(exc)
        self._lost += max(0, len(self._unsaved) - TIDY_EVERY)
        self._unsaved = self._unsaved[-TIDY_EVERY:]

    def _out_of_history(self, journal: RoundJournal) -> None:
        try:
            journal.drop()
        except StateError as exc:
            self._say_store_is_away(exc)

    def _tidy(self) -> None:
        if self._kept < TIDY_EVERY:
            return
        self._kept = 0
        with contextlib.suppress(PghaulError):
            if old := self._store.series.forget_old_rounds(self._series.id):
                self._rounds.forget(old)

    def _change(self, **values: Any) -> None:
        self._series = replace(self._series, **values)

    def _save(self, *, at_once: bool) -> None:
        if not at_once and self._clock() - self._saved_at < SAVE_EVERY:
            return
        self._saved_at = self._clock()
        try:
            self._record()
        except StateError as exc:
            self._say_store_is_away(exc)
        else:
            self._say_store_is_back()

    def _record(self) -> None:
        """In a store that does not know the series, as after a damaged one was set aside, too."""
        try:
            self._store.series.save(self._series)
        except NotFoundError:
            self._store.series.create(self._series, self._plan)

    def _say_store_is_away(self, exc: PghaulError) -> None:
        if not self._store_told:
            self._store_told = True
            self._tell(EventKind.WARNING, STORE_AWAY.format(why=exc.message))

    def _say_store_is_back(self) -> None:
        if not self._store_told:
            return
        self._keep_unsaved()
        if self._unsaved:
            return
        lost, self._lost, self._store_told = self._lost, 0, False
        words = STORE_BACK_IN_PART.format(n=lost) if lost else STORE_BACK
        self._tell(EventKind.NOTICE, words, name=self._series.id)

    def _end(self, state: RunState, error: str | None = None, code: str | None = None) -> None:
        now = datetime.now(UTC)
        self._change(state=state, finished=now, note=None)
        if error:
            self._change(error=error, error_at=now)
        self._save(at_once=True)
        seconds = (now - self._series.started).total_seconds()
        facts: dict[str, Any] = {
            "state": state.value,
            "rows": self._series.rows,
            "bytes": 0,
            "seconds": round(seconds, 3),
        }
        self._tell(EventKind.RUN_FINISHED, error or "", **facts, **({"code": code} if code else {}))

    # --- what is told ---------------------------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        """What a round tells of itself; a pause in its midst is one of the series."""
        if event.kind is EventKind.PAUSED:
            self._change(state=RunState.PAUSED, note=_why(event.message))
            self._save(at_once=True)
        elif event.kind is EventKind.RESUMED:
            self._change(state=RunState.RUNNING, note=None)
            self._save(at_once=True)
        self._listener(event)

    def _tell(self, kind: EventKind, words: str, **data: Any) -> None:
        self._hear(Event(kind=kind, run=self._series.id, message=words, data=data))

    def _tell_round(self, run: Run, state: str, words: str, **data: Any) -> None:
        facts = {"round": self._series.rounds, "state": state, "series": self._series.id, **data}
        self._listener(Event(kind=EventKind.ROUND, run=run.id, message=words, data=facts))


def _why(said: str) -> str:
    """Why it is paused, without that it is."""
    why = said.values.get("why") if isinstance(said, Text) else None
    return why if isinstance(why, str) else said


def may_pass(exc: PghaulError) -> bool:
    """Whether the same round may go well later, without anybody changing the plan."""
    if isinstance(exc, TransientError | NoSpaceError | TableTakenError | StateError):
        return True
    return exc.sqlstate == READ_ONLY or exc.number == UNKNOWN_HOST
