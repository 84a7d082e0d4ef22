"""What the engine says while it works: to the journal, to the listener, and to itself about wishes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from pghaul.engine.compose import total_bytes
from pghaul.engine.dispatch import Task
from pghaul.engine.job import JobKind, JobResult
from pghaul.engine.journal import Journal
from pghaul.engine.progress import Progress
from pghaul.model.chunk import Chunk, ChunkState
from pghaul.model.errors import PghaulError, StoppedError
from pghaul.model.event import Event, EventKind, Listener
from pghaul.model.manifest import Manifest
from pghaul.model.plan import Plan
from pghaul.model.receipt import Receipt
from pghaul.model.run import Run, RunState, Wish
from pghaul.model.table import Name

WISH_EVERY = 0.5  # seconds
LEADERS_EVERY = 2.0
SAVE_EVERY = 2.0


class Reporter:
    """One per run, over all its attempts. The only one who writes the journal."""

    def __init__(
        self, run: Run, plan: Plan, journal: Callable[[], Journal], listener: Listener, stop: Callable[[], bool]
    ) -> None:
        self.run = run
        self.moved_at = time.monotonic()  # when a run last got further: a retry budget is counted from here
        self._plan = plan
        self._open_journal = journal
        self._listener = listener
        self._stop = stop
        self._chunks: dict[tuple[Name, str], Chunk] = {}
        self._counted: dict[tuple[Name, str], tuple[int, int]] = {}
        self._progress = Progress(chunks=0, bytes_estimated=0)
        self._differing: set[Name] = set()
        self._kept: set[Name] = set()
        self._last: dict[str, float] = {}
        self._rechecking = False
        self._recorded = False

    @cached_property
    def _journal(self) -> Journal:
        """Opened when there is something to record; by then pg_dump is at work, and we have the time."""
        return self._open_journal()

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
        self.begin(manifest)
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
            self.notice(item.kind, item.name, item.why)

    def begin(self, manifest: Manifest) -> None:
        """Know the chunks, and count from nothing: what is done is found in the ledger."""
        self._chunks = {(c.table, c.key): c for c in manifest.chunks}
        self._recorded = True

    def attempt(self, epoch: int, snapshot: str) -> None:
        """A new epoch has begun."""
        self.run = replace(self.run, epoch=epoch, state=RunState.RUNNING, error=None, finished=None)
        self._journal.save_run(self.run)
        self._progress = Progress(chunks=len(self._chunks), bytes_estimated=self.run.bytes_estimated)
        self._counted = {}
        self._differing = set()
        self.emit(EventKind.ATTEMPT, data={"epoch": epoch, "snapshot": snapshot})

    def found(self, done: Mapping[Name, Mapping[str, Receipt]]) -> None:
        """What earlier epochs committed: the ledger wins over the journal."""
        states = self._journal.chunk_states(self.run.id)
        for key in self._chunks:
            receipt = done.get(key[0], {}).get(key[1])
            if receipt is not None:
                self._count(key, receipt)
                if not receipt.agrees:  # found different when it was loaded: nobody may forget it
                    self._differing.add(key[0])
                if states.get(key) is not ChunkState.DONE:
                    self._journal.save_chunk(self.run.id, *key, ChunkState.DONE, receipt=receipt)
            elif states.get(key) in {ChunkState.DONE, ChunkState.FAILED}:
                self._journal.save_chunk(self.run.id, *key, ChunkState.PENDING)

    def end(self, state: RunState, error: str | None = None) -> None:
        """The run has ended, one way or another. Nothing to say of one that was never planned."""
        if not self._recorded:
            return
        self._store_totals()
        self.run = replace(self.run, state=state, error=error, finished=datetime.now(UTC))
        self._journal.save_run(self.run)
        seconds = (datetime.now(UTC) - self.run.started).total_seconds()
        self.emit(
            EventKind.RUN_FINISHED,
            message=error or "",
            data={
                "state": state.value,
                "rows": self.run.rows,
                "bytes": self.run.bytes,
                "seconds": round(seconds, 3),
            },
        )

    # --- the dispatcher's hooks -----------------------------------------------------------------------------------

    def started(self, task: Task) -> None:
        """A job was handed out."""
        if task.job.kind is JobKind.COPY:
            self.emit(EventKind.CHUNK_STARTED, table=task.table, chunk=task.job.chunk, store=False)

    def finished(self, task: Task, result: JobResult) -> None:
        """A job is committed."""
        self.moved_at = time.monotonic()
        receipt = replace(result.receipt, table=task.table)
        if task.job.kind is JobKind.COPY:
            self._copied(task, receipt, result)
        elif task.job.kind is JobKind.KEEP:
            self._compared_to_keep(task, receipt, result)
        elif task.job.kind is JobKind.CHECK:
            self._compared(task, receipt, agrees=result.agrees)
        elif task.job.kind is JobKind.STEP:
            self.emit(
                EventKind.INDEX_DONE,
                table=task.table,
                data={"step": task.job.chunk, "seconds": round(receipt.seconds, 3)},
            )

    def _copied(self, task: Task, receipt: Receipt, result: JobResult) -> None:
        self._journal.save_chunk(
            self.run.id, task.table, task.job.chunk, ChunkState.DONE, receipt=receipt, attempts=task.attempts
        )
        self._count((task.table, task.job.chunk), receipt)
        if not result.agrees:
            self._differing.add(task.table)
        self.emit(
            EventKind.CHUNK_DONE,
            table=task.table,
            chunk=task.job.chunk,
            data=_facts(receipt) | ({} if result.agrees else {"agrees": False}),
            store=not result.agrees,
        )

    def _compared_to_keep(self, task: Task, receipt: Receipt, result: JobResult) -> None:
        """Equal: all of the table's chunks are done. Different: it waits for its load."""
        if not result.agrees:
            self.emit(EventKind.VERIFIED, table=task.table, data={"agrees": False, "step": "refresh"} | _facts(receipt))
            return
        self._kept.add(task.table)
        for chunk in (task.job.chunk, *task.job.covers):
            if (task.table, chunk) in self._chunks:
                part = receipt if chunk == task.job.chunk else replace(receipt, chunk=chunk, rows=0, seconds=0.0)
                self._journal.save_chunk(self.run.id, task.table, chunk, ChunkState.DONE, receipt=part)
                self._count((task.table, chunk), part)
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
            message=str(exc),
            data={"attempt": task.attempts, "sqlstate": exc.sqlstate, "wait": round(pause, 2)},
        )

    def failed(self, task: Task, exc: PghaulError) -> None:
        """What ends the run: said of its chunk too."""
        if task.job.kind is JobKind.COPY:
            self._journal.save_chunk(
                self.run.id, task.table, task.job.chunk, ChunkState.FAILED, error=str(exc), attempts=task.attempts
            )
        self.emit(
            EventKind.CHUNK_FAILED,
            table=task.table,
            chunk=task.job.chunk,
            message=str(exc),
            data={"attempt": task.attempts, "sqlstate": exc.sqlstate},
        )

    def look(self, in_flight: int, leaders: Callable[[], None]) -> None:
        """Wishes, the leaders' health, totals for the store and progress for the screen: each in its own time."""
        self.check_wish()
        if self._due("leaders", LEADERS_EVERY):
            leaders()
        if self._due("save", SAVE_EVERY):
            self._store_totals()
            self._journal.save_run(self.run)
        self.emit(EventKind.PROGRESS, data=self._progress.snapshot(in_flight), store=False)

    def check_wish(self) -> None:
        """Raise StoppedError when somebody has asked for it, here or in another process."""
        if self._stop():
            raise StoppedError("stopped as asked", advice=f"go on with: pghaul resume {self.run.id}")
        if self._recorded and self._due("wish", WISH_EVERY) and self._journal.wish(self.run.id) is Wish.STOP:
            raise StoppedError("stopped from another process", advice=f"go on with: pghaul resume {self.run.id}")

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
            counted = self._counted.pop((table, chunk.key), None)
            if counted is not None:
                self._progress.remove(rows=counted[0], size=counted[1], estimated=chunk.bytes)
                self._journal.save_chunk(self.run.id, table, chunk.key, ChunkState.PENDING)
        self.emit(
            EventKind.CHUNK_REDO,
            table=table,
            message="it has changed since it was copied, and is copied again",
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

    def notice(self, kind: str, name: str, why: str) -> None:
        """Something to know; never silent."""
        self.emit(EventKind.NOTICE, message=f"{kind} {name}: {why}", data={"kind": kind, "name": name, "why": why})

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

    def _count(self, key: tuple[Name, str], receipt: Receipt) -> None:
        if key in self._counted:
            return
        self._counted[key] = (receipt.rows, receipt.bytes)
        self._progress.add(rows=receipt.rows, size=receipt.bytes, estimated=self._chunks[key].bytes)

    def _store_totals(self) -> None:
        p = self._progress
        self.run = replace(self.run, rows=p.rows, bytes=p.bytes, chunks_done=p.chunks_done)

    def _due(self, what: str, every: float) -> bool:
        now = time.monotonic()
        if now - self._last.get(what, 0.0) < every:
            return False
        self._last[what] = now
        return True


def _facts(receipt: Receipt) -> dict[str, Any]:
    return {
        "rows": receipt.rows,
        "bytes": receipt.bytes,
        "seconds": round(receipt.seconds, 3),
        "proof": receipt.proof.value,
        "source_hash": receipt.source_hash,
        "target_hash": receipt.target_hash,
    }
