"""Tokens of a TDS 7.4 answer ([MS-TDS] 2.2.7), and what a batch can be answered with."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tests.tds.types import LATIN, Type, utf16

VERSION = 0x74000004  # 7.4
MORE, FAILED, IN_TRANSACTION, COUNTED, ATTENTION = 0x01, 0x02, 0x04, 0x10, 0x20
DONE, DONE_PROC = 0xFD, 0xFE
SERVER = "stand-in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Rows: tuples, or tokens that are made already. `cut_after`: so many rows, half of another, and no connection."""

    columns: Sequence[tuple[str, Type]]
    rows: Iterable[Sequence[Any] | bytes] = ()
    compressed: bool = False  # NBCROW instead of ROW
    cut_after: int | None = None
    hang_after: int | None = None  # so many rows, and then nothing until the client asks to end it


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An ERROR token, or an INFO token below severity 11."""

    number: int
    text: str
    severity: int = 16
    closes: bool = False  # the server hangs up behind it


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """BEGIN TRANSACTION, COMMIT or ROLLBACK: the client is told by ENVCHANGE."""

    kind: int = 8  # 8 begun, 9 committed, 10 rolled back
    descriptor: bytes = field(default=b"\x01" + bytes(7))


Answer: TypeAlias = Result | Message | Begun


def counted(text: str) -> bytes:
    """B_VARCHAR."""
    return bytes((len(text),)) + utf16(text)


def done(status: int = 0, rows: int = 0, token: int = DONE) -> bytes:
    """DONE or DONEPROC."""
    return struct.pack("<BHHQ", token, status | (COUNTED if rows else 0), 0xC1 if rows else 0, rows)


def _sized(token: int, body: bytes) -> bytes:
    return struct.pack("<BH", token, len(body)) + body


def changed(kind: int, new: bytes, old: bytes = b"\x00") -> bytes:
    """ENVCHANGE."""
    return _sized(0xE3, bytes((kind,)) + new + old)


def message(what: Message) -> bytes:
    """ERROR or INFO."""
    text = struct.pack("<H", len(what.text)) + utf16(what.text)
    body = struct.pack("<IBB", what.number, 1, what.severity) + text + counted(SERVER) + counted("")
    return _sized(0xAA if what.severity > 10 else 0xAB, body + struct.pack("<I", 1))


def begun(what: Begun) -> bytes:
    """The transaction's descriptor is its new value, or its old one."""
    descriptor = bytes((8,)) + what.descriptor
    return changed(what.kind, descriptor) if what.kind == 8 else changed(what.kind, b"\x00", descriptor)


def greeting(database: str, packet: int, version: int = VERSION) -> bytes:
    """What follows a login that is let in."""
    words = _sized(0xAD, b"\x01" + struct.pack(">I", version) + counted("Stand-in") + bytes((16, 0, 3, 232)))
    return (
        changed(1, counted(database), counted("master"))
        + message(Message(number=5701, text=f"Changed database context to '{database}'.", severity=0))
        + changed(7, bytes((5,)) + LATIN)
        + words
        + changed(4, counted(str(packet)), counted("4096"))
        + done()
    )


def metadata(columns: Sequence[tuple[str, Type]]) -> bytes:
    """COLMETADATA."""
    parts = [struct.pack("<BH", 0x81, len(columns))]
    for name, type_ in columns:
        nullable = 1 if type_.null else 0
        table = b"\x01" + struct.pack("<H", 1) + utf16("t") if type_.table_name else b""
        parts.append(struct.pack("<IH", type_.user_type, nullable) + type_.info + table + counted(name))
    return b"".join(parts)


def row(columns: Sequence[tuple[str, Type]], values: Sequence[Any]) -> bytes:
    """ROW."""
    return b"\xd1" + b"".join([t.value(v) for (_, t), v in zip(columns, values, strict=True)])


def compressed_row(columns: Sequence[tuple[str, Type]], values: Sequence[Any]) -> bytes:
    """NBCROW: a bit for each NULL, and the values that are none."""
    bits = bytearray((len(columns) + 7) // 8)
    for place, value in enumerate(values):
        if value is None:
            bits[place // 8] |= 1 << place % 8
    data = [t.encode(v) for (_, t), v in zip(columns, values, strict=True) if v is not None]
    return b"\xd2" + bytes(bits) + b"".join(data)
