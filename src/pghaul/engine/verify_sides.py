"""Both databases as a verification sees them: one snapshot each, and pairs of sessions that read under the two.

The statements of a pair run at the same time, in threads: two servers are at work, while we wait. All of them can be
ended from outside, within a second.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar

from psycopg.sql import SQL, Composable, Literal

from pghaul.model.errors import PghaulError, SnapshotLostError, StoppedError
from pghaul.model.plan import Locks, Options
from pghaul.model.profile import Endpoint
from pghaul.model.table import Name
from pghaul.model.text import say
from pghaul.postgres.session import Session, connect
from pghaul.postgres.settings import Role
from pghaul.postgres.sqlstate import is_snapshot_lost
from pghaul.sources.postgresql import BEGIN, Snapshot, lock_findings, snapshot_findings

T = TypeVar("T")

SET_SNAPSHOT = SQL("SET TRANSACTION SNAPSHOT {}")
# A list is read to its end: the planner is not to favour its first rows.
WHOLE_CURSORS = "SET cursor_tuple_fraction = 1.0"
PARALLEL = SQL("SET max_parallel_workers_per_gather = {}")
SAVE, UNDO = "SAVEPOINT pghaul", "ROLLBACK TO SAVEPOINT pghaul"
CANCELLED = "57014"


class Stopping:
    """One wish for all threads: no statement begins after it, and those that run are ended."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._sessions: set[Session] = set()

    def join(self, session: Session) -> None:
        """From now on its statements are ended, too."""
        with self._lock:
            self._sessions.add(session)

    def leave(self, session: Session) -> None:
        """It is about to be closed."""
        with self._lock:
            self._sessions.discard(session)

    def ask(self) -> None:
        """End everything; returns at once."""
        self._asked.set()
        with self._lock:
            running = list(self._sessions)
        for session in running:
            threading.Thread(target=session.cancel, daemon=True).start()

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """What ends a statement after the wish is that wish."""
        try:
            yield
        except PghaulError:
            self.check()
            raise

    def check(self) -> None:
        """Raise StoppedError after the wish."""
        if self._asked.is_set():
            raise StoppedError(say("the verification was stopped"), code=4075)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A leader that holds the snapshot. Without an `id` (a standby before 10) nobody but the leader reads by it."""

    leader: Session
    role: Role
    id: str
    application: str
    options: Options

    def reader(self) -> Session:
        """Another session on the same host."""
        return connected(self.leader.endpoint, self.role, self.application, self.options)


def connected(endpoint: Endpoint, role: Role, application: str, options: Options) -> Session:
    """With the settings of a verification: nothing of it writes."""
    session = connect(
        endpoint,
        application_name=application,
        role=role,
        stall_timeout=options.stall_timeout,
        lock_timeout=options.lock_timeout,
    )
    session.execute(WHOLE_CURSORS)
    return session


def snapshot(session: Session, role: Role, tables: Sequence[Name], application: str, options: Options) -> Side:
    """Lock what is read, as far as the server has room for the locks, and take the snapshot."""
    if any(True for _ in snapshot_findings(session)):
        session.execute(BEGIN)
        return Side(leader=session, role=role, id="", application=application, options=options)
    crowded = any(True for _ in lock_findings(session, len(tables)))
    locks = Locks.CHUNK if crowded else options.locks
    taken = Snapshot.acquire(session, tables, locks=locks)
    return Side(leader=session, role=role, id=taken.id, application=application, options=options)


class Pair:
    """A session of each side, both of which run statements at the same time; for one thread."""

    def __init__(self, source: Side, target: Side, stopping: Stopping, processes: int) -> None:
        self._sides = (source, target)
        self._stopping = stopping
        self._stack = contextlib.ExitStack()
        self._sessions: tuple[Session, ...] = ()
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="pghaul-verify-side")
        self._processes = processes

    def __enter__(self) -> Pair:
        try:
            self._sessions = self.both(self._open(0), self._open(1))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _open(self, number: int) -> Callable[[], Session]:
        side = self._sides[number]

        def opened() -> Session:
            if not side.id:
                self._stopping.join(side.leader)
                return side.leader
            session = side.reader()
            self._stack.callback(session.close)
            self._stopping.join(session)
            self._stack.callback(self._stopping.leave, session)
            if session.server.capabilities.parallel_query:
                session.execute(PARALLEL.format(Literal(self._processes - 1)))
            return session

        return opened

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Both under their side's snapshot; the locks of what is read meanwhile are let go at the end."""
        self.both(lambda: self._begin(0), lambda: self._begin(1))
        try:
            yield
        finally:
            for session, side in zip(self._sessions, self._sides, strict=True):
                if not session.closed:
                    with contextlib.suppress(PghaulError):
                        session.execute("ROLLBACK" if side.id else UNDO)

    def _begin(self, number: int) -> None:
        session, side = self._sessions[number], self._sides[number]
        if not side.id:
            session.execute(SAVE)
            return
        session.execute(BEGIN)
        try:
            session.execute(SET_SNAPSHOT.format(Literal(side.id)))
        except PghaulError as exc:
            if is_snapshot_lost(exc):
                raise SnapshotLostError(
                    say("the snapshot of the {side} is gone", side=side.role), where=exc.where, code=2475
                ) from exc
            raise

    def rows(self, source: str | Composable, target: str | Composable) -> tuple[list[Any], list[Any]]:
        """What both answer."""
        here, there = self._sessions
        return self.both(lambda: here.rows(source), lambda: there.rows(target))

    def execute(self, source: str | Composable, target: str | Composable) -> None:
        """The same of what answers nothing."""
        here, there = self._sessions
        self.both(lambda: here.execute(source), lambda: there.execute(target))

    def tidy(self, statement: Composable) -> None:
        """On both, after whatever has happened; what fails then has failed before."""
        for session in self._sessions:
            with contextlib.suppress(PghaulError):
                if not session.closed:
                    session.execute(statement)

    def one(self, number: int, query: str | Composable, params: Sequence[Any] = ()) -> list[Any]:
        """What one of them answers."""
        self._stopping.check()
        with self._stopping.telling():
            return self._sessions[number].rows(query, params)

    def both(self, source: Callable[[], T], target: Callable[[], T]) -> tuple[T, T]:
        """At the same time. If one fails, the other one is ended, and the failure is raised."""
        self._stopping.check()
        futures = [self._pool.submit(source), self._pool.submit(target)]
        done, running = wait(futures, return_when=FIRST_EXCEPTION)
        if running and any(f.exception() for f in done):
            self._end(futures, running)
        with self._stopping.telling():
            failed = [e for f in futures if (e := f.exception())]
            if failed:
                raise next((e for e in failed if getattr(e, "sqlstate", None) != CANCELLED), failed[0])
        return futures[0].result(), futures[1].result()

    def _end(self, futures: Sequence[Future[Any]], running: set[Future[Any]]) -> None:
        for future, session in zip(futures, self._sessions, strict=False):
            if future in running:
                session.cancel()
        wait(running)
