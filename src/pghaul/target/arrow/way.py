"""How one column goes: its canonical Arrow type, the cast to it, what is checked, and whether pgpq can encode it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pghaul.model.errors import MappingError
from pghaul.model.text import Text, say
from pghaul.target.arrow import vectors
from pghaul.target.arrow.casts import Cast, cast_to, plain, refused_by, unwrapped, without_end
from pghaul.target.arrow.checks import Check, Mask, natural_checks, string_checks
from pghaul.target.arrow.column import TargetColumn
from pghaul.target.arrow.csv_form import literals
from pghaul.target.arrow.kinds import ENUM, KINDS, MOST_DIGITS, MOST_DIGITS_256, Kind, Payload, is_bytes, is_text

# Element types whose arrays pgpq names as PostgreSQL does: it takes varchar for text, and timestamptz for timestamp.
ELEMENTS = frozenset(
    {
        *("boolean", "smallint", "integer", "bigint", "real", "double precision", "numeric", "text", "bytea", "date"),
        *("time without time zone", "timestamp without time zone"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Rows of one column that the target cannot hold."""

    mask: Mask
    message: Text
    sqlstate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """`type` is canonical: what cast batches have, and what is read back."""

    column: TargetColumn
    type: pa.DataType
    cast: Cast
    checks: tuple[Check, ...]
    payload: Payload
    exact: bool  # as text or number it is the same on both sides; else the server has a spelling of its own

    def fit(self, array: pa.Array) -> tuple[pa.Array | None, list[Problem]]:
        """The canonical array, or what is wrong with it."""
        array = unwrapped(array)
        try:
            made = self.cast(array)
        except pa.ArrowInvalid:
            return None, [self._not_this_type(refused_by(self.cast, array))]
        found = [(c, c.look(made)) for c in self.checks] if len(made) else []
        problems = [Problem(mask=m, message=c.message, sqlstate=c.sqlstate) for c, m in found if m is not None]
        return (None if problems else made), problems

    def _not_this_type(self, mask: Mask) -> Problem:
        message = say("the value does not fit into type {type} without a loss", type=self.column.type)
        return Problem(mask=mask, message=message, sqlstate="22003")


def way_of(field: pa.Field, column: TargetColumn) -> Way:
    """Raises MappingError, by name, where the column cannot take what is delivered."""
    given = plain(field.type)
    kind = kind_of(column)
    if _is_list(given):
        return _of_list(given, column)
    if pa.types.is_null(given):
        return _of_nulls(column, kind)
    if kind is not None and not column.spelled.array and kind.accepts(given):
        return _natural(given, column, kind)
    if vectors.is_vector(column.spelled) and (is_bytes(given) or is_text(given)):
        return _vectors(column, vectors.from_text if is_text(given) else vectors.from_bytes)
    if is_text(given):
        return _strings(given, column)
    if pa.types.is_duration(given) and column.spelled.name.startswith("interval"):
        return _durations(column)
    raise _no_way(field.type, column)


def kind_of(column: TargetColumn) -> Kind | None:
    """None for a type that takes strings only. A type of somebody's own may have a known name, but not its oid."""
    if column.enum:
        return ENUM
    kind = KINDS.get(column.spelled.name)
    if kind is None or (column.oid and not column.spelled.array and column.oid != kind.oid):
        return None
    return kind


def _natural(given: pa.DataType, column: TargetColumn, kind: Kind) -> Way:
    natural = kind.natural(column.spelled)
    payload = kind.payload
    if natural is None:  # numeric in the scale it comes in, or with more digits than pgpq takes
        natural = _free_decimal(given, column)
        payload = Payload.AS_IT_IS if pa.types.is_decimal128(natural) else Payload.NONE
    cast = cast_to(natural, given)
    if column.spelled.name == "character" and column.spelled.args:
        cast = _then(cast, without_end)
    checks = natural_checks(column.spelled, natural)
    exact = column.spelled.name not in {"jsonb", "xml"}
    return Way(column=column, type=natural, cast=cast, checks=checks, payload=payload, exact=exact)


def _then(first: Cast, second: Cast) -> Cast:
    return lambda array: second(first(array))


def _free_decimal(given: pa.DataType, column: TargetColumn) -> pa.DataType:
    """As it comes, but with no more decimals than the column keeps."""
    if pa.types.is_integer(given):
        return pa.decimal128(20, 0)
    kept = column.spelled.args[1] if len(column.spelled.args) == 2 else 0 if column.spelled.args else given.scale
    if kept < 0 and column.spelled.args:
        raise _no_way(given, column)  # numeric(5,-2) rounds to hundreds, without a word
    scale = max(0, min(given.scale, kept))
    precision = given.precision - given.scale + scale
    if scale <= precision <= MOST_DIGITS:
        return pa.decimal128(max(1, precision), scale)
    return pa.decimal256(min(MOST_DIGITS_256, max(1, precision, scale)), scale)


def _strings(given: pa.DataType, column: TargetColumn) -> Way:
    """PostgreSQL's own input syntax, which is right for every type; only csv takes it."""
    return Way(
        column=column,
        type=pa.string(),
        cast=cast_to(pa.string(), given),
        checks=string_checks(column.spelled),
        payload=Payload.NONE,
        exact=False,
    )


def _of_nulls(column: TargetColumn, kind: Kind | None) -> Way:
    natural = kind.natural(column.spelled) if kind and not column.spelled.array else None
    type_ = natural or pa.string()
    payload = kind.payload if kind and natural is not None else Payload.NONE
    return Way(column=column, type=type_, cast=cast_to(type_, pa.null()), checks=(), payload=payload, exact=True)


def _durations(column: TargetColumn) -> Way:
    def cast(array: pa.Array) -> pa.Array:
        counted = pc.cast(pc.cast(pc.cast(array, pa.duration("us")), pa.int64()), pa.string())
        return pc.binary_join_element_wise(counted, "microseconds", " ")

    return Way(column=column, type=pa.string(), cast=cast, checks=(), payload=Payload.NONE, exact=False)


# --- lists -------------------------------------------------------------------------------------------------------


def _is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_))


def _of_list(given: pa.DataType, column: TargetColumn) -> Way:
    """One dimension; its elements go the way of a column of their type."""
    if vectors.is_vector(column.spelled):
        return _of_vector(given, column)
    if column.spelled.array:
        element = TargetColumn(name=column.name, type=column.type.removesuffix("[]"), enum=column.enum)
    else:
        raise _no_way(given, column)
    if _is_list(plain(given.value_type)):
        raise _no_way(given, column)
    inner = way_of(pa.field(column.name, given.value_type), element)
    type_ = pa.list_(pa.field("item", inner.type))
    binary = inner.payload is Payload.AS_IT_IS and column.spelled.array and column.spelled.name in ELEMENTS
    return Way(
        column=column,
        type=type_,
        cast=_list_cast(inner, type_),
        checks=tuple(_of_elements(c) for c in inner.checks),
        payload=Payload.AS_IT_IS if binary else Payload.NONE,
        exact=False,
    )


def _of_vector(given: pa.DataType, column: TargetColumn) -> Way:
    narrow = given.value_type in {pa.float32(), pa.float16()}
    like = TargetColumn(name=column.name, type="real" if narrow else "double precision")
    element = way_of(pa.field(column.name, given.value_type), like)
    cast = _list_cast(element, pa.list_(pa.field("item", element.type)))
    return _vectors(column, lambda array: literals(cast(array), "[", "]", quoted=False))


def _vectors(column: TargetColumn, cast: Cast) -> Way:
    """pgvector's own syntax."""
    return Way(
        column=column,
        type=pa.string(),
        cast=cast,
        checks=vectors.checks(column.spelled, column.type),
        payload=Payload.NONE,
        exact=False,
    )


def _list_cast(inner: Way, type_: pa.DataType) -> Cast:
    def cast(array: pa.Array) -> pa.Array:
        values = inner.cast(unwrapped(array.flatten()))
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        offsets = pa.array(np.concatenate(([0], np.cumsum(lengths))), pa.int32())
        missing = array.is_null() if array.null_count else None
        return pa.ListArray.from_arrays(offsets, values, type=type_, mask=missing)

    return cast


def _of_elements(check: Check) -> Check:
    def look(array: pa.Array) -> Mask | None:
        found = check.look(array.flatten())
        if found is None:
            return None
        mask = np.zeros(len(array), np.bool_)
        mask[pc.list_parent_indices(array).to_numpy(zero_copy_only=False)[found]] = True
        return mask

    return Check(look=look, message=check.message, sqlstate=check.sqlstate)


# --- refusals ----------------------------------------------------------------------------------------------------


def _no_way(given: pa.DataType, column: TargetColumn) -> MappingError:
    if is_bytes(given):
        return MappingError(
            say("column {column} takes {type}, and bytes are delivered", column=column.name, type=column.type),
            advice=say("name the encoding that its text is in: [mapping] or encodings in the plan"),
            code=7011,
        )
    return MappingError(
        say(
            "column {column} takes {type}, and {given} is delivered, for which there is no cast without a loss",
            column=column.name,
            type=column.type,
            given=str(given),
        ),
        advice=say("choose another type for the column (types in the plan), or cast it by a transform"),
        code=7010,
    )
