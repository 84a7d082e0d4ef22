"""The plain kinds: cast, default, trim, null-if, map. Each of them one call or two of Arrow for a whole column."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pghaul.model.errors import TransformError
from pghaul.model.text import say
from pghaul.model.transforming import Otherwise, Side, Transform
from pghaul.transforms.casting import arrow_type, cast_of, casting, literal, literals
from pghaul.transforms.steps import (
    ColumnStep,
    Problem,
    Work,
    Worked,
    column_step,
    is_text,
    unfit,
)

TRIMS = {Side.BOTH: "utf8_trim", Side.LEFT: "utf8_ltrim", Side.RIGHT: "utf8_rtrim"}


def rename(transform: Transform, schema: pa.Schema) -> ColumnStep:
    """Nothing happens to values: the target's name is a matter of the mapping. But the column has to be there."""
    return column_step(transform, schema, lambda _field: lambda array: array)


def cast(transform: Transform, schema: pa.Schema) -> ColumnStep:
    """Into the form of a type of PostgreSQL."""
    return column_step(transform, schema, lambda f: casting(f.type, transform.to or ""))


def default(transform: Transform, schema: pa.Schema) -> ColumnStep:
    """A value for NULL."""

    def make(field: pa.Field) -> Work:
        value = constant(transform, field, transform.value)
        return lambda array: pc.fill_null(array, value)

    return column_step(transform, schema, make)


def trim(transform: Transform, schema: pa.Schema) -> ColumnStep:
    """Characters off the ends of a text."""
    name = TRIMS[transform.side]

    def make(field: pa.Field) -> Work:
        if not is_text(field.type):
            raise unfit(transform, field, say("it is no text"))
        if transform.characters is None:
            return lambda array: pc.call_function(f"{name}_whitespace", [array])
        return lambda array: pc.call_function(name, [array], pc.TrimOptions(transform.characters))

    return column_step(transform, schema, make)


def null_if(transform: Transform, schema: pa.Schema) -> ColumnStep:
    """NULL for some values."""

    def make(field: pa.Field) -> Work:
        gone = constants(transform, field, list(transform.values or ()))
        nothing = pa.scalar(None, field.type)
        return lambda array: pc.if_else(pc.is_in(array, value_set=gone), nothing, array)

    return column_step(transform, schema, make)


def map_values(transform: Transform, schema: pa.Schema) -> ColumnStep:
    """One value for another."""

    def make(field: pa.Field) -> Work:
        said = transform.map or {}
        known = constants(transform, field, list(said))
        wanted = field.type if transform.type is None else arrow_type(transform.type)
        made = constants(transform, field.with_type(wanted), list(said.values()))
        return _mapping(transform, field, known, made)

    return column_step(transform, schema, make)


def _mapping(transform: Transform, field: pa.Field, known: pa.Array, made: pa.Array) -> Work:
    keep = cast_of(field.type, made.type) if transform.otherwise is Otherwise.KEEP else None

    def work(array: pa.Array) -> pa.Array | Worked:
        places = pc.index_in(array, value_set=known)
        mapped = made.take(places)
        if keep is not None:
            rest = pc.if_else(places.is_valid(), pa.scalar(None, array.type), array)
            return pc.if_else(places.is_valid(), mapped, keep(rest))
        lost = pc.and_(places.is_null(), array.is_valid())
        if transform.otherwise is Otherwise.NULL or not lost.true_count:
            return mapped
        mask = lost.to_numpy(zero_copy_only=False)
        return Worked(array=mapped, problems=(Problem(mask=mask, message=say("the map does not name the value")),))

    return work


def constant(transform: Transform, field: pa.Field, value: object) -> pa.Scalar:
    """A value that the plan gives, as the column has it."""
    try:
        return literal(value, field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
        raise TransformError(
            say(
                "{kind}: '{value}' is no value of the column {column}, which is delivered as {type}",
                kind=transform.kind,
                value=str(value),
                column=field.name,
                type=str(field.type),
            ),
            advice=say("write it as PostgreSQL would, in quotes, or cast the column before"),
            code=7103,
        ) from exc


def constants(transform: Transform, field: pa.Field, values: list[object]) -> pa.Array:
    """Several of them."""
    for value in values:
        constant(transform, field, value)
    return literals(values, field.type)
