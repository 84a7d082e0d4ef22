"""Casts on the way, by the names of PostgreSQL's types: nothing is rounded, cut or guessed.

A type without a form of its own in Arrow (interval, inet, jsonb …) is strings here: the target reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pghaul.model.text import say
from pghaul.transforms.steps import Problem, Work, Worked, is_bytes, is_text, refused_by

Cast: TypeAlias = Callable[[pa.Array], pa.Array]

SPELLED = re.compile(r"^(?P<name>[^(]*?)\s*(?:\((?P<args>[\d,\s-]+)\))?(?P<rest>\s+with(?:out)? time zone)?$")
TRUE = ("t", "tr", "tru", "true", "y", "ye", "yes", "on", "1")
FALSE = ("f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0")
MOST_DIGITS = 38
MOST_DIGITS_256 = 76
FIXED: dict[str, pa.DataType] = {
    **dict.fromkeys(("boolean", "bool"), pa.bool_()),
    **dict.fromkeys(("smallint", "int2"), pa.int16()),
    **dict.fromkeys(("integer", "int", "int4"), pa.int32()),
    **dict.fromkeys(("bigint", "int8"), pa.int64()),
    **dict.fromkeys(("real", "float4"), pa.float32()),
    **dict.fromkeys(("double precision", "float8", "float"), pa.float64()),
    "date": pa.date32(),
    **dict.fromkeys(("timestamp", "timestamp without time zone"), pa.timestamp("us")),
    **dict.fromkeys(("timestamptz", "timestamp with time zone"), pa.timestamp("us", "UTC")),
    **dict.fromkeys(("time", "time without time zone"), pa.time64("us")),
    "bytea": pa.binary(),
}


def arrow_type(spelled: str) -> pa.DataType:
    """The form of a type of PostgreSQL; strings where it has no other."""
    found = SPELLED.match(spelled.strip().lower())
    if found is None:
        return pa.string()
    name = found["name"] + (found["rest"] or "")
    if name in {"numeric", "decimal"}:
        return _decimal(found["args"])
    return FIXED.get(name, pa.string())


def _decimal(args: str | None) -> pa.DataType:
    """Without a scale of its own it is text, which has any."""
    if args is None:
        return pa.string()
    precision, _, scale = args.partition(",")
    digits, places = int(precision), int(scale or 0)
    if not 0 <= places <= digits <= MOST_DIGITS_256 or digits < 1:
        return pa.string()
    return pa.decimal128(digits, places) if digits <= MOST_DIGITS else pa.decimal256(digits, places)


def cast_of(given: pa.DataType, wanted: pa.DataType) -> Cast:
    """A function that raises pa.ArrowInvalid for what would lose something."""
    if given == wanted:
        return lambda array: array
    if is_text(given):
        return _of_text(wanted)
    return _to_text(given) if is_text(wanted) else _between(given, wanted)


def _between(given: pa.DataType, wanted: pa.DataType) -> Cast:
    """Neither of them is text."""
    if pa.types.is_decimal(wanted) and pa.types.is_integer(given):
        return lambda array: pc.cast(pc.cast(array, pa.decimal128(20, 0)), wanted)
    if pa.types.is_decimal(wanted) and pa.types.is_floating(given):
        return lambda array: _parsed(pc.cast(array, pa.string()), wanted)  # as it is written, not as it is stored
    if pa.types.is_float32(wanted) and pa.types.is_float64(given):
        return _narrower
    if pa.types.is_date(wanted) and pa.types.is_timestamp(given):
        return _days
    return lambda array: pc.cast(array, wanted)


def _days(array: pa.Array) -> pa.Array:
    """pyarrow drops the time of day without a word."""
    made = pc.cast(array, pa.date32())
    if pc.equal(pc.cast(made, array.type), array).false_count:
        raise pa.ArrowInvalid("a time of day")
    return made


def _of_text(wanted: pa.DataType) -> Cast:
    if is_text(wanted):
        return lambda array: pc.cast(array, wanted)
    if is_bytes(wanted):
        return lambda array: pc.cast(array, wanted)
    if pa.types.is_boolean(wanted):
        return _booleans
    return lambda array: _parsed(pc.utf8_trim_whitespace(array), wanted)


def _parsed(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    if pa.types.is_integer(wanted) or pa.types.is_decimal(wanted):
        array = pc.replace_substring_regex(array, r"^\+(\d)", r"\1")
    if pa.types.is_time(wanted):
        moments = pc.binary_join_element_wise(pa.scalar("1970-01-01", array.type), array, pa.scalar(" ", array.type))
        return pc.cast(pc.cast(moments, pa.timestamp("us")), wanted)
    if pa.types.is_date(wanted):  # a time behind it must be midnight
        array = pc.replace_substring_regex(array, r"^(\d{4}-\d{2}-\d{2})[T ]00:00(?::00(?:\.0+)?)?$", r"\1")
    return pc.cast(array, wanted)


def _booleans(array: pa.Array) -> pa.Array:
    """In the words that PostgreSQL knows."""
    words = pc.utf8_lower(pc.utf8_trim_whitespace(array))
    true = pc.is_in(words, value_set=pa.array(TRUE, words.type))
    known = pc.or_(true, pc.is_in(words, value_set=pa.array(FALSE, words.type)))
    if pc.any(pc.and_(pc.invert(known), words.is_valid()), min_count=0).as_py():
        raise pa.ArrowInvalid("no boolean")
    return pc.if_else(words.is_valid(), true, pa.scalar(None, pa.bool_()))


def _to_text(given: pa.DataType) -> Cast:
    """As PostgreSQL writes them: no zeros behind a second."""
    if pa.types.is_timestamp(given) or pa.types.is_time(given):
        return lambda array: pc.replace_substring_regex(
            pc.replace_substring_regex(pc.cast(array, pa.string()), r"(\.\d*?)0+(Z?)$", r"\1\2"), r"\.(Z?)$", r"\1"
        )
    if is_bytes(given):
        raise pa.ArrowInvalid("bytes are decoded by their encoding: encodings in the plan")
    return lambda array: pc.cast(array, pa.string())


def _narrower(array: pa.Array) -> pa.Array:
    narrow = pc.cast(array, pa.float32(), safe=False)
    same = pc.or_(pc.equal(pc.cast(narrow, pa.float64()), array), pc.is_nan(array))
    if same.false_count:
        raise pa.ArrowInvalid("a float8 that is no float4")
    return narrow


def casting(given: pa.DataType, type_: str) -> Work:
    """As a work on a column: rows that refuse the cast are its problems."""
    wanted = arrow_type(type_)
    if is_text(wanted) and is_text(given):
        return lambda array: array
    cast = cast_of(given, wanted)

    def work(array: pa.Array) -> pa.Array | Worked:
        try:
            return cast(array)
        except pa.ArrowInvalid:
            mask = refused_by(cast, [array], len(array))
        made = cast(pc.if_else(pa.array(~mask), array, pa.scalar(None, array.type)))
        message = say("the value does not go into type {type} without a loss", type=type_)
        return Worked(array=made, problems=(Problem(mask=mask, message=message, sqlstate="22000"),))

    return work


def literal(value: object, type_: pa.DataType) -> pa.Scalar:
    """A value of a plan as one of a column; pa.ArrowInvalid where it is none."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return cast_of(pa.string(), type_)(pa.array([text]))[0]


def literals(values: list[object], type_: pa.DataType) -> pa.Array:
    """Several of them."""
    made = [literal(v, type_) for v in values]
    return pa.array([m.as_py() for m in made], type_)


def none(rows: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """No row."""
    return np.zeros(rows, np.bool_)
