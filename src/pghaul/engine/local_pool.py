"""The executor for little work: threads of this process, with a worker's connections each, and no process to spawn.

An increment of a thousand rows takes less time than a process that would move it takes to start. A relay makes no
object per row, so a thread moves bytes nearly as fast as a process does, as long as few of them are at work; what
is large still goes to the WorkerPool. Kept open, it gives its connections to the next round.
"""

from __future__ import annotations

import contextlib
import copy
from concurrent.futures import Future, ThreadPoolExecutor, wait

from pghaul.engine.control import Control
from pghaul.engine.job import Job, JobResult
from pghaul.engine.worker import Worker, WorkerConfig


class LocalPool:
    """As WorkerPool, with `size` slots. A slot has one worker and one thread, which are made with its first job."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._max_rate = 0.0
        self._config: WorkerConfig | None = None
        self._start()

    def _start(self) -> None:
        self.control = Control(self.size)
        self.control.set_share(self._max_rate / self.size)
        self._threads: dict[int, ThreadPoolExecutor] = {}
        self._workers: dict[int, Worker] = {}

    def configure(self, config: WorkerConfig) -> None:
        """Whom the threads work for: connections that are open to the same databases stay, under a new name."""
        self._config = config
        for worker in self._workers.values():
            worker.config = config

    def limit(self, max_rate: float) -> None:
        """Bytes per second of all threads together, 0 without a bound."""
        self._max_rate = max_rate
        self.control.set_share(max_rate / self.size)

    def warm_up(self) -> None:
        """A thread takes no time to start."""

    def wind_down(self) -> None:
        """The threads wait for the next round, or for close(); until then they hold no snapshot."""
        for slot, worker in self._workers.items():
            self._threads[slot].submit(worker.rest)

    def submit(self, job: Job) -> Future[JobResult]:
        """In the thread of its slot, which has nothing else to do."""
        if job.slot not in self._threads:
            if self._config is None:
                raise RuntimeError("a pool that was not configured")
            control = copy.copy(self.control)  # the same memory; which slot it writes to is each thread's own
            self._workers[job.slot] = Worker(self._config, control)
            self._threads[job.slot] = ThreadPoolExecutor(1, thread_name_prefix=f"pghaul-worker-{job.slot}")
        return self._threads[job.slot].submit(self._workers[job.slot].run, job)

    def rebuild(self) -> None:
        """What hangs is told to stop and left to itself; the next job gets a thread and connections of its own."""
        self._let_go()
        self._start()

    def close(self, grace: float) -> None:
        """Ask, wait up to `grace` seconds, and leave what does not listen to itself. Twice does no harm."""
        closing = self._let_go()
        wait(closing, timeout=max(grace, 0.1))
        self._start()

    def _let_go(self) -> list[Future[None]]:
        self.control.stop()
        closing = [self._threads[slot].submit(worker.close) for slot, worker in self._workers.items()]
        for thread in self._threads.values():
            with contextlib.suppress(RuntimeError):
                thread.shutdown(wait=False)
        return closing
