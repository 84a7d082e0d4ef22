"""A result's rows as they come from the server, cut into pieces: so many rows, or so many bytes, and then no more.

A driver that reads a whole result fills memory as fast as the server can. Only frames are looked at, one step per row;
what is in them is handed on as it came.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pghaul.sources._mysql_packets import EOF, ERROR, HEAD, LONGEST, SIZE, Refusal, refusal

SHORT = 9  # bytes: an EOF packet has less
CHUNK = 256 << 10  # bytes of one recv; more did not make it faster
_HEAD = struct.Struct("<IB")  # length and number of a packet, and the first byte in it


@dataclass(slots=True, kw_only=True)
class Piece:
    """What one piece had. `full`: of rows; `last`: the server has no more."""

    rows: int = 0
    size: int = 0
    full: bool = False
    last: bool = False
    refused: Refusal | None = None


class Rows:
    """The rows of a result that has begun. `begun`: bytes that came already; `first`: the number of the first packet.

    `receive(view)` fills a part of it and says how many bytes that was, 0 at the end.
    """

    def __init__(self, receive: Callable[[memoryview], int], begun: bytes, first: int) -> None:
        self._receive = receive
        self._buffer = bytearray(max(CHUNK, len(begun)))
        self._buffer[: len(begun)] = begun
        self._at, self._end = 0, len(begun)
        self._first = self._next = first
        self._shift = 0
        self._inside = False  # a row that is longer than a packet goes on

    def restart(self) -> None:
        """What comes now is said as if it were the beginning: its packets are numbered so."""
        self._shift = (self._next - self._first) & 0xFF

    @property
    def following(self) -> int:
        """The number of the packet that comes next."""
        return (self._next - self._shift) & 0xFF

    def piece(self, most_rows: int, most_bytes: int, made: Piece) -> Iterator[memoryview]:
        """Whole packets to hand on. `made` is complete afterwards. EOFError where the server has gone."""
        while True:
            begun = self._at
            done = self._walk(made, most_rows, most_bytes)
            if self._at > begun:
                view = memoryview(self._buffer)[begun : self._at]
                yield view
                view.release()
            if done:
                return
            self._more()

    def _walk(self, made: Piece, most_rows: int, most_bytes: int) -> bool:
        """Over the whole packets at hand; whether the piece ends where it stopped."""
        if self._shift or self._inside or len(self._buffer) > LONGEST:
            return self._walk_with_care(made, most_rows, most_bytes)
        buffer, at, end, head = self._buffer, self._at, self._end - HEAD, _HEAD.unpack_from
        begun, room, left, number, done = at, at + most_bytes - made.size, most_rows - made.rows, None, False
        if made.rows == 0:
            room = max(room, at + 1)
        while at < end and left:
            following, mark = head(buffer, at)
            behind = at + HEAD + (following & SIZE)
            if behind > end + HEAD:
                break
            if mark and self._is_end(made, mark, at + HEAD, behind):
                done = True
                break
            if at >= room:
                done = True
                break
            number, at, left = following, behind, left - 1
        if number is not None:
            self._next = ((number >> 24) + 1) & 0xFF
        made.rows, made.size, made.full, self._at = most_rows - left, made.size + at - begun, not left, at
        return done or not left

    def _walk_with_care(self, made: Piece, most_rows: int, most_bytes: int) -> bool:
        """The same, of rows in several packets, and where packets are numbered anew."""
        while self._at + HEAD < self._end:
            number, mark = _HEAD.unpack_from(self._buffer, self._at)
            size = number & SIZE
            behind = self._at + HEAD + size
            if behind > self._end:
                break
            if not self._inside:
                if mark and self._is_end(made, mark, self._at + HEAD, behind):
                    return True
                made.full = made.rows >= most_rows
                if made.full or (made.rows and made.size >= most_bytes):
                    return True
                made.rows += 1
            self._buffer[self._at + 3] = ((number >> 24) - self._shift) & 0xFF
            self._inside, self._next = size == LONGEST, ((number >> 24) + 1) & 0xFF
            made.size += HEAD + size
            self._at = behind
        return False

    def _is_end(self, made: Piece, mark: int, begin: int, end: int) -> bool:
        if mark == ERROR:
            made.refused = refusal(bytes(self._buffer[begin:end]))
        made.last = mark == ERROR or (mark == EOF and end - begin < SHORT)
        return made.last

    def _more(self) -> None:
        """Move what is left to the front, and fill the rest; a packet that does not fit makes the buffer longer."""
        buffer, left = self._buffer, self._end - self._at
        buffer[:left] = buffer[self._at : self._end]
        needed = HEAD + (int.from_bytes(buffer[:3], "little") if left >= HEAD else 0)
        if needed > len(buffer):
            buffer.extend(bytes(needed - len(buffer)))
        elif len(buffer) > CHUNK >= needed:
            del buffer[max(CHUNK, left) :]
        with memoryview(buffer) as view:
            received = self._receive(view[left:])
        self._at, self._end = 0, left + received
        if not received:
            raise EOFError
