"""From what a source delivers to the canonical form of a column: only where nothing is lost, and naming what would be.

pyarrow's safe casts refuse a whole array for one value; the rows at fault are then found by halves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pghaul.target.arrow.checks import Mask, mask_of

# A cast of a whole array; pa.ArrowInvalid where a value would be lost.
Cast: TypeAlias = Callable[[pa.Array], pa.Array]
GROUPS = "([0-9a-fA-F]{4}-?){7}[0-9a-fA-F]{4}"
UUID_TEXT = rf"^({GROUPS}|\{{{GROUPS}\}})$"


def plain(type_: pa.DataType) -> pa.DataType:
    """The type without dictionary, extension or view: what its values are."""
    if isinstance(type_, pa.BaseExtensionType):
        return plain(type_.storage_type)
    if pa.types.is_dictionary(type_):
        return plain(type_.value_type)
    return type_


def unwrapped(array: pa.Array) -> pa.Array:
    """The array without them."""
    while array.type != plain(array.type):
        array = array.storage if isinstance(array.type, pa.BaseExtensionType) else array.cast(plain(array.type))
    return array


def cast_to(wanted: pa.DataType, given: pa.DataType) -> Cast:
    """`given` is plain, and one that the kind of the column accepts."""
    if given == wanted:
        return lambda array: array
    if pa.types.is_large_string(given) or pa.types.is_large_binary(given):
        return lambda array: pc.cast(_near(array), wanted)
    if pa.types.is_float32(wanted) and pa.types.is_float64(given):
        return _narrower_float
    if pa.types.is_decimal(wanted) and pa.types.is_integer(given):
        whole = pa.decimal128(20, 0)  # what holds every integer of 64 bits
        return lambda array: pc.cast(pc.cast(pc.cast(array, _wide(given)), whole), wanted)
    if pa.types.is_fixed_size_binary(wanted) and not pa.types.is_fixed_size_binary(given):
        return uuids
    return lambda array: pc.cast(array, wanted)


def _near(array: pa.Array) -> pa.Array:
    """Offsets of its own: a slice far behind in two gigabytes has offsets that nothing smaller can hold."""
    if not len(array) or int(np.frombuffer(array.buffers()[1], np.int64)[array.offset + len(array)]) < 2**31:
        return array
    return pa.concat_arrays([array])


def _wide(given: pa.DataType) -> pa.DataType:
    return given if pa.types.is_uint64(given) else pa.int64()


def _narrower_float(array: pa.Array) -> pa.Array:
    """pyarrow does not call that unsafe. A NaN is none that equals itself."""
    narrow = pc.cast(array, pa.float32(), safe=False)
    same = pc.or_(pc.equal(pc.cast(narrow, pa.float64()), array), pc.is_nan(array))
    if same.false_count:
        raise pa.ArrowInvalid("a float8 that is no float4")
    return narrow


def uuids(array: pa.Array) -> pa.Array:
    """The 16 bytes of each; with or without hyphens and braces, in either case, as PostgreSQL reads them."""
    array = pc.cast(array, pa.string())
    if not pc.all(pc.match_substring_regex(array, UUID_TEXT), min_count=0).as_py():
        raise pa.ArrowInvalid("no uuid")
    digits = pc.replace_substring_regex(array, "[-{}]", "")
    filled = pc.fill_null(digits, "0" * 32)
    text = filled.buffers()[2]
    start = int(np.frombuffer(filled.buffers()[1], np.int32)[filled.offset]) if len(filled) else 0
    raw = bytes.fromhex(memoryview(text)[start : start + 32 * len(filled)].tobytes().decode()) if len(filled) else b""
    made = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(filled), [None, pa.py_buffer(raw)])
    return made if not array.null_count else pc.if_else(array.is_valid(), made, pa.scalar(None, pa.binary(16)))


def refused_by(cast: Cast, array: pa.Array) -> Mask:
    """Which rows of an array the cast refuses, one by one."""
    mask = np.zeros(len(array), np.bool_)
    parts = [(0, len(array))]
    while parts:
        start, size = parts.pop()
        try:
            cast(array.slice(start, size))
        except pa.ArrowInvalid:
            if size == 1:
                mask[start] = True
            else:
                half = size // 2
                parts += [(start, half), (start + half, size - half)]
    return mask


def without_end(array: pa.Array) -> pa.Array:
    """char(n): the blanks at the end mean nothing, and the server puts them there again."""
    if mask_of(pc.ends_with(array, " ")) is None:
        return array
    return pc.utf8_rtrim(array, " ")
