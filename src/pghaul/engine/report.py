"""What the engine says while it works: to the journal, to the listener, and to itself about wishes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from pghaul.engine import facts
from pghaul.engine.compose import total_bytes
from pghaul.engine.control import Control
from pghaul.engine.dispatch import Hooks, InFlight, Task
from pghaul.engine.footprint import Footprint
from pghaul.engine.job import JobKind, JobResult
from pghaul.engine.journal import Journal
from pghaul.engine.lanes import Lanes
from pghaul.engine.mirror import Mirror
from pghaul.engine.steering import Care, Steering
from pghaul.engine.tally import Tally
from pghaul.model.chunk import Chunk, ChunkState
from pghaul.model.errors import PghaulError, StoppedError
from pghaul.model.event import Event, EventKind, Listener
from pghaul.model.manifest import Manifest
from pghaul.model.plan import Plan
from pghaul.model.receipt import Receipt
from pghaul.model.run import Run, RunState, Wish
from pghaul.model.table import Name
from pghaul.model.text import say, saying
from pghaul.postgres.pressure import Waiting
from pghaul.postgres.server import Server

WISH_EVERY = 0.3  # seconds: a pause has to take effect within one
LOOK_EVERY = 0.08  # ten times a second, with the dispatcher's own waiting
LEADERS_EVERY = 2.0
SAVE_EVERY = 1.0
FOOTPRINT_EVERY = 2.0
SAMPLES = 300  # of a run, about; the store thins them out where they become more
NAP = 0.1  # seconds between looks while nothing is to be done

WAITS = saying(
    "session {pid} ({user}) waits for {mode} on {relation} behind our lock, and whoever comes after it waits too; "
    "`pghaul pause --now {run}` lets all locks go, `--locks chunk` holds them for one chunk at a time"
)

GO_ON = saying("go on with: pghaul resume {run}")


class Reporter:
    """One per run, over all its attempts. The only one who writes the journal."""

    def __init__(
        self,
        run: Run,
        plan: Plan,
        journal: Callable[[], Journal],
        listener: Listener,
        stop: Callable[[], bool],
        care: Callable[[Callable[[str], None]], Care],
    ) -> None:
        self.run = run
        self.moved_at = time.monotonic()  # when a run last got further: a retry budget is counted from here
        self._plan = plan
        self._open_journal = journal
        self._listener = listener
        self._stop = stop
        self._tally = Tally(plan.options.workers)
        self._differing: set[Name] = set()
        self._kept: set[Name] = set()
        self._last: dict[str, float] = {}
        self._wish = Wish.NONE
        self._lanes = Lanes()
        self._footprint = Footprint()
        self._taken: dict[str, float] = {}
        self._waiting: set[tuple[int, str]] = set()
        self.steering = Steering(run.id, plan, care(self.warn), tell=self.emit, changed=self._steered)
        self._rechecking = False
        self._recorded = False

    @cached_property
    def _journal(self) -> Mirror:
        """Opened when there is something to record; by then pg_dump is at work, and we have the time."""
        return Mirror(self._open_journal(), self.warn)

    # --- the run --------------------------------------------------------------------------------------------------

    def planned(self, manifest: Manifest) -> None:
        """A new run: recorded with its chunks, before the target changes."""
        self.run = replace(
            self.run,
            chunks=len(manifest.chunks),
            bytes_estimated=total_bytes(manifest.chunks),
            state=RunState.RUNNING,
        )
        self._journal.create_run(self.run, self._plan, manifest)
        self._count(manifest)
        self.emit(
            EventKind.RUN_STARTED,
            data={
                "tables": len(manifest.tables),
                "chunks": len(manifest.chunks),
                "bytes_estimated": self.run.bytes_estimated,
                "source": self.run.source,
                "target": self.run.target,
            },
        )
        for item in manifest.not_carried:
            self.notice(item.kind, item.name, item.reason)

    def begin(self, manifest: Manifest) -> None:
        """Go on with a run that is recorded."""
        self._journal.remember(self.run, self._plan, manifest)
        self._count(manifest)

    def _count(self, manifest: Manifest) -> None:
        """Know the chunks, and count from nothing: what is done is found in the ledger."""
        heap = self._tally.know(manifest.chunks)
        self._recorded = True
        self._tally.recall(self._journal.past_rates(self.run.source, self.run.target, heap), heap)

    def attempt(self, epoch: int, snapshot: str) -> None:
        """A new epoch has begun."""
        self.run = replace(self.run, epoch=epoch, state=RunState.RUNNING, error=None, finished=None)
        self._tally.begin()
        self._differing = set()
        # What is done is known by `found` only: a sample of nothing would make it look moved a second time.
        sample = self._tally.sample(0) if epoch == 1 else None
        self._journal.save_progress(self.run, self._tally.snapshot(0), sample)
        self.emit(EventKind.ATTEMPT, data={"epoch": epoch, "snapshot": snapshot})

    def facts(self, source: Server | dict[str, Any], target: Server) -> None:
        """For the report: kept as soon as the run is recorded. A run is never lost to it."""
        attempt = facts.of_attempt(self.run.epoch + 1)
        ours = source if isinstance(source, dict) else facts.of_server(source)
        servers = {"source": ours, "target": facts.of_server(target)}
        with contextlib.suppress(PghaulError, OSError):
            self._journal.save_facts(self.run.id, attempt, servers)

    def found(self, done: Mapping[Name, Mapping[str, Receipt]]) -> None:
        """What earlier epochs committed: the ledger wins over the journal."""
        states = self._journal.chunk_states(self.run.id)
        for key in self._tally.keys:
            receipt = done.get(key[0], {}).get(key[1])
            if receipt is not None:
                self._tally.count(key, receipt)
                if not receipt.agrees:  # found different when it was loaded: nobody may forget it
                    self._differing.add(key[0])
                if states.get(key) is not ChunkState.DONE:
                    self._journal.save_chunk(self.run.id, *key, ChunkState.DONE, receipt=receipt)
            elif states.get(key) in {ChunkState.DONE, ChunkState.FAILED}:
                self._journal.save_chunk(self.run.id, *key, ChunkState.PENDING)
        if self.run.epoch > 1:
            self.run = self._tally.totals(self.run)
            self._journal.save_progress(self.run, self._tally.snapshot(0), self._tally.sample(0))

    def end(self, state: RunState, error: str | None = None, *, code: str | None = None) -> None:
        """The run has ended, one way or another. Nothing to say of one that was never planned."""
        if not self._recorded:
            return
        self.run = self._tally.totals(self.run)
        self.run = replace(self.run, state=state, error=error, note=None, finished=datetime.now(UTC))
        self._journal.save_progress(self.run, self._tally.snapshot(0), self._tally.sample(0))
        seconds = (datetime.now(UTC) - self.run.started).total_seconds()
        self.emit(
            EventKind.RUN_FINISHED,
            message=error or "",
            data={
                "state": state.value,
                "rows": self.run.rows,
                "bytes": self.run.bytes,
                "seconds": round(seconds, 3),
            }
            | ({"code": code} if code else {}),
        )
        self._journal.settle()

    # --- the dispatcher's hooks -----------------------------------------------------------------------------------

    def hooks(self, control: Control, leaders: Callable[[], None], also: Callable[[Task, JobResult], None]) -> Hooks:
        """A dispatcher's, of which all is told here. `also` hears of a committed job when it has been told."""

        def finished(task: Task, result: JobResult) -> None:
            self.finished(task, result)
            also(task, result)

        return Hooks(
            started=self.started,
            finished=finished,
            finished_together=self.finished_together,
            retried=self.retried,
            failed=self.failed,
            look=lambda flying: self.look(flying, control, leaders),
            may_start=self.may_start,
        )

    def started(self, task: Task) -> None:
        """A job was handed out."""
        if task.job.kind.loads:
            self.emit(EventKind.CHUNK_STARTED, table=task.table, chunk=task.job.chunk, store=False)

    def finished(self, task: Task, result: JobResult) -> None:
        """A job is committed."""
        self.moved_at = time.monotonic()
        receipt = replace(result.receipt, table=task.table)
        if task.job.kind.loads:
            self._copied(task, receipt, result)
        elif task.job.kind is JobKind.KEEP:
            self._compared_to_keep(task, receipt, result)
        elif task.job.kind is JobKind.CHECK:
            self._compared(task, receipt, agrees=result.agrees)
        elif task.job.kind in {JobKind.STEP, JobKind.VACUUM}:
            self.emit(
                EventKind.INDEX_DONE,
                table=task.table,
                data={"step": task.job.chunk, "seconds": round(receipt.seconds, 3)},
            )

    def finished_together(self, done: Sequence[tuple[Task, JobResult]]) -> None:
        """The leaves of a batch are committed."""
        self.moved_at = time.monotonic()
        copied = [(t, replace(r.receipt, table=t.table), r) for t, r in done]
        self._journal.save_done(self.run.id, [receipt for _, receipt, _ in copied])
        for task, receipt, result in copied:
            self._tell_copied(task, receipt, result)

    def _copied(self, task: Task, receipt: Receipt, result: JobResult) -> None:
        self._journal.save_chunk(
            self.run.id, task.table, task.job.chunk, ChunkState.DONE, receipt=receipt, attempts=task.attempts
        )
        self._tell_copied(task, receipt, result)

    def _tell_copied(self, task: Task, receipt: Receipt, result: JobResult) -> None:
        self._tally.count((task.table, task.job.chunk), receipt)
        if not result.agrees:
            self._differing.add(task.table)
        self.emit(
            EventKind.CHUNK_DONE,
            table=task.table,
            chunk=task.job.chunk,
            data=_facts(receipt)
            | ({} if result.agrees else {"agrees": False})
            | ({"watermark": result.watermark} if result.watermark else {}),
            store=not result.agrees,
        )

    def _compared_to_keep(self, task: Task, receipt: Receipt, result: JobResult) -> None:
        """Equal: all of the table's chunks are done. Different: it waits for its load."""
        if not result.agrees:
            self.emit(EventKind.VERIFIED, table=task.table, data={"agrees": False, "step": "refresh"} | _facts(receipt))
            return
        self._kept.add(task.table)
        for chunk in (task.job.chunk, *task.job.covers):
            if (task.table, chunk) in self._tally.keys:
                part = receipt if chunk == task.job.chunk else replace(receipt, chunk=chunk, rows=0, seconds=0.0)
                self._journal.save_chunk(self.run.id, task.table, chunk, ChunkState.DONE, receipt=part)
                self._tally.count((task.table, chunk), part)
        facts = _facts(receipt) | {"kept": True}
        self.emit(EventKind.CHUNK_DONE, table=task.table, chunk=task.job.chunk, data=facts, store=False)

    def _compared(self, task: Task, receipt: Receipt, *, agrees: bool) -> None:
        if not agrees:
            self._differing.add(task.table)
        kind = "recheck" if self._rechecking else "verify"
        self.emit(
            EventKind.VERIFIED,
            table=task.table,
            chunk=task.job.chunk,
            data={"agrees": agrees, "step": kind} | _facts(receipt),
            store=kind == "verify",
        )

    def retried(self, task: Task, exc: PghaulError, pause: float) -> None:
        """A passing fault."""
        self.emit(
            EventKind.CHUNK_RETRY,
            table=task.table,
            chunk=task.job.chunk,
            message=exc.said,
            data={"attempt": task.attempts, "code": exc.code, "sqlstate": exc.sqlstate, "wait": round(pause, 2)},
        )

    def failed(self, task: Task, exc: PghaulError) -> None:
        """What ends the run: said of its chunk too."""
        if task.job.kind.loads:
            self._journal.save_chunk(
                self.run.id, task.table, task.job.chunk, ChunkState.FAILED, error=exc.said, attempts=task.attempts
            )
        self.emit(
            EventKind.CHUNK_FAILED,
            table=task.table,
            chunk=task.job.chunk,
            message=exc.said,
            data={"attempt": task.attempts, "code": exc.code, "sqlstate": exc.sqlstate},
        )

    def look(self, flying: Sequence[InFlight], control: Control, leaders: Callable[[], None]) -> None:
        """Wishes, the leaders' health, totals for the store and progress for the screen: each in its own time."""
        self._heed()
        if not self._due("look", LOOK_EVERY):  # a thousand small tables a second end more often than anybody looks
            return
        control.hold(self.steering.held)
        options = self._plan.options  # where no stream is open yet, as many may open before the next look as can fly
        control.set_share((options.max_rate or 0) / (sum(f.moving for f in flying) or options.workers))
        self.steering.check()
        if self._due("leaders", LEADERS_EVERY):
            leaders()
        progress = self._tell_progress(flying)
        if self._due("save", SAVE_EVERY):
            self.run = self._tally.totals(self.run)
            in_flight = sum(f.bytes for f in flying)
            self._journal.save_progress(
                self.run, progress, self._tally.sample(in_flight) if self._sample_is_due() else None
            )

    def may_start(self) -> bool:
        """False while no job is to begin."""
        return not self.steering.held

    def check_wish(self) -> None:
        """Wait while the run is paused. Raises StoppedError by wish, PausedError after pause_hold."""
        self._heed()
        while self.steering.held:
            self.steering.check()
            time.sleep(NAP)
            self._heed()

    def ready_to_move(self) -> None:
        """Before the first change of an attempt: a paused run keeps nothing open for it. Raises PausedError."""
        self._heed()
        self.steering.let_go()

    def heed(self, staged: Sequence[InFlight]) -> None:
        """Raise StoppedError when somebody has asked for it; a pause waits until what is under way is done."""
        self._heed()
        if self._due("look", LOOK_EVERY):
            self._tell_progress(staged)

    def progressed(self) -> None:
        """Something got further, though no chunk is done."""
        self.moved_at = time.monotonic()

    def rest(self) -> None:
        """Wait while the run is paused; nothing is open."""
        self._heed()
        while self.steering.held:
            self.steering.freed()
            time.sleep(NAP)
            self._heed()

    def _heed(self) -> None:
        """Raise StoppedError when somebody has asked for it, here or in another process; notice a pause and its end."""
        if self._stop():
            raise StoppedError(say("stopped as asked"), advice=GO_ON.format(run=self.run.id), code=4030)
        if not self._recorded:
            return
        if self._due("wish", WISH_EVERY):
            self._wish = self._journal.wish(self.run.id)
        if self._wish is Wish.STOP:
            raise StoppedError(say("stopped from another process"), advice=GO_ON.format(run=self.run.id), code=4031)
        if self.steering.update(self._wish):
            self.moved_at = time.monotonic()  # a pause is no lack of progress

    def _steered(self, state: RunState, why: str | None) -> None:
        self.run = replace(self.run, state=state, note=why)
        self._journal.save_run(self.run)

    def waiting(self, found: Iterable[Waiting]) -> None:
        """Somebody's DDL stands behind our locks: said once of each."""
        for w in found:
            if (w.pid, w.relation) not in self._waiting:
                self._waiting.add((w.pid, w.relation))
                self.warn(WAITS.format(pid=str(w.pid), user=w.user, mode=w.mode, relation=w.relation, run=self.run.id))

    # --- how far it is --------------------------------------------------------------------------------------------

    def _tell_progress(self, flying: Sequence[InFlight]) -> dict[str, Any]:
        if self._due("footprint", FOOTPRINT_EVERY):
            children = (p.pid for p in multiprocessing.active_children() if p.pid)
            self._taken = self._footprint.look((os.getpid(), *children))
        in_flight = sum(f.bytes for f in flying)
        data = self._tally.snapshot(in_flight)
        if self.steering.held:
            data |= {"rate": 0, "eta": None}
        known = sum(f.rows or 0 for f in flying)
        data["rows_estimated"] = data["rows"] + known + self._tally.rows_in(_unknown(flying))
        if load := self.steering.load:
            data["load"] = load
        data |= {"workers": self._lanes.tell(flying)} | self._taken
        self.emit(EventKind.PROGRESS, data=data, store=False)
        return data

    def _sample_is_due(self) -> bool:
        """Every second at first, less often the longer it takes."""
        elapsed = (datetime.now(UTC) - self.run.started).total_seconds()
        return self._due("sample", max(SAVE_EVERY, elapsed / SAMPLES))

    # --- the attempt's words --------------------------------------------------------------------------------------

    def expect_recheck(self) -> None:
        """Until the differing tables are taken, comparisons are those of a resume."""
        self._rechecking = True

    def take_kept(self) -> set[Name]:
        """Tables found equal since the last call."""
        found, self._kept = self._kept, set()
        return found

    def take_differing(self) -> set[Name]:
        """Tables found different since the last call."""
        self._rechecking = False
        found, self._differing = self._differing, set()
        return found

    def redo(self, table: Name, chunks: Iterable[Chunk]) -> None:
        """Finished chunks that the new snapshot does not confirm."""
        for chunk in chunks:
            if self._tally.uncount((table, chunk.key)):
                self._journal.save_chunk(self.run.id, table, chunk.key, ChunkState.PENDING)
        self.emit(
            EventKind.CHUNK_REDO,
            table=table,
            message=say("it has changed since it was copied, and is copied again"),
        )

    def mixed(self, tables: Iterable[Name], why: str) -> None:
        """Chunks of several snapshots stand side by side: said on the receipt."""
        for table in tables:
            self.notice("MIXED SNAPSHOTS", str(table), why)

    def schema(self, step: str, objects: list[str]) -> None:
        """Something was made on the target."""
        self.moved_at = time.monotonic()
        self.check_wish()
        self.emit(EventKind.SCHEMA, data={"step": step, "objects": objects})

    def notice(self, kind: str, name: str, why: str, **more: object) -> None:
        """Something to know; never silent."""
        words = say("{kind} {name}: {why}", kind=kind, name=name, why=why)
        self.emit(EventKind.NOTICE, message=words, data={"kind": kind, "name": name, "why": why, **more})

    def warn(self, message: str) -> None:
        """Something to look at."""
        self.emit(EventKind.WARNING, message=message)

    def emit(
        self,
        kind: EventKind,
        *,
        table: Name | None = None,
        chunk: str | None = None,
        message: str = "",
        data: dict[str, Any] | None = None,
        store: bool = True,
    ) -> None:
        """One event, to the journal where it is worth keeping, and to the listener."""
        event = Event(
            kind=kind,
            run=self.run.id,
            table=str(table) if table else None,
            chunk=chunk,
            message=message,
            data=data or {},
        )
        if store and self._recorded:
            self._journal.save_event(event)
        self._listener(event)

    def _due(self, what: str, every: float) -> bool:
        now = time.monotonic()
        if now - self._last.get(what, 0.0) < every:
            return False
        self._last[what] = now
        return True


def _facts(receipt: Receipt) -> dict[str, Any]:
    return {
        "rows": receipt.rows,
        "inserted": receipt.inserted,
        "updated": receipt.updated,
        "unchanged": receipt.unchanged,
        "ignored": receipt.ignored,
        "rejected": receipt.rejected,
        "deleted": receipt.deleted,
        "bytes": receipt.bytes,
        "seconds": round(receipt.seconds, 3),
        "proof": receipt.proof.value,
        "source_hash": receipt.source_hash,
        "target_hash": receipt.target_hash,
    }


def _unknown(flying: Sequence[InFlight]) -> int:
    """Bytes of which nobody can say yet how many rows they are."""
    return sum(f.bytes for f in flying if f.rows is None)
