"""As much of PostgreSQL's wire protocol (version 3) as a proxy needs to know where a conversation stands.

The parsers take bytes as they come and give them back in pieces; a piece that completes a message of interest
is told apart *before* it is forwarded. COPY data is never gathered, so memory stays small.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
COPY_DATA, DATA_ROW = ord("d"), ord("D")
BATCH = 2000  # bytes: rows and parameters of this size are those of the recipe insert, and count as copied
HEADER = 5  # one byte of type, four of length (which counts itself)


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes to forward. `kind` is the message they complete ("" for part of one), `text` its words."""

    data: bytes
    kind: str = ""
    text: str = ""
    copied: int = 0  # payload bytes of COPY data, or of a batch, in this piece


def startup_parameters(body: bytes) -> dict[str, str]:
    """The key-value pairs of a startup message, without its version."""
    words = body[4:].split(b"\0")
    return {k.decode(): v.decode() for k, v in zip(words[::2], words[1::2], strict=False) if k}


@dataclass
class Messages:
    """One direction of one connection after its startup. `wanted` are the types of message gathered whole."""

    wanted: bytes
    _buffer: bytearray = field(default_factory=bytearray)
    _rest: int = 0  # bytes of an unwanted message that are still to come
    _batch: bool = False  # … which is a batch of rows
    _statements: dict[bytes, str] = field(default_factory=dict)

    def feed(self, data: bytes) -> Iterator[Piece]:
        """All complete pieces of what has come so far; order and bytes are kept."""
        self._buffer += data
        while self._buffer:
            piece = self._next()
            if piece is None:
                return
            yield piece

    def _next(self) -> Piece | None:
        if self._rest:
            return self._pass_on()
        buffer = self._buffer
        if len(buffer) < HEADER:
            return None
        kind = buffer[0]
        size = 1 + int(struct.unpack_from("!I", buffer, 1)[0])
        if kind == COPY_DATA:
            return self._copy_run()
        if kind not in self.wanted:
            self._rest, self._batch = size, kind == DATA_ROW and size > BATCH
            return self._pass_on()
        if len(buffer) < size:
            return None
        whole = bytes(buffer[:size])
        del buffer[:size]
        copied = size if chr(kind) == "B" and size > BATCH else 0
        return Piece(whole, chr(kind), self._words(kind, whole[HEADER:]), copied)

    def _pass_on(self) -> Piece:
        taken = bytes(self._buffer[: self._rest])
        del self._buffer[: self._rest]
        self._rest -= len(taken)
        return Piece(taken, "d", copied=len(taken)) if self._batch else Piece(taken)

    def _copy_run(self) -> Piece:
        """As many whole COPY data messages as are here: a row each, so they must not cost a piece each."""
        buffer, at, copied = self._buffer, 0, 0
        while len(buffer) - at >= HEADER and buffer[at] == COPY_DATA:
            size = 1 + int(struct.unpack_from("!I", buffer, at + 1)[0])
            copied += size - HEADER
            at += size
        if at > len(buffer):  # the last one is not complete: its rest passes through
            self._rest, self._batch = at - len(buffer), False
            at = len(buffer)
        taken = bytes(buffer[:at])
        del buffer[:at]
        return Piece(taken, "d", copied=copied)

    def _words(self, kind: int, body: bytes) -> str:
        """The SQL of a query or of the statement that a Bind executes; a command tag; a process id."""
        match chr(kind):
            case "P":
                name, query, _ = body.split(b"\0", 2)
                self._statements[name] = query.decode(errors="replace")
                return self._statements[name]
            case "B":
                return self._statements.get(body.split(b"\0", 2)[1], "")
            case "K":
                return str(struct.unpack_from("!I", body)[0])
            case _:
                return body.rstrip(b"\0").decode(errors="replace")


def frontend() -> Messages:
    """What a client says: simple queries, Parse, Bind."""
    return Messages(b"QPB")


def backend() -> Messages:
    """What a server says: command tags and its process id."""
    return Messages(b"CK")
