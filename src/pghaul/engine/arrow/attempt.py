"""One attempt of a run whose source is not PostgreSQL: held and described anew, mapped as it was, and gone on with.

The ledger says what is done, as with any other run. What was described when the run began has to be the same now:
names, types and keys of the target were made from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pghaul.engine.arrow import compose, decided, ground, looks, making, orphans, rechecking, shape, upkeep
from pghaul.engine.arrow.compose import Loading
from pghaul.engine.arrow.ground import Ground
from pghaul.engine.arrow.looks import Look
from pghaul.engine.attempt import GRACE, Order
from pghaul.engine.batching import gathered
from pghaul.engine.compose import Epoch
from pghaul.engine.dispatch import Dispatcher, Task
from pghaul.engine.finishing import put_back
from pghaul.engine.job import JobKind, JobResult
from pghaul.engine.permits import can_silence_triggers
from pghaul.engine.pool import WorkerPool, lane
from pghaul.engine.preflight import Fate
from pghaul.engine.rejects import Rejects
from pghaul.engine.report import Reporter
from pghaul.engine.survey import skipped
from pghaul.model.chunk import Chunk
from pghaul.model.finding import Severity, refuse
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.manifest import Manifest
from pghaul.model.mapped import MappedDatabase
from pghaul.model.receipt import Receipt
from pghaul.model.table import Name
from pghaul.model.text import say, saying
from pghaul.postgres.catalog import describe
from pghaul.target import foreign_keys
from pghaul.target.foreign import existing
from pghaul.target.ledger import Ledger

REPLACED = saying("{n} values held characters that cannot be, which were replaced as the plan says")
SPELLED = saying("the hashes leave out {columns}, which the server spells in its own way: pghaul verify compares them")
APPENDED = say("rows that were there before")


class ArrowAttempt:
    """As engine.attempt.Attempt, for a source that is not PostgreSQL."""

    def __init__(self, order: Order, manifest: Manifest | None, report: Reporter, *, led: bool = False) -> None:
        self._order = order
        self._manifest = manifest
        self._report = report
        self._number = report.run.epoch + 1
        self._differences: list[str] = []
        self._rejects = Rejects(order.plan.options.max_rejects, report)
        self._changed: dict[Name, set[str]] = {}  # chunks that a comparison has found to be others
        self._blind = False  # there are chunks of earlier attempts that nothing is known of
        self.reached = False
        self.led = led

    @property
    def manifest(self) -> Manifest | None:
        """What the next attempt starts from."""
        return self._manifest

    def perform(self) -> bool:
        """True when everything is in place and nothing differs. Raises what ended it."""
        order = self._order
        source = order.source
        if not isinstance(source, ForeignEndpoint):
            raise TypeError("the source is PostgreSQL")
        leader = order.leader if self.led else None
        with ground.opened(
            order.run, self._number, order.plan, source, order.target, self._manifest, leader=leader, ahead=order.ahead
        ) as held:
            self.reached = True
            found = self._plan(held) if self._manifest is None else None
            refuse(held.troubles)  # of a resume: a new run has been refused by then
            self._report.facts(making.facts(held.database), held.target.server)
            ledger = Ledger(held.target, order.run)
            ledger.install()
            names = [t.name for t in held.mapped.tables]
            epoch = Epoch(
                run=order.run,
                number=ledger.open(names, held.database.identity, order.leader),
                snapshot=held.token,
            )
            self.led = True
            self._report.attempt(epoch.number, held.token)
            self._move(held, ledger, epoch, found)
            held.source.check()
            ledger.finish("different" if self._differences else "done", epoch.number, release=True)
        return not self._differences

    # --- before anything changes --------------------------------------------------------------------------------------

    def _plan(self, held: Ground) -> Look:
        """For a new run: every look that can fail, then the record of the run."""
        found = looks.examine(self._order.run, self._order.plan, held, self._order.ask)
        refuse(found.findings)
        mapped = found.mapped
        self._manifest = Manifest(
            tables=tuple(shape.as_source(t) for t in held.mapped.tables),
            placements=tuple(shape.placement(t) for t in mapped.tables),
            chunks=found.chunks,
            identities=(held.database.identity, held.target.server.identity),
            not_carried=(*mapped.left, *skipped(found.fate.dispositions)),
        )
        self._report.planned(self._manifest)
        for finding in found.findings:
            if finding.severity is Severity.WARNING:
                self._report.warn(finding.what)
        return found

    def _dispositions(self, held: Ground, ledger: Ledger, found: Look | None) -> dict[Name, str]:
        """As the ledger knows them; of a run whose process died before it could, as they are found now."""
        known = ledger.dispositions()
        names = [t.name for t in held.mapped.tables]
        new = [n for n in names if str(n) not in known]
        if new:
            fate = found.fate if found else self._decide(held)
            ledger.record_dispositions({n: fate.dispositions[n] for n in new})
            known = ledger.dispositions()
        return {n: known[str(n)] for n in names}

    def _decide(self, held: Ground) -> Fate:
        fate, against = looks.decide(self._order.plan, existing.matched(held.mapped, held.there), held, None)
        refuse(against)
        return fate

    # --- moving -------------------------------------------------------------------------------------------------------

    def _move(self, held: Ground, ledger: Ledger, epoch: Epoch, found: Look | None) -> None:
        dispositions = self._dispositions(held, ledger, found)
        kept = {n: t for n, t in held.there.items() if dispositions[n] != "created"}
        mapped = existing.matched(held.mapped, kept)
        self._report.ready_to_move()
        pool, self._order.pool = self._order.pool, None
        workers = self._order.plan.options.workers if held.source.guarantees.parallel else 1
        if pool is None or pool.size != workers:
            if pool is not None:
                pool.close(0.0)
            pool = WorkerPool(workers, duty=lane(held.endpoint.engine))
        try:
            pool.configure(ground.worker_config(epoch.run, epoch.number, self._order.plan, held))
            pool.limit(self._order.plan.options.max_rate or 0)
            pool.warm_up()
            self._move_with(pool, held, ledger, epoch, mapped, dispositions)
        finally:
            pool.close(GRACE)

    def _move_with(
        self,
        pool: WorkerPool,
        held: Ground,
        ledger: Ledger,
        epoch: Epoch,
        mapped: MappedDatabase,
        dispositions: Mapping[Name, str],
    ) -> None:
        created = {n for n, d in dispositions.items() if d == "created"}
        making.before(held.target, ledger, mapped, created, self._report)
        loadings = self._loadings(held, mapped, dispositions)
        done = _by_table(ledger.markers(ld.name for ld in loadings).values())
        self._found(done, loadings)
        dispatcher = self._dispatcher(pool, held, ledger)
        sees = held.source.guarantees.sees_changes
        same = sees and ledger.seen() == held.token
        changed = self._recheck(dispatcher, epoch, loadings, done, same=same)
        self._drop_foreign_keys(held, ledger, loadings, changed)
        self._take_out(dispatcher, epoch, loadings, done, changed)
        if not same:
            ledger.saw(held.token if sees and not self._blind else None)
        tasks = [t for ld in loadings for t in compose.tasks(ld, epoch, done.get(ld.name, {}))]
        unknown = {ld.name for ld in loadings if ld.table.source.rows is None}  # any of them may be large
        rest = [t for t in tasks if t.table in unknown]
        known = [t for t in tasks if t.table not in unknown]
        dispatcher.run([*gathered(known, pool.size, most=making.room(held.target)), *rest])
        self._rejects.conclude()
        self._differences += [str(n) for n in self._rejects.tables]
        self._differences += sorted(str(n) for n in self._report.take_differing())
        broken = orphans.Settling(held.target, ledger, epoch, self._order.plan, mapped, self._report)
        self._differences += put_back(held.target, ledger, broken, self._report)
        self._after(dispatcher, held, ledger, mapped, {ld.name: ld for ld in loadings}, created, epoch, done)
        pool.wind_down()

    def _after(
        self,
        dispatcher: Dispatcher,
        held: Ground,
        ledger: Ledger,
        mapped: MappedDatabase,
        loaded: Mapping[Name, Loading],
        created: set[Name],
        epoch: Epoch,
        done: Mapping[Name, Mapping[str, Receipt]],
    ) -> None:
        """What is made of several tables, or of the database, once all rows are there."""
        ours = [m for m in mapped.after if m.table is None or m.table in created]
        counting = [m for m in ours if m.kind == "sequence"]
        counting += existing.sequences([t for t in mapped.tables if t.exists and t.name in loaded], held.there)
        making.run(held.target, counting, self._report, "sequences")
        if self._order.plan.options.indexes:
            dispatcher.run(compose.adding([m for m in ours if m.kind == "reference"], loaded, epoch, done))
            checks = [m for m in ours if m.kind == "validation"]
            self._differences += orphans.validate(
                held.target, ledger, epoch, self._order.plan, mapped, checks, self._report
            )
        making.run(held.target, [m for m in ours if m.kind == "comment"], self._report, "comments")
        making.views(held.target, [m for m in ours if m.kind == "view"], self._report)
        dispatcher.run(upkeep.tasks(self._order.plan, loaded.values(), epoch, done))

    def _loadings(self, held: Ground, mapped: MappedDatabase, dispositions: Mapping[Name, str]) -> list[Loading]:
        manifest, plan = self._manifest, self._order.plan
        if manifest is None:
            raise RuntimeError("an attempt loads only what has been planned")
        there = describe(held.target, [t.name for t in mapped.tables])
        filled = {c.table for c in manifest.chunks if dispositions[c.table] != "skip"}
        noisy = can_silence_triggers(held.target, [t for n, t in there.items() if n in filled], set())
        return decided.loadings(plan, mapped, there, manifest.chunks, dispositions, noisy=noisy)

    def _found(self, done: dict[Name, dict[str, Receipt]], loadings: Iterable[Loading]) -> None:
        self._report.found(done)
        self._rejects.found(done)
        for loading in loadings:
            if loading.verify and loading.appended:
                self._report.notice("PROOF", str(loading.name), say("compared by count alone: {why}", why=APPENDED))

    def _recheck(
        self,
        dispatcher: Dispatcher,
        epoch: Epoch,
        loadings: list[Loading],
        done: Mapping[Name, Mapping[str, Receipt]],
        *,
        same: bool,
    ) -> dict[Name, list[Chunk]]:
        """Chunks of earlier attempts that are no longer what the source holds. `same`: it says that it is as it was."""
        found = rechecking.finished(loadings, done)
        trusted = self._order.trust_ledger and not same
        self._blind = bool(found.blind) or (trusted and bool(found.chunks))
        if trusted:
            self._report.mixed(dict.fromkeys([*found.chunks, *found.blind]), rechecking.TRUSTED)
            return {}
        if not same:
            for name, why in found.blind.items():
                self._report.mixed([name], why)
            self._report.expect_recheck()
            dispatcher.run(
                rechecking.confirming(ld, epoch, c, done[ld.name][c.key])
                for ld in loadings
                for c in found.chunks.get(ld.name, ())
            )
        self._report.take_differing()
        self._differences += [str(n) for n in found.blind if not all(r.agrees for r in done[n].values())]
        return {
            n: [c for c in cs if c.key in self._changed.get(n, ()) or not done[n][c.key].agrees]
            for n, cs in found.chunks.items()
        }

    def _take_out(
        self,
        dispatcher: Dispatcher,
        epoch: Epoch,
        loadings: list[Loading],
        done: dict[Name, dict[str, Receipt]],
        changed: Mapping[Name, list[Chunk]],
    ) -> None:
        """What is no longer what the source holds becomes what nobody has loaded."""
        again = [ld for ld in loadings if changed.get(ld.name)]
        dispatcher.run([rechecking.emptying(ld, epoch, changed[ld.name], done[ld.name]) for ld in again])
        for loading in again:
            chunks = changed[loading.name]
            self._report.redo(loading.name, chunks)
            for key in (*(c.key for c in chunks), *rechecking.AFTER):
                done[loading.name].pop(key, None)

    def _drop_foreign_keys(
        self, held: Ground, ledger: Ledger, loadings: Iterable[Loading], changed: Mapping[Name, list[Chunk]]
    ) -> None:
        """Of tables that were there, that a script has made, or that were finished and have changed: they are put back,
        and checked, after the load.
        """
        scripted = self._order.plan.mapping.ddl is not None
        names = [ld.name for ld in loadings if scripted or ld.disposition != "created" or changed.get(ld.name)]
        dropped = ledger.drop_foreign_keys(foreign_keys.find(held.target, names)) if names else 0
        if dropped:
            self._report.schema("foreign keys dropped for the load", [str(dropped)])

    def _dispatcher(self, pool: WorkerPool, held: Ground, ledger: Ledger) -> Dispatcher:
        def leaders() -> None:
            held.source.check()
            ledger.check()

        def also(task: Task, result: JobResult) -> None:
            self._rejects.finished(task, result)
            if result.verdict is not None and not result.agrees:
                self._changed.setdefault(task.table, set()).add(task.job.chunk)
            for column, count in result.replaced:
                report.notice("REPLACED", f"{task.table}.{column}", REPLACED.format(n=count))
            if task.job.kind is JobKind.VACUUM:
                for why in result.reasons:
                    report.notice("VACUUM", str(task.table), why)
            if result.unproven:
                words = SPELLED.format(columns=", ".join(result.unproven))
                report.notice("PROOF", str(task.table), words)

        def together(done: Sequence[tuple[Task, JobResult]]) -> None:
            report.finished_together(done)
            for task, result in done:
                also(task, result)

        report = self._report
        hooks = report.hooks(pool.control, leaders, also)
        hooks.finished_together = together
        options = self._order.plan.options
        return Dispatcher(pool, hooks, retries=options.retries, stall_timeout=options.stall_timeout)


def _by_table(receipts: Iterable[Receipt]) -> dict[Name, dict[str, Receipt]]:
    out: dict[Name, dict[str, Receipt]] = {}
    for receipt in receipts:
        out.setdefault(receipt.table, {})[receipt.chunk] = receipt
    return out
