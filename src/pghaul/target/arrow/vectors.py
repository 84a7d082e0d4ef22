r"""Vectors (pgvector's vector and halfvec) from what other databases keep them as: texts, lists, bytes of float32.

All of them become pgvector's own syntax, "[1,2,3]", which is JSON's too. Bytes are those that everybody stores:
float32, little endian, one after the other (sqlite-vec, MySQL, MariaDB, numpy). Where a column holds bytes among texts,
they come as \x and digits. What is no vector of the column's dimensions is told by row, before the server sees it.
"""

from __future__ import annotations

import binascii
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pghaul.model.text import saying
from pghaul.target.arrow.checks import NUL, Check, Look, Mask, mask_of
from pghaul.target.arrow.column import Spelled
from pghaul.target.arrow.csv_form import literals

NAMES = frozenset({"vector", "halfvec"})
FLOAT = 4  # bytes
NO_VECTOR = saying("the value is no {type}: neither an array of numbers nor float32 in little endian")
NOT_FINITE = saying("NaN and infinity cannot be in a {type}")
OTHER_DIMENSIONS = saying("the vector has another number of dimensions than {type}")
DATA = "22000"  # what pgvector says, too


def is_vector(spelled: Spelled) -> bool:
    """Of whatever schema pgvector is in."""
    return spelled.name.rpartition(".")[2] in NAMES and not spelled.array


def checks(spelled: Spelled, type_: str) -> tuple[Check, ...]:
    """Of pgvector's syntax; what is left (a word among the numbers, one beyond a float's range) the server refuses."""
    found = [
        NUL,
        Check(look=_is_none, message=NO_VECTOR.format(type=type_), sqlstate="22P02"),
        Check(look=_is_not_finite, message=NOT_FINITE.format(type=type_), sqlstate=DATA),
    ]
    if spelled.args:
        look = _other_than(spelled.args[0])
        found.append(Check(look=look, message=OTHER_DIMENSIONS.format(type=type_), sqlstate=DATA))
    return tuple(found)


def _is_none(array: pa.Array) -> Mask | None:
    return mask_of(pc.invert(pc.starts_with(pc.utf8_ltrim_whitespace(array), "[")))


def _is_not_finite(array: pa.Array) -> Mask | None:
    return mask_of(pc.match_substring_regex(array, "(?i)nan|inf"))


def _other_than(dimensions: int) -> Look:
    def look(array: pa.Array) -> Mask | None:
        return mask_of(pc.not_equal(pc.add(pc.count_substring(array, ","), 1), dimensions))

    return look


def from_bytes(array: pa.Array) -> pa.Array:
    """Of a column of bytes. A row that cannot be one becomes words, which the checks find."""
    array = pc.cast(array, pa.large_binary())
    lengths = pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False)
    wrong = lengths % FLOAT != 0
    if not wrong.any():
        return _literals(array, lengths)
    fits = array.filter(pa.array(~wrong))
    places = pa.array(np.cumsum(~wrong) - 1, mask=wrong)
    words = pc.binary_join_element_wise(pc.cast(pa.array(lengths), pa.string()), "bytes", " ")
    return pc.if_else(pa.array(wrong), words, _literals(fits, lengths[~wrong]).take(places))


def _literals(array: pa.Array, lengths: np.ndarray[Any, Any]) -> pa.Array:
    offsets = np.concatenate(([0], np.cumsum(lengths // FLOAT))).astype(np.int32)
    _, bounds, data = array.buffers()
    start = int(np.frombuffer(bounds, np.int64)[array.offset]) if len(array) else 0
    raw = memoryview(data)[start : start + int(lengths.sum())] if data is not None else b""
    numbers = pa.array(np.frombuffer(raw, "<f4"))
    missing = array.is_null() if array.null_count else None
    lists = pa.ListArray.from_arrays(pa.array(offsets), numbers, mask=missing)
    return literals(lists, "[", "]", quoted=False)


def from_text(array: pa.Array) -> pa.Array:
    r"""As it is, but for bytes among texts, which a source writes as \x and digits."""
    array = pc.cast(array, pa.string())
    spelled = pc.fill_null(pc.starts_with(array, "\\x"), False)
    if not spelled.true_count:
        return array
    raw = pa.array([_unspelled(v) for v in array.filter(spelled).to_pylist()], pa.large_binary())
    return pc.replace_with_mask(array, spelled, from_bytes(raw))


def _unspelled(text: str) -> bytes:
    try:
        return binascii.unhexlify(text[2:])
    except binascii.Error:
        return b"?"
