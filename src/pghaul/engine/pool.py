"""The executor: spawned processes on one machine, rebuilt whenever one of them dies.

Spawn everywhere, so that no platform differs and no worker inherits the runner's connections.
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import Future, ProcessPoolExecutor

from pghaul.engine import worker
from pghaul.engine.control import Control
from pghaul.engine.job import Job, JobResult


class WorkerPool:
    """`size` processes, and as many slots."""

    def __init__(self, size: int, config: worker.WorkerConfig) -> None:
        self.size = size
        self._config = config
        self._start()

    def _start(self) -> None:
        # Anew with every pool: a worker of the old one may still write into the old memory.
        self.control = Control(self.size)
        self._others = {p.pid for p in multiprocessing.active_children()}
        self._executor = ProcessPoolExecutor(
            self.size,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=worker.start,
            initargs=(self._config, self.control),
        )

    def warm_up(self) -> None:
        """Spawn all processes now, while the runner has other work: the executor would wait for the first job."""
        for _ in range(self.size):
            self._executor.submit(worker.nothing)

    def submit(self, job: Job) -> Future[JobResult]:
        """Raises BrokenProcessPool when a worker has died."""
        return self._executor.submit(worker.work, job)

    def rebuild(self) -> None:
        """After BrokenProcessPool: no process of the old pool goes on."""
        self._kill()
        self._start()

    def wind_down(self) -> None:
        """No more jobs will come: the processes end while the runner goes on."""
        self._executor.shutdown(wait=False)

    def close(self, grace: float) -> None:
        """Ask, wait up to `grace` seconds, then kill."""
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

    def _processes(self) -> list[multiprocessing.process.BaseProcess]:
        return [p for p in multiprocessing.active_children() if p.pid not in self._others]
