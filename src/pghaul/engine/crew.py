"""Processes that do jobs, each with a pipe and a thread here that talks to it; and what they owe, if one of them ends.

Not concurrent.futures.ProcessPoolExecutor: that of Python 3.11 breaks without holding its own lock, so a job that is
submitted at that moment is forgotten and its future never ends, nor may its shutdown; and the queues that its processes
share have locks, which one that is killed at the wrong moment takes with it. Here nothing is shared between processes.

A job goes to the process of its slot. Every wait has a bound or ends with the process that it waits for.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import Any, TypeAlias

from pghaul.model.redaction import traceback_of

DYING = 5.0  # seconds until a killed process has ended, and the threads that talked to it have noticed
LOST = "a worker process has ended"

Start: TypeAlias = Callable[[Callable[[], Any], Any], None]  # what to call for the configuration, and the control
Work: TypeAlias = Callable[[Any], Any]
Duty: TypeAlias = Callable[[], tuple[Start, Work]]  # called in the process: it imports what it needs there


class RemoteTraceback(Exception):  # noqa: N818 -- it is shown as the cause of an error that another process has raised
    """The traceback of a worker, as text: all that can travel."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


class Crew:
    """One process for each slot. When one has ended, all that is owed fails, and what is asked for later is refused."""

    def __init__(self, context: Any, slots: int, control: Any, duty: Duty) -> None:
        self._lock = threading.Lock()
        self._owed: set[Future[Any]] = set()
        self._lost = False
        self._dismissed = False
        self._members: list[_Member] = []
        self._watch = threading.Thread(target=self._keep_watch, name="pghaul-pool", daemon=True)
        try:
            for _ in range(slots):
                self._members.append(_Member(context, self, control, duty))
            self._watch.start()
        except BaseException:
            self.end(0.0)
            raise

    def tell(self, config: Any) -> None:
        """All of them, before the first job."""
        order = pickle.dumps(config)
        for member in self._members:
            member.give(order, None)

    def ask(self, slot: int, job: Any) -> Future[Any]:
        """Raises BrokenProcessPool when one of the processes has ended."""
        order = pickle.dumps(job)
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            if self._lost:
                raise BrokenProcessPool(LOST)
            if self._dismissed:
                raise RuntimeError("no more jobs were to come")
            self._owed.add(future)
        self._members[slot].give(order, future)
        return future

    def dismiss(self) -> None:
        """Each ends when it has done what it was given."""
        with self._lock:
            self._dismissed = True
        for member in self._members:
            member.dismiss()

    def end(self, grace: float) -> None:
        """Wait up to `grace` seconds for what they do, then kill. No process is left, nor a thread, nor an open job."""
        deadline = time.monotonic() + grace
        self.dismiss()
        try:
            for member in self._members:
                member.process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for member in self._members:
                member.process.kill()
            self.lose()
            self._clear()

    def _clear(self) -> None:
        for member in self._members:
            member.process.join(DYING)
            member.thread.join(DYING)
        if self._watch.ident is not None:
            self._watch.join(DYING)
        for member in self._members:
            if member.process.exitcode is not None and not member.thread.is_alive() and not self._watch.is_alive():
                member.process.close()

    def settle(self, future: Future[Any], answer: bytes) -> None:
        """Unless it has failed before."""
        with self._lock:
            if future not in self._owed:
                return
            self._owed.remove(future)
        outcome, told = pickle.loads(answer)  # noqa: S301 -- of a process that we have made
        try:
            value = pickle.loads(outcome)  # noqa: S301
        except Exception as exc:  # noqa: BLE001 -- what can be pickled cannot always be read again
            value, told = RuntimeError(_last_line(told or traceback_of(exc))), told or traceback_of(exc)
        if told:
            value.__cause__ = RemoteTraceback(told)
            future.set_exception(value)
        else:
            future.set_result(value)

    def lose(self) -> None:
        """One has ended, and none goes on: each may have been at work on what belongs together."""
        with self._lock:
            self._lost = True
            owed, self._owed = self._owed, set()
        for future in owed:
            future.set_exception(BrokenProcessPool(LOST))

    def _keep_watch(self) -> None:
        """Over those that have nothing to do, too. Those that were dismissed may go."""
        left = {member.process.sentinel: member for member in self._members}
        while left:
            for sentinel in wait(list(left)):
                del left[sentinel]
                if not self._dismissed:
                    self.lose()


class _Member:
    """A process, and the thread that talks to it: one that is stopped, or reads slowly, holds up nobody else."""

    def __init__(self, context: Any, crew: Crew, control: Any, duty: Duty) -> None:
        self._crew = crew
        self._orders: SimpleQueue[tuple[bytes, Future[Any] | None] | None] = SimpleQueue()
        self._pipe, far = context.Pipe()
        self.process = context.Process(target=_serve, args=(far, control, duty), daemon=True)
        self.thread = threading.Thread(target=self._talk, name="pghaul-pool", daemon=True)
        try:
            self.process.start()
        except BaseException:
            self._pipe.close()
            raise
        finally:
            far.close()
        self.thread.start()

    def give(self, order: bytes, future: Future[Any] | None) -> None:
        """What has no future is not answered."""
        self._orders.put((order, future))

    def dismiss(self) -> None:
        self._orders.put(None)

    def _talk(self) -> None:
        try:
            while (given := self._orders.get()) is not None:
                order, future = given
                self._pipe.send_bytes(order)
                if future is not None:
                    self._crew.settle(future, self._answer())
        except (EOFError, OSError):
            self._crew.lose()
        finally:
            self._pipe.close()

    def _answer(self) -> bytes:
        """EOFError when the process has ended, whoever else may hold its end of the pipe."""
        wait([self._pipe, self.process.sentinel])
        if not self._pipe.poll():
            raise EOFError
        return bytes(self._pipe.recv_bytes())


# --- in the process ---


def _serve(pipe: Connection, control: Any, duty: Duty) -> None:
    """Do one job after the other, until the runner wants no more or has gone: then its end of the pipe is closed."""
    _end_with_parent()
    try:
        start, work = duty()
        start(lambda: pickle.loads(pipe.recv_bytes()), control)  # noqa: S301
    except EOFError:
        return
    except Exception as exc:  # noqa: BLE001 -- multiprocessing would print it, with a password that is in it
        sys.stderr.write(traceback_of(exc))
        sys.exit(1)
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send_bytes(_answer(work, pipe.recv_bytes()))
    _leave()


def _leave() -> None:
    """Without taking the interpreter apart: the runner waits for that, and with pyarrow in it, it takes a while."""
    atexit._run_exitfuncs()
    sys.stderr.flush()
    os._exit(0)


def _end_with_parent() -> None:
    """In the middle of a job, too. A parent that is stopped, or slow, has not ended."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


def _answer(work: Work, order: bytes) -> bytes:
    """The result, or the error and its traceback. What cannot be pickled is an error, and of that its text."""
    try:
        return pickle.dumps((pickle.dumps(work(pickle.loads(order))), ""))  # noqa: S301
    except Exception as exc:  # noqa: BLE001
        told = traceback_of(exc)
        try:
            outcome = pickle.dumps(exc)
        except Exception:  # noqa: BLE001
            outcome = pickle.dumps(RuntimeError(_last_line(told)))
        return pickle.dumps((outcome, told))


def _last_line(told: str) -> str:
    return told.rstrip().rpartition("\n")[2]
