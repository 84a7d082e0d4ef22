"""The reader's side of the relay: the process, what is asked of it, and the record batches that connectorx makes.

The process is told apart from any other by a word that it gets through its stdin. No password of a database is in an
argument, in the environment or in a URL.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pghaul
from pghaul.model.errors import ConnectionLostError, NotFoundError, SourceError, TransientError
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.text import say
from pghaul.sources._mysql_session import ADVICE, translated

if TYPE_CHECKING:
    import pyarrow as pa

PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from pghaul.sources._mysql_relay import main; main()"
START = 30.0  # seconds until a process that does not say who it is has failed


class Link:
    """One relay and its session. Raises PghaulError."""

    def __init__(self, endpoint: ForeignEndpoint, statements: Sequence[str] = ()) -> None:
        self.where = endpoint.display
        self.broken = False  # its session is gone
        self._process, self._control = _started()
        self._lines = self._control.makefile("rb")
        try:
            said = self.ask({"open": dict(endpoint.params), "password": endpoint.password})
            self.id = int(said["id"])
            self._url = f"mysql://pghaul:{said['password']}@127.0.0.1:{said['port']}/?prefer_socket=false"
            if statements:
                self.ask({"run": list(statements)})
        except BaseException:
            self.close()
            raise

    def ask(self, words: dict[str, Any]) -> Any:
        """Say it, and what is answered."""
        self.tell(words)
        while True:
            said = self.hear()
            if "ok" in said:
                return said["ok"]
            if said.get("error") and "rows" not in said:
                number, why = said["error"]
                error = translated(number, why, self.where)
                self.broken = self.broken or isinstance(error, ConnectionLostError)
                raise error

    def tell(self, words: dict[str, Any]) -> None:
        """Without waiting."""
        try:
            self._control.sendall(json.dumps(words).encode() + b"\n")
        except OSError as exc:
            raise self._gone() from exc

    def hear(self) -> dict[str, Any]:
        """What it says next."""
        try:
            line = self._lines.readline()
        except (OSError, ValueError) as exc:
            raise self._gone() from exc
        if not line:
            raise self._gone()
        said: dict[str, Any] = json.loads(line)
        return said

    def stream(self, rows: int) -> pa.RecordBatchReader:
        """The next piece, which connectorx begins to fetch by itself."""
        try:
            import connectorx  # noqa: PLC0415
        except ImportError as exc:
            raise NotFoundError(
                say("connectorx, which reads MySQL, is not installed"), advice=ADVICE, code=5291
            ) from exc
        with panics(self.where):
            return connectorx.read_sql(
                self._url, "SELECT 1", return_type="arrow_stream", protocol="binary", batch_size=rows
            )

    def interrupt(self, kill: Callable[[], None]) -> None:
        """End the result that is being read; `kill` ends the query. The session is at rest afterwards."""
        kill()
        self.tell({"end": True})
        while "ok" not in self.hear():
            pass

    def close(self) -> None:
        """The process ends when nobody listens any more."""
        self._control.close()
        self._lines_closed()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _lines_closed(self) -> None:
        lines = getattr(self, "_lines", None)
        if lines is not None:
            lines.close()

    def _gone(self) -> TransientError:
        self.broken = True
        return TransientError(say("the process that reads from the server has ended"), where=self.where, code=2080)


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


@contextlib.contextmanager
def panics(where: str) -> Iterator[None]:
    """What connectorx raises, and what it panics with, as ours; neither knows a password of the server."""
    try:
        yield
    except BaseException as exc:
        if not isinstance(exc, RuntimeError) and type(exc).__name__ != "PanicException":
            raise
        raise _failed(exc, where) from None


def _failed(exc: BaseException, where: str) -> SourceError:
    return SourceError(
        say("connectorx cannot take what the server sends: {words}", words=str(exc).partition("\n")[0]),
        where=where,
        advice=say("give the column the type text in the plan, and report it"),
        code=6930,
    )
