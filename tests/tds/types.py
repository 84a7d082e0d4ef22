"""Types of TDS 7.4: what COLMETADATA says of a column, and how a Python value travels ([MS-TDS] 2.2.5.4 and 2.2.5.5).

A value is None for NULL, or what the type holds exactly: int, float, Decimal, str, bytes, uuid.UUID; days, ticks and
offsets as integers, so that no Python type rounds what is to be proven lossless.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

LATIN = bytes((0x09, 0x04, 0xD0, 0x00, 0x34))  # SQL_Latin1_General_CP1_CI_AS: code page 1252
KOREAN = bytes((0x12, 0x04, 0xD0, 0x00, 0x00))  # Korean_Wansung_CI_AS: code page 949
PLP = 0xFFFF  # the length that says: of any length, in parts
PART = 8_000  # bytes of one part


@dataclass(frozen=True, slots=True)
class Type:
    """`info` is its TYPE_INFO; `encode` makes one value of it, without NULL."""

    info: bytes
    encode: Callable[[Any], bytes]
    null: bytes
    user_type: int = 0
    table_name: bool = False  # text, ntext and image say of which table they are

    def value(self, value: Any) -> bytes:
        """As in a ROW token."""
        return self.null if value is None else self.encode(value)


def _short(code: int, size: int, pack: Callable[[Any], bytes], after: bytes = b"") -> Type:
    """A type whose values have a length of one byte; 0 is NULL."""
    return Type(bytes((code, size)) + after, lambda v: bytes((size,)) + pack(v), b"\x00")


def _packed(form: str) -> Callable[[Any], bytes]:
    return struct.Struct("<" + form).pack


def _decimal(precision: int, scale: int) -> Type:
    size = next(s for digits, s in ((9, 4), (19, 8), (28, 12), (38, 16)) if precision <= digits)

    def pack(value: Decimal) -> bytes:
        sign, digits, exponent = value.as_tuple()
        assert isinstance(exponent, int)
        whole = int("".join(map(str, digits))) * 10 ** (exponent + scale)
        return bytes((0 if sign else 1,)) + int(whole).to_bytes(size, "little")

    return _short(0x6C, size + 1, pack, bytes((precision, scale)))


def _time_size(scale: int) -> int:
    return 3 if scale <= 2 else 4 if scale <= 4 else 5


def _scaled(code: int, scale: int, size: int, pack: Callable[[Any], bytes]) -> Type:
    return Type(bytes((code, scale)), lambda v: bytes((size,)) + pack(v), b"\x00")


def _time(scale: int) -> Type:
    size = _time_size(scale)
    return _scaled(0x29, scale, size, lambda ticks: int(ticks).to_bytes(size, "little"))


def _datetime2(scale: int) -> Type:
    """(ticks of 10^-scale seconds since midnight, days since 0001-01-01)."""
    size = _time_size(scale)
    return _scaled(0x2A, scale, size + 3, lambda v: v[0].to_bytes(size, "little") + v[1].to_bytes(3, "little"))


def _datetimeoffset(scale: int) -> Type:
    """(ticks, days, minutes): the moment in UTC, and the offset it was written with."""
    size = _time_size(scale)

    def pack(value: tuple[int, int, int]) -> bytes:
        ticks, days, minutes = value
        return ticks.to_bytes(size, "little") + days.to_bytes(3, "little") + struct.pack("<h", minutes)

    return _scaled(0x2B, scale, size + 5, pack)


def _money(value: Decimal) -> bytes:
    units = int(value * 10_000)
    return struct.pack("<iI", units >> 32, units & 0xFFFFFFFF)


def _in_parts(data: bytes) -> bytes:
    parts = [data[i : i + PART] for i in range(0, len(data), PART)]
    sized = b"".join(struct.pack("<I", len(p)) + p for p in parts)
    return struct.pack("<Q", len(data)) + sized + bytes(4)


def _long(code: int, size: int, pack: Callable[[Any], bytes], after: bytes = b"") -> Type:
    """A type with a length of two bytes, or in parts where `size` is PLP."""
    info = struct.pack("<BH", code, size) + after
    if size == PLP:
        return Type(info, lambda v: _in_parts(pack(v)), b"\xff" * 8)

    def encode(value: Any) -> bytes:
        data = pack(value)
        assert len(data) <= size
        return struct.pack("<H", len(data)) + data

    return Type(info, encode, b"\xff\xff")


def utf16(text: str) -> bytes:
    """Halves of surrogate pairs may stand alone: SQL Server does not look."""
    return text.encode("utf-16-le", "surrogatepass")


def nvarchar(size: int | None = 4000) -> Type:
    """nvarchar(size), or nvarchar(max)."""
    return _long(0xE7, PLP if size is None else 2 * size, utf16, LATIN)


def nchar(size: int) -> Type:
    """Padded by the caller."""
    return _long(0xEF, 2 * size, utf16, LATIN)


def varchar(size: int | None = 8000, collation: bytes = LATIN, page: str = "cp1252") -> Type:
    """varchar(size) in a code page; bytes go as they are."""
    return _long(0xA7, PLP if size is None else size, _in_page(page), collation)


def char(size: int, collation: bytes = LATIN, page: str = "cp1252") -> Type:
    """Padded by the caller."""
    return _long(0xAF, size, _in_page(page), collation)


def _in_page(page: str) -> Callable[[Any], bytes]:
    return lambda v: v if isinstance(v, bytes) else v.encode(page)


def varbinary(size: int | None = 8000) -> Type:
    """varbinary(size), or varbinary(max)."""
    return _long(0xA5, PLP if size is None else size, bytes)


def binary(size: int) -> Type:
    """Always of the same length; rowversion is binary(8)."""
    return _long(0xAD, size, bytes)


def _blob(code: int, pack: Callable[[Any], bytes], after: bytes = b"") -> Type:
    """text, ntext and image: a pointer and a timestamp stand before the value."""

    def encode(value: Any) -> bytes:
        data = pack(value)
        return b"\x10" + bytes(24) + struct.pack("<I", len(data)) + data

    return Type(struct.pack("<BI", code, 0x7FFFFFFF) + after, encode, b"\x00", table_name=True)


def decimal(precision: int, scale: int) -> Type:
    """decimal and numeric are one."""
    return _decimal(precision, scale)


def time(scale: int) -> Type:
    """Ticks since midnight."""
    return _time(scale)


def datetime2(scale: int) -> Type:
    """(ticks, days)."""
    return _datetime2(scale)


def datetimeoffset(scale: int) -> Type:
    """(ticks, days, minutes)."""
    return _datetimeoffset(scale)


def _variant(text: str) -> bytes:
    """A sql_variant that holds an nvarchar."""
    data = utf16(text)
    inner = b"\xe7\x07" + LATIN + struct.pack("<H", len(data)) + data
    return struct.pack("<I", len(inner)) + inner


BIT = _short(0x68, 1, lambda v: bytes((int(v),)))
TINYINT = _short(0x26, 1, _packed("B"))
SMALLINT = _short(0x26, 2, _packed("h"))
INT = _short(0x26, 4, _packed("i"))
BIGINT = _short(0x26, 8, _packed("q"))
REAL = _short(0x6D, 4, _packed("f"))
FLOAT = _short(0x6D, 8, _packed("d"))
MONEY = _short(0x6E, 8, _money)
SMALLMONEY = _short(0x6E, 4, lambda v: struct.pack("<i", int(v * 10_000)))
DATETIME = _short(0x6F, 8, lambda v: struct.pack("<iI", *v))  # (days since 1900-01-01, 1/300 seconds)
SMALLDATETIME = _short(0x6F, 4, lambda v: struct.pack("<HH", *v))  # (days since 1900-01-01, minutes)
DATE = Type(b"\x28", lambda days: b"\x03" + int(days).to_bytes(3, "little"), b"\x00")  # days since 0001-01-01
GUID = _short(0x24, 16, lambda v: UUID(str(v)).bytes_le)
XML = Type(b"\xf1\x00", lambda v: _in_parts(utf16(v)), b"\xff" * 8)
TEXT = _blob(0x23, _in_page("cp1252"), LATIN)
NTEXT = _blob(0x63, utf16, LATIN)
IMAGE = _blob(0x22, bytes)
VARIANT = Type(struct.pack("<BI", 0x62, 8009), _variant, bytes(4))
# A type of fixed length has no NULL, and no length before its values.
FIXED_INT = Type(b"\x38", _packed("i"), b"")
