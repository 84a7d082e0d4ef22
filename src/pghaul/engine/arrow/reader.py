"""A worker's source that is not PostgreSQL: opened by its first job, and used by one thread alone.

Drivers block, and many of them bind a connection to the thread that opened it; the event loop only waits here. Whoever
stops waiting has what is being read cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from pghaul.model.errors import PghaulError, SourceError
from pghaul.model.foreign import ForeignEndpoint, Reading
from pghaul.model.text import say
from pghaul.sources.protocol import Batches, Source, engine_of, warm_up

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

LETTING_GO = 0.9  # seconds that a cancelled read gets to end; the watch gives up after one
# A query that sorts before its first row is silent for long; a driver tells nobody whether its server is at work.
MOST_SILENT = 900.0


def get_ready(engine: str) -> None:
    """Import what the first job will need, and let the engine start what it needs."""
    from pghaul.engine.arrow import load  # noqa: F401, PLC0415 -- it needs this module
    from pghaul.model import plan  # noqa: F401, PLC0415 -- a job brings its mapping

    warm_up(engine)


class Reader:
    """One source, and one reading of it at a time. Raises PghaulError only."""

    def __init__(self, endpoint: ForeignEndpoint) -> None:
        self._endpoint = endpoint
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pghaul-source")
        self._source: Source | None = None
        self._token: str | None = None
        self._batches: Batches | None = None
        self._rows: Iterator[pa.RecordBatch] = iter(())
        self._busy_since: float | None = None

    async def begin(self, reading: Reading, token: str) -> pa.Schema:
        """Begin to read; what the batches will look like."""
        return await self._apart(lambda: self._begin(reading, token))

    async def next(self) -> pa.RecordBatch | None:
        """The next batch, None at the end."""
        return await self._apart(lambda: next(self._rows, None))

    async def end(self) -> None:
        """Of this reading, whether it came to its end or not."""
        await self._apart(self._end)

    async def is_working(self) -> bool:
        """For the watch: is it plausible that the source is at work?"""
        return self._busy_since is not None and time.monotonic() - self._busy_since < MOST_SILENT

    async def close(self) -> None:
        """Let the source go. Never raises; a driver that hangs is left to itself."""
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._apart(self._close), LETTING_GO)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _apart(self, call: Callable[[], T]) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._thread, self._told, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._cancel()
            await asyncio.wait((future,), timeout=LETTING_GO)
            if future.done() and not future.cancelled():
                future.exception()  # looked at: nobody else will
            raise

    def _told(self, call: Callable[[], T]) -> T:
        """In the thread. A driver's own error says what it says; which class it has, nobody here can know."""
        self._busy_since = time.monotonic()
        try:
            return call()
        except PghaulError:
            raise
        except Exception as exc:
            raise _failed(exc, self._endpoint) from exc
        except BaseException as exc:  # a panic of a driver in Rust
            if type(exc).__name__ != "PanicException":
                raise
            raise _failed(exc, self._endpoint) from None
        finally:
            self._busy_since = None

    def _begin(self, reading: Reading, token: str) -> pa.Schema:
        self._end()
        if self._source is not None and self._token != token:
            self._close()
        if self._source is None:
            self._source = engine_of(self._endpoint.engine).open(self._endpoint)
            self._source.join(token)
            self._token = token
        self._batches = self._source.read(reading)
        self._rows = iter(self._batches)
        return self._batches.schema

    def _end(self) -> None:
        batches, self._batches, self._rows = self._batches, None, iter(())
        if batches is not None:
            batches.close()

    def _close(self) -> None:
        source, self._source = self._source, None
        try:
            self._end()
        finally:
            if source is not None:
                source.close()

    def _cancel(self) -> None:
        if self._source is not None:
            with contextlib.suppress(Exception):
                self._source.cancel()


def _failed(exc: BaseException, endpoint: ForeignEndpoint) -> SourceError:
    return SourceError(
        say("the driver failed: {kind}: {error}", kind=type(exc).__name__, error=str(exc).strip()),
        where=endpoint.display,
        code=6901,
    )
