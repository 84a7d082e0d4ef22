"""One attempt of a run: one snapshot, one epoch, from the first look to the last constraint.

A run is as many attempts as it takes. A lost snapshot, a crashed server and a resume by hand are the same thing here:
the next attempt finds what the ledger says is done, compares it with its own snapshot, and does the rest.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pghaul.engine import (
    checks,
    compose,
    finishing,
    layout,
    mapping,
    permits,
    preflight,
    recipes,
    refreshing,
    remake,
    scene,
    survey,
)
from pghaul.engine.batching import gathered
from pghaul.engine.compose import Epoch, Loading
from pghaul.engine.dispatch import Dispatcher, Task
from pghaul.engine.mapping import Mapped
from pghaul.engine.merge.standing import Standing
from pghaul.engine.orphans import Orphans
from pghaul.engine.pool import WorkerPool
from pghaul.engine.rejects import Rejects
from pghaul.engine.report import Reporter
from pghaul.engine.schema import Archive, Schema
from pghaul.model.finding import Kind, Severity, refuse
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.manifest import Manifest
from pghaul.model.plan import Locks, Plan, Verify
from pghaul.model.profile import Endpoint
from pghaul.model.receipt import Receipt
from pghaul.model.table import Name, Table
from pghaul.model.text import say, saying
from pghaul.postgres.catalog import describe
from pghaul.postgres.formats import choose_format, copy_encoding
from pghaul.postgres.pressure import waiting_behind
from pghaul.postgres.rowhash import agree
from pghaul.sources.postgresql import not_carried
from pghaul.target import foreign_keys, sequences
from pghaul.target import layout as layout_ddl
from pghaul.target.ledger import Ledger
from pghaul.target.scope import Scope

GRACE = 3.0  # seconds that workers get to let go of what is in flight

GONE = saying("{table} is gone from the source since the run began; the target's copy is left as it is")
COUNTED = say("compared by count alone: rows of it are set aside, and no key tells which ones they are on the source")


@dataclass(kw_only=True)
class Order:
    """What is asked: the same for every attempt of a run."""

    run: str
    leader: str  # this process, in the ledger
    plan: Plan
    source: Endpoint | ForeignEndpoint
    target: Endpoint
    trust_ledger: bool
    ask: preflight.Ask | None
    pool: WorkerPool | None = None  # spawned ahead, for the first attempt that comes so far
    standing: Standing | None = None  # of merges that are repeated: what stays open from round to round
    ahead: Callable[[], None] = lambda: None  # imports what records a run, while a leader waits for a source


class Attempt:
    """Built anew for each epoch; `manifest` is None only before a run has been planned."""

    def __init__(self, order: Order, manifest: Manifest | None, report: Reporter, *, led: bool = False) -> None:
        self._order = order
        self._manifest = manifest
        self._report = report
        self._differences: list[str] = []
        self._number = report.run.epoch + 1
        self._folder: str | None = None
        self._known: Mapping[Name, Table] = {}  # the source's tables, with the columns that were planned
        self._early: Archive | None = None
        self._rejects = Rejects(order.plan.options.max_rejects, report)
        self._scope: Scope | None = None  # as it was planned, in the attempt that plans
        self.reached = False  # both servers have answered
        self.led = led  # the ledger has named this process as the run's leader

    def perform(self) -> bool:
        """True when everything is in place and nothing differs. Raises what ended it."""
        order = self._order
        source = postgresql(order.source)
        number = self._number
        leader = order.leader if self.led else None
        with contextlib.ExitStack() as held:
            stage = held.enter_context(
                scene.opened(order.run, number, order.plan, source, order.target, self._manifest, leader=leader)
            )
            self.reached = True
            tables = self._known = self._tables(stage)
            mapped = self._mapped(stage, tables)
            fate = self._plan(stage, tables, mapped, held)
            self._report.facts(stage.source.server, stage.target.server)
            ledger = Ledger(stage.target, order.run)
            ledger.install()
            epoch = Epoch(
                run=order.run,
                number=ledger.open(list(mapped.shapes), stage.source.server.identity, order.leader),
                snapshot=stage.snapshot.id,
            )
            self.led = True
            self._report.attempt(epoch.number, stage.snapshot.id)
            if self._folder is None:
                self._folder = held.enter_context(_private_folder(order.run, stage.target.server.identity))
            self._move(stage, ledger, epoch, mapped, fate, Path(self._folder) / "schema.dump")
            stage.snapshot.check()
            ledger.finish("different" if self._differences else "done", epoch.number, release=True)
        return not self._differences

    # --- planning -------------------------------------------------------------------------------------------------

    def _tables(self, stage: scene.Scene) -> dict[Name, Table]:
        if self._manifest is None:
            return dict(stage.tables)
        for name, column in scene.added_columns(self._manifest, stage.tables):
            self._report.notice(
                "COLUMN", f"{name}.{column}", say("it was added on the source after the run had been planned")
            )
        for name in stage.gone:
            self._differences.append(str(name))
            self._report.warn(GONE.format(table=str(name)))
        return scene.with_planned_columns(self._manifest, stage.tables)

    def _mapped(self, stage: scene.Scene, tables: dict[Name, Table]) -> Mapped:
        if self._manifest is not None:
            layout.check_vacant(stage.source, self._manifest.vacant, tables)
            return mapping.shape(self._manifest.placements, tables, self._manifest.designs)
        plan = self._order.plan
        placements = mapping.place(plan, tables, stage.conditions)
        mapping.check_conditions(stage.source, plan, tables)
        return layout.lay_out(stage.source, plan, placements, tables)

    def _plan(
        self, stage: scene.Scene, tables: dict[Name, Table], mapped: Mapped, held: contextlib.ExitStack
    ) -> preflight.Fate | None:
        """For a new run: every look that can fail, then the record of the run. Nothing is changed on the target."""
        if self._manifest is not None:
            return None
        order = self._order
        look = checks.Stage(
            run=order.run, plan=order.plan, source=stage.source, target=stage.target, tables=tables, mapped=mapped
        )
        verdict = checks.examine(look, order.ask)
        refuse(verdict.findings)
        fate = verdict.fate
        self._scope = verdict.scope
        if verdict.scope.things:
            self._begin_dump(stage, verdict.scope, held)
        left = [*not_carried(stage.source, stage.selected, whole=order.plan.whole), *verdict.scope.left]
        left += survey.skipped(fate.dispositions)
        left += remake.left_behind(stage.source, stage.target, mapped.designs, tables)
        self._manifest = Manifest(
            tables=tuple(tables.values()),
            placements=mapped.placements,
            designs=mapped.designs,
            vacant=mapped.vacant,
            chunks=verdict.chunks,
            identities=(stage.source.server.identity, stage.target.server.identity),
            not_carried=tuple(left),
        )
        self._report.planned(self._manifest)
        for warning in mapped.warnings:
            self._report.warn(warning.what)
        for finding in verdict.findings:
            if finding.severity is Severity.WARNING and finding.kind is Kind.ROWS_PRESENT:
                self._report.warn(finding.what)
        if "refresh" in fate.dispositions.values():
            for name in survey.vanished(stage.target, mapped.shapes):
                self._report.notice(
                    "VANISHED", str(name), say("it is on the target and not in the selection: left as it is")
                )
        return fate

    def _decide(
        self, stage: scene.Scene, mapped: Mapped, shapes: Mapping[Name, Table], there: Mapping[Name, Table]
    ) -> preflight.Fate:
        plan, chosen = self._order.plan, recipes.chosen_for(self._order.plan, stage.tables, mapped)
        choices = recipes.choices(plan, stage.tables, mapped, chosen)
        return preflight.decide(plan, shapes, there, stage.target, self._order.ask, choices.__getitem__, chosen)

    @property
    def manifest(self) -> Manifest | None:
        """What the next attempt starts from."""
        return self._manifest

    # --- moving ---------------------------------------------------------------------------------------------------

    def _move(
        self,
        stage: scene.Scene,
        ledger: Ledger,
        epoch: Epoch,
        mapped: Mapped,
        fate: preflight.Fate | None,
        dump: Path,
    ) -> None:
        dispositions = self._dispositions(stage, ledger, mapped, fate)
        self._report.ready_to_move()
        plan = self._order.plan
        pool, self._order.pool = self._order.pool or WorkerPool(plan.options.workers), None
        try:
            pool.configure(scene.worker_config(epoch.run, epoch.number, plan, stage))
            pool.limit(plan.options.max_rate or 0)
            pool.warm_up()
            self._move_with(pool, stage, ledger, epoch, mapped, dispositions, dump)
        finally:
            pool.close(GRACE)

    def _move_with(
        self,
        pool: WorkerPool,
        stage: scene.Scene,
        ledger: Ledger,
        epoch: Epoch,
        mapped: Mapped,
        dispositions: dict[Name, str],
        dump: Path,
    ) -> None:
        plan = self._order.plan
        created = {n for n, d in dispositions.items() if d == "created"}
        steps = Schema(self._early or Archive(stage, plan, epoch.run, epoch.number, dump), ledger, self._report)
        steps.create(self._scope or steps.survey(mapped, self._known, created))
        designs = remake.missing(created, mapped).designs
        if designs:
            self._report.schema("create", layout_ddl.create(stage.source, stage.target, mapped.designs))
        loadings = self._loadings(stage, mapped, dispositions)
        self._load(pool, stage, ledger, epoch, loadings)
        # First what was taken away: finishing skips what is there, and would else make the same constraint again.
        loaded = [ld.name for ld in loadings]
        orphans = Orphans(stage.target, ledger, epoch, plan.options.max_rejects, loaded, self._report)
        self._differences += finishing.put_back(stage.target, ledger, orphans, self._report)
        steps.carry_large_objects(epoch.number, trusted=self._order.trust_ledger)
        self._differences += finishing.finish(steps, orphans, suspicious=bool(self._rejects.tables))
        if designs and plan.options.indexes:
            self._refit(stage, mapped, created)
        sources = mapped.sources
        filled = list(dict.fromkeys(sources.get(n, n) for n in mapped.shapes if dispositions[n] != "skip"))
        renamed = layout_ddl.renamed_sequences(stage.source, designs)
        carried = sequences.carry(stage.source, stage.target, filled, renamed, whole=plan.whole)
        self._report.schema("sequences", carried)
        self._differences += steps.conclude()

    def _dispositions(
        self, stage: scene.Scene, ledger: Ledger, mapped: Mapped, fate: preflight.Fate | None
    ) -> dict[Name, str]:
        known = ledger.dispositions()
        new = {n: t for n, t in mapped.shapes.items() if str(n) not in known}
        if new:
            if fate is None:  # the run was recorded, and its process died before the ledger knew its tables
                fate = self._decide(stage, mapped, new, describe(stage.target, list(new)))
            ledger.record_dispositions({n: fate.dispositions[n] for n in new})
            known = ledger.dispositions()
        return {n: known[str(n)] for n in mapped.shapes}

    def _begin_dump(self, stage: scene.Scene, scope: Scope, held: contextlib.ExitStack) -> None:
        """pg_dump works while we plan on and open the store. No lock is held yet: the folder is this call's own."""
        prefix = _folder_name(self._order.run, stage.target.server.identity)
        self._folder = held.enter_context(tempfile.TemporaryDirectory(prefix=prefix))
        self._early = Archive(stage, self._order.plan, self._order.run, self._number, Path(self._folder) / "early.dump")
        self._early.begin(scope, held)

    def _refit(self, stage: scene.Scene, mapped: Mapped, made: Collection[Name]) -> None:
        finished = layout_ddl.finish(stage.source, stage.target, mapped.designs, made, stage.tables)
        self._report.schema("finish", list(finished.built))
        for left in finished.refused:
            self._report.notice(left.kind, left.name, left.why)

    def _loadings(self, stage: scene.Scene, mapped: Mapped, dispositions: dict[Name, str]) -> list[Loading]:
        manifest, options = self._manifest, self._order.plan.options
        if manifest is None:
            raise RuntimeError("an attempt loads only what has been planned")
        there = describe(stage.target, list(mapped.shapes))
        chosen = recipes.chosen_for(self._order.plan, stage.tables, mapped)
        guarded = recipes.guarded(stage.target, there.values())
        loaded = [t for n, t in there.items() if dispositions[n] != "skip"]
        set_off, loud = recipes.set_off(stage.target, [t.name for t in loaded], chosen)
        refuse(loud)
        noisy = permits.can_silence_triggers(stage.target, loaded, set_off)
        here, far = stage.source.server, stage.target.server
        encoding = options.source_encoding
        chunks = compose.chunks_by_table(manifest.chunks)
        filled = {p.target: p for p in mapped.placements if p.target in chunks and dispositions[p.target] != "skip"}
        shaped = {n: replace(mapped.shapes[n], name=p.source) for n, p in filled.items()}
        return [
            Loading(
                placement=placement,
                source=shaped[n],
                origins=tuple(stage.tables[o.table] for o in placement.origins),
                target=there[n],
                chunks=chunks[n],
                disposition=dispositions[n],
                format=choose_format(options.format, shaped[n], there[n], here, far, encoding),
                encodings=copy_encoding(here, far, encoding),
                verify=options.verify is Verify.CHECKSUM,
                max_rejects=options.max_rejects,
                memory_limit=options.memory_limit,
                duplicates=options.duplicates.value,
                duplicates_by=options.duplicates_by,
                build_indexes=options.indexes and dispositions[n] == "created",
                analyze=options.analyze,
                agreement=agree(here, far, encoding),
                replica_role=n in noisy,
                lock_per_chunk=options.locks is Locks.CHUNK,
                inserting=recipes.inserting(
                    chosen[n], dispositions[n], here.capabilities, far.capabilities, guarded=n in guarded
                ),
            )
            for n, placement in filled.items()
        ]

    def _load(
        self, pool: WorkerPool, stage: scene.Scene, ledger: Ledger, epoch: Epoch, loadings: list[Loading]
    ) -> None:
        done = _by_table(ledger.markers(ld.name for ld in loadings).values())
        self._report.found(done)
        rejects = self._rejects = Rejects(self._order.plan.options.max_rejects, self._report)
        rejects.found(done)
        dispatcher = self._dispatcher(pool, stage, ledger)
        kept = refreshing.keep(dispatcher, self._report, epoch, loadings, done)
        loadings = [ld for ld in loadings if ld.name not in kept]
        dropped = ledger.drop_foreign_keys(foreign_keys.find(stage.target, [ld.name for ld in loadings]))
        if dropped:
            self._report.schema("foreign keys dropped for the load", [str(dropped)])
        differing = self._recheck(dispatcher, epoch, loadings, done)
        tasks: list[Task] = []
        for loading in loadings:
            again = loading.name in differing
            if again:
                rejects.again(loading.name)
            tasks += compose.load_tasks(loading, epoch, done.get(loading.name, {}), redo=again, restart=again)
        dispatcher.run(gathered(tasks, pool.size))
        rejects.conclude()
        self._differences += [str(n) for n in rejects.tables]
        self._verify(dispatcher, ledger, epoch, loadings)
        pool.wind_down()

    def _dispatcher(self, pool: WorkerPool, stage: scene.Scene, ledger: Ledger) -> Dispatcher:
        def leaders() -> None:
            stage.snapshot.check()
            ledger.check()
            report.waiting(waiting_behind(stage.source, f"pghaul/{self._order.run}/"))

        report = self._report
        hooks = report.hooks(pool.control, leaders, self._rejects.finished)
        options = self._order.plan.options
        return Dispatcher(pool, hooks, retries=options.retries, stall_timeout=options.stall_timeout)

    def _recheck(
        self,
        dispatcher: Dispatcher,
        epoch: Epoch,
        loadings: list[Loading],
        done: dict[Name, dict[str, Receipt]],
    ) -> set[Name]:
        """Tables whose finished chunks are no longer what this epoch's snapshot shows."""
        finished = [ld for ld in loadings if any(c.key in done.get(ld.name, {}) for c in ld.chunks)]
        if not finished:
            return set()
        if self._order.trust_ledger:
            self._report.mixed([ld.name for ld in finished], say("the ledger is trusted, as asked"))
            return set()
        left, again = compose.with_rejects(finished, done)
        if left:
            self._report.mixed(left, say("rows of it are set aside, so that the two sides cannot be compared"))
        finished = [ld for ld in finished if ld.name not in {*left, *again}]
        tasks = {ld.name: compose.recheck_task(ld, epoch, done[ld.name]) for ld in finished}
        blind = [n for n, t in tasks.items() if t is None]
        appended = [ld.name for ld in finished if ld.appended]
        if appended:
            self._report.mixed(appended, say("rows that were there before cannot be told from ours"))
        self._report.expect_recheck()
        dispatcher.run(t for t in tasks.values() if t is not None)
        differing = self._report.take_differing() | (set(blind) - set(appended)) | set(again)
        for name in differing:
            self._report.redo(name, [c for c in self._manifest.chunks if c.table == name] if self._manifest else [])
        return differing

    def _verify(self, dispatcher: Dispatcher, ledger: Ledger, epoch: Epoch, loadings: list[Loading]) -> None:
        done = _by_table(ledger.markers(ld.name for ld in loadings).values())
        tasks = [t for ld in loadings if (t := compose.final_check(ld, epoch, done.get(ld.name, {}))) is not None]
        dispatcher.run(tasks)
        for loading in loadings:
            if loading.verify and compose.unproven_rejects(done.get(loading.name, {})):
                self._report.notice("PROOF", str(loading.name), COUNTED)
            elif loading.verify and (why := loading.unproven):
                self._report.notice("PROOF", str(loading.name), say("compared by count alone: {why}", why=why))
        self._differences += sorted({str(n) for n in self._report.take_differing()})


def postgresql(source: Endpoint | ForeignEndpoint) -> Endpoint:
    """Of recipes that read from PostgreSQL; the runner gives them no other source."""
    if isinstance(source, ForeignEndpoint):
        raise TypeError("the source is not PostgreSQL")
    return source


def _private_folder(run: str, target: str) -> tempfile.TemporaryDirectory[str]:
    """For the schema dump and pg_dump's password file; first deletes what a killed process of this run left.

    Whoever holds the run's lock on this target is alone with this name.
    """
    prefix = _folder_name(run, target)
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        shutil.rmtree(folder, ignore_errors=True)
    return tempfile.TemporaryDirectory(prefix=prefix)


def _folder_name(run: str, target: str) -> str:
    return f"pghaul-{run}-{zlib.crc32(target.encode()):08x}-"


def _by_table(receipts: Iterable[Receipt]) -> dict[Name, dict[str, Receipt]]:
    out: dict[Name, dict[str, Receipt]] = {}
    for receipt in receipts:
        out.setdefault(receipt.table, {})[receipt.chunk] = receipt
    return out
