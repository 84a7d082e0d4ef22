"""A TCP proxy in front of a PostgreSQL server that knows what is said, and can fail at that very moment.

    with Proxy(cluster.port) as proxy:
        trigger = proxy.arm(Trigger(moment=Moment.COPIED, after_bytes=1000, fate=Fate.RESET))
        … connect to proxy.port …
        trigger.fired.wait(5)

It runs on an event loop in a thread of its own; a trigger's action runs in another thread, while the
connection that set it off is held.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from tests.faults.wire import CANCEL_REQUEST, GSS_REQUEST, SSL_REQUEST, Messages, Piece, startup_parameters
from tests.faults.wire import backend as backend_messages
from tests.faults.wire import frontend as frontend_messages

BLOCK = 1 << 16
NO_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class Moment(Enum):
    CONNECT = "connect"  # a session is about to be opened
    QUERY = "query"  # the client has sent a matching statement; it is not forwarded yet
    ANSWER = "answer"  # the server has done it (its command tag matches); the client does not know yet
    COPIED = "copied"  # so many bytes of COPY data have passed, in either direction


class Fate(Enum):
    PASS = "pass"  # go on as if nothing had happened
    RESET = "reset"  # both sides get a RST
    STALL = "stall"  # both sockets stay open and nothing moves any more
    HALF_OPEN = "half_open"  # the client's side is closed, the server does not learn of it


@dataclass(eq=False)
class Connection:
    """One client's session through the proxy."""

    application: str
    client_port: int
    database: str = ""
    backend_pid: int = 0
    held: bool = False
    sockets: list[asyncio.StreamWriter] = field(default_factory=list)


Action: TypeAlias = Callable[[Connection], None]


def do_nothing(_: Connection) -> None:
    """The action of a trigger that only decides over its connection."""


@dataclass(eq=False, kw_only=True)
class Trigger:
    """Fires once, at the (skip + 1)th match on sessions whose application_name matches."""

    moment: Moment
    pattern: str = ""
    application: str = ""
    after: str = ""  # not before such a statement of a session whose application_name matches
    after_bytes: int = 0  # over all matching sessions
    copied: int = 0
    skip: int = 0
    action: Action = do_nothing
    fate: Fate = Fate.PASS
    everyone: bool = False  # the fate is that of all open connections, not only of this one
    refuse_seconds: float = 0.0  # and new ones are refused for so long
    fired: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None

    def matches(self, moment: Moment, connection: Connection, piece: Piece) -> bool:
        """Whether it shall fire now; counts the matches that it skips."""
        if self.fired.is_set() or not re.search(self.application, connection.application):
            return False
        if self.after:
            if moment is Moment.QUERY and re.search(self.after, piece.text, re.IGNORECASE | re.DOTALL):
                self.after = ""
            return False
        if moment is not self.moment:
            return False
        if moment is Moment.COPIED:
            self.copied += piece.copied
            return self.copied >= self.after_bytes
        if not re.search(self.pattern, piece.text, re.IGNORECASE | re.DOTALL):
            return False
        self.skip -= 1
        return self.skip < 0


class Proxy:
    """Listens on a free port of loopback as long as the context lasts."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.port = 0
        self.connections: set[Connection] = set()
        self._triggers: list[Trigger] = []
        self._refuse_until = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def url(self, url: str) -> str:
        """The same database, through the proxy."""
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=f"{parts.username or 'postgres'}@127.0.0.1:{self.port}"))

    def arm(self, trigger: Trigger) -> Trigger:
        """From now on this trigger may fire."""
        self._loop.call_soon_threadsafe(self._triggers.append, trigger)
        return trigger

    def disarm(self) -> None:
        """No trigger fires any more."""
        self._loop.call_soon_threadsafe(self._triggers.clear)

    def refuse(self, seconds: float) -> None:
        """Refuse new connections for so long; 0 ends it."""
        self._refuse_until = time.monotonic() + seconds

    def lose(self, connections: list[Connection], fate: Fate) -> None:
        """Do this to these connections now."""
        self._loop.call_soon_threadsafe(self._decide, fate, connections)

    def close_all(self) -> None:
        """Close every connection that is still open, held ones too."""
        self._call(self._close_all())

    def _call(self, job: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(job, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=BLOCK)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close_all(self) -> None:
        for connection in list(self.connections):
            _abort(connection.sockets)

    async def _shut(self) -> None:
        if self._server:
            self._server.close()
        await self._close_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports tell their protocols in the next turn of the loop

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        sockets = [writer]
        try:
            await self._converse(reader, writer, sockets)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # either side went away, or the proxy ends
        finally:
            for end in sockets:
                end.close()  # what was said last still arrives; no effect after a RST
            self._tasks.discard(task)

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sockets: list[asyncio.StreamWriter]
    ) -> None:
        if time.monotonic() < self._refuse_until:
            return
        code, packet = await _startup(reader, writer)
        words = {} if code == CANCEL_REQUEST else startup_parameters(packet[4:])
        connection = Connection(
            words.get("application_name", ""), writer.get_extra_info("peername")[1], words.get("database", "")
        )
        connection.sockets = sockets
        if code != CANCEL_REQUEST:
            await self._reach(Moment.CONNECT, connection, Piece(b""))
        if writer.is_closing():
            return
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.upstream_port, limit=BLOCK)
        sockets.append(server_writer)
        self.connections.add(connection)
        try:
            server_writer.write(packet)
            ways = [
                asyncio.create_task(self._forward(reader, server_writer, frontend_messages(), connection)),
                asyncio.create_task(self._forward(server_reader, writer, backend_messages(), connection)),
            ]
            await self._until_over(ways, connection)
        finally:
            self.connections.discard(connection)

    async def _until_over(self, ways: list[asyncio.Task[None]], connection: Connection) -> None:
        """A held connection stays as it is, whatever its ends do, until the proxy ends."""
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if connection.held:
                await asyncio.Event().wait()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        messages: Messages,
        connection: Connection,
    ) -> None:
        while data := await reader.read(BLOCK):
            for piece in messages.feed(data):
                await self._notice(piece, connection)
                await _while_held(connection)
                writer.write(piece.data)
            await writer.drain()
        await _while_held(connection)
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _notice(self, piece: Piece, connection: Connection) -> None:
        match piece.kind:
            case "d":
                await self._reach(Moment.COPIED, connection, piece)
            case "Q" | "B":
                await self._reach(Moment.QUERY, connection, piece)
                if piece.copied:
                    await self._reach(Moment.COPIED, connection, piece)
            case "C":
                await self._reach(Moment.ANSWER, connection, piece)
            case "K":
                connection.backend_pid = int(piece.text)

    async def _reach(self, moment: Moment, connection: Connection, piece: Piece) -> None:
        for trigger in [t for t in self._triggers if t.matches(moment, connection, piece)]:
            trigger.fired.set()
            if trigger.refuse_seconds:
                self.refuse(trigger.refuse_seconds)
            try:
                await asyncio.to_thread(trigger.action, connection)
            except Exception as exc:  # noqa: BLE001 - whoever waits for the trigger hears of it
                trigger.error = exc
            trigger.done.set()
            self._decide(trigger.fate, list(self.connections) if trigger.everyone else [connection])

    def _decide(self, fate: Fate, connections: list[Connection]) -> None:
        for connection in connections:
            if fate is Fate.RESET:
                _abort(connection.sockets)
            elif fate in (Fate.STALL, Fate.HALF_OPEN):
                connection.held = True
            if fate is Fate.HALF_OPEN:
                _abort(connection.sockets[:1])


async def _startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, bytes]:
    """The first packet that is not a wish for encryption (which is declined), and its code."""
    while True:
        head = await reader.readexactly(8)
        size, code = struct.unpack("!II", head)
        if code not in (SSL_REQUEST, GSS_REQUEST):
            return code, head + await reader.readexactly(size - 8)
        writer.write(b"N")


async def _while_held(connection: Connection) -> None:
    if connection.held:
        await asyncio.Event().wait()


def _abort(sockets: list[asyncio.StreamWriter]) -> None:
    """Close at once; with no time to linger the other end gets a RST."""
    for writer in sockets:
        sock = writer.get_extra_info("socket")
        if sock is not None and not writer.transport.is_closing():
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        writer.transport.abort()
