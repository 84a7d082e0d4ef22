"""One attempt of a merge: everything is staged anew under one snapshot, and merged in one transaction, or not at all.

What a lost connection or a killed process leaves behind is a staging table, which the next attempt drops. Whether a
merge whose answer was lost has been committed, its marker says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pghaul.engine import scene as scenes
from pghaul.engine import statements
from pghaul.engine.attempt import Order, postgresql
from pghaul.engine.compose import Epoch
from pghaul.engine.dispatch import Dispatcher, Hooks, InFlight, Task
from pghaul.engine.job import JobResult
from pghaul.engine.local_pool import LocalPool
from pghaul.engine.merge import looks, scene, stage_table, staging, transaction
from pghaul.engine.merge.beside import Breath, beside
from pghaul.engine.merge.looks import Look
from pghaul.engine.merge.scene import Ground
from pghaul.engine.merge.staging import Staged
from pghaul.engine.merge.transaction import INCREMENT, Merged
from pghaul.engine.pool import Pool, WorkerPool
from pghaul.engine.rejects import Rejects
from pghaul.engine.report import Reporter
from pghaul.model.errors import PghaulError, ServerBusyError
from pghaul.model.event import EventKind
from pghaul.model.finding import Severity, refuse
from pghaul.model.manifest import Manifest
from pghaul.model.merging import Mark, Reading
from pghaul.model.plan import MergeMode
from pghaul.model.receipt import Receipt
from pghaul.model.table import Name
from pghaul.model.text import saying
from pghaul.postgres.pressure import waiting_behind
from pghaul.postgres.session import terminate_sessions
from pghaul.sources import increments
from pghaul.sources.increments import Horizon
from pghaul.target import merge_markers
from pghaul.target import staging as tables
from pghaul.target.ledger import Ledger

GRACE = 3.0  # seconds that workers get to let go of what is in flight
KEPT = saying(
    "{n} rows of {table} are set aside, so that nobody can tell which of the target's rows the source no longer has: "
    "none is deleted this time"
)
LATER = "SET ASIDE EARLIER"  # the kind of a notice
OUTDATED = saying("{n} rows of earlier runs are done with: the source's later state of them has been merged")


class MergeAttempt:
    """As engine.attempt.Attempt, for the recipe merge."""

    def __init__(self, order: Order, manifest: Manifest | None, report: Reporter, *, led: bool = False) -> None:
        self._order = order
        self._manifest = manifest
        self._report = report
        self._number = report.run.epoch + 1
        self._arrived: list[InFlight] = []  # staged, and not merged yet
        self._rejects = Rejects(order.plan.options.max_rejects, report)
        self.reached = False
        self.led = led

    @property
    def manifest(self) -> Manifest | None:
        """What the next attempt starts from."""
        return self._manifest

    def perform(self) -> bool:
        """True when all is merged and nothing differs. Raises what ended it."""
        order = self._order
        leader = order.leader if self.led else None
        with scene.opened(
            order.run,
            self._number,
            order.plan,
            postgresql(order.source),
            order.target,
            self._manifest,
            leader=leader,
            standing=order.standing,
        ) as ground:
            self.reached = True
            ledger = Ledger(ground.target, order.run)
            found = self._look(ground) if self._manifest is None else None
            if found is not None and self._is_idle(ground, found):
                return True
            self._report.facts(ground.source.server, ground.target.server)
            ledger.install()
            epoch = self._open(ground, ledger)
            self._sweep(ground)
            done = self._done(ledger)
            agrees = (
                all(r.agrees and not r.rejected for r in done) if done else self._move(ground, ledger, epoch, found)
            )
            ledger.finish("done" if agrees else "different", epoch.number, release=order.standing is None)
        return agrees

    def _is_idle(self, ground: Ground, found: Look) -> bool:
        """Of a plan that is repeated: the last round has merged the very same rows, and nothing was to be done."""
        standing = self._order.standing
        if standing is None or not standing.idle.still_holds(ground.source, found.readings):
            return False
        return all(_rests(found.marks[n], r, ground.horizon) for n, r in found.readings.items())

    def _remember(self, ground: Ground, found: Look, merged: Sequence[Merged]) -> None:
        """Only what would be read in the same way again."""
        if (standing := self._order.standing) is None:
            return
        standing.idle.forget()
        if all(_stays(m) and _came_to_nothing(m) for m in merged):
            standing.idle.remember(ground.source, found.readings)

    # --- before anything changes ------------------------------------------------------------------------------------

    def _look(self, ground: Ground) -> Look:
        """Every look that can refuse; of a new run also its record."""
        found = looks.look(self._order.run, self._order.plan, ground)
        refuse(found.findings)
        if self._manifest is None:
            self._plan(ground, found)
        for finding in found.findings:
            if finding.severity is Severity.WARNING:
                self._report.warn(finding.what)
        return found

    def _plan(self, ground: Ground, found: Look) -> None:
        self._manifest = Manifest(
            tables=tuple(u.asked.source for u in found.units),
            placements=looks.placements(found.units),
            chunks=tuple(staging.chunk_of(u, found.readings.get(u.name)) for u in found.units),
            identities=(ground.source.server.identity, ground.target.server.identity),
        )
        self._report.planned(self._manifest)

    def _open(self, ground: Ground, ledger: Ledger) -> Epoch:
        """Own the run and its targets."""
        number = ledger.open(self._targets(), ground.source.server.identity, self._order.leader)
        self.led = True
        if self._order.standing is not None:
            self._order.standing.leads(self._order.run)
        self._report.attempt(number, ground.snapshot.id)
        return Epoch(run=self._order.run, number=number, snapshot=ground.snapshot.id)

    def _targets(self) -> list[Name]:
        return [p.target for p in self._manifest.placements] if self._manifest else []

    def _done(self, ledger: Ledger) -> list[Receipt]:
        """The receipts of a merge that is committed: of all tables, or of none."""
        names = self._targets()
        markers = ledger.markers(names)
        done = [r for (_, chunk), r in markers.items() if chunk == INCREMENT]
        self._report.found({r.table: {INCREMENT: r} for r in done})
        return done if len(done) == len(names) else []

    # --- moving -----------------------------------------------------------------------------------------------------

    def _move(self, ground: Ground, ledger: Ledger, epoch: Epoch, found: Look | None) -> bool:
        found = found or self._look(ground)
        self._report.ready_to_move()
        planned = [u for u in found.units if u.name in set(self._targets())]
        staged = [
            Staged(
                unit=u,
                reading=found.readings[u.name],
                known=found.marks[u.name],
                there=found.targets.get(u.name),
                table=tables.name_for(self._order.run, i),
            )
            for i, u in enumerate(planned)
        ]
        try:
            for one in staged:
                stage_table.create(ground.target, one, self._order.plan.options)
            self._stage(ground, ledger, epoch, staged)
            self._report.check_wish()
            merged = self._merge(ground, epoch, staged)
        except BaseException:
            with contextlib.suppress(PghaulError):  # a backend behind a dead path holds a lock on what is staged
                terminate_sessions(ground.target, f"pghaul/{self._order.run}/")
            raise
        finally:
            with contextlib.suppress(PghaulError):  # the next attempt sweeps, and so does the next run
                tables.drop(ground.target, [s.table for s in staged])
                self._discard(ground)
        self._tell(merged)
        self._analyze(ground, merged)
        self._remember(ground, found, merged)
        return all(m.agrees for m in merged)

    def _analyze(self, ground: Ground, merged: Sequence[Merged]) -> None:
        """Tables that this run has made; the merge itself is committed."""
        for one in merged:
            if one.staged.unit.there is None and self._order.plan.options.analyze:
                with contextlib.suppress(ServerBusyError):
                    ground.target.execute(statements.analyze(one.staged.unit.name))

    def _sweep(self, ground: Ground) -> None:
        """What killed processes have left, and earlier attempts of our own."""
        tables.sweep(ground.target, self._order.run)
        merge_markers.discard_abandoned(ground.target)
        self._discard(ground)

    def _discard(self, ground: Ground) -> None:
        """Of what was staged and not merged nothing is to be seen: after a merge, there is none."""
        merge_markers.discard_rejected(ground.target, self._order.run)
        merge_markers.forget_staged(ground.target, self._order.run)

    def _stage(self, ground: Ground, ledger: Ledger, epoch: Epoch, staged: Sequence[Staged]) -> None:
        options = self._order.plan.options
        here, there = ground.source.server, ground.target.server
        for one in staged:
            one.tasks = staging.tasks(one, epoch, options, here, there)
        with self._pool(staged) as pool:
            pool.configure(scenes.worker_config(epoch.run, epoch.number, self._order.plan, ground))
            pool.limit(options.max_rate or 0)
            pool.warm_up()
            hooks = self._hooks(pool, ground, ledger, staged)
            dispatcher = Dispatcher(pool, hooks, retries=options.retries, stall_timeout=options.stall_timeout)
            dispatcher.run([t for s in staged for t in s.tasks])
            pool.wind_down()
        self._rejects.conclude()
        for one in staged:
            if one.keeps_all and one.unit.asked.merge.mode is MergeMode.FULL_SYNC:
                self._report.warn(KEPT.format(table=str(one.unit.name), n=one.sum.rejected))

    @contextlib.contextmanager
    def _pool(self, staged: Sequence[Staged]) -> Iterator[Pool]:
        """Threads for little, processes for much; threads that are lent go back."""
        order = self._order
        many = sum(len(s.tasks) for s in staged)
        if order.standing is not None:
            try:
                yield order.standing.pool(order.plan.options.workers)
            except BaseException:
                order.standing.let_pool_go()  # whoever is at work holds a lock on what is staged
                raise
            return
        pool: Pool
        if staging.is_large(staged):
            pool = WorkerPool(order.plan.options.workers)
        else:
            pool = LocalPool(min(order.plan.options.workers, many))
        try:
            yield pool
        finally:
            pool.close(GRACE)

    def _hooks(self, pool: Pool, ground: Ground, ledger: Ledger, staged: Sequence[Staged]) -> Hooks:
        by_name = {s.unit.name: s for s in staged}
        arrived, report = self._arrived, self._report

        def leaders() -> None:
            ground.snapshot.check()
            ledger.check()
            report.waiting(waiting_behind(ground.source, f"pghaul/{self._order.run}/"))

        def finished(task: Task, result: JobResult) -> None:
            report.progressed()
            by_name[task.table].receipts.append(result.receipt)
            self._rejects.finished(task, result)
            came = result.receipt
            arrived.append(InFlight(task=_increment(task), bytes=came.bytes, moving=False, rows=came.rows))

        def look(flying: Sequence[InFlight]) -> None:
            shown = [replace(f, task=_increment(f.task)) for f in flying]
            report.look([*shown, *arrived], pool.control, leaders)

        return Hooks(
            started=lambda task: report.started(_increment(task)),
            finished=finished,
            finished_together=lambda _: None,
            retried=lambda task, exc, pause: report.retried(_increment(task), exc, pause),
            failed=lambda task, exc: report.failed(_increment(task), exc),
            look=look,
            may_start=report.may_start,
        )

    def _merge(self, ground: Ground, epoch: Epoch, staged: Sequence[Staged]) -> list[Merged]:
        """In a thread, so that a wish to stop ends it at once."""
        plan = self._order.plan

        def call(breath: Breath) -> list[Merged]:
            return transaction.merge_all(ground, epoch, plan.options.verify, staged, breath)

        return beside(ground.target, call, lambda: self._report.heed(self._arrived))

    def _tell(self, merged: Sequence[Merged]) -> None:
        for one in merged:
            if one.outdated:
                self._report.notice(LATER, str(one.staged.unit.name), OUTDATED.format(n=one.outdated))
        self._report.finished_together([(_increment(m.staged.tasks[0]), _result(m)) for m in merged])
        made = [str(m.staged.unit.name) for m in merged if m.staged.unit.there is None]
        made += [c.what for m in merged for c in m.staged.unit.drift.changes if m.staged.unit.there is not None]
        if made:
            self._report.emit(EventKind.SCHEMA, data={"step": "create", "objects": made})


def _came_to_nothing(merged: Merged) -> bool:
    """The target is as it was. What was set aside is in quarantine, and would be set aside again."""
    receipt = merged.receipt
    return not (receipt.inserted or receipt.updated or receipt.deleted or merged.counts.differing)


def _stays(merged: Merged) -> bool:
    """The next reading begins where this one did."""
    known = merged.staged.known
    return known is not None and known.low == merged.mark.low


def _rests(mark: Mark | None, reading: Reading, horizon: Horizon) -> bool:
    """Nor could the mark go further, now that older transactions may have ended."""
    return mark is not None and increments.advance(reading, horizon, mark.seen).low == mark.low


def _result(merged: Merged) -> JobResult:
    return JobResult(receipt=merged.receipt, agrees=merged.agrees, watermark=merged.mark.seen or "")


def _increment(task: Task) -> Task:
    """As the person's unit of work: its stages are our own affair."""
    return replace(task, job=replace(task.job, chunk=INCREMENT))
