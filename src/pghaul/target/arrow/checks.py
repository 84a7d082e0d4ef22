"""Values that PostgreSQL would take and change, or that its binary input would misread: found by column, not by value.

COPY rounds 1.239 into numeric(5,2), cuts the blanks behind varchar(3), drops microseconds of timestamp(3), shortens
a name and takes 'today' for a date, all without a word. What a type refuses else is left to the server, which says it
best.
Each check takes an array of the column's canonical form and returns a mask of the rows at fault, or None for "none".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pghaul.model.text import Text, say
from pghaul.target.arrow.column import Spelled

Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"
Look: TypeAlias = Callable[[pa.Array], "Mask | None"]

LONGEST_NAME = 63  # bytes: NAMEDATALEN of every server that anybody has not compiled himself
FRACTION = 6  # digits of a second
FIRST_MOMENT = -210_866_803_200_000_000  # microseconds from 1970: 4713-11-24 BC; the last one is beyond int64's reach
FIRST_DAY, LAST_DAY = -2_440_588, 2_145_042_905  # days from 1970: 4713-11-24 BC, 5874897-12-31
DAY = 86_400_000_000  # microseconds; 24:00:00 is a time of day

OF_A_CALENDAR = ("date", "time ", "timestamp", "tsrange", "tstzrange", "tsmultirange", "tstzmultirange")
# What PostgreSQL's date and time input replaces: by its own clock, or by a constant that is written in another way.
CLOCK_WORDS = r"(?i)\b(now|today|tomorrow|yesterday|epoch|allballs)\b"
# 03/04/2024 is in March or in April, as the DateStyle of the target's database has it.
DAY_OR_MONTH = r"""(^|[\s"{(\[,])\d{1,2}[-/.]\d{1,2}[-/.]\d+"""
WITH_SECONDS = ("time ", "timestamp ", "interval")
WRAPPING = frozenset({"oid", "xid", "cid"})  # -100 becomes 4294967196
MONEY_SCALE = 2  # our sessions set lc_monetary to C


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`look` finds; the words are those of the refusal."""

    look: Look
    message: Text
    sqlstate: str


def mask_of(found: pa.Array) -> Mask | None:
    """Of a boolean array, where NULL is no."""
    if not found.true_count:
        return None
    mask: Mask = pc.fill_null(found, False).to_numpy(zero_copy_only=False)
    return mask


def natural_checks(spelled: Spelled, natural: pa.DataType) -> tuple[Check, ...]:
    """For a column in the Arrow type of its own."""
    checks: list[Check] = []
    if pa.types.is_string(natural):
        checks += _of_text(spelled)
    elif pa.types.is_timestamp(natural):
        checks.append(_range(spelled, FIRST_MOMENT, None))
    elif pa.types.is_date(natural):
        checks.append(_range(spelled, FIRST_DAY, LAST_DAY))
    elif pa.types.is_time(natural):
        checks.append(_range(spelled, 0, DAY))
    if spelled.args and (pa.types.is_timestamp(natural) or pa.types.is_time(natural)):
        checks += _precision(spelled)
    return tuple(checks)


def string_checks(spelled: Spelled) -> tuple[Check, ...]:
    """For a column that is delivered as strings in the type's input syntax."""
    checks = [NUL]
    digits = _kept_digits(spelled)
    if digits is not None:
        checks.append(Check(look=_more_digits(digits), message=_finer(spelled), sqlstate="22003"))
    if spelled.name.startswith(OF_A_CALENDAR):
        checks += [REPLACED_BY_A_CLOCK, IN_AN_ORDER]
    if spelled.name in WRAPPING:
        message = say("the server would take a negative number for another one: it is out of range for type {type}",
                      type=spelled.name)  # fmt: skip
        checks.append(Check(look=_negative, message=message, sqlstate="22003"))
    return tuple(checks)


def _matching(pattern: str) -> Look:
    return lambda array: mask_of(pc.match_substring_regex(array, pattern))


REPLACED_BY_A_CLOCK = Check(
    look=_matching(CLOCK_WORDS),
    message=say("a word that the server replaces by a moment of its own, as 'today'"),
    sqlstate="22007",
)
IN_AN_ORDER = Check(
    look=_matching(DAY_OR_MONTH),
    message=say("day and month in an order that depends on the server's DateStyle: YYYY-MM-DD is certain"),
    sqlstate="22007",
)


def _negative(array: pa.Array) -> Mask | None:
    return mask_of(pc.starts_with(pc.utf8_ltrim_whitespace(array), "-"))


def _kept_digits(spelled: Spelled) -> int | None:
    """Behind the point; None where all of them are kept, or the server refuses by itself."""
    if spelled.name == "numeric" and spelled.args:
        return spelled.args[1] if len(spelled.args) > 1 else 0
    if spelled.name == "money":
        return MONEY_SCALE
    if spelled.name.startswith(WITH_SECONDS):
        return spelled.args[0] if spelled.args else FRACTION
    return None


def _finer(spelled: Spelled) -> Text:
    return say("the value has more decimals than {type} keeps", type=_type(spelled))


def _type(spelled: Spelled) -> str:
    args = f"({','.join(map(str, spelled.args))})" if spelled.args else ""
    return f"{spelled.name}{args}"


# --- text --------------------------------------------------------------------------------------------------------


def _of_text(spelled: Spelled) -> list[Check]:
    checks = [NUL]
    if spelled.name in {"character varying", "character"} and spelled.args:
        message = say("value too long for type {type}", type=_type(spelled))
        checks.append(Check(look=_longer(spelled.args[0]), message=message, sqlstate="22001"))
    if spelled.name == "name":
        message = say("value too long for type {type}", type="name")
        checks.append(Check(look=_more_bytes(LONGEST_NAME), message=message, sqlstate="22001"))
    return checks


def _data(array: pa.Array) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The bytes of a string array's own rows."""
    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return np.empty(0, np.uint8)
    width = np.int64 if pa.types.is_large_string(array.type) else np.int32
    bounds = np.frombuffer(offsets, width)
    return np.frombuffer(data, np.uint8)[bounds[array.offset] : bounds[array.offset + len(array)]]


def _holds_nul(array: pa.Array) -> Mask | None:
    data = _data(array)
    if not len(data) or data.min():
        return None
    return mask_of(pc.match_substring(array, "\0"))


NUL = Check(look=_holds_nul, message=say("a NUL character, which no text of PostgreSQL can hold"), sqlstate="22021")


def _longer(most: int) -> Look:
    def look(array: pa.Array) -> Mask | None:
        if (pc.max(pc.binary_length(array)).as_py() or 0) <= most:  # characters are at most as many as bytes
            return None
        return mask_of(pc.greater(pc.utf8_length(array), most))

    return look


def _more_bytes(most: int) -> Look:
    return lambda array: mask_of(pc.greater(pc.binary_length(array), most))


def _more_digits(kept: int) -> Look:
    """A digit that is not 0, so far behind a point; an exponent is looked at one by one."""
    pattern = rf"\.\d{{{kept}}}\d*[1-9]"

    def look(array: pa.Array) -> Mask | None:
        found = mask_of(pc.match_substring_regex(array, pattern))
        exponents = mask_of(pc.match_substring_regex(array, r"\d[eE][-+]?\d"))
        if exponents is None:
            return found
        found = np.zeros(len(array), np.bool_) if found is None else found.copy()
        for row in np.flatnonzero(exponents):
            found[row] = _is_finer(array[int(row)].as_py(), kept)
        return found if found.any() else None

    return look


def _is_finer(value: str, kept: int) -> bool:
    """Numbers with exponents, in an array literal or by themselves."""
    for part in re.split(r'[{},"\s]+', value):
        try:
            exponent = Decimal(part).normalize().as_tuple().exponent
        except InvalidOperation:
            continue
        if isinstance(exponent, int) and -exponent > kept:
            return True
    return False


# --- moments -----------------------------------------------------------------------------------------------------


def _range(spelled: Spelled, first: int, last: int | None) -> Check:
    def look(array: pa.Array) -> Mask | None:
        numbers = integers(array)
        below = pc.less(numbers, first)
        return mask_of(below if last is None else pc.or_(below, pc.greater(numbers, last)))

    return Check(look=look, message=say("out of range for type {type}", type=_type(spelled)), sqlstate="22008")


def _precision(spelled: Spelled) -> list[Check]:
    digits = spelled.args[0]
    if digits >= FRACTION:
        return []
    unit = 10 ** (FRACTION - digits)

    def look(array: pa.Array) -> Mask | None:
        numbers = pc.fill_null(integers(array), 0).to_numpy(zero_copy_only=False)
        mask: Mask = numbers % unit != 0
        return mask if mask.any() else None

    return [Check(look=look, message=_finer(spelled), sqlstate="22008")]


def integers(array: pa.Array) -> pa.Array:
    """A date, a time or a timestamp as the number that it is; no copy."""
    return array.view(pa.int32() if pa.types.is_date32(array.type) else pa.int64())
