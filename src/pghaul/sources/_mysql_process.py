"""The process of the relay: started, spoken with by lines of JSON, and kept for the next source of this process.

It is told apart from any other by a word that it gets through its stdin. No password of a database is in an argument,
in the environment or in a URL.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pghaul
from pghaul.model.errors import PghaulError, TransientError
from pghaul.model.text import say

PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from pghaul.sources._mysql_relay import main; main()"
START = 30.0  # seconds until a process that does not say who it is has failed
KEPT = 1  # processes without a session, for the next one who needs one; they end by themselves soon


class Process:
    """One of them. `tell` and `hear` raise TransientError where it has gone."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._popen, self._control = _started()
        self._lines = self._control.makefile("rb")

    @property
    def pid(self) -> int:
        """For whoever looks after it."""
        return self._popen.pid

    @property
    def is_there(self) -> bool:
        """And ours: a process that was forked has none of them."""
        return self._owner == os.getpid() and self._popen.poll() is None

    def tell(self, words: dict[str, Any]) -> None:
        """Without waiting."""
        try:
            self._control.sendall(json.dumps(words).encode() + b"\n")
        except OSError as exc:
            raise _gone() from exc

    def hear(self) -> dict[str, Any]:
        """What it says next."""
        try:
            line = self._lines.readline()
        except (OSError, ValueError) as exc:
            raise _gone() from exc
        if not line:
            raise _gone()
        said: dict[str, Any] = json.loads(line)
        return said

    def rest(self) -> None:
        """It has no session any more; whoever needs a process takes this one."""
        if self.is_there and len(_idle) < KEPT:
            _idle.append(self)
        else:
            self.end()

    def end(self) -> None:
        """It leaves when nobody listens any more."""
        self._lines.close()
        self._control.close()
        try:
            self._popen.wait(1.0)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


_idle: list[Process] = []


def process() -> Process:
    """One without a session."""
    while _idle:
        with contextlib.suppress(IndexError, TransientError):
            kept = _idle.pop()
            if not kept.is_there:
                kept.end()
                continue
            kept.tell({"rest": True})  # it may be about to leave
            kept.hear()
            return kept
    return Process()


def start_ahead() -> None:
    """One for whoever will need it."""
    with contextlib.suppress(PghaulError, OSError):  # who needs it will say so
        Process().rest()


@atexit.register
def _end_all() -> None:
    while _idle:
        _idle.pop().end()


def _gone() -> TransientError:
    return TransientError(say("the process that reads from the server has ended"), code=2080)


def _started() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The process, and the connection that it has made to us."""
    word = secrets.token_hex(16)
    root = str(Path(pghaul.__file__).resolve().parent.parent)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", PROGRAM, root],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            if process.stdin is not None:
                with process.stdin:
                    process.stdin.write(f"{listener.getsockname()[1]} {word}\n".encode())
            return process, _introduced(listener, word)
        except BaseException:
            process.kill()
            process.wait()
            raise


def _introduced(listener: socket.socket, word: str) -> socket.socket:
    """The one of those that connect who knows the word."""
    listener.settimeout(START)
    while True:
        try:
            control, _ = listener.accept()
        except OSError as exc:
            raise TransientError(say("the process that reads from the server has not started"), code=2081) from exc
        control.settimeout(START)
        with contextlib.suppress(OSError):
            if control.recv(len(word) + 1, socket.MSG_WAITALL) == f"{word}\n".encode():
                control.settimeout(None)
                control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return control
        control.close()
