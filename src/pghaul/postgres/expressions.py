"""CHECK constraints as bounds: `((issued >= '1726758000000'::bigint) AND (issued <= '1726844399999'::bigint))`.

What pg_get_expr() writes is parsed by sqlglot, once for each *shape*: literals are put aside first, so that ten
thousand children whose constraints differ by their values only cost one parse. Only conditions whose meaning is certain
become bounds: column against constant, joined by AND. All others are handed back, to be named.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pghaul.model.bounds import Authority, Bounds, Edge, Strategy, Value
from pghaul.postgres.bound_values import Family, Unbounded, family, read_value
from pghaul.postgres.partition_bounds import unquoted

if TYPE_CHECKING:
    from sqlglot import exp

# Quoted identifiers are stepped over; the literals are strings and numbers that stand alone; a word may be a column.
_TOKEN = re.compile(
    r"""
    "(?:[^"]|"")*"
    | (?P<escaped>E)?'(?P<text>(?:[^'\\]|''|\\.)*)'
    | (?<![\w.$"])(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)\b
    | (?<![\w.$":])(?P<word>[a-z_][\w$]*)(?!\s*[(\w.$])
    """,
    re.VERBOSE,
)
_MIRRORED = {">=": "<=", "<=": ">=", ">": "<", "<": ">", "=": "="}
_KEEPS_ORDER = {  # column's family → families it may be cast to without another order
    Family.INTEGER: {Family.INTEGER, Family.NUMERIC},
    Family.NUMERIC: {Family.NUMERIC},
    Family.DATE: {Family.DATE, Family.TIMESTAMP},
    Family.TIMESTAMP: {Family.TIMESTAMP},
    Family.TIMESTAMPTZ: {Family.TIMESTAMPTZ},
    Family.TEXT: {Family.TEXT},
    Family.OTHER: {Family.OTHER},
}
_TYPES = {  # sqlglot's names
    "SMALLINT": Family.INTEGER,
    "INT": Family.INTEGER,
    "BIGINT": Family.INTEGER,
    "DECIMAL": Family.NUMERIC,
    "FLOAT": Family.NUMERIC,
    "DOUBLE": Family.NUMERIC,
    "DATE": Family.DATE,
    "TIMESTAMP": Family.TIMESTAMP,
    "TIMESTAMPTZ": Family.TIMESTAMPTZ,
    "TEXT": Family.TEXT,
    "VARCHAR": Family.TEXT,
    "CHAR": Family.TEXT,
    "BPCHAR": Family.TEXT,
}


class NotPlain(Exception):  # noqa: N818 -- what is no bound is no fault
    """A condition that is not a comparison of a column with constants."""


@dataclass(frozen=True, slots=True)
class _Constant:
    literal: int  # which of the expression's literals
    cast: Family | None = None
    negative: bool = False


@dataclass(frozen=True, slots=True)
class _Comparison:
    column: str
    cast: Family | None
    operator: str  # = >= <= > <, "in", or "not null"
    constants: tuple[_Constant, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """`bounds`, one for each column that is bounded; `plain` is False where a part says more than they do."""

    bounds: tuple[Bounds, ...] = ()
    plain: bool = True


def parse_check(expression: str, types: Mapping[str, str], *, trusted: bool = True) -> Checked:
    """What pg_get_expr() of a constraint says about each column. `types` are the columns' by format_type()."""
    shape, literals = _apart(expression, types)
    comparisons, plain = _template(shape)
    found: dict[str, Bounds] = {}
    not_null = {c.column for c in comparisons if c.operator == "not null"}
    for comparison in comparisons:
        if comparison.operator == "not null":
            continue
        try:
            said = _bounds(comparison, literals, family(types.get(comparison.column, "")))
        except (NotPlain, ValueError):
            plain = False
            continue
        column = comparison.column
        known = found.get(column)
        if known is not None and Strategy.LIST in {known.strategy, said.strategy}:
            plain = False  # a list and something else: the list is enough, it is never too narrow
            said = known if known.strategy is Strategy.LIST else said
            known = None
        found[column] = said if known is None else known.intersect(said)
    return Checked(bounds=tuple(_worth(b, not_null, trusted) for b in found.values()), plain=plain)


def _worth(bounds: Bounds, not_null: set[str], trusted: bool) -> Bounds:
    return Bounds(
        strategy=bounds.strategy,
        column=bounds.column,
        low=bounds.low,
        high=bounds.high,
        values=bounds.values,
        authority=Authority.CHECK,
        trusted=trusted,
        nulls=bounds.column not in not_null,  # a CHECK lets NULL pass
    )


def _apart(expression: str, columns: Container[str]) -> tuple[str, tuple[str, ...]]:
    """The expression with literals numbered and columns quoted (sqlglot has other keywords), and the literals."""
    literals: list[str] = []

    def number(found: re.Match[str]) -> str:
        if found["text"] is not None:
            literals.append(unquoted(found["text"], escaped=bool(found["escaped"])))
            return f"'{len(literals) - 1}'"
        if found["number"] is not None:
            literals.append(found["number"])
            return str(len(literals) - 1)
        return f'"{found[0]}"' if found["word"] in columns else found[0]

    return _TOKEN.sub(number, expression), tuple(literals)


@lru_cache(maxsize=4096)
def _template(shape: str) -> tuple[tuple[_Comparison, ...], bool]:
    """The comparisons of a shape that are understood, and whether these are all."""
    import sqlglot  # noqa: PLC0415 -- a twentieth of a second, only for who looks at constraints
    from sqlglot.errors import SqlglotError  # noqa: PLC0415

    try:
        tree: Any = sqlglot.parse_one(shape, read="postgres")
    except (SqlglotError, RecursionError):
        return (), False
    comparisons: list[_Comparison] = []
    plain = True
    for part in _conjuncts(tree):
        try:
            comparisons += _comparisons(part)
        except NotPlain:
            plain = False
    return tuple(comparisons), plain


def _conjuncts(node: exp.Expression) -> list[Any]:
    from sqlglot import exp  # noqa: PLC0415

    todo, found = [_bare(node)], []
    while todo:
        part = todo.pop()
        if isinstance(part, exp.And):
            todo += [_bare(part.expression), _bare(part.this)]
        else:
            found.append(part)
    return found


def _bare(node: Any) -> Any:
    """Without parentheses around it."""
    from sqlglot import exp  # noqa: PLC0415

    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _comparisons(node: Any) -> list[_Comparison]:
    from sqlglot import exp  # noqa: PLC0415

    signs = {exp.GTE: ">=", exp.LTE: "<=", exp.GT: ">", exp.LT: "<", exp.EQ: "="}
    match node:
        case exp.Between():
            column, cast = _column(node.this)
            low, high = _constant(node.args["low"]), _constant(node.args["high"])
            return [_Comparison(column, cast, ">=", (low,)), _Comparison(column, cast, "<=", (high,))]
        case exp.EQ() if isinstance(_bare(node.expression), exp.Any):
            return [_member(node.this, _elements(_bare(node.expression).this))]
        case exp.In() if node.expressions:
            return [_member(node.this, node.expressions)]
        case exp.Is() if isinstance(node.expression, exp.Null) and node.args.get("negate"):
            return [_Comparison(_column(node.this)[0], None, "not null")]
        case exp.Not() if isinstance(_bare(node.this), exp.Is) and isinstance(_bare(node.this).expression, exp.Null):
            return [_Comparison(_column(_bare(node.this).this)[0], None, "not null")]
    sign = signs.get(type(node))
    if sign is None:
        raise NotPlain
    return [_against(node, sign)]


def _against(node: Any, sign: str) -> _Comparison:
    """Column on the left or on the right."""
    try:
        column, cast = _column(node.this)
    except NotPlain:
        column, cast = _column(node.expression)
        return _Comparison(column, cast, _MIRRORED[sign], (_constant(node.this),))
    return _Comparison(column, cast, sign, (_constant(node.expression),))


def _member(left: Any, elements: Sequence[Any]) -> _Comparison:
    column, cast = _column(left)
    return _Comparison(column, cast, "in", tuple(_constant(e) for e in elements))


def _elements(node: Any) -> Sequence[Any]:
    from sqlglot import exp  # noqa: PLC0415

    node = _bare(node)
    if isinstance(node, exp.Cast):
        node = _bare(node.this)
    if not isinstance(node, exp.Array):
        raise NotPlain
    return list(node.expressions)


def _column(node: Any) -> tuple[str, Family | None]:
    from sqlglot import exp  # noqa: PLC0415

    node, cast = _uncast(node)
    if isinstance(node, exp.Column) and isinstance(node.this, exp.Identifier) and not node.table:
        return str(node.this.this), cast
    raise NotPlain


def _constant(node: Any) -> _Constant:
    from sqlglot import exp  # noqa: PLC0415

    node, cast = _uncast(node)
    negative = isinstance(node, exp.Neg)
    if negative:
        node, inner = _uncast(node.this)
        cast = cast or inner
    if not isinstance(node, exp.Literal):
        raise NotPlain
    return _Constant(int(node.this), cast or (None if node.is_string else Family.NUMERIC), negative)


def _uncast(node: Any) -> tuple[Any, Family | None]:
    """The inside of parentheses, casts and COLLATE, and the family of the outermost cast."""
    from sqlglot import exp  # noqa: PLC0415

    cast = None
    while isinstance(node, (exp.Paren, exp.Cast, exp.Collate)):
        if isinstance(node, exp.Cast):
            here = _TYPES.get(getattr(node.to.this, "name", ""), Family.OTHER)
            cast = cast or here
        node = node.this
    return node, cast


def _bounds(comparison: _Comparison, literals: Sequence[str], kind: Family) -> Bounds:
    """Raises NotPlain, or ValueError for a value that Python cannot hold."""
    if comparison.cast is not None and comparison.cast not in _KEEPS_ORDER[kind]:
        raise NotPlain
    if comparison.operator in {"in", "="}:
        values = tuple(_value(c, literals, kind) for c in comparison.constants)
        return Bounds(strategy=Strategy.LIST, column=comparison.column, values=values)
    if kind is Family.OTHER:
        raise NotPlain
    edge = _edge(comparison, literals, kind)
    if comparison.operator in {">=", ">"}:
        return Bounds(strategy=Strategy.RANGE, column=comparison.column, low=edge)
    return Bounds(strategy=Strategy.RANGE, column=comparison.column, high=edge)


def _edge(comparison: _Comparison, literals: Sequence[str], kind: Family) -> Edge | None:
    try:
        value = _value(comparison.constants[0], literals, kind)
    except Unbounded:
        return None
    return Edge(value=value, inclusive="=" in comparison.operator)


def _value(constant: _Constant, literals: Sequence[str], kind: Family) -> Value:
    """The constant as the column's type; refused where that depends on the session's time zone, or is inexact."""
    written = constant.cast or kind
    text = ("-" if constant.negative else "") + literals[constant.literal]
    if written is kind:
        return read_value(text, kind)
    if {written, kind} <= {Family.INTEGER, Family.NUMERIC}:
        return read_value(text, Family.NUMERIC)
    if kind is Family.TIMESTAMP and written is Family.DATE:
        return read_value(text, Family.TIMESTAMP)
    if kind is Family.OTHER:
        return text
    raise NotPlain
