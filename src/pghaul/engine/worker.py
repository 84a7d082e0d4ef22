"""The process that does a job: its connections, its one event loop, and its end when its parent dies.

Imports stay light here (asyncpg and the model): every worker pays for them in memory and in the time to its first byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from pghaul.engine.batch import perform_batch
from pghaul.engine.careful.again import carefully
from pghaul.engine.careful.aside import LookedError, row_error
from pghaul.engine.careful.refusal import RefusedError
from pghaul.engine.control import Control
from pghaul.engine.hands import Hands
from pghaul.engine.job import Job, JobKind, JobResult
from pghaul.engine.perform import perform
from pghaul.engine.vacuum import vacuum
from pghaul.model.errors import ConnectionLostError, SnapshotLostError, StalledError
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.profile import Endpoint
from pghaul.model.redaction import guard
from pghaul.model.text import say
from pghaul.postgres import relay_connection
from pghaul.postgres.sqlstate import is_snapshot_lost, translate

if TYPE_CHECKING:
    from pghaul.engine.arrow.reader import Reader

ANSWER = 30.0  # seconds for statements that do nothing but answer
LETTING_GO = 0.05  # seconds in which the loop closes the sockets of connections that were cut
# A transaction keeps the lock of every table it has read; the lock table is shared by all sessions of the server.
MOST_READS = 250
SNAPSHOT_ID = re.compile(r"[0-9A-Fa-f-]+")


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """Comes once, before the first job: the secrets are in it, and in no job."""

    source: Endpoint | ForeignEndpoint
    target: Endpoint
    source_settings: tuple[tuple[str, str], ...]
    target_settings: tuple[tuple[str, str], ...]
    source_wait_events: bool
    target_wait_events: bool
    application_name: str
    stall_timeout: float


class Worker:
    """One process's connections, kept from job to job; after any error both are thrown away."""

    def __init__(self, config: WorkerConfig, control: Control) -> None:
        self.config = config
        self.control = control
        self.loop = asyncio.new_event_loop()
        self._source: asyncpg.Connection | None = None
        self._target: asyncpg.Connection | None = None
        self._names: dict[str, str] = {}
        self._snapshot = ""
        self._pids: dict[str, int] = {}
        self._reads = 0
        self._reader: Reader | None = None

    def run(self, job: Job) -> JobResult:
        """Do one job. Raises only PghaulError: driver errors do not travel between processes."""
        self.control.take(job.slot)
        return self.loop.run_until_complete(self._run(job))

    def rest(self) -> None:
        """Hold no snapshot of the source while there is nothing to do; for a worker that is to be used again."""
        if not self.loop.is_closed():
            self.loop.run_until_complete(self._rest())

    async def _rest(self) -> None:
        try:
            if self._source is not None and self._snapshot:
                self._snapshot = ""
                await self._source.execute("ROLLBACK", timeout=ANSWER)
        except Exception:  # noqa: BLE001 -- then the next job gets new ones
            await self._drop()

    def close(self) -> None:
        """Give the connections back; for a worker that does not end with its process."""
        if not self.loop.is_closed():
            self.loop.run_until_complete(self._drop())
            self.loop.run_until_complete(asyncio.sleep(LETTING_GO))
            self.loop.close()

    async def _run(self, job: Job) -> JobResult:
        try:
            try:
                return await self._perform(job, await self._hands(job))
            except RefusedError as exc:
                await self._drop()
                return await self._carefully(job, exc)
        except Exception as exc:  # noqa: BLE001
            error = translate(exc, where=f"{job.relation} {job.chunk}")
            if isinstance(error, (StalledError, ConnectionLostError)):
                await self._end_backends()
            await self._drop()
            raise error from (None if error is exc else exc)  # what travels of a cause is its traceback, as text

    async def _carefully(self, job: Job, first: RefusedError) -> JobResult:
        """The target has refused a row: once more, in a new transaction, row by row where that is needed."""
        careful = carefully(job, first.error)
        if careful is None:
            raise first.ours or first.error
        try:
            return await self._perform(careful, await self._hands(careful))
        except LookedError as looked:
            raise row_error(first, looked.reasons, f"{job.relation} {job.chunk}") from first.error
        except RefusedError as exc:
            raise exc.ours or exc.error from exc

    async def _perform(self, job: Job, hands: Hands) -> JobResult:
        """With locks per chunk they are given back after each: going back to a savepoint keeps the snapshot."""
        if job.batch:
            return await perform_batch(job, hands)
        if job.kind is JobKind.VACUUM:
            return await vacuum(job, hands)
        if not job.lock_source or self._source is None:
            return await perform(job, hands)
        await self._source.execute("SAVEPOINT chunk", timeout=ANSWER)
        result = await perform(job, hands)
        await self._source.execute("ROLLBACK TO SAVEPOINT chunk", timeout=ANSWER)
        await self._source.execute("RELEASE SAVEPOINT chunk", timeout=ANSWER)
        return result

    async def _hands(self, job: Job) -> Hands:
        c = self.config
        reads = sum(j.source is not None or j.hash is not None for j in job.batch or (job,))
        if reads:
            await self._see(job.snapshot, reads)
        if self._target is None or self._target.is_closed():
            self._target = await relay_connection.open_connection(
                c.target, application_name=c.application_name, settings=c.target_settings
            )
            self._pids["target"] = self._target.get_server_pid()
            self._names["target"] = c.application_name
        await self._rename("target", self._target)
        reader = self._read_by(c.source) if isinstance(c.source, ForeignEndpoint) else None
        return Hands(
            source=self._source,
            target=self._target,
            control=self.control,
            stall_timeout=c.stall_timeout,
            source_probe=reader.is_working if reader else self._source_probe(),
            target_probe=_probe(c.target, self._target, wait_events=c.target_wait_events),
            reader=reader,
            parallel_index="max_parallel_maintenance_workers" in dict(c.target_settings),
        )

    def _source_probe(self) -> Callable[[], Awaitable[bool]]:
        return _probe(self._ours(), self._source, wait_events=self.config.source_wait_events)

    def _read_by(self, endpoint: ForeignEndpoint) -> Reader:
        from pghaul.engine.arrow.frugal import return_what_is_freed  # noqa: PLC0415 -- of other databases only
        from pghaul.engine.arrow.reader import Reader  # noqa: PLC0415

        if self._reader is None:
            return_what_is_freed()
            self._reader = Reader(endpoint)
        return self._reader

    def _ours(self) -> Endpoint:
        if isinstance(self.config.source, ForeignEndpoint):
            raise TypeError("the source is not PostgreSQL")
        return self.config.source

    async def _see(self, snapshot: str, reads: int) -> None:
        """A source connection inside a transaction that sees exactly this snapshot."""
        self._reads += reads
        usable = self._source is not None and not self._source.is_closed() and self._snapshot == snapshot
        if usable and self._reads < MOST_READS:
            return
        self._reads = reads
        self._source = await self._outside(self._source)
        if not SNAPSHOT_ID.fullmatch(snapshot):
            raise SnapshotLostError(say("not a snapshot: {snapshot!r}", snapshot=snapshot), code=2430)
        await self._source.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", timeout=ANSWER)
        try:
            await self._source.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'", timeout=ANSWER)
        except asyncpg.PostgresError as exc:
            if is_snapshot_lost(exc):
                raise SnapshotLostError(
                    say("the session that exported the snapshot has ended"), sqlstate=exc.sqlstate, code=2431
                ) from exc
            raise
        self._snapshot = snapshot

    async def _outside(self, connection: asyncpg.Connection | None) -> asyncpg.Connection:
        """A source connection in no transaction: the one that there is, or a new one."""
        c = self.config
        if connection is not None and not connection.is_closed():
            if self._snapshot:
                self._snapshot = ""
                await connection.execute("ROLLBACK", timeout=ANSWER)
            await self._rename("source", connection)
            return connection
        connection = await relay_connection.open_connection(
            self._ours(), application_name=c.application_name, settings=c.source_settings
        )
        self._pids["source"] = connection.get_server_pid()
        self._names["source"] = c.application_name
        return connection

    async def _rename(self, side: str, connection: asyncpg.Connection) -> None:
        """A connection that served another run before is found by the name of this one."""
        name = self.config.application_name
        if self._names.get(side) != name:
            await connection.execute("SELECT pg_catalog.set_config('application_name', $1, false)", name)
            self._names[side] = name

    async def _end_backends(self) -> None:
        """The path is dead; a backend at its other end may live on, and keep its locks until it notices."""
        pids, self._pids = self._pids, {}
        sides = ((self._ours() if side == "source" else self.config.target, pid) for side, pid in pids.items())
        await asyncio.gather(*(relay_connection.end_backend(end, pid) for end, pid in sides))

    async def _drop(self) -> None:
        source, target, reader = self._source, self._target, self._reader
        self._source = self._target = self._reader = None
        self._snapshot = ""
        await asyncio.gather(_close(source), _close(target), *([reader.close()] if reader else []))


def _probe(
    endpoint: Endpoint, connection: asyncpg.Connection | None, *, wait_events: bool
) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        if connection is None or connection.is_closed():
            return False
        return await relay_connection.is_working(endpoint, connection.get_server_pid(), wait_events=wait_events)

    return probe


async def _close(connection: asyncpg.Connection | None) -> None:
    """Politely (a cancel that is on its way has to arrive), but not for long."""
    if connection is None or connection.is_closed():
        return
    with contextlib.suppress(Exception):
        await connection.close(timeout=1.0)
    if not connection.is_closed():
        connection.terminate()


_worker: Worker | None = None


def start(receive: Callable[[], WorkerConfig], control: Control) -> None:
    """Before the first job. A process may be spawned before there is a configuration: `receive` waits for it."""
    global _worker  # noqa: PLW0603
    guard()
    # Ctrl-C reaches the whole process group; the runner alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config = receive()
    config.source.keep_secret()  # before anything can go wrong
    config.target.keep_secret()
    _worker = Worker(config, control)


def work(job: Job) -> JobResult:
    """One job: the same on any executor."""
    if _worker is None:
        raise RuntimeError("a worker that was not started")
    return _worker.run(job)
