"""So that nobody sees what was there: hash, partial, redact, shuffle.

What needs Python (the hash of a value) is computed once per distinct value of a batch, never per row.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from functools import partial as bound
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pghaul.model.masking_key import key_of
from pghaul.model.text import say
from pghaul.model.transforming import Digits, Transform
from pghaul.transforms.casting import arrow_type, cast_of
from pghaul.transforms.steps import ColumnStep, Work, column_step, is_bytes, is_text, per_distinct, type_of, unfit
from pghaul.transforms.values import constant

LENGTH = re.compile(r"(?:character varying|varchar|character|char)\((\d+)\)")
LEAST = 8  # characters of a hash: of fewer, two values too often have the same


def hash_(transform: Transform, schema: pa.Schema) -> ColumnStep:
    """HMAC-SHA-256 of a value's text: the same value gives the same everywhere, so that joins stay."""
    key = key_of(transform)

    def make(field: pa.Field) -> Work:
        text = as_text(transform, field)
        of_values = bound(_hashes, key, transform.digits, _length(transform, field), type_of(field) == "uuid")
        return lambda array: per_distinct(text(array), of_values, pa.string())

    return column_step(transform, schema, make)


def _hashes(key: bytes, digits: Digits, length: int | None, uuid: bool, values: list[str]) -> Sequence[str]:
    made = (hmac.digest(key, v.encode(), "sha256") for v in values)
    if uuid:
        return [m[:16].hex() for m in made]
    if digits is Digits.HEX:
        return [m.hex()[:length] for m in made]
    return [base64.b64encode(m).decode().rstrip("=")[:length] for m in made]


def _length(transform: Transform, field: pa.Field) -> int | None:
    """As many characters as the column holds."""
    if transform.length is not None:
        return transform.length
    found = LENGTH.fullmatch(transform.type or type_of(field))
    if found is None:
        return None
    if int(found[1]) < LEAST:
        raise unfit(transform, field, say("it holds fewer than {n} characters", n=LEAST))
    return int(found[1])


def partial(transform: Transform, schema: pa.Schema) -> ColumnStep:
    """The first and last characters stay, where others are between them."""
    first, last, fill = transform.first, transform.last, transform.fill

    def make(field: pa.Field) -> Work:
        text: Callable[[pa.Array], Any] = as_text(transform, field)

        def work(array: pa.Array) -> pa.Array:
            texts = text(array)
            size = pc.utf8_length(texts)
            hidden = pc.subtract(size, first + last)
            all_hidden = pc.less_equal(hidden, 0)
            hidden = pc.if_else(all_hidden, size, hidden)
            middle = pc.binary_repeat(pa.repeat(fill, len(texts)), hidden)
            begin = pc.if_else(all_hidden, "", pc.utf8_slice_codeunits(texts, 0, first))
            end = pc.if_else(all_hidden, "", pc.utf8_slice_codeunits(texts, -last) if last else "")
            return pc.binary_join_element_wise(begin, middle, end, "")

        return work

    return column_step(transform, schema, make)


def redact(transform: Transform, schema: pa.Schema) -> ColumnStep:
    """One and the same in every row, whatever was there."""

    def make(field: pa.Field) -> Work:
        wanted = field.type if transform.type is None else arrow_type(transform.type)
        if transform.value is None:
            return lambda array: pa.nulls(len(array), wanted)
        value = constant(transform, field.with_type(wanted), transform.value)
        return lambda array: pa.repeat(value, len(array))

    return column_step(transform, schema, make)


def shuffle(transform: Transform, schema: pa.Schema) -> ColumnStep:
    """The values of a batch in another order: none is lost, none is doubled."""
    key = key_of(transform) if transform.key else secrets.token_bytes(32)

    def make(field: pa.Field) -> Work:
        batches = count()

        def work(array: pa.Array) -> pa.Array:
            if not len(array):
                return array
            seed = hmac.digest(key, f"{field.name}:{next(batches)}".encode(), "sha256")
            order = np.random.default_rng(int.from_bytes(seed, "big")).permutation(len(array))
            return array.take(pa.array(order))

        return work

    return column_step(transform, schema, make)


def as_text(transform: Transform, field: pa.Field) -> Work:
    """A column's values as texts; bytes are none."""
    if is_bytes(field.type) or pa.types.is_nested(field.type):
        raise unfit(transform, field, say("it is no text"))
    if is_text(field.type):
        return lambda array: pc.cast(array, pa.string())
    return cast_of(field.type, pa.string())
