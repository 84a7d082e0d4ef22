"""Expressions over the columns of a row: a part of SQL, compiled to Arrow compute; what is not on the list is refused.

Parsed by sqlglot in PostgreSQL's dialect. NULL goes through as in SQL, and and or know it; integers and decimals stay
what they are, are checked for overflow, and decimals are never floats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import sqlglot
from sqlglot import exp

from pghaul.model.errors import TransformError
from pghaul.model.text import say
from pghaul.model.transforming import Transform
from pghaul.transforms.casting import arrow_type, cast_of
from pghaul.transforms.steps import Problem, Step, Stepped, is_text, refused_by, unwrapped

Value: TypeAlias = Any  # an array, or a scalar of a literal
Compiled: TypeAlias = Callable[[pa.RecordBatch], Value]
MOST = 38


def expression(transform: Transform, schema: pa.Schema) -> Step:
    """A column that is there gets other values; another name makes a new one."""
    made = _Compiler(transform, schema).compiled(parsed(transform))
    name = transform.names[0]
    given = made(schema.empty_table().to_batches()[0] if schema.empty_table().to_batches() else _none(schema))
    type_ = arrow_type(transform.type) if transform.type else given.type
    at = schema.get_field_index(name)
    field = pa.field(name, type_) if at < 0 else schema.field(at).with_type(type_)
    new = pa.schema([*schema, field]) if at < 0 else schema.set(at, field)
    return _Computed(schema=new, at=at, name=name, make=made, cast=cast_of(given.type, type_))


def _none(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], t) for t in schema.types], schema=schema)


def parsed(transform: Transform) -> Any:
    """TransformError where it is no expression."""
    try:
        found: Any = sqlglot.parse_one(transform.expression or "", dialect="postgres", into=exp.Condition)
    except sqlglot.errors.SqlglotError as exc:
        first: Mapping[str, Any] = next(iter(getattr(exc, "errors", [])), {})
        raise TransformError(
            say("this is no expression: {why}", why=str(first.get("description", exc)).splitlines()[0]),
            where=transform.expression,
            code=7140,
        ) from exc
    return found


def columns_of(transform: Transform) -> list[str]:
    """The columns that it reads, as they are written."""
    return [c.name for c in parsed(transform).find_all(exp.Column)]


NOTHING: tuple[tuple[str, Problem], ...] = ()
PLAIN = frozenset({"this", "safe", "typed", "coalesce", "is_string"})  # words of the parser that change nothing here


class _Computed:
    """The values of one column, computed from a batch; rows that refuse (a division by zero) are told apart."""

    def __init__(
        self, *, schema: pa.Schema, at: int, name: str, make: Compiled, cast: Callable[[Value], Value]
    ) -> None:
        self.schema = schema
        self._at = at
        self._name = name
        self._make = make
        self._cast = cast

    def apply(self, batch: pa.RecordBatch) -> Stepped:
        """One call of Arrow for each part of the expression."""
        try:
            made, problems = self._values(batch), NOTHING
        except pa.ArrowInvalid as exc:
            made, problems = self._without_refused(batch, str(exc))
        arrays = list(batch.columns)
        if self._at < 0:
            arrays.append(made)
        else:
            arrays[self._at] = made
        return Stepped(batch=pa.RecordBatch.from_arrays(arrays, schema=self.schema), problems=problems)

    def _values(self, batch: pa.RecordBatch) -> pa.Array:
        made = self._make(batch)
        if isinstance(made, pa.Scalar):
            made = pa.repeat(made, batch.num_rows)
        made = self._cast(made)
        return made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made

    def _without_refused(self, batch: pa.RecordBatch, why: str) -> tuple[pa.Array, tuple[tuple[str, Problem], ...]]:
        mask = refused_by(self._values, [batch], batch.num_rows)
        parts = [self._values(batch.slice(i, 1)) if not bad else None for i, bad in enumerate(mask)]
        type_ = self.schema.field(self._at if self._at >= 0 else len(self.schema) - 1).type
        made = pa.concat_arrays([pa.nulls(1, type_) if p is None else p for p in parts])
        return made, ((self._name, Problem(mask=mask, message=say("the expression refuses: {why}", why=why))),)


class _Compiler:
    """From a tree to a function of batches. Raises TransformError for what is not on the list."""

    def __init__(self, transform: Transform, schema: pa.Schema) -> None:
        self._transform = transform
        self._schema = schema

    def compiled(self, node: exp.Expression) -> Compiled:
        """Tried at once on no rows, so that what does not go together is known by its part."""
        make = self._of(node)
        try:
            make(_none(self._schema))
        except pa.ArrowException as exc:
            raise TransformError(
                say("{part} cannot be computed: {why}", part=node.sql(dialect="postgres"), why=str(exc)),
                where=self._transform.expression,
                advice=say("cast a part of it: cast(x as numeric(10,2))"),
                code=7141,
            ) from exc
        return make

    def _of(self, node: exp.Expression) -> Compiled:
        said = {k for k, v in node.args.items() if v and not isinstance(v, exp.Expression | list)}
        if said - PLAIN - ({"negate"} if isinstance(node, exp.Is) else set()) or node.args.get("table"):
            raise self.refused(node)
        special = SPECIAL.get(type(node))
        if special is not None:
            return special(self, node)
        call = CALLS.get(type(node))
        if call is None and isinstance(node, exp.Anonymous):
            call = NAMED.get(str(node.this).lower())
        if call is None:
            raise self.refused(node)
        function, args = call, [self.compiled(a) for a in arguments(node)]
        return lambda batch: function(*(a(batch) for a in args))

    def refused(self, node: exp.Expression) -> TransformError:
        """By name."""
        return TransformError(
            say("{part} is not among what an expression may use", part=node.sql(dialect="postgres")),
            where=self._transform.expression,
            advice=say("docs/transforms.md lists it; a python function can do the rest"),
            code=7142,
        )

    def column(self, node: exp.Expression) -> Compiled:
        """By the source's name."""
        name = node.name
        if name not in self._schema.names:
            raise TransformError(
                say("the expression names {column}, and there is no such column", column=name),
                where=self._transform.expression,
                advice=say("columns are named as the source does, in upper and lower case"),
                code=7143,
            )
        at = self._schema.get_field_index(name)
        return lambda batch: unwrapped(batch.column(at))

    def literal(self, node: exp.Expression) -> Compiled:
        """Text, an integer, or a decimal: never a float."""
        value = constant(node)
        return lambda _batch: value

    def case(self, node: exp.Expression) -> Compiled:
        """The first WHEN that is true."""
        if node.this is not None:
            ifs = [
                (self.compiled(exp.EQ(this=node.this.copy(), expression=i.this.copy())), i) for i in node.args["ifs"]
            ]
        else:
            ifs = [(self.compiled(i.this), i) for i in node.args["ifs"]]
        whens = [(c, self.compiled(i.args["true"])) for c, i in ifs]
        default = self.compiled(node.args["default"]) if node.args.get("default") else None

        def make(batch: pa.RecordBatch) -> Value:
            values = alike([v(batch) for _, v in whens] + ([default(batch)] if default else []))
            rest = values.pop() if default else pa.scalar(None, values[0].type)
            for (condition, _), value in zip(reversed(whens), reversed(values), strict=True):
                rest = pc.if_else(pc.fill_null(condition(batch), False), value, rest)
            return rest

        return make

    def cast(self, node: exp.Expression) -> Compiled:
        """To a type of PostgreSQL, without a loss."""
        wanted, inner = arrow_type(node.args["to"].sql(dialect="postgres").lower()), self.compiled(node.this)
        return lambda batch: _cast(inner(batch), wanted)

    def extract(self, node: exp.Expression) -> Compiled:
        """A part of a date or a time."""
        part, inner = PARTS.get(node.name.lower()), self.compiled(node.expression)
        if part is None:
            raise self.refused(node)
        function = part
        return lambda batch: function(inner(batch))

    def within(self, node: exp.Expression) -> Compiled:
        """In a list of literals."""
        if node.args.get("query") or not node.expressions:
            raise self.refused(node)
        tests = [exp.EQ(this=node.this.copy(), expression=e.copy()) for e in node.expressions]
        whole: Any = tests[0] if len(tests) == 1 else exp.or_(*tests)
        return self.compiled(whole)

    def between(self, node: exp.Expression) -> Compiled:
        """Both bounds belong to it."""
        low = exp.GTE(this=node.this.copy(), expression=node.args["low"].copy())
        high = exp.LTE(this=node.this.copy(), expression=node.args["high"].copy())
        return self.compiled(exp.And(this=low, expression=high))

    def inner(self, node: exp.Expression) -> Compiled:
        """Parentheses."""
        return self.compiled(node.this)

    def is_null(self, node: exp.Expression) -> Compiled:
        """IS NULL, IS TRUE, IS FALSE."""
        inner, what, negated = self.compiled(node.this), node.expression, bool(node.args.get("negate"))
        if isinstance(what, exp.Null):
            return lambda batch: pc.is_valid(inner(batch)) if negated else pc.is_null(inner(batch))
        if not isinstance(what, exp.Boolean):
            raise self.refused(node)
        wanted = bool(what.this)

        def make(batch: pa.RecordBatch) -> Value:
            found = pc.fill_null(pc.equal(inner(batch), wanted), False)
            return pc.invert(found) if negated else found

        return make

    def choice(self, node: exp.Expression) -> Compiled:
        """if(condition, one, other)."""
        other = node.args.get("false")
        return self.case(exp.Case(ifs=[exp.If(this=node.this.copy(), true=node.args["true"].copy())],
                                  default=other.copy() if other else None))  # fmt: skip


def arguments(node: exp.Expression) -> list[exp.Expression]:
    """In the order in which they are written."""
    found: list[exp.Expression] = []
    for key, value in node.args.items():
        if key == "this" and isinstance(value, str):
            continue
        found += [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, exp.Expression)]
    return found


def constant(node: exp.Expression) -> pa.Scalar:
    """Of a literal."""
    if isinstance(node, exp.Null):
        return pa.scalar(None)
    if isinstance(node, exp.Boolean):
        return pa.scalar(bool(node.this))
    text = str(node.this)
    if node.is_string:
        return pa.scalar(text)
    if text.isdigit():
        return pa.scalar(int(text))
    _, _, places = text.partition(".")
    wanted = pa.decimal128(max(1, len(text.replace(".", "").lstrip("0")), len(places)), len(places))
    return pa.array([text]).cast(wanted)[0]


# --- values ---------------------------------------------------------------------------------------------------------


def _cast(value: Value, wanted: pa.DataType) -> Value:
    if isinstance(value, pa.Scalar):
        return cast_of(value.type, wanted)(pa.array([value.as_py()], value.type))[0]
    return cast_of(value.type, wanted)(value)


def alike(values: list[Value]) -> list[Value]:
    """Of one type: NULL takes any, integers become decimals beside decimals."""
    types = [v.type for v in values if not pa.types.is_null(v.type)]
    if not types:
        return values
    wanted = types[0]
    if any(t != wanted for t in types):
        decimals = [t for t in types if pa.types.is_decimal(t)]
        if decimals:
            scale = max(t.scale for t in decimals)
            whole = max([t.precision - t.scale for t in decimals] + [20 for t in types if pa.types.is_integer(t)])
            wanted = pa.decimal128(min(MOST, whole + scale), scale)
        elif all(pa.types.is_integer(t) for t in types):
            wanted = pa.int64()
        elif any(pa.types.is_floating(t) for t in types):
            wanted = pa.float64()
    return [_null(v, wanted) if pa.types.is_null(v.type) else _cast(v, wanted) for v in values]


def _null(value: Value, wanted: pa.DataType) -> Value:
    return pa.scalar(None, wanted) if isinstance(value, pa.Scalar) else pa.nulls(len(value), wanted)


def _number(name: str) -> Callable[[Value, Value], Value]:
    return lambda a, b: pc.call_function(name, [_wide(a), _wide(b)])


def _wide(value: Value) -> Value:
    """Small integers have room to grow."""
    if pa.types.is_integer(value.type) and not pa.types.is_uint64(value.type):
        return value.cast(pa.int64())
    return value


def _compared(name: str) -> Callable[[Value, Value], Value]:
    return lambda a, b: pc.call_function(name, alike([a, b]) if not is_text(a.type) else [a, b])


def _modulo(a: Value, b: Value) -> Value:
    """Of integers; the sign is that of the first."""
    a, b = _wide(a), _wide(b)
    if not (pa.types.is_integer(a.type) and pa.types.is_integer(b.type)):
        raise pa.ArrowInvalid("% is for integers")
    return pc.subtract_checked(a, pc.multiply_checked(pc.divide_checked(a, b), b))


def _text(value: Value) -> Value:
    return value if is_text(value.type) else _cast(value, pa.string())


def _joined(*values: Value) -> Value:
    """NULL where one of them is."""
    return pc.binary_join_element_wise(*(_text(v) for v in values), pa.scalar(""))


def _joined_without_nulls(*values: Value) -> Value:
    return _joined(*(pc.coalesce(_text(v), pa.scalar("")) for v in values))


def _round(value: Value, digits: Value | None = None) -> Value:
    """Half away from zero, as numeric does."""
    options = pc.RoundOptions(0 if digits is None else digits.as_py(), "half_towards_infinity")
    return pc.call_function("round", [value], options)


def _substring(value: Value, start: Value, length: Value | None = None) -> Value:
    first = start.as_py() - 1
    stop = None if length is None else max(0, first + length.as_py())
    return pc.utf8_slice_codeunits(value, max(0, first), stop)


def _replace(value: Value, old: Value, new: Value) -> Value:
    return pc.replace_substring(value, old.as_py(), new.as_py())


def _trimmed(value: Value) -> Value:
    return pc.utf8_trim_whitespace(value)


def _null_if(a: Value, b: Value) -> Value:
    a, b = alike([a, b])
    return pc.if_else(pc.fill_null(pc.equal(a, b), False), pa.scalar(None, a.type), a)


SPECIAL: Mapping[type, Callable[[_Compiler, Any], Compiled]] = {
    exp.Column: _Compiler.column,
    exp.Literal: _Compiler.literal,
    exp.Null: _Compiler.literal,
    exp.Boolean: _Compiler.literal,
    exp.Case: _Compiler.case,
    exp.Cast: _Compiler.cast,
    exp.Extract: _Compiler.extract,
    exp.In: _Compiler.within,
    exp.Between: _Compiler.between,
    exp.Paren: _Compiler.inner,
    exp.Is: _Compiler.is_null,
    exp.If: _Compiler.choice,
}
CALLS: Mapping[type, Callable[..., Value]] = {
    exp.Add: _number("add_checked"),
    exp.Sub: _number("subtract_checked"),
    exp.Mul: _number("multiply_checked"),
    exp.Div: _number("divide_checked"),
    exp.Mod: _modulo,
    exp.Neg: pc.negate_checked,
    exp.EQ: _compared("equal"),
    exp.NEQ: _compared("not_equal"),
    exp.LT: _compared("less"),
    exp.LTE: _compared("less_equal"),
    exp.GT: _compared("greater"),
    exp.GTE: _compared("greater_equal"),
    exp.And: pc.and_kleene,
    exp.Or: pc.or_kleene,
    exp.Not: pc.invert,
    exp.Coalesce: lambda *values: pc.coalesce(*alike(list(values))),
    exp.Nullif: _null_if,
    exp.Lower: pc.utf8_lower,
    exp.Upper: pc.utf8_upper,
    exp.Length: pc.utf8_length,
    exp.Substring: _substring,
    exp.Trim: _trimmed,
    exp.DPipe: _joined,
    exp.Concat: _joined_without_nulls,
    exp.Round: _round,
    exp.Abs: pc.abs_checked,
    exp.Replace: _replace,
}
NAMED: Mapping[str, Callable[..., Value]] = {"replace": _replace, "char_length": pc.utf8_length}
PARTS: Mapping[str, Callable[..., Value]] = {
    "year": pc.year,
    "quarter": pc.quarter,
    "month": pc.month,
    "day": pc.day,
    "hour": pc.hour,
    "minute": pc.minute,
    "second": pc.second,
}
