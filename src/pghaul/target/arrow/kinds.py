"""The one table of types: what a PostgreSQL type travels as in Arrow, by whom it is encoded, and what it can hold.

A type that is not here takes strings in its input syntax, by way of csv; so does every type whose column is delivered
as strings although it has a form of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import pyarrow as pa
from pyarrow import types as is_

from pghaul.target.arrow.column import Spelled

Test: TypeAlias = Callable[[pa.DataType], bool]

MOST_DIGITS = 38  # of decimal128, the only decimal that pgpq encodes
MOST_DIGITS_256 = 76


class Payload(Enum):
    """What pgpq makes of a column, beyond what its Arrow type says."""

    AS_IT_IS = "as it is"
    JSONB = "jsonb"  # text behind a version number
    NONE = "none"  # no binary form that can be made here


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """`natural` is None where a type has only strings. `accepts`: what may be cast to it without a loss, or with a
    check of each value."""

    oid: int
    natural: Callable[[Spelled], pa.DataType | None]
    accepts: Test
    payload: Payload = Payload.AS_IT_IS


def _just(type_: pa.DataType) -> Callable[[Spelled], pa.DataType]:
    return lambda _: type_


def _any(*tests: Test) -> Test:
    return lambda t: any(test(t) for test in tests)


def _decimal(spelled: Spelled) -> pa.DataType | None:
    """None: without a scale of its own it takes the one it is delivered in."""
    precision, scale = spelled.args if len(spelled.args) == 2 else (*spelled.args, 0) if spelled.args else (0, 0)
    if not 0 < precision <= MOST_DIGITS or not 0 <= scale <= precision:
        return None
    return pa.decimal128(precision, scale)


def _zoned(type_: pa.DataType) -> bool:
    return bool(is_.is_timestamp(type_) and type_.tz is not None)


def _unzoned(type_: pa.DataType) -> bool:
    return bool(is_.is_timestamp(type_) and type_.tz is None)


def _sixteen_bytes(type_: pa.DataType) -> bool:
    return bool(is_.is_fixed_size_binary(type_) and type_.byte_width == 16)


def is_text(type_: pa.DataType) -> bool:
    """A string of any layout."""
    return bool(is_.is_string(type_) or is_.is_large_string(type_) or is_.is_string_view(type_))


def is_bytes(type_: pa.DataType) -> bool:
    """Bytes of any layout."""
    tests = (is_.is_binary, is_.is_large_binary, is_.is_fixed_size_binary, is_.is_binary_view)
    return any(test(type_) for test in tests)


TEXT = _any(is_text, is_.is_integer, is_.is_boolean)
NUMBER = _any(is_.is_integer, is_.is_decimal)
FLOAT = _any(is_.is_integer, is_.is_floating)

KINDS: Mapping[str, Kind] = {
    "boolean": Kind(oid=16, natural=_just(pa.bool_()), accepts=is_.is_boolean),
    "smallint": Kind(oid=21, natural=_just(pa.int16()), accepts=NUMBER),
    "integer": Kind(oid=23, natural=_just(pa.int32()), accepts=NUMBER),
    "bigint": Kind(oid=20, natural=_just(pa.int64()), accepts=NUMBER),
    "real": Kind(oid=700, natural=_just(pa.float32()), accepts=FLOAT),
    "double precision": Kind(oid=701, natural=_just(pa.float64()), accepts=FLOAT),
    "numeric": Kind(oid=1700, natural=_decimal, accepts=NUMBER),
    "text": Kind(oid=25, natural=_just(pa.string()), accepts=TEXT),
    "character varying": Kind(oid=1043, natural=_just(pa.string()), accepts=TEXT),
    "character": Kind(oid=1042, natural=_just(pa.string()), accepts=TEXT),
    "name": Kind(oid=19, natural=_just(pa.string()), accepts=is_text),
    "json": Kind(oid=114, natural=_just(pa.string()), accepts=is_text),
    "jsonb": Kind(oid=3802, natural=_just(pa.string()), accepts=is_text, payload=Payload.JSONB),
    # Its binary form is bytes in the encoding that the document declares; its text is in the session's.
    "xml": Kind(oid=142, natural=_just(pa.string()), accepts=is_text, payload=Payload.NONE),
    "bytea": Kind(oid=17, natural=_just(pa.binary()), accepts=is_bytes),
    "uuid": Kind(oid=2950, natural=_just(pa.binary(16)), accepts=_any(_sixteen_bytes, is_text)),
    "date": Kind(oid=1082, natural=_just(pa.date32()), accepts=is_.is_date),
    "time without time zone": Kind(oid=1083, natural=_just(pa.time64("us")), accepts=is_.is_time),
    "timestamp without time zone": Kind(
        oid=1114, natural=_just(pa.timestamp("us")), accepts=_any(_unzoned, is_.is_date)
    ),
    "timestamp with time zone": Kind(oid=1184, natural=_just(pa.timestamp("us", "UTC")), accepts=_zoned),
}
# An enum's binary form is its label; its oid is its own.
ENUM = Kind(oid=0, natural=_just(pa.string()), accepts=is_text)
