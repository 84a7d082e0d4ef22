"""The last step of a migration: the source is quiet, what changed is refreshed, and all of it is proven.

A cutover is a run like others. What it does to the source stands in the store before it is done, to be undone by that.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pghaul.engine import quiet, scene
from pghaul.engine.runner import Runner
from pghaul.model.errors import NotFoundError, PghaulError, StateError, StoppedError
from pghaul.model.event import Event, EventKind, Listener
from pghaul.model.manifest import Manifest
from pghaul.model.plan import OnExisting, Plan, Verify
from pghaul.model.profile import Endpoint
from pghaul.model.run import Run, RunState, Wish
from pghaul.model.table import Name
from pghaul.model.text import joined, say, saying
from pghaul.postgres.session import Session, connect
from pghaul.store.repository import Store

BLANK = Manifest(tables=(), placements=(), chunks=(), identities=("", ""))

BEGUN = say("cutover begun")
READ_ONLY = saying("the source is read-only for new sessions (undo: pghaul cutover {run} --undo)")
ENDED = saying("other sessions on the source ended: {n}")
CONNECTED = saying("still connected to the source, and able to write: {who}")
QUIET = say("the source is quiet")
MOVES = say("something on the source's server writes, though not to these tables")
WROTE = saying("written to during the cutover: {tables}. Refresh again: pghaul cutover {run}")
VERIFIED = saying("verified, {seconds:.1f} s after the source was quiet. Now point the applications to {target}")
NOT_VERIFIED = saying("not equal: leave the applications where they are. See: pghaul show {run}")
UNDONE = say("the source takes writes again, as before")
NOT_KEPT = saying("a step of the cutover could not be recorded ({step}): {why}")
STRICT = frozenset({"begun", "read_only", "undone"})  # without these nobody could undo what was done to the source


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a person asks for."""

    read_only: bool = False
    end_sessions: bool = False
    quiet_for: float = 2.0  # seconds


def as_cutover(plan: Plan) -> Plan:
    """The same selection: compared, what differs copied again, everything proven by content."""
    options = plan.options.model_copy(update={"on_existing": OnExisting.REFRESH, "verify": Verify.CHECKSUM})
    tables = [s.model_copy(update={"on_existing": None}) for s in plan.tables]
    return plan.model_copy(update={"options": options, "tables": tables})


def words_of(events: Iterable[Event]) -> Words | None:
    """What a recorded run was asked for as a cutover; None where it is none."""
    for event in _steps(events, "begun"):
        return Words(**{k: event.data[k] for k in ("read_only", "end_sessions", "quiet_for")})
    return None


class Cutover:
    """One cutover, from its record in the store to the time it took."""

    def __init__(
        self, store: Store, run: Run, plan: Plan, source: Endpoint, target: Endpoint, words: Words, listener: Listener
    ) -> None:
        self._store = store
        self._run = run
        self._plan = plan
        self._ends = (source, target)
        self._words = words
        self._listener = listener

    def begin(self, stop: Callable[[], bool]) -> Run:
        """A new one."""
        self._store.create_run(self._run, self._plan, BLANK)
        self._tell("begun", BEGUN, **asdict(self._words))
        return self.go_on(None, stop)

    def go_on(self, manifest: Manifest | None, stop: Callable[[], bool], *, trust_ledger: bool = False) -> Run:
        """From the look at the source to the end. `manifest` None: nothing has been planned yet."""
        try:
            began, before, tables = self._quieten(lambda: stop() or self._store.wish(self._run.id) is Wish.STOP)
            ended = self._move(manifest, stop, trust_ledger=trust_ledger)
            return self._judge(ended, began, before, tables)
        except BaseException as exc:
            self._record_failure(exc)
            raise

    def undo(self) -> None:
        """NotFoundError where the source was not made read-only by this run."""
        done = self._open_read_only()
        if done is None:
            raise NotFoundError(
                say("run {run} did not make its source read-only, or has undone it already", run=self._run.id),
                where=self._run.source,
                advice=say("`pghaul show {run}` lists what was done", run=self._run.id),
                code=5240,
            )
        with self._session() as session:
            quiet.set_read_only(session, done.data.get("previous"))
        self._tell("undone", UNDONE)

    # --- the source -----------------------------------------------------------------------------------------------

    def _quieten(self, stop: Callable[[], bool]) -> tuple[datetime, quiet.Look, Sequence[Name]]:
        """When the downtime began, how the source looked then, and the tables that are looked at."""
        with self._session() as session:
            tables, _, _ = scene.selection(session, self._plan)
            if self._words.read_only:
                self._make_read_only(session)
            before, after = quiet.wait_until_quiet(session, tables, seconds=self._words.quiet_for, stop=stop)
        if after.others:
            self._tell("connected", CONNECTED.format(who=joined(", ", [o.said for o in after.others[:5]])))
        if before.next_xid != after.next_xid:
            self._tell("moves", MOVES, wal=[before.wal, after.wal])
        closed = self._open_read_only()
        began = closed.at if closed else before.at
        self._tell("quiet", QUIET, since=began.isoformat(), wal=after.wal)
        return began, before, tables

    def _make_read_only(self, session: Session) -> None:
        if self._open_read_only() is None:  # recorded first: a crash must not leave what nobody can undo
            previous = quiet.read_only_setting(session)
            self._tell("read_only", READ_ONLY.format(run=self._run.id), previous=previous)
        quiet.set_read_only(session, "on")
        if self._words.end_sessions:
            count = quiet.end_other_sessions(session)
            self._tell("ended", ENDED.format(n=count), sessions=count)

    def _open_read_only(self) -> Event | None:
        """That the source was made read-only, unless it was undone since."""
        events = self._store.events(self._run.id)
        done, undone = _steps(events, "read_only"), _steps(events, "undone")
        return done[-1] if len(done) > len(undone) else None

    def _session(self) -> Session:
        options = self._plan.options
        return connect(
            self._ends[0],
            application_name=scene.application_name(self._run.id, 0, "cutover"),
            role="source",
            stall_timeout=options.stall_timeout,
            lock_timeout=options.lock_timeout,
        )

    # --- the run --------------------------------------------------------------------------------------------------

    def _move(self, manifest: Manifest | None, stop: Callable[[], bool], *, trust_ledger: bool) -> Run:
        return Runner(
            run=replace(self._run, state=RunState.RUNNING, error=None, finished=None, pid=os.getpid()),
            plan=self._plan,
            source=self._ends[0],
            target=self._ends[1],
            journal=lambda: self._store,
            listener=self._listener,
            manifest=manifest,
            trust_ledger=trust_ledger,
            stop=stop,
        ).execute()

    def _judge(self, ended: Run, began: datetime, before: quiet.Look, tables: Sequence[Name]) -> Run:
        """Was it quiet all the time? Then it took so long."""
        verified = datetime.now(UTC)
        with self._session() as session:
            after = quiet.look(session, tables)
        wrote = sorted({*quiet.written_between(before, after), *(w.table for w in after.writers if w.table)})
        if wrote:
            shown = ", ".join(str(n) for n in wrote[:5])
            self._tell("written", WROTE.format(tables=shown, run=ended.id), tables=[str(n) for n in wrote])
        if wrote or ended.state is not RunState.DONE:
            ended = replace(ended, state=RunState.DIFFERENT)
            with contextlib.suppress(StateError):
                self._store.save_run(ended)
            self._tell("different", NOT_VERIFIED.format(run=ended.id))
            return ended
        seconds = (verified - began).total_seconds()
        words = VERIFIED.format(seconds=seconds, target=self._ends[1].display)
        self._tell("verified", words, downtime=round(seconds, 3), since=began.isoformat(), until=verified.isoformat())
        return ended

    def _record_failure(self, exc: BaseException) -> None:
        """What failed before the runner had recorded the run would look alive for ever."""
        with contextlib.suppress(StateError):
            self._record_end(exc)

    def _record_end(self, exc: BaseException) -> None:
        found = self._store.run(self._run.id)
        if found.state is RunState.RUNNING:
            stopped = isinstance(exc, (StoppedError, KeyboardInterrupt))
            state = RunState.STOPPED if stopped else RunState.FAILED
            error = exc.said if isinstance(exc, PghaulError) else type(exc).__name__
            self._store.save_run(replace(found, state=state, error=error, finished=datetime.now(UTC)))

    def _tell(self, step: str, message: str, **data: Any) -> None:
        event = Event(kind=EventKind.CUTOVER, run=self._run.id, message=message, data={"step": step} | data)
        try:
            self._store.save_event(event)
        except StateError as exc:
            if step in STRICT:
                raise
            why = NOT_KEPT.format(step=step, why=exc.message)
            self._listener(Event(kind=EventKind.WARNING, run=self._run.id, message=why))
        self._listener(event)


def _steps(events: Iterable[Event], step: str) -> list[Event]:
    return [e for e in events if e.kind is EventKind.CUTOVER and e.data.get("step") == step]
