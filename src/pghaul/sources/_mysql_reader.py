"""The reader's side of the relay: its session, what is asked of it, and the record batches that connectorx makes."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pghaul.model.errors import ConnectionLostError, NotFoundError, PghaulError, SourceError, TransientError
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.text import say
from pghaul.sources._mysql_process import process
from pghaul.sources._mysql_session import ADVICE, translated

if TYPE_CHECKING:
    import pyarrow as pa

M_MMAP_THRESHOLD = -3  # of malloc.h
LARGE = 1 << 20


class Link:
    """One session of the relay. Raises PghaulError."""

    def __init__(self, endpoint: ForeignEndpoint, statements: Sequence[str] = ()) -> None:
        self.where = endpoint.display
        self.broken = False  # its session is gone
        self._reading = False
        self._process = process()
        try:
            said = self.ask({"open": dict(endpoint.params), "password": endpoint.password})
            self.id = int(said["id"])
            self._url = f"mysql://pghaul:{said['password']}@127.0.0.1:{said['port']}/?prefer_socket=false"
            if statements:
                self.ask({"run": list(statements)})
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

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

    def read(self, sql: str, rows: int, size: int) -> None:
        """Begin a result: batches of so many rows, or of so many bytes."""
        self.ask({"read": sql, "rows": rows, "bytes": size})
        self._reading = True

    def next(self) -> dict[str, Any]:
        """What the next batch of the result has."""
        said = self.hear()
        self._reading = not said.get("last")
        return said

    def tell(self, words: dict[str, Any]) -> None:
        """Without waiting."""
        with self._watched():
            self._process.tell(words)

    def hear(self) -> dict[str, Any]:
        """What it says next."""
        with self._watched():
            return self._process.hear()

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except TransientError as exc:
            self.broken, exc.where = True, self.where
            raise

    def stream(self, rows: int) -> pa.RecordBatchReader:
        """The next piece, which connectorx begins to fetch by itself."""
        try:
            import connectorx  # noqa: PLC0415
        except ImportError as exc:
            raise NotFoundError(
                say("connectorx, which reads MySQL, is not installed"), advice=ADVICE, code=5291
            ) from exc
        _give_large_blocks_back()
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
        self._reading = False

    def close(self) -> None:
        """End the session. The process is kept, if it is at rest."""
        if self.broken or self._reading:
            self._process.end()
            return
        try:
            self.ask({"close": True})
        except PghaulError:
            self._process.end()
        else:
            self._process.rest()


@cache
def _give_large_blocks_back() -> None:
    """glibc keeps blocks as large as those that it has once seen freed, for each thread: 430 MiB instead of 190 where
    rows have 20 MB. With a threshold of its own, it takes them from the system and gives them back, always.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):  # another libc has no such function
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


@contextlib.contextmanager
def panics(where: str) -> Iterator[None]:
    """What connectorx raises, and what it panics with, as ours; neither knows a password of the server.

    Whatever the server may say never reaches it, so what it raises is about the way to our process.
    """
    try:
        yield
    except RuntimeError as exc:
        raise TransientError(
            say("connectorx does not reach the process that reads: {words}", words=_first_line(exc)),
            where=where,
            code=2082,
        ) from None
    except BaseException as exc:
        if type(exc).__name__ != "PanicException":
            raise
        raise _failed(exc, where) from None


def _first_line(exc: BaseException) -> str:
    """Behind it comes a trace of Rust's."""
    return str(exc).partition("\n")[0]


def _failed(exc: BaseException, where: str) -> SourceError:
    return SourceError(
        say("connectorx cannot take what the server sends: {words}", words=_first_line(exc)),
        where=where,
        advice=say("give the column the type text in the plan, and report it"),
        code=6930,
    )
