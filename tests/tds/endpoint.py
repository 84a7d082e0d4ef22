"""The endpoint itself: packets, pre-login, LOGIN7, SQL batches, sp_executesql, attention ([MS-TDS] 2.2 and 3.3).

It understands no SQL: a function that the test gives answers each batch. It runs in a thread with a loop of its own,
and reads while it writes, so that a client can ask to end what is being sent.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType

from tests.tds import tokens
from tests.tds.tokens import Answer, Begun, Message, Result

BATCH, RPC, REPLY, ATTENTION, LOGIN, PRELOGIN = 1, 3, 4, 6, 16, 18
PACKET = 16_384
END = 0x01  # status of a message's last packet
EXECUTE_SQL = 10
Answers = Callable[[str], Sequence[Answer]]


class Cut(Exception):  # noqa: N818 -- no error: the test wants it so
    """The connection is to end here."""


class Packets:
    """A stream of tokens in packets."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer, self._buffer, self._number = writer, bytearray(), 0

    async def add(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) > PACKET - 8:
            await self._send(bytes(self._buffer[: PACKET - 8]), 0)
            del self._buffer[: PACKET - 8]

    async def end(self) -> None:
        await self._send(bytes(self._buffer), END)
        self._buffer.clear()

    async def flush(self) -> None:
        """What is there, although the message goes on."""
        if self._buffer:
            await self._send(bytes(self._buffer), 0)
            self._buffer.clear()

    async def _send(self, data: bytes, status: int) -> None:
        self._number = (self._number + 1) % 256
        self._writer.write(struct.pack(">BBHHBB", REPLY, status, len(data) + 8, 0, self._number, 0) + data)
        await self._writer.drain()


def prelogin() -> bytes:
    """VERSION, ENCRYPTION (not supported), INSTOPT, THREADID, MARS (off)."""
    values = (b"\x10\x00\x03\xe8\x00\x00", b"\x02", b"\x00", b"", b"\x00")
    place, heads = 5 * len(values) + 1, b""
    for option, value in enumerate(values):
        heads += struct.pack(">BHH", option, place, len(value))
        place += len(value)
    return heads + b"\xff" + b"".join(values)


def login(data: bytes) -> tuple[str, str, str]:
    """User, password and database of LOGIN7. The password's nibbles are swapped and its bytes XORed with A5."""

    def text(place: int, raw: Callable[[bytes], bytes] = bytes) -> str:
        offset, length = struct.unpack_from("<HH", data, place)
        return raw(data[offset : offset + 2 * length]).decode("utf-16-le")

    def plain(hidden: bytes) -> bytes:
        return bytes(((b ^ 0xA5) << 4 & 0xF0) | ((b ^ 0xA5) >> 4) for b in hidden)

    return text(40), text(44, plain), text(68)


def batch_text(data: bytes) -> str:
    """A SQL batch, behind its headers."""
    (headers,) = struct.unpack_from("<I", data)
    return data[headers:].decode("utf-16-le")


def rpc_text(data: bytes) -> str | None:
    """The statement of sp_executesql: its first parameter. None for anything else."""
    (place,) = struct.unpack_from("<I", data)
    (length,) = struct.unpack_from("<H", data, place)
    if length == 0xFFFF:
        known = struct.unpack_from("<H", data, place + 2)[0] == EXECUTE_SQL
        place += 4
    else:
        known = data[place + 2 : place + 2 + 2 * length].decode("utf-16-le").lower() == "sp_executesql"
        place += 2 + 2 * length
    place += 2  # option flags
    place += 1 + 2 * data[place] + 1  # name and status of the parameter
    if not known or data[place] != 0xE7:
        return None
    (size,) = struct.unpack_from("<H", data, place + 1)
    place += 8
    if size != 0xFFFF:
        (length,) = struct.unpack_from("<H", data, place)
        return data[place + 2 : place + 2 + length].decode("utf-16-le")
    place, parts = place + 8, b""
    while part := struct.unpack_from("<I", data, place)[0]:
        parts += data[place + 4 : place + 4 + part]
        place += 4 + part
    return parts.decode("utf-16-le")


class Session:
    """One connection."""

    def __init__(self, endpoint: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._endpoint, self._reader, self._writer = endpoint, reader, writer
        self._attention = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    async def run(self) -> None:
        try:
            while True:
                kind, data = await self._message()
                if kind == ATTENTION:
                    await self._attend()
                elif kind == PRELOGIN:
                    await self._reply(prelogin())
                elif kind == LOGIN:
                    await self._login(data)
                else:
                    self._attention.clear()
                    self._work = asyncio.create_task(self._batch(kind, data))
        except (asyncio.IncompleteReadError, ConnectionError, Cut):
            pass
        finally:
            if self._work:
                self._work.cancel()
            self._writer.close()

    async def _message(self) -> tuple[int, bytes]:
        data = b""
        while True:
            kind, status, length, *_ = struct.unpack(">BBHHBB", await self._reader.readexactly(8))
            data += await self._reader.readexactly(length - 8)
            if status & END:
                return kind, data

    async def _reply(self, data: bytes) -> None:
        packets = Packets(self._writer)
        await packets.add(data)
        await packets.end()

    async def _attend(self) -> None:
        """End what is being sent; say so, if it had ended already."""
        self._endpoint.attentions += 1
        if self._work and not self._work.done():
            self._attention.set()
            await self._work
        else:
            await self._reply(tokens.done(tokens.ATTENTION))

    async def _login(self, data: bytes) -> None:
        user, password, database = login(data)
        self._endpoint.versions.append(int.from_bytes(data[4:8], "little"))
        if (user, password) != (self._endpoint.user, self._endpoint.password):
            refused = Message(number=18456, text=f"Login failed for user '{user}'.", severity=14)
            await self._reply(tokens.message(refused) + tokens.done(tokens.FAILED))
            raise Cut
        await self._reply(tokens.greeting(database or "master", PACKET))

    async def _batch(self, kind: int, data: bytes) -> None:
        text = batch_text(data) if kind == BATCH else rpc_text(data)
        packets = Packets(self._writer)
        try:
            if text is None:
                answers: Sequence[Answer] = [Message(number=2812, text="Could not find stored procedure.")]
            else:
                self._endpoint.statements.append(text)
                answers = self._endpoint.answers(text)
            async for token in self._tokens(answers, kind):
                await packets.add(token)
            await packets.end()
        except (Cut, ConnectionError):
            await packets.flush()
            self._writer.close()

    async def _tokens(self, answers: Sequence[Answer], kind: int) -> AsyncIterator[bytes]:
        status, rows = 0, 0
        for answer in answers:
            if isinstance(answer, Message):
                yield tokens.message(answer)
                status |= tokens.FAILED if answer.severity > 10 else 0
                if answer.closes:
                    raise Cut
            elif isinstance(answer, Begun):
                yield tokens.begun(answer)
            else:
                yield tokens.metadata(answer.columns)
                async for token in self._rows(answer):
                    rows += 1
                    yield token
            if self._attention.is_set():
                yield tokens.done(tokens.ATTENTION)
                return
        if kind == RPC:
            yield b"\x79" + bytes(4)  # RETURNSTATUS
        yield tokens.done(status, rows, tokens.DONE_PROC if kind == RPC else tokens.DONE)

    async def _rows(self, result: Result) -> AsyncIterator[bytes]:
        make = tokens.compressed_row if result.compressed else tokens.row
        for number, values in enumerate(result.rows):
            token = values if isinstance(values, bytes) else make(result.columns, values)
            if number == result.cut_after:
                yield token[: len(token) // 2]
                raise Cut
            if number == result.hang_after:
                await self._attention.wait()
            if self._attention.is_set():
                return
            yield token
            if number % 512 == 0:
                await asyncio.sleep(0)  # let the reader see what the client asks


class Endpoint:
    """`with Endpoint(answers) as endpoint:` listens at endpoint.port. `statements`: what was asked, in order."""

    def __init__(self, answers: Answers, user: str = "sa", password: str = "Secret-7") -> None:  # noqa: S107
        self.answers, self.user, self.password = answers, user, password
        self.port = 0
        self.statements: list[str] = []
        self.versions: list[int] = []
        self.attentions = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._sessions: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="tds", daemon=True)

    def __enter__(self) -> Endpoint:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()
        for task in list(self._sessions):
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            await Session(self, reader, writer).run()
        except asyncio.CancelledError:
            writer.close()  # the endpoint ends: nobody waits for this task's result
        finally:
            self._sessions.discard(task)
