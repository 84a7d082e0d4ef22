"""The executor: spawned processes on one machine, rebuilt whenever one of them dies.

Spawn everywhere, so that no platform differs and no worker inherits the runner's connections. Processes may be spawned
before it is known whom they will work for: they start and import meanwhile, and wait for their configuration.
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TYPE_CHECKING, Protocol

from pghaul.engine.control import Control

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from multiprocessing.queues import SimpleQueue

    from pghaul.engine.job import Job, JobResult
    from pghaul.engine.worker import WorkerConfig

CONTEXT: BaseContext = multiprocessing.get_context("spawn")


class Pool(Protocol):
    """What a dispatcher needs of its workers, in whatever process they are."""

    size: int
    control: Control

    def configure(self, config: WorkerConfig) -> None:
        """Whom they work for, before the first job."""
        ...

    def limit(self, max_rate: float) -> None:
        """Bytes per second of all of them together, 0 without a bound."""
        ...

    def warm_up(self) -> None:
        """Be ready for the first job."""
        ...

    def submit(self, job: Job) -> Future[JobResult]:
        """Raises BrokenProcessPool when a worker has died."""
        ...

    def has_lost(self) -> bool:
        """Has one of them ended?"""
        ...

    def rebuild(self) -> None:
        """Nothing of what they do goes on; new ones take their places."""
        ...

    def wind_down(self) -> None:
        """No more jobs will come."""
        ...

    def close(self, grace: float) -> None:
        """Ask, wait up to `grace` seconds, then end them. Nothing happens the second time."""
        ...


class WorkerPool:
    """`size` processes, and as many slots. `config` may come later, by configure(), but before the first job."""

    def __init__(self, size: int, config: WorkerConfig | None = None) -> None:
        self.size = size
        self._max_rate = 0.0
        self._config = config
        self._closed = False
        self._start()

    def _start(self) -> None:
        # Anew with every pool: a worker of the old one may still write into the old memory.
        self.control = Control(self.size)
        self.control.set_share(self._max_rate / self.size)
        self._configs: SimpleQueue[WorkerConfig] = CONTEXT.SimpleQueue()
        self._others = {p.pid for p in multiprocessing.active_children()}
        self._ours: set[multiprocessing.process.BaseProcess] = set()
        self._executor = ProcessPoolExecutor(
            self.size,
            mp_context=CONTEXT,
            initializer=_start,
            initargs=(self._configs, self.control),
        )
        self._tell()

    def configure(self, config: WorkerConfig) -> None:
        """Whom the processes work for, once that is known."""
        self._config = config
        self._tell()

    def limit(self, max_rate: float) -> None:
        """Bytes per second of all processes together, 0 without a bound: until the runner looks, each has its part."""
        self._max_rate = max_rate
        self.control.set_share(max_rate / self.size)

    def _tell(self) -> None:
        if self._config is not None:
            for _ in range(self.size):
                self._configs.put(self._config)

    def warm_up(self) -> None:
        """Spawn all processes now, while the runner has other work: the executor would wait for the first job."""
        for _ in range(self.size):
            self._executor.submit(_nothing)
            self._keep_in_sight()

    def submit(self, job: Job) -> Future[JobResult]:
        """Raises BrokenProcessPool when a worker has died."""
        future = self._executor.submit(_work, job)
        self._keep_in_sight()
        return future

    def _keep_in_sight(self) -> None:
        """Processes are spawned as jobs are submitted. One that has ended is no active child any more: who looks for
        it only later never learns that it was there.
        """
        if len(self._ours) < self.size:
            self._ours.update(self._processes())

    def has_lost(self) -> bool:
        """Has one of the processes ended? The executor alone does not always notice.

        That of Python 3.11 breaks its futures without holding its own lock: a job submitted at that moment never ends.
        Nor does it watch a process that it spawns while it goes to sleep, until the next job or result wakes it.
        """
        return any(p.exitcode is not None for p in self._ours)

    def rebuild(self) -> None:
        """After BrokenProcessPool: no process of the old pool goes on."""
        self._kill()
        self._start()

    def wind_down(self) -> None:
        """No more jobs will come: the processes end while the runner goes on."""
        self._executor.shutdown(wait=False)

    def close(self, grace: float) -> None:
        """Ask, wait up to `grace` seconds, then kill. Nothing happens the second time."""
        if self._closed:
            return
        self._closed = True
        if self._config is None:  # they wait for it, and for nothing else
            grace = 0.0
        self.control.stop()
        deadline = time.monotonic() + grace
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in self._processes():
            process.join(max(0.0, deadline - time.monotonic()))
        self._kill()

    def _kill(self) -> None:
        for process in self._processes():
            process.kill()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._configs.close()

    def _processes(self) -> list[multiprocessing.process.BaseProcess]:
        return [p for p in multiprocessing.active_children() if p.pid not in self._others]


# What the processes run. They import the worker and its driver themselves: a runner that only spawns them does not wait
# for that.


def _start(configs: SimpleQueue[WorkerConfig], control: Control) -> None:
    from pghaul.engine import worker  # noqa: PLC0415

    worker.start(configs, control)


def _work(job: Job) -> JobResult:
    from pghaul.engine import worker  # noqa: PLC0415

    return worker.work(job)


def _nothing() -> None:
    """A job that only makes the pool spawn its processes."""
