"""What kind of value an expression gives, as far as its words tell: enough to say + or ||, 1 or TRUE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from sqlglot import exp

from pghaul.model.mapped import MappedColumn
from pghaul.target.foreign import types

Kind: TypeAlias = Literal["text", "number", "boolean", "moment", "bytes"]
Finds: TypeAlias = Callable[[exp.Column], MappedColumn | None]

TRUTHS = (
    exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.In, exp.Between, exp.Like,
    exp.ILike, exp.Exists, exp.Boolean, exp.NullSafeEQ, exp.NullSafeNEQ, exp.RegexpLike, exp.RegexpILike,
)  # fmt: skip
NUMBERS = (exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.Abs, exp.Length, exp.Count, exp.Sum, exp.Avg, exp.Round)
TEXTS = (exp.DPipe, exp.Concat, exp.Lower, exp.Upper, exp.Trim, exp.Substring, exp.National, exp.GroupConcat)
KINDS: tuple[tuple[tuple[type[exp.Expr], ...], Kind], ...] = ((TRUTHS, "boolean"), (NUMBERS, "number"), (TEXTS, "text"))
NUMERIC = frozenset({"smallint", "integer", "bigint", "numeric", "real", "double precision", "money"})


def of_type(type_: str) -> Kind | None:
    """Of a column's type."""
    base = types.base(type_)
    if base in NUMERIC:
        return "number"
    if base in types.TEXTS:
        return "text"
    if base.startswith(("timestamp", "date", "time")):
        return "moment"
    found: dict[str, Kind] = {"boolean": "boolean", "bytea": "bytes"}
    return found.get(base)


def of(node: exp.Expr | None, finds: Finds) -> Kind | None:
    """Of an expression; None where nobody knows."""
    if isinstance(node, exp.Column):
        column = finds(node)
        return of_type(column.type) if column else None
    if isinstance(node, exp.Literal):
        return "text" if node.is_string else "number"
    for nodes, kind in KINDS:
        if isinstance(node, nodes):
            return kind
    if isinstance(node, exp.Cast):
        if node.to.this in exp.DataType.TEXT_TYPES:
            return "text"
        return "number" if node.to.this in exp.DataType.NUMERIC_TYPES else None
    return _of_parts(node, finds)


def _of_parts(node: exp.Expr | None, finds: Finds) -> Kind | None:
    if isinstance(node, exp.Add):
        both = {of(node.this, finds), of(node.expression, finds)}
        return "text" if "text" in both else "number" if "number" in both else None
    if isinstance(node, (exp.Paren, exp.Coalesce, exp.Nullif, exp.Min, exp.Max)):
        return of(node.this, finds)
    if isinstance(node, exp.Case):
        branches = [i.args.get("true") for i in node.args["ifs"]] + [node.args.get("default")]
        return next((k for k in (of(b, finds) for b in branches if b) if k), None)
    if isinstance(node, exp.If):
        return of(node.args.get("true"), finds) or of(node.args.get("false"), finds)
    return None
