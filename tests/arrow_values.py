"""Values of each PostgreSQL type at its extremes, as Arrow arrays, and what the server says of them afterwards."""

from __future__ import annotations

import json
import math
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from pghaul.target.arrow.encoding import Format

FIRST_MOMENT = -210_866_803_200_000_000
SINCE_2000 = 946_684_800_000_000
DAYS_2000 = 10_957


def _plain(value: Any) -> str:
    return str(value)


def _number(digits: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**digits - 1
    return st.integers(-most, most).map(lambda n: Decimal(f"{n}E-{scale}"))


@dataclass(frozen=True, kw_only=True)
class Case:
    """`arrow` is what a source delivers, made from the integers, strings … of `values`. `asked` is SQL of column c."""

    type: str
    arrow: pa.DataType
    values: st.SearchStrategy[Any]
    asked: str = "c::text"
    expected: Callable[[Any], str] = _plain
    formats: tuple[Format, ...] = ("binary", "csv")

    def __str__(self) -> str:
        return f"{self.type} of {self.arrow}"

    def array(self, values: list[Any]) -> pa.Array:
        """Moments are given as the integers that they are."""
        if pa.types.is_temporal(self.arrow):
            width = pa.int32() if self.arrow.bit_width == 32 else pa.int64()
            return pa.array(values, width).view(self.arrow)
        return pa.array(values, self.arrow)


def _be(form: str, offset: int = 0) -> Callable[[Any], str]:
    return lambda value: struct.pack(form, value - offset).hex()


def sent(function: str) -> str:
    """The type's binary form, in digits: what a value is, whatever its text is like."""
    return f"pg_catalog.encode(pg_catalog.{function}(c), 'hex')"


def ints(bits: int) -> st.SearchStrategy[int]:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return st.integers(low, high) | st.sampled_from([low, high, 0, -1])


ODD = ['"', "\\.", "\\N", "a\r\nb", "\n\\.\n", ",", "NULL", "", " ", "\\", "한글", "\U0001f600", "{", '"",""', "\\x00"]
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30) | st.sampled_from(ODD)
MOMENTS = st.integers(FIRST_MOMENT, 2**63 - 1) | st.sampled_from(
    [FIRST_MOMENT, 2**63 - 1, 0, -1, 253_402_300_799_999_999, 253_402_300_800_000_000, -62_135_596_800_000_001]
)
TIMES = st.integers(0, 86_400_000_000) | st.sampled_from([0, 86_400_000_000, 86_399_999_999])
DAYS = st.integers(-2_440_588, 2_145_042_905) | st.sampled_from([-2_440_588, 2_145_042_905, 2_932_897, -719_163])
FLOATS = st.floats(allow_nan=False) | st.sampled_from([math.nan, math.inf, 5e-324, -0.0, 1.7976931348623157e308])
FLOATS_4 = st.floats(width=32, allow_nan=False) | st.sampled_from(
    [math.nan, -math.inf, 1.401298464324817e-45, -0.0, 3.4028234663852886e38]
)
ENUM = st.sampled_from(["sad", "o'k", 'so, "so"', "행복"])
BYTES = st.binary(max_size=40)

CASES = [
    Case(type="boolean", arrow=pa.bool_(), values=st.booleans(), expected=lambda v: str(v).lower()),
    Case(type="smallint", arrow=pa.int16(), values=ints(16)),
    Case(type="integer", arrow=pa.int32(), values=ints(32)),
    Case(type="bigint", arrow=pa.int64(), values=ints(64)),
    Case(type="bigint", arrow=pa.uint32(), values=st.integers(0, 2**32 - 1)),
    Case(type="smallint", arrow=pa.int8(), values=ints(8)),
    Case(type="numeric(20,0)", arrow=pa.uint64(), values=st.integers(0, 2**64 - 1)),
    Case(type="numeric", arrow=pa.uint64(), values=st.integers(0, 2**64 - 1)),
    Case(type="real", arrow=pa.float32(), values=FLOATS_4, asked=sent("float4send"), expected=_be(">f")),
    Case(
        type="real",
        arrow=pa.float16(),
        values=st.floats(width=16, allow_nan=False),
        asked=sent("float4send"),
        expected=_be(">f"),
    ),
    Case(type="double precision", arrow=pa.float64(), values=FLOATS, asked=sent("float8send"), expected=_be(">d")),
    Case(type="numeric(38,10)", arrow=pa.decimal128(38, 10), values=_number(38, 10), expected=lambda v: f"{v:.10f}"),
    Case(type="numeric(12,4)", arrow=pa.decimal128(10, 2), values=_number(10, 2), expected=lambda v: f"{v:.4f}"),
    Case(type="numeric", arrow=pa.decimal128(38, 38), values=_number(38, 38), expected=lambda v: f"{v:.38f}"),
    Case(
        type="numeric(65,30)",
        arrow=pa.decimal256(65, 30),
        values=_number(65, 30),
        expected=lambda v: f"{v:.30f}",
        formats=("csv",),
    ),
    Case(type="text", arrow=pa.string(), values=TEXT),
    Case(type="text", arrow=pa.large_string(), values=TEXT),
    Case(type="text", arrow=pa.dictionary(pa.int32(), pa.string()), values=TEXT),
    Case(type="character varying(40)", arrow=pa.string(), values=TEXT),
    Case(type="character(40)", arrow=pa.string(), values=TEXT, expected=lambda v: v.rstrip(" ")),
    Case(type="bytea", arrow=pa.binary(), values=BYTES, asked="pg_catalog.encode(c, 'hex')", expected=bytes.hex),
    Case(
        type="bytea",
        arrow=pa.binary(3),
        values=st.binary(min_size=3, max_size=3),
        asked="pg_catalog.encode(c, 'hex')",
        expected=bytes.hex,
    ),
    Case(
        type="uuid",
        arrow=pa.binary(16),
        values=st.uuids().map(lambda u: u.bytes),
        expected=lambda v: str(uuid.UUID(bytes=v)),
    ),
    Case(
        type="uuid",
        arrow=pa.string(),
        values=st.uuids().map(str) | st.uuids().map(lambda u: f"{{{u.hex.upper()}}}"),
        expected=lambda v: str(uuid.UUID(v)),
    ),
    Case(type="date", arrow=pa.date32(), values=DAYS, asked=sent("date_send"), expected=_be(">i", DAYS_2000)),
    Case(
        type="time without time zone", arrow=pa.time64("us"), values=TIMES, asked=sent("time_send"), expected=_be(">q")
    ),
    Case(
        type="timestamp without time zone",
        arrow=pa.timestamp("us"),
        values=MOMENTS,
        asked=sent("timestamp_send"),
        expected=_be(">q", SINCE_2000),
    ),
    Case(
        type="timestamp with time zone",
        arrow=pa.timestamp("us", "UTC"),
        values=MOMENTS,
        asked=sent("timestamptz_send"),
        expected=_be(">q", SINCE_2000),
    ),
    Case(
        type="timestamp with time zone",
        arrow=pa.timestamp("us", "Asia/Seoul"),
        values=MOMENTS,
        asked=sent("timestamptz_send"),
        expected=_be(">q", SINCE_2000),
    ),
    Case(type="json", arrow=pa.string(), values=TEXT.map(lambda t: json.dumps({"a": t}))),
    Case(type="jsonb", arrow=pa.string(), values=TEXT.map(json.dumps), asked="(c #>> '{}')", expected=json.loads),
    Case(type="name", arrow=pa.string(), values=st.sampled_from(["n" * 63, "한" * 21, ""])),
    Case(type="public.mood", arrow=pa.string(), values=ENUM),
    Case(
        type="integer[]",
        arrow=pa.list_(pa.int32()),
        values=st.lists(ints(32) | st.none(), max_size=4),
        asked="pg_catalog.to_json(c)",
        expected=str,
    ),
    Case(
        type="text[]",
        arrow=pa.list_(pa.string()),
        values=st.lists(TEXT | st.none(), max_size=4),
        asked="pg_catalog.to_json(c)",
        expected=str,
    ),
    Case(
        type="character varying(40)[]",
        arrow=pa.list_(pa.string()),
        values=st.lists(TEXT | st.none(), max_size=4),
        asked="pg_catalog.to_json(c)",
        expected=str,
        formats=("csv",),
    ),
    # Strings in PostgreSQL's own syntax are right for every type.
    *(
        Case(type=type_, arrow=pa.string(), values=st.sampled_from(values), formats=("csv",))
        for type_, values in {
            "interval": ["838:59:59", "-1 years -2 mons +3 days -04:05:06.789"],
            "inet": ["10.0.0.1/8", "::/64"],
            "bit(3)": ["101", "000"],
            "numeric(65,30)": ["-" + "9" * 35 + "." + "1" * 30],
            "numeric": ["NaN", "1" * 200 + "." + "2" * 200],
            "date": ["infinity", "4713-11-24 BC"],
            "timestamp without time zone": ["-infinity", "0044-03-15 12:00:00 BC", "2020-01-01 00:00:00"],
            "time with time zone": ["12:00:00+09"],
            "int4range": ["[1,5)", "empty"],
            "integer[]": ["{1,NULL,3}", "{{1,2},{3,4}}", "[5:6]={1,2}"],
            "bytea": ["\\x00ff", "\\x"],
            "boolean": ["true", "false"],
            "macaddr": ["08:00:2b:01:02:03"],
        }.items()
    ),
]
