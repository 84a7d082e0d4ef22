"""The one facade: what a face may ask. It resolves endpoints and passwords, keeps the store, and starts the runner."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from pghaul.model.checklist import Checklist, Phase
from pghaul.model.chunk import ChunkState
from pghaul.model.errors import NotFoundError, TerminalError, UsageError
from pghaul.model.event import Event, EventKind, Listener
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.inspection import Inspection
from pghaul.model.manifest import Manifest
from pghaul.model.plan import OnExisting, Period, Plan
from pghaul.model.preview import Preview
from pghaul.model.probe import ForeignProbe, Probe
from pghaul.model.profile import Endpoint
from pghaul.model.run import FINISHED, LedgerRun, Run, RunState, Wish
from pghaul.model.sample import PastRate, Sample
from pghaul.model.table import Name, Unsupported
from pghaul.model.text import say, saying
from pghaul.service import wishes
from pghaul.service.allowing import allowing
from pghaul.service.outlets import telling
from pghaul.service.reaching import Reach
from pghaul.service.recording import checked, kept, new_run_id, still_told, tell_lost, telling_also
from pghaul.service.settings import load
from pghaul.service.wishes import Woken

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pghaul.engine.pool import WorkerPool
    from pghaul.engine.verify import Request
    from pghaul.model.verification import Verification
    from pghaul.service.cutover import Cutover
    from pghaul.service.profiles import Profiles
    from pghaul.service.quarantine import Quarantine
    from pghaul.service.report.contents import Report
    from pghaul.service.series import SeriesDesk
    from pghaul.service.target_desk import TargetDesk
    from pghaul.store.repository import ChunkRecord, Store

Ask = Callable[[Name, int | None], OnExisting]
Stop = Callable[[], bool]

UNFINISHED = (RunState.STOPPED, RunState.FAILED, RunState.PAUSED)
ANY_PERIOD = Period()
NOTHING: Mapping[str, Any] = {}
LISTED = say("`pghaul runs` lists what there is")
GO_ON = saying("go on with it: pghaul resume {run}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """Everything that is known of a run."""

    run: Run
    plan: Plan
    chunks: Sequence[ChunkRecord]
    events: Sequence[Event]
    not_carried: Sequence[Unsupported]
    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What has happened in a run since the last look: its state, its last word on progress, and events since then."""

    run: Run
    progress: dict[str, Any]
    events: Sequence[Event]
    last: int  # to be given to the next look


def _never() -> bool:
    return False


class MigrationService:
    """One per process and state store; methods raise PghaulError only."""

    def __init__(self, state_url: str | None = None, *, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._settings = load(environ, state_url=state_url)
        self._reach = Reach(environ, self._settings, lambda: self.profiles)

    @cached_property
    def _store(self) -> Store:
        from pghaul.store.repository import Store  # noqa: PLC0415 -- 0.15 s, which a run spends while pg_dump works

        return Store(self._settings.state_url)

    @cached_property
    def profiles(self) -> Profiles:
        """Databases under names; wherever a URL is taken, so is such a name."""
        from pghaul.service.profiles import Profiles  # noqa: PLC0415 -- a run of two URLs needs none

        return Profiles(lambda: self._store, self._environ)

    @cached_property
    def series(self) -> SeriesDesk:
        """Merge plans that are done again and again."""
        from pghaul.service.series import SeriesDesk  # noqa: PLC0415 -- a run by itself needs none

        return SeriesDesk(lambda: self._store, partial(self._reach.postgresql, word="--interval"))

    @cached_property
    def target(self) -> TargetDesk:
        """What is done to a target beside a run."""
        from pghaul.service.target_desk import TargetDesk  # noqa: PLC0415 -- a run needs none

        return TargetDesk(self._reach.target)

    # --- plan ---

    def plan(
        self,
        plan: Plan,
        *,
        sample: bool = False,
        source_password: str | None = None,
        target_password: str | None = None,
    ) -> Preview:
        """What a run of this plan would do, and what stands against it; changes nothing anywhere.

        `sample`: of a source that is not PostgreSQL, some rows of each table go all the way, and are rolled back.
        """
        from pghaul.engine.survey import forecast, survey  # noqa: PLC0415 -- drivers

        source, target = self._reach.both(plan.source, plan.target, source_password, target_password)
        if isinstance(source, ForeignEndpoint):
            from pghaul.engine.arrow.survey import survey as look  # noqa: PLC0415 -- sqlglot

            found = look(new_run_id(), plan, source, target, sample=sample)
        else:
            found = survey(new_run_id(), plan, source, target)
        past = self._store.past_rates(source.display, target.display, [t.table for t in found.tables])
        return replace(found, forecast=forecast(found, past))

    def check(
        self, plan: Plan, phase: Phase, *, source_password: str | None = None, target_password: str | None = None
    ) -> Checklist:
        """The runbook's questions of a phase, answered as far as a program can; changes nothing anywhere."""
        from pghaul.engine import checklist  # noqa: PLC0415 -- drivers

        source, target = self._reach.both(plan.source, plan.target, source_password, target_password)
        preview = self.plan(plan, source_password=source_password, target_password=target_password)
        pair = (source.display, target.display)
        past = checklist.Past(
            runs=[r for r in self._store.runs(limit=1000) if (r.source, r.target) == pair],
            proofs=[v for v in self._store.verifications() if (v.source, v.target) == pair],
        )
        with checklist.looking(plan, source, target, preview, past) as scene:
            items = checklist.ask(checklist.QUESTIONS[phase], scene)
        return Checklist(phase=phase, source=source.display, target=target.display, items=tuple(items))

    # --- move ---

    def run(
        self,
        plan: Plan,
        *,
        listener: Listener,
        run_id: str | None = None,
        fresh: bool = False,
        source_password: str | None = None,
        target_password: str | None = None,
        ask: Ask | None = None,
        stop: Stop = _never,
    ) -> Run:
        """Execute a plan from its beginning; returns when it is done, raises what ended it.

        `fresh`: nobody can have used the run_id before, as new_run_id() has just made it.
        """
        fresh = fresh or not run_id
        run_id = checked(run_id) if run_id else new_run_id()
        source, target = self._reach.both(plan.source, plan.target, source_password, target_password)
        recorded = kept(plan, source, target)
        run = _new_run(run_id, source, target)
        if not fresh:  # the store would be opened for it, which takes longer than to connect
            self._refuse_known(run_id)
        keep = self._save_event
        with telling(listener, run, plan, keep) as told, _spawning(plan, source) as pool:
            from pghaul.engine.runner import Runner  # noqa: PLC0415 -- drivers: looking at runs needs none

            return Runner(
                run=run,
                plan=recorded,
                source=source,
                target=target,
                journal=lambda: self._store,
                listener=told,
                ask=ask,
                stop=stop,
                pool=pool,
                ahead=_import_store,
            ).execute()

    def resume(
        self,
        run_id: str | None = None,
        *,
        listener: Listener,
        source: str | None = None,
        target: str | None = None,
        source_password: str | None = None,
        target_password: str | None = None,
        trust_ledger: bool = False,
        max_rejects: int | str | None = None,
        outlets: Mapping[str, Any] = NOTHING,
        stop: Stop = _never,
    ) -> Run:
        """Go on with a run, by default the latest unfinished one. A finished run is returned as it is.

        `source`, `target` say how to reach the same databases now; that they are the same, the runner checks.
        `outlets` are keys of Options over those of the run's plan: whom to tell, this time; so is `max_rejects`.
        """
        run, plan, manifest = self._store.load_run(run_id or self.latest_unfinished().id)
        plan = allowing(plan, max_rejects)
        if run.state in FINISHED:
            return run
        self._refuse_running(run)
        urls = (source or plan.source, target or plan.target)
        reached = self._reach.both(*urls, source_password, target_password)
        self._store.set_wish(run.id, Wish.NONE)
        to_tell, lost = still_told(telling_also(plan, outlets))
        with telling(listener, run, to_tell, self._save_event) as told:
            tell_lost(told, run.id, lost)
            ours, theirs = reached
            if not isinstance(ours, ForeignEndpoint) and (cutover := self._as_cutover(run, plan, ours, theirs, told)):
                planned = manifest if any(manifest.identities) else None
                return cutover.go_on(planned, stop, trust_ledger=trust_ledger)
            return self._go_on(run, plan, manifest, reached, told, stop, trust_ledger=trust_ledger)

    def _go_on(
        self,
        run: Run,
        plan: Plan,
        manifest: Manifest,
        reached: tuple[Endpoint | ForeignEndpoint, Endpoint],
        listener: Listener,
        stop: Stop,
        *,
        trust_ledger: bool,
    ) -> Run:
        with _spawning(plan, reached[0]) as pool:
            from pghaul.engine.runner import Runner  # noqa: PLC0415

            return Runner(
                run=replace(run, state=RunState.RUNNING, error=None, finished=None, pid=os.getpid()),
                plan=plan,
                source=reached[0],
                target=reached[1],
                journal=lambda: self._store,
                listener=listener,
                manifest=manifest,
                trust_ledger=trust_ledger,
                stop=stop,
                pool=pool,
                ahead=_import_store,
            ).execute()

    def cutover(
        self,
        plan: Plan,
        *,
        listener: Listener,
        run_id: str | None = None,
        read_only: bool = False,
        end_sessions: bool = False,
        quiet_for: float = 2.0,
        outlets: Mapping[str, Any] = NOTHING,
        source_password: str | None = None,
        target_password: str | None = None,
        stop: Stop = _never,
    ) -> Run:
        """The last refresh: the source is quiet (else NotQuietError), what differs is copied, and all of it is proven.

        The run tells by its CUTOVER events what was done, and how long nobody could write.
        """
        from pghaul.service.cutover import Cutover, Words, as_cutover  # noqa: PLC0415 -- drivers

        run_id = checked(run_id) if run_id else new_run_id()
        source, target = self._reach.postgresql(
            plan.source, plan.target, source_password, target_password, word="cutover"
        )
        recorded = kept(plan, source, target)
        self._refuse_known(run_id)
        words = Words(read_only=read_only, end_sessions=end_sessions, quiet_for=quiet_for)
        run = _new_run(run_id, source, target)
        with telling(listener, run, telling_also(plan, outlets), self._save_event) as told:
            return Cutover(self._store, run, as_cutover(recorded), source, target, words, told).begin(stop)

    def undo_cutover(self, run_id: str, *, source: str | None = None, source_password: str | None = None) -> None:
        """Let the source take writes again; NotFoundError where this run did not forbid them."""
        run, plan, _ = self._store.load_run(run_id)
        ends = self._reach.postgresql(source or plan.source, plan.target, source_password, None, word="cutover")
        cutover = self._as_cutover(run, plan, *ends, lambda _event: None)
        if cutover is None:
            raise NotFoundError(say("run {run} is no cutover", run=run_id), advice=LISTED, code=5235)
        cutover.undo()

    def _as_cutover(
        self, run: Run, plan: Plan, source: Endpoint, target: Endpoint, listener: Listener
    ) -> Cutover | None:
        events = [e for e in self._store.events(run.id) if e.kind is EventKind.CUTOVER]
        if not events:
            return None
        from pghaul.service.cutover import Cutover, words_of  # noqa: PLC0415

        words = words_of(events)
        return Cutover(self._store, run, plan, source, target, words, listener) if words else None

    def request_stop(self, run_id: str) -> Run:
        """Ask a running run, in whatever process, to stop between two buffers."""
        return wishes.stop(self._store, run_id)

    def request_pause(self, run_id: str, *, let_go: bool = False) -> Run:
        """Ask a running run to pause; with `let_go`, to give back its snapshot, locks and connections at once."""
        return wishes.pause(self._store, run_id, let_go=let_go)

    def wake(self, run_id: str) -> Woken | None:
        """Withdraw the pause of a run whose process lives; None where there is none to withdraw.

        A run that is paused by itself (for its hours, or a server under load) is returned too, and goes on by itself.
        """
        return wishes.wake(self._store, run_id)

    # --- prove ---

    def verify(
        self,
        what: str | Plan,
        request: Request,
        *,
        listener: Listener,
        source: str | None = None,
        target: str | None = None,
        source_password: str | None = None,
        target_password: str | None = None,
        stop: Stop = _never,
    ) -> Verification:
        """Compare what a run (by its id) has moved, or what a plan selects, on both sides, and keep the outcome.

        `source`, `target` say how a run's databases are reached now.
        """
        from pghaul.service.verifying import compare, refuse_queries  # noqa: PLC0415 -- drivers

        run: tuple[str, Manifest] | None = None
        if isinstance(what, str):
            _, plan, manifest = self._store.load_run(what)
            run = what, manifest
        else:
            plan = what
        refuse_queries(plan)
        ends = self._reach.both(source or plan.source, target or plan.target, source_password, target_password)
        return compare(lambda: self._store, new_run_id(), run, plan, ends, request, listener, stop)

    def merges(self, what: str | Plan) -> bool:
        """Does a run (by its id), or a plan, merge?"""
        plan = self._store.load_run(what)[1] if isinstance(what, str) else what
        return plan.merges

    def verifications(self, run_id: str | None = None) -> list[Verification]:
        """Those of a run, or all of them; the latest first."""
        return self._store.verifications(run_id)

    # --- look ---

    def look(self, run_id: str, last: int = 0) -> Look:
        """How a run is doing now, in whatever process, and what has happened since the event numbered `last`."""
        run, progress = self._store.run(run_id), self._store.progress(run_id)
        events, newest = self._store.events_after(run_id, last)
        return Look(run=run, progress=progress, events=events, last=newest)

    def past_rates(self, source: str, target: str, tables: Iterable[Name]) -> dict[Name, PastRate]:
        """What these tables took when they were last moved whole between these databases (URLs as in Run)."""
        return self._store.past_rates(source, target, tables)

    def inspect(
        self,
        url: str,
        *,
        patterns: Sequence[str] = (),
        exclude: Sequence[str] = (),
        period: Period = ANY_PERIOD,
        password: str | None = None,
    ) -> Inspection:
        """What is in a database, by its catalogues alone. NotFoundError for a pattern that matches nothing."""
        from pghaul.postgres.session import connect  # noqa: PLC0415
        from pghaul.sources.inspection import inspect  # noqa: PLC0415

        endpoint = self._reach.source(url, password)
        if isinstance(endpoint, ForeignEndpoint):
            from pghaul.engine.arrow.inspection import inspect as look  # noqa: PLC0415

            return look(endpoint, patterns, exclude)
        with connect(endpoint, application_name="pghaul/inspect", role="source") as session:
            return inspect(session, patterns, exclude, period)

    def inspect_target(self, url: str) -> Inspection:
        """As inspect(), of a database that rows are to go to; UsageError where it is none."""
        self._reach.refuse_foreign(url)
        return self.inspect(url)

    def probe(self, url: str, *, password: str | None = None) -> Probe | ForeignProbe:
        """What stands at the end of a URL or profile, and what is wrong with it; SecretError, UsageError."""
        endpoint = self._reach.source(url, password)
        if isinstance(endpoint, ForeignEndpoint):
            from pghaul.engine.arrow.probe import probe as look  # noqa: PLC0415 -- drivers

            return look(endpoint)
        from pghaul.postgres.probe import probe  # noqa: PLC0415

        return probe(endpoint)

    def is_foreign(self, url: str) -> bool:
        """Whether a URL or profile leads to another database than PostgreSQL. NotFoundError."""
        return self._reach.foreign(url) is not None

    def runs(self, limit: int = 20) -> list[Run]:
        """The latest first."""
        return self._store.runs(limit)

    def ledger_runs(self, url: str, limit: int = 20, *, password: str | None = None) -> list[LedgerRun]:
        """The runs that a target knows of, the latest first; NotFoundError where it has no ledger."""
        from pghaul.postgres.session import connect  # noqa: PLC0415
        from pghaul.target import ledger_runs  # noqa: PLC0415

        endpoint = self._reach.target(url, password)
        with connect(endpoint, application_name="pghaul/runs", role="target") as session:
            return ledger_runs.runs(session, limit)

    def quarantine(self, target: str | None, run_id: str | None = None, *, password: str | None = None) -> Quarantine:
        """The rows set aside on a target (URL or profile), or by one run; UsageError where neither is named."""
        from pghaul.service.quarantine import Quarantine  # noqa: PLC0415 -- drivers

        if target is None and run_id is None:
            raise UsageError(say("nothing says whose rows"), advice=say("name the target, or --run RUN"), code=1096)
        url = target or self._store.load_run(str(run_id))[1].target
        return Quarantine(self._reach.target(url, password), run_id)

    def status(self, run_id: str | None = None) -> Run:
        """The given or the latest run; NotFoundError when there is none."""
        if run_id:
            return self._store.run(run_id)
        if found := self._store.runs(limit=1):
            return found[0]
        raise NotFoundError(
            say("there is no run yet"), advice=say("start one: pghaul run --help, or pghaul demo"), code=5233
        )

    def chunk_counts(self, run_id: str) -> dict[ChunkState, int]:
        """How many chunks are in which state."""
        return self._store.chunk_counts(run_id)

    def latest_unfinished(self) -> Run:
        """The latest run that stopped, failed or died. A round is not resumed by itself: its series goes on."""
        for run in self._store.runs(limit=1000):
            if run.state in UNFINISHED and not run.series:
                return run
        raise NotFoundError(say("there is no unfinished run"), advice=LISTED, code=5234)

    def show(self, run_id: str) -> RunReport:
        """Everything about a run."""
        run, plan, manifest = self._store.load_run(run_id)
        return RunReport(
            run=run,
            plan=plan,
            chunks=self._store.chunks(run_id),
            events=self._store.events(run_id),
            not_carried=manifest.not_carried,
            samples=self._store.samples(run_id),
        )

    def report(self, identifier: str) -> Report:
        """Everything about a run or a verification, put together for who has to answer for it."""
        from pghaul.service.report.gather import gather  # noqa: PLC0415 -- TOML

        return gather(self._store, identifier)

    # --- within ---

    def _save_event(self, event: Event) -> None:
        self._store.save_event(event)

    def _refuse_known(self, run_id: str) -> None:
        try:
            self._store.run(run_id)
        except NotFoundError:
            return
        raise UsageError(say("there is a run {run} already", run=run_id), advice=GO_ON.format(run=run_id), code=1030)

    def _refuse_running(self, run: Run) -> None:
        if self._store.lives_elsewhere(run.id):
            raise TerminalError(
                say("run {run} still runs, in process {pid}", run=run.id, pid=str(run.pid)),
                advice=say(
                    "stop it first: pghaul stop {run}; if it hangs, end process {pid}", run=run.id, pid=str(run.pid)
                ),
                code=5032,
            )


def _import_store() -> None:
    """Not opened: where nothing is to be recorded, no store is made."""
    from pghaul.store import repository  # noqa: F401, PLC0415


@contextmanager
def _spawning(plan: Plan, source: Endpoint | ForeignEndpoint) -> Iterator[WorkerPool | None]:
    """Processes that start and import while we import too, connect and plan. Few merges need any."""
    from pghaul.engine.pool import WorkerPool, lane  # noqa: PLC0415

    if plan.merges:
        yield None
        return
    size = plan.options.workers
    pool = WorkerPool(size, duty=lane(source.engine)) if isinstance(source, ForeignEndpoint) else WorkerPool(size)
    try:
        pool.warm_up()
        yield pool
    finally:
        pool.close(0.0)


def _new_run(run_id: str, source: Endpoint | ForeignEndpoint, target: Endpoint) -> Run:
    return Run(
        id=run_id,
        state=RunState.RUNNING,
        source=source.display,
        target=target.display,
        started=datetime.now(UTC),
        pid=os.getpid(),
    )
