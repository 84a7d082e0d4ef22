"""Hands jobs to the pool: largest first, each after what it depends on, again after a passing fault."""

from __future__ import annotations

import heapq
import itertools
import random
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace

from pghaul.engine.job import Job, JobKind, JobResult
from pghaul.engine.pool import Pool
from pghaul.model.errors import PghaulError, SnapshotLostError, StoppedError, TransientError
from pghaul.model.table import Name
from pghaul.model.text import say

LOOK = 0.1  # seconds between two looks at wishes and progress (10 Hz)
# A frozen worker (stopped, swapped out) is killed after this many stall timeouts without a sign of life.
FROZEN = 5
# Seconds that a worker gets at least: it has to be spawned, to import its drivers, and to reach both servers. Twice as
# many with each pool that gave up before anything was done: where the machine is that busy, none would ever get there.
FIRST_SIGN = 5.0
DIED = say("a worker process has died")
REBUILT = say("its worker pool was rebuilt")


@dataclass(kw_only=True, eq=False)
class Task:
    """A job and what it waits for. A batch has parts: each is a task that can be run by itself."""

    job: Job
    table: Name
    size: int  # estimated bytes: the order
    after: list[Task] = field(default_factory=list)
    parts: tuple[Task, ...] = ()
    attempts: int = 0
    done: bool = False


@dataclass(kw_only=True)
class _Flight:
    task: Task
    slot: int
    ticks: int = 0
    seen: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """A job that a worker has in hand: what it has moved, and whether it moves or does something else."""

    task: Task
    bytes: int
    moving: bool
    rows: int | None = None  # where somebody has counted them


@dataclass(kw_only=True)
class Hooks:
    """What the dispatcher tells, and whom it asks."""

    started: Callable[[Task], None]
    finished: Callable[[Task, JobResult], None]
    finished_together: Callable[[Sequence[tuple[Task, JobResult]]], None]  # the parts of a batch
    retried: Callable[[Task, PghaulError, float], None]
    failed: Callable[[Task, PghaulError], None]
    look: Callable[[Sequence[InFlight]], None]  # called ~10 times a second; may raise to end the run
    may_start: Callable[[], bool] = lambda: True  # False while the run is paused


def delay(attempt: int) -> float:
    """Exponential back-off with full jitter, 0.1 s … 15 s (AWS Architecture Blog, "Exponential Backoff And Jitter")."""
    return random.uniform(0.1, min(15.0, 0.2 * 2**attempt))  # noqa: S311


class Dispatcher:
    """Runs tasks to their end on a pool."""

    def __init__(self, pool: Pool, hooks: Hooks, *, retries: int, stall_timeout: float) -> None:
        self._pool = pool
        self._hooks = hooks
        self._retries = retries
        self._frozen = FROZEN * stall_timeout
        self._in_vain = 0  # pools in a row that were given up as frozen
        self._order = itertools.count()
        self._flying: dict[Future[JobResult], _Flight] = {}
        self._ready: list[tuple[int, int, Task]] = []
        self._later: list[tuple[float, int, Task]] = []
        self._waiting: list[Task] = []

    def run(self, tasks: Iterable[Task]) -> None:
        """Return when all are done; raise the first error that is not to be tried again."""
        self._waiting = list(tasks)
        self._release()
        while self._flying or self._ready or self._later:
            self._fill()
            done, _ = wait(self._flying, timeout=LOOK, return_when=FIRST_COMPLETED)
            self._collect(done)
            self._watch()
            self._hooks.look(self._in_flight())

    def _in_flight(self) -> list[InFlight]:
        control = self._pool.control
        return [
            InFlight(
                task=f.task,
                bytes=control.bytes(f.slot),
                moving=control.moving(f.slot),
                rows=control.rows(f.slot),
            )
            for f in self._flying.values()
        ]

    def _release(self) -> None:
        still = []
        for task in self._waiting:
            if all(t.done for t in task.after):
                heapq.heappush(self._ready, (-task.size, next(self._order), task))
            else:
                still.append(task)
        self._waiting = still

    def _fill(self) -> None:
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            _, order, task = heapq.heappop(self._later)
            heapq.heappush(self._ready, (-task.size, order, task))
        free = set(range(self._pool.size)) - {f.slot for f in self._flying.values()}
        may_start = self._hooks.may_start()
        while free and self._ready and may_start:
            task = heapq.heappop(self._ready)[2]
            self._launch(task, free.pop())
        if not self._flying and not may_start:
            time.sleep(LOOK)
        elif not self._flying and self._later:
            time.sleep(min(LOOK, max(0.0, self._later[0][0] - now)))

    def _launch(self, task: Task, slot: int) -> None:
        task.attempts += 1
        job = replace(task.job, slot=slot, helpers=self._helpers(task))
        try:
            future = self._hand_over(job)
        except BrokenProcessPool:  # the new ones have died as well
            self._died(task)
            return
        self._flying[future] = _Flight(task=task, slot=slot, seen=time.monotonic())
        for part in task.parts or (task,):
            self._hooks.started(part)

    def _hand_over(self, job: Job) -> Future[JobResult]:
        try:
            return self._pool.submit(job)
        except BrokenProcessPool:
            self._lost_worker()
            return self._pool.submit(job)

    def _helpers(self, task: Task) -> int:
        """Processes of the target's own for an index that nothing else waits behind: ours would stand idle.

        One index of 8 million rows took 18.4 s alone and 10.5 s with one helper.
        """
        if task.job.kind is not JobKind.STEP or self._ready or self._pool.size < 2:
            return 0
        return max(1, self._pool.size - len(self._flying) - 1)

    def _collect(self, done: Iterable[Future[JobResult]]) -> None:
        for future in done:
            flight = self._flying.pop(future, None)
            if flight is None:
                continue  # it went down with the pool, and is queued again
            self._pool.control.clear(flight.slot)
            try:
                result = future.result()
            except BrokenProcessPool:
                self._died(flight.task)
            except SnapshotLostError:
                raise
            except TransientError as exc:
                self._again(flight.task, exc)
            except StoppedError:
                raise
            except PghaulError as exc:
                if flight.task.parts:
                    self._apart(flight.task, exc)
                    continue
                self._hooks.failed(flight.task, exc)
                raise
            else:
                self._done(flight.task, result)

    def _done(self, task: Task, result: JobResult) -> None:
        task.done = True
        self._in_vain = 0
        if task.parts:
            self._hooks.finished_together(list(zip(task.parts, result.parts, strict=True)))
        else:
            self._hooks.finished(task, result)
        if self._waiting:
            self._release()

    def _apart(self, batch: Task, exc: PghaulError) -> None:
        """Each leaf by itself: those that can be loaded are; the one that cannot is named, before all other work."""
        pause = delay(1) if isinstance(exc, TransientError) else 0.0
        self._hooks.retried(batch, exc, pause)
        for part in batch.parts:
            if pause:
                heapq.heappush(self._later, (time.monotonic() + pause, next(self._order), part))
            else:
                heapq.heappush(self._ready, (-sys.maxsize, next(self._order), part))

    def _again(self, task: Task, exc: TransientError) -> None:
        if task.parts:
            self._apart(task, exc)
            return
        if task.attempts > self._retries:
            raise exc
        pause = delay(task.attempts)
        self._hooks.retried(task, exc, pause)
        heapq.heappush(self._later, (time.monotonic() + pause, next(self._order), task))

    def _died(self, task: Task) -> None:
        self._again(task, TransientError(DIED, where=str(task.table), code=2030))
        self._lost_worker()

    def _lost_worker(self) -> None:
        """The pool gives up all its processes when one dies; what flew with it is queued again."""
        flights, self._flying = list(self._flying.values()), {}
        for flight in flights:
            self._again(flight.task, TransientError(REBUILT, where=str(flight.task.table), code=2031))
        self._pool.rebuild()

    def _watch(self) -> None:
        now = time.monotonic()
        for flight in self._flying.values():
            ticks = self._pool.control.ticks(flight.slot)
            if ticks != flight.ticks:
                flight.ticks, flight.seen = ticks, now
        patience = max(self._frozen, FIRST_SIGN * 2**self._in_vain)
        if any(now - f.seen > patience for f in self._flying.values()):
            self._in_vain += 1
            self._lost_worker()
