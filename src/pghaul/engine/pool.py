"""The executor: spawned processes on one machine, rebuilt whenever one of them dies.

Spawn everywhere, so that no platform differs and no worker inherits the runner's connections. Processes may be spawned
before it is known whom they will work for: they start and import meanwhile, and wait for their configuration.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

from pghaul.engine.control import Control
from pghaul.engine.crew import Crew, Duty

if TYPE_CHECKING:
    from concurrent.futures import Future
    from multiprocessing.context import BaseContext

    from pghaul.engine.job import Job, JobResult
    from pghaul.engine.worker import WorkerConfig

CONTEXT: BaseContext = multiprocessing.get_context("spawn")

Owed: TypeAlias = tuple["Callable[[Callable[[], WorkerConfig], Control], None]", "Callable[[Job], JobResult]"]


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
        """To the worker of its slot. When a worker has died, this and every open future raise BrokenProcessPool."""
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


def _relay() -> Owed:
    """The processes import the worker and its driver themselves: a runner that spawns them does not wait for that."""
    from pghaul.engine import worker  # noqa: PLC0415

    return worker.start, worker.work


def lane(engine: str) -> Duty:
    """For a source of this kind that is not PostgreSQL: its driver is at hand when the first job comes."""
    return partial(_lane, engine)


def _lane(engine: str) -> Owed:
    """While the runner looks at both databases. What is missing is said by the job that needs it."""
    owed = _relay()
    with contextlib.suppress(Exception):
        from pghaul.engine.arrow import reader  # noqa: PLC0415 -- pyarrow is nothing that a relay needs

        reader.get_ready(engine)
    return owed


class WorkerPool:
    """`size` processes, and as many slots. `config` may come later, by configure(), but before the first job."""

    def __init__(self, size: int, config: WorkerConfig | None = None, *, duty: Duty = _relay) -> None:
        self.size = size
        self._max_rate = 0.0
        self._config = config
        self._duty = duty
        self._closed = False
        self._start()

    def _start(self) -> None:
        # Anew with every pool: a worker of the old one may still write into the old memory.
        self.control = Control(self.size)
        self.control.set_share(self._max_rate / self.size)
        self._crew: Crew | None = None

    def configure(self, config: WorkerConfig) -> None:
        """Whom the processes work for, once that is known."""
        self._config = config
        if self._crew is not None:
            self._crew.tell(config)

    def limit(self, max_rate: float) -> None:
        """Bytes per second of all processes together, 0 without a bound: until the runner looks, each has its part."""
        self._max_rate = max_rate
        self.control.set_share(max_rate / self.size)

    def warm_up(self) -> None:
        """Spawn all processes now, while the runner has other work."""
        self._ready()

    def _ready(self) -> Crew:
        if self._closed:
            raise RuntimeError("a pool that was closed")
        if self._crew is None:
            self._crew = Crew(CONTEXT, self.size, self.control, self._duty)
            if self._config is not None:
                self._crew.tell(self._config)
        return self._crew

    def submit(self, job: Job) -> Future[JobResult]:
        """Raises BrokenProcessPool when a worker has died."""
        if self._config is None:
            raise RuntimeError("a pool that was not configured")
        return self._ready().ask(job.slot, job)

    def rebuild(self) -> None:
        """After BrokenProcessPool: no process of the old pool goes on."""
        self._end(0.0)
        self._start()
        self._ready()

    def wind_down(self) -> None:
        """No more jobs will come: the processes end while the runner goes on."""
        if self._crew is not None:
            self._crew.dismiss()

    def close(self, grace: float) -> None:
        """Ask, wait up to `grace` seconds, then kill. Nothing happens the second time."""
        if self._closed:
            return
        self._closed = True
        self.control.stop()
        # Without a configuration they wait for it, and for nothing else.
        self._end(grace if self._config is not None else 0.0)

    def _end(self, grace: float) -> None:
        if self._crew is not None:
            self._crew.end(grace)
