"""Which PostgreSQL type a column of a file is proposed: what a Parquet or Arrow file declares, or what a CSV holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pghaul.model.text import say

if TYPE_CHECKING:
    import pyarrow as pa

FIRST = 64  # rows of a batch
INTEGER = r"^-?(0|[1-9][0-9]*)$"  # 007 is no number: it would come back as 7
DIGITS = 18  # that a bigint holds, whichever they are
DECIMAL = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"
FLOAT = r"^[-+]?[0-9]+(\.[0-9]+)?[eE][-+]?[0-9]+$"
DATE = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
MOMENT = DATE[:-1] + "[ T]" + CLOCK + "$"
ZONED = DATE[:-1] + "[ T]" + CLOCK + r"(Z|[-+][0-9]{2}(:?[0-9]{2})?)$"
TRUTH = r"^(true|false|TRUE|FALSE|True|False|t|f)$"
UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
# In the order in which they are tried; all values have to be spelled so.
SPELLED: tuple[tuple[str, str], ...] = (
    (INTEGER, "bigint"),
    (DECIMAL, "numeric"),
    (FLOAT, "double precision"),
    (DATE, "date"),
    (MOMENT, "timestamp without time zone"),
    (ZONED, "timestamp with time zone"),
    (TRUTH, "boolean"),
    (UUID, "uuid"),
)
NANOS = say("nanoseconds that are no whole microseconds are refused")
TYPES: tuple[tuple[str, str, str], ...] = (
    ("csv", "bigint", say("where every value that was looked at is an integer as it would be written again")),
    ("csv", "numeric", say("… a decimal number")),
    ("csv", "double precision", say("… a number with an exponent")),
    ("csv", "date", say("… YYYY-MM-DD, with days that exist")),
    ("csv", "timestamp without time zone", say("… an ISO date and time")),
    ("csv", "timestamp with time zone", say("… with an offset")),
    ("csv", "boolean", say("… true or false")),
    ("csv", "uuid", say("… a UUID")),
    ("csv", "text", say('anything else, 007 among it; an empty field is NULL, and "" is an empty text')),
    ("int8, int16, uint8", "smallint", ""),
    ("int32, uint16", "integer", ""),
    ("int64, uint32", "bigint", ""),
    ("uint64", "numeric(20,0)", ""),
    ("float16, float", "real", ""),
    ("double", "double precision", ""),
    ("bool", "boolean", ""),
    ("decimal(p, s)", "numeric(p,s)", ""),
    ("string, dictionary, null", "text", ""),
    ("binary, fixed_size_binary", "bytea", ""),
    ("date32, date64", "date", ""),
    ("time32, time64", "time without time zone", NANOS),
    ("timestamp[s | ms | us | ns]", "timestamp(0 | 3 | 6) without time zone", NANOS),
    ("timestamp[…, tz]", "timestamp with time zone", ""),
    ("duration", "interval", ""),
    ("list of one of these", "array", ""),
    ("fixed_size_list of float", "real[]", say("or vector(n), if the plan says so")),
    ("struct, map, list of lists", "jsonb", ""),
)  # fmt: skip


def declared(kind: pa.DataType) -> str:  # noqa: PLR0911 -- a type each
    """What an Arrow type becomes."""
    import pyarrow as pa  # noqa: PLC0415

    for fits, pg_type in _simple(pa):
        if fits(kind):
            return pg_type
    if pa.types.is_dictionary(kind):
        return declared(kind.value_type)
    if pa.types.is_decimal(kind):
        return f"numeric({kind.precision},{kind.scale})" if 0 <= kind.scale <= kind.precision else "numeric"
    if pa.types.is_timestamp(kind):
        digits = {"s": 0, "ms": 3}.get(kind.unit, 6)
        return f"timestamp({digits}) {'with' if kind.tz else 'without'} time zone"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = declared(kind.value_type)
        return "jsonb" if inner == "jsonb" or inner.endswith("[]") else f"{inner}[]"
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        return "jsonb"
    return "text"


def _simple(pa: pa) -> tuple[tuple[Callable[[pa.DataType], bool], str], ...]:
    is_a = pa.types
    return (
        (lambda t: t in {pa.int8(), pa.int16(), pa.uint8()}, "smallint"),
        (lambda t: t in {pa.int32(), pa.uint16()}, "integer"),
        (lambda t: t in {pa.int64(), pa.uint32()}, "bigint"),
        (is_a.is_uint64, "numeric(20,0)"),
        (lambda t: t in {pa.float16(), pa.float32()}, "real"),
        (is_a.is_float64, "double precision"),
        (is_a.is_boolean, "boolean"),
        (lambda t: is_a.is_binary(t) or is_a.is_large_binary(t) or is_a.is_fixed_size_binary(t), "bytea"),
        (is_a.is_date, "date"),
        (is_a.is_time, "time(6) without time zone"),
        (is_a.is_duration, "interval"),
    )


class Guess:
    """What all values of a CSV's column that were looked at can be. Fed batch by batch."""

    def __init__(self) -> None:
        self._left: list[tuple[str, str]] = list(SPELLED)
        self.values = 0

    def feed(self, column: pa.Array) -> None:
        """Strings."""
        self.values += len(column) - column.null_count
        if column.null_count == len(column):
            return
        for part in (
            column.slice(0, FIRST),
            column.slice(FIRST),
        ):  # most patterns fail at once: what is long is read once
            self._left = [
                (pattern, pg_type)
                for pattern, pg_type in self._left
                if _all_match(part, pattern) and _exist(part, pg_type)
            ]

    @property
    def pg_type(self) -> str:
        """The first that fits all; text where there was nothing to look at."""
        return self._left[0][1] if self._left and self.values else "text"


def _all_match(column: pa.Array, pattern: str) -> bool:
    import pyarrow.compute as pc  # noqa: PLC0415

    return bool(pc.all(pc.match_substring_regex(column, pattern), min_count=0).as_py())


def _exist(column: pa.Array, pg_type: str) -> bool:
    """Days that are spelled well may still be none: the 31st of February; and numbers may be too long."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    if pg_type == "bigint":
        return bool((pc.max(pc.utf8_length(column)).as_py() or 0) <= DIGITS)
    if not pg_type.startswith(("date", "timestamp")):
        return True
    days = pc.utf8_slice_codeunits(column, 0, 10)
    try:
        days.cast(pa.timestamp("s"))
    except pa.ArrowInvalid:
        return False
    return not pc.any(pc.equal(pc.utf8_slice_codeunits(column, 0, 4), "0000")).as_py()
