"""A call that waits for the server, in a thread of its own: meanwhile wishes are heeded, and end it at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from pghaul.model.errors import StoppedError
from pghaul.model.text import say
from pghaul.postgres.session import Session

T = TypeVar("T")

LOOK = 0.1  # seconds between two looks
AGAIN = 0.3  # seconds until a statement that has begun since is cancelled, too
PATIENCE = 10.0  # seconds for a cancel to take effect


class Breath:
    """Between two statements: has somebody asked for the end?"""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def stop(self) -> None:
        """From the thread that looks."""
        self._stop.set()

    def take(self) -> None:
        """Raise StoppedError after stop()."""
        if self._stop.is_set():
            raise StoppedError(say("stopped during the merge; nothing of it was committed"), code=4035)


def beside(session: Session, call: Callable[[Breath], T], look: Callable[[], None]) -> T:
    """The answer of `call`, which alone uses `session` meanwhile. Raises what either raises.

    What `look` raises cancels the statement; where the call has come to its end all the same, its answer counts.
    """
    breath = Breath()
    with ThreadPoolExecutor(1, thread_name_prefix="pghaul-merge") as thread:
        future = thread.submit(call, breath)
        try:
            while not wait((future,), timeout=LOOK).done:
                look()
        except BaseException:
            breath.stop()
            _end(session, future)
            if future.done() and future.exception() is None:
                return future.result()
            raise
        return future.result()


def _end(session: Session, future: Future[T]) -> None:
    for _ in range(round(PATIENCE / AGAIN)):
        session.cancel()
        if wait((future,), timeout=AGAIN).done:
            return
    session.cut()
