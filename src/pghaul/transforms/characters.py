"""Bytes that are text in an encoding of their own, and characters that PostgreSQL cannot hold.

Valid UTF-8 is Arrow's own cast. Other encodings are decoded with one call for a whole batch: its values stand in one
buffer, with a NUL between each two, which is no part of any character in them. Where that fails, by values.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pghaul.model.errors import TransformError
from pghaul.model.plan import Undecodable
from pghaul.model.text import Text, say
from pghaul.transforms.steps import Mask, Problem, Work, Worked, is_bytes, is_text

SHOWN = 32  # bytes of a value that an error quotes
NUL = "\0"
# Where a NUL byte may be a part of a character, or what stands before it decides what follows.
BY_VALUE = ("utf_16", "utf_32", "utf_7", "iso2022", "hz", "idna", "punycode", "unicode_escape", "raw_unicode_escape")
NOT_FOR_TEXT = frozenset({"undefined", "mbcs", "oem"})


def codec_of(encoding: str) -> str:
    """Python's name of an encoding. TransformError for one that nobody knows, or that is none of texts."""
    try:
        found = codecs.lookup(encoding)
        b"".decode(found.name)
    except (LookupError, UnicodeError) as exc:
        raise _unknown(encoding) from exc
    if found.name in NOT_FOR_TEXT:
        raise _unknown(encoding)
    return found.name.replace("-", "_")


def _unknown(encoding: str) -> TransformError:
    return TransformError(
        say("there is no encoding {encoding}", encoding=encoding),
        where="encoding",
        advice=say("for example cp949, euc-kr, latin-1, cp1252, shift_jis, gb18030, utf-8"),
        code=7110,
    )


def decoding(encoding: str, rule: Undecodable) -> Work:
    """From bytes to text. What is text already stays as it is: its source has decoded it."""
    codec = codec_of(encoding)
    whole = _utf8 if codec == "utf_8" else _one_by_one(codec) if codec.startswith(BY_VALUE) else _joined(codec)

    def work(array: pa.Array) -> pa.Array | Worked:
        if not is_bytes(array.type):
            return array
        array = array.cast(pa.binary())
        try:
            return whole(array)
        except (pa.ArrowInvalid, UnicodeError):
            return _by_rule(array, codec, encoding, rule)

    return work


def _utf8(array: pa.Array) -> pa.Array:
    return pc.cast(array, pa.string())


def _one_by_one(codec: str) -> Callable[[pa.Array], pa.Array]:
    return lambda array: pa.array([None if v is None else v.decode(codec) for v in array.to_pylist()], pa.string())


def _joined(codec: str) -> Callable[[pa.Array], pa.Array]:
    """All values of the batch in one go; UnicodeError where one of them does not decode, or has a NUL in it."""

    def decode(array: pa.Array) -> pa.Array:
        if not len(array):
            return pa.array([], pa.string())
        filled = pc.fill_null(array, b"")
        listed = pa.ListArray.from_arrays(pa.array([0, len(filled)], pa.int32()), filled)
        text = pc.binary_join(listed, NUL.encode())[0].as_py().decode(codec)
        parts = pc.split_pattern(pa.array([text], pa.string()), NUL).values
        if len(parts) != len(array):
            raise UnicodeError("a value with a NUL in it")
        return pc.if_else(array.is_valid(), parts, pa.scalar(None, pa.string())) if array.null_count else parts

    return decode


def _by_rule(array: pa.Array, codec: str, encoding: str, rule: Undecodable) -> Worked:
    """A batch with something in it that does not decode: value by value."""
    values = array.to_pylist()
    mask = np.array([v is not None and not _decodes(v, codec) for v in values], np.bool_)
    made = [None if v is None else v.decode(codec, "replace") for v in values]
    texts = pa.array(made, pa.string())
    bad = int(mask.sum())
    if not bad or rule is Undecodable.REPLACE:
        return Worked(array=texts, replaced=bad)
    message = say("bytes that are no characters of {encoding}", encoding=encoding)
    return Worked(array=texts, problems=(_problem(mask, message, rule, lambda row: hexed(values[row])),))


def _decodes(value: bytes, codec: str) -> bool:
    try:
        value.decode(codec)
    except UnicodeError:
        return False
    return True


def _problem(mask: Mask, message: Text, rule: Undecodable, values: Callable[[int], str]) -> Problem:
    return Problem(
        mask=mask, message=message, sqlstate="22021", quarantine=rule is Undecodable.QUARANTINE, values=values
    )


def hexed(value: bytes) -> str:
    """The first bytes of a value, for an error: c5 eb."""
    return value[:SHOWN].hex(" ") + (" …" if len(value) > SHOWN else "")


# --- NUL ----------------------------------------------------------------------------------------------------------


def without_nul(rule: Undecodable) -> Work:
    """Texts that PostgreSQL can hold. One look at the bytes of the whole column tells that there is none."""

    def work(array: pa.Array) -> pa.Array | Worked:
        if not is_text(array.type) or not _holds_nul(array):
            return array
        found = pc.match_substring(array, NUL)
        mask = pc.fill_null(found, False).to_numpy(zero_copy_only=False)
        clean = pc.replace_substring(array, NUL, "")
        if rule is Undecodable.REPLACE:
            return Worked(array=clean, replaced=int(mask.sum()))
        show = _shown_of(array)
        return Worked(array=clean, problems=(_problem(mask, say("a NUL character"), rule, show),))

    return work


def _shown_of(array: pa.Array) -> Callable[[int], str]:
    return lambda row: hexed(array[row].as_py().encode())


def _holds_nul(array: pa.Array) -> bool:
    if pa.types.is_string_view(array.type):
        return bool(pc.any(pc.match_substring(array, NUL), min_count=0).as_py())
    offsets, data = array.buffers()[1:3]
    if not len(array) or data is None:
        return False
    width = np.int64 if pa.types.is_large_string(array.type) else np.int32
    bounds = np.frombuffer(offsets, width)[array.offset : array.offset + len(array) + 1]
    return b"\0" in bytes(memoryview(data)[int(bounds[0]) : int(bounds[-1])])
