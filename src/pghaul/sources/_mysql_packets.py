"""MySQL's packets, as far as a result has to be cut into pieces and handed on: nothing is decoded here but frames.

https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass

# What we say we can, as a server. No DEPRECATE_EOF: results end as they do for PyMySQL, whose session they come from.
LONG_PASSWORD, PROTOCOL_41, TRANSACTIONS, SECURE = 0x1, 0x200, 0x2000, 0x8000
PLUGIN_AUTH, LENENC_AUTH = 0x80000, 0x200000
CAPABILITIES = LONG_PASSWORD | PROTOCOL_41 | TRANSACTIONS | SECURE | PLUGIN_AUTH | LENENC_AUTH
NATIVE_PASSWORD = b"mysql_native_password\0"
UTF8MB4 = 45
AUTOCOMMIT = 2  # of the status flags

QUIT, QUERY, PING, PREPARE, EXECUTE, CLOSE_STATEMENT, RESET = 0x01, 0x03, 0x0E, 0x16, 0x17, 0x19, 0x1F
OK, EOF, ERROR = 0x00, 0xFE, 0xFF
SIZE = 0xFFFFFF  # the part of a head that says how long a packet is
LONGEST = SIZE  # of one packet; what is longer goes on in the next
HEAD = 4


def packet(payload: bytes, sequence: int) -> bytes:
    """One frame; for payloads shorter than LONGEST."""
    return struct.pack("<I", len(payload))[:3] + bytes([sequence & 0xFF]) + payload


def greeting(salt: bytes) -> bytes:
    """The first words of a server; `salt` is 20 bytes without NUL."""
    return packet(
        b"\x0a5.7.99-pghaul\0"
        + struct.pack("<I", 1)
        + salt[:8]
        + b"\0"
        + struct.pack("<HBHH", CAPABILITIES & 0xFFFF, UTF8MB4, AUTOCOMMIT, CAPABILITIES >> 16)
        + bytes([len(salt) + 1])
        + bytes(10)
        + salt[8:]
        + b"\0"
        + NATIVE_PASSWORD,
        0,
    )


def is_welcome(response: bytes, password: bytes, salt: bytes) -> bool:
    """Whether a handshake response knows the password."""
    stage = hashlib.sha1(password).digest()  # noqa: S324 -- the protocol's own
    mixed = hashlib.sha1(salt + hashlib.sha1(stage).digest()).digest()  # noqa: S324
    return bytes(a ^ b for a, b in zip(stage, mixed, strict=True)) in response


def ok(sequence: int) -> bytes:
    """Nothing to say."""
    return packet(struct.pack("<BBBHH", OK, 0, 0, AUTOCOMMIT, 0), sequence)


def eof(sequence: int) -> bytes:
    """The end of a result, or of its columns."""
    return packet(struct.pack("<BHH", EOF, 0, AUTOCOMMIT), sequence)


def one_value(name: bytes, value: bytes) -> bytes:
    """A whole result in the text protocol: one column, one row."""
    column = (
        b"\x03def\0\0\0" + bytes([len(name)]) + name + b"\0\x0c" + struct.pack("<HIBHBH", UTF8MB4, 64, 253, 0, 0, 0)
    )
    parts = (packet(b"\x01", 1), packet(column, 2), eof(3), packet(bytes([len(value)]) + value, 4), eof(5))
    return b"".join(parts)


def is_end(payload: bytes | memoryview) -> bool:
    """Whether this payload ends a result well."""
    return payload[0] == EOF and len(payload) < 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a server said instead of a result."""

    number: int
    message: str


def refusal(payload: bytes | memoryview) -> Refusal:
    """Of an ERROR packet."""
    said = bytes(payload)
    text = said[9:] if said[3:4] == b"#" else said[3:]
    return Refusal(number=int.from_bytes(said[1:3], "little"), message=text.decode("utf-8", "replace"))


class Frames:
    """Whole packets from whatever comes in pieces. `receive(most)` gives some bytes, b"" at the end."""

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self.left = b""  # what came behind the last packet that was taken

    def take(self) -> tuple[int, bytes]:
        """The next packet: its sequence number and its payload; one that goes on is put together. EOFError."""
        whole = b""
        while True:
            head = self._exactly(HEAD)
            size = int.from_bytes(head[:3], "little")
            whole += self._exactly(size)
            if size < LONGEST:
                return head[3], whole

    def _exactly(self, size: int) -> bytes:
        while len(self.left) < size:
            more = self._receive(max(size - len(self.left), 65536))
            if not more:
                raise EOFError
            self.left += more
        taken, self.left = self.left[:size], self.left[size:]
        return taken
