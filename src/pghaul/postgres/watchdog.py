"""Frees a session whose server waits for us while we wait for it.

A synchronous statement cannot be interrupted from its own thread, so a thread beside it looks at the clock, asks the
server over a second connection, and shuts the socket down, which ends the wait with an error.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

from pghaul.model.errors import PghaulError, ServerBusyError

# A server without a free connection does not say whether ours works; more than this many times is no answer.
MAX_UNKNOWN = 3
# An answer may be on its way while we ask: it gets this long before the second question.
GRACE_SECONDS = 1.0


class Watchdog:
    """`probe` says whether the backend works; `fileno` is the session's socket, -1 when it is closed."""

    def __init__(self, *, probe: Callable[[], bool], fileno: Callable[[], int], stall_timeout: float) -> None:
        self.fired = False
        self._probe = probe
        self._fileno = fileno
        self._stall_timeout = stall_timeout
        self._changed = threading.Condition()
        self._statement = 0
        self._since: float | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def guarding(self) -> Iterator[None]:
        """Around one statement."""
        with self._changed:
            self._statement += 1
            self._since = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="pghaul-watchdog", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._since = None
                self._changed.notify_all()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=GRACE_SECONDS)

    def _watch(self) -> None:
        while (statement := self._silent_statement()) is not None:
            if self._stalled(statement):
                self._free(statement)
            with self._changed:
                if self._statement == statement and self._since is not None:
                    self._since = time.monotonic()

    def _silent_statement(self) -> int | None:
        """Wait until a statement has run for stall_timeout; None when the session is closed."""
        with self._changed:
            while not self._closed:
                if self._since is None:
                    self._changed.wait()
                    continue
                left = self._since + self._stall_timeout - time.monotonic()
                if left <= 0:
                    return self._statement
                self._changed.wait(left)
        return None

    def _stalled(self, statement: int) -> bool:
        """Asked twice, because the answer may have been under way the first time."""
        for unknown in range(1, MAX_UNKNOWN + 1):
            working = self._ask()
            if working:
                return False
            self._pause(statement)
            if self._over(statement):
                return False
            working = self._ask() if working is False else working
            if working is not None:
                return not working
            if unknown == MAX_UNKNOWN:
                return True
        return False

    def _ask(self) -> bool | None:
        """None where the server is too busy to tell. A server that cannot be reached does not work for us."""
        try:
            return self._probe()
        except ServerBusyError:
            return None
        except PghaulError:
            return False

    def _pause(self, statement: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._done(statement), GRACE_SECONDS)

    def _over(self, statement: int) -> bool:
        with self._changed:
            return self._done(statement)

    def _done(self, statement: int) -> bool:
        return self._closed or self._since is None or self._statement != statement

    def _free(self, statement: int) -> None:
        with self._changed:
            if self._done(statement):
                return
            self.fired = True
            self.cut()

    def cut(self) -> None:
        """End whatever waits on the socket."""
        fileno = self._fileno()
        if fileno < 0:
            return
        # detach() leaves the descriptor to libpq; os.dup() would not work on Windows' sockets.
        borrowed = socket.socket(fileno=fileno)
        try:
            with contextlib.suppress(OSError):
                borrowed.shutdown(socket.SHUT_RDWR)
        finally:
            borrowed.detach()
