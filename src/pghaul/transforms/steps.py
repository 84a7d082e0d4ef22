"""What every transform is: bound to a schema once, then applied to each batch; rows that it refuses are told apart.

An outside package registers a function `bind(transform, schema) -> Step` under the entry point group
`pghaul.transforms`; `column_step` makes one of a function from array to array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
import pyarrow as pa

from pghaul.model.errors import TransformError
from pghaul.model.text import Text, listed, say
from pghaul.model.transforming import Transform

Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Rows of one column that cannot go on. `quarantine`: they are set aside; False: they end the run; None: as the run
    is told (max_rejects).
    """

    mask: Mask
    message: Text
    sqlstate: str = "22000"
    quarantine: bool | None = None
    values: Callable[[int], str] | None = None  # what to show of a row


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """One column's values. What stands in the rows of a problem is of no account."""

    array: pa.Array
    problems: tuple[Problem, ...] = ()
    replaced: int = 0  # values that hold something else than the source had


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """As many rows as came; problems by column."""

    batch: pa.RecordBatch
    problems: tuple[tuple[str, Problem], ...] = ()
    replaced: Mapping[str, int] = field(default_factory=dict)


class Step(Protocol):
    """A transform that knows its columns."""

    @property
    def schema(self) -> pa.Schema:
        """Of what it makes."""
        ...

    def apply(self, batch: pa.RecordBatch) -> Stepped:
        """As many rows as came, in their order."""
        ...


Bind: TypeAlias = Callable[[Transform, pa.Schema], Step]
Work: TypeAlias = Callable[[pa.Array], "pa.Array | Worked"]
Make: TypeAlias = Callable[[pa.Field], Work]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnStep:
    """Some columns, each by itself. A name that is not there yet makes a new one, of the whole batch (`rows`)."""

    schema: pa.Schema
    works: Mapping[str, Work]

    def apply(self, batch: pa.RecordBatch) -> Stepped:
        """Array by array."""
        arrays, problems, replaced = list(batch.columns), list[tuple[str, Problem]](), dict[str, int]()
        for name, work in self.works.items():
            at = self.schema.get_field_index(name)
            made = worked(work(arrays[at]))
            arrays[at] = made.array
            problems += [(name, p) for p in made.problems]
            if made.replaced:
                replaced[name] = made.replaced
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        return Stepped(batch=batch, problems=tuple(problems), replaced=replaced)


def worked(made: pa.Array | Worked) -> Worked:
    """Of a function that has nothing to say but its values."""
    return made if isinstance(made, Worked) else Worked(array=made)


def column_step(transform: Transform, schema: pa.Schema, make: Make) -> ColumnStep:
    """`make` is called for each column, and what it returns tried on no rows at all: so its type is known."""
    works: dict[str, Work] = {}
    for name in transform.names:
        at = index_of(transform, schema, name)
        field_ = schema.field(at)
        works[name] = work = unpacked(make(field_.with_type(plain(field_.type))))
        type_ = _tried(transform, field_, work)
        schema = schema.set(at, field_.with_type(type_))
    return ColumnStep(schema=schema, works=works)


def _tried(transform: Transform, field_: pa.Field, work: Work) -> pa.DataType:
    try:
        return worked(work(pa.array([], field_.type))).array.type
    except pa.ArrowException as exc:
        raise unfit(transform, field_, str(exc)) from exc


def index_of(transform: Transform, schema: pa.Schema, name: str) -> int:
    """Where a column stands. TransformError where there is none."""
    at: int = schema.get_field_index(name)
    if at < 0:
        raise TransformError(
            say(
                "{kind} is about the column {column}, and there are {columns}",
                kind=transform.kind,
                column=name,
                columns=listed(schema.names),
            ),
            advice=say("columns are named as the source does, in upper and lower case"),
            code=7101,
        )
    return at


def unfit(transform: Transform, field_: pa.Field, why: str) -> TransformError:
    """A kind that cannot be applied to such a column."""
    return TransformError(
        say(
            "{kind} cannot be applied to the column {column}, which is delivered as {type}: {why}",
            kind=transform.kind,
            column=field_.name,
            type=str(field_.type),
            why=why,
        ),
        advice=say("cast it to another type before, or choose another transform"),
        code=7102,
    )


TYPE = b"pghaul.type"  # what PostgreSQL's type of a column is, among a field's metadata


def type_of(field_: pa.Field) -> str:
    """Of PostgreSQL, as the column was read; empty where nobody knows."""
    return bytes((field_.metadata or {}).get(TYPE, b"")).decode()


# --- arrays -------------------------------------------------------------------------------------------------------


def plain(type_: pa.DataType) -> pa.DataType:
    """What the values of a type are, without dictionary or extension."""
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


def unpacked(work: Work) -> Work:
    """A work on plain arrays, for any."""
    return lambda array: work(unwrapped(array))


def is_text(type_: pa.DataType) -> bool:
    """Strings of any layout."""
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_))


def is_bytes(type_: pa.DataType) -> bool:
    """Bytes of any layout."""
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    return any(test(type_) for test in tests)


def refused_by(run: Callable[[pa.Array], Any], arrays: Sequence[Any], rows: int) -> Mask:
    """Which rows a function of arrays refuses, found by halves. It has refused all of them together."""
    mask = np.zeros(rows, np.bool_)
    parts = [(0, rows)]
    while parts:
        start, size = parts.pop()
        try:
            run(*(a.slice(start, size) for a in arrays))
        except pa.ArrowInvalid:
            if size == 1:
                mask[start] = True
            else:
                half = size // 2
                parts += [(start, half), (start + half, size - half)]
    return mask


def per_distinct(array: pa.Array, of_values: Callable[[list[Any]], Sequence[Any]], type_: pa.DataType) -> pa.Array:
    """What has to be computed in Python is computed once for each distinct value of a batch. NULL stays NULL."""
    found = array.dictionary_encode()
    made = pa.array(of_values(found.dictionary.to_pylist()), type_)
    return made.take(found.indices)
