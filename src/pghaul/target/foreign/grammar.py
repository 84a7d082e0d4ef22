"""The part of SQL that is translated: node by node, with the arguments that are understood.

sqlglot passes on what it does not know, and drops arguments that a dialect has no words for. So nothing passes that is
not listed here, and each line has been thought about: what stands in it means the same in PostgreSQL, or is rewritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from sqlglot import exp


class NotTranslatedError(Exception):
    """Something in it is unknown, or means another thing in PostgreSQL; `args[0]` says what, to a person."""


class Purpose(Enum):
    CHECK = "check"
    GENERATED = "generated column"  # its values are the target's own: only what gives the very same ones
    INDEX = "index"  # an expression, or the condition of a partial one
    VIEW = "view"


def _of(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BINARY = _of("this expression")
EXACT: dict[type[exp.Expr], frozenset[str]] = {
    exp.Column: _of("this table db"),
    exp.Identifier: _of("this quoted"),
    exp.Literal: _of("this is_string"),
    exp.National: _of("this"),
    exp.HexString: _of("this is_integer"),
    exp.BitString: _of("this"),
    exp.Introducer: _BINARY,
    exp.Boolean: _of("this"),
    exp.Null: _of(""),
    exp.Paren: _of("this"),
    exp.Neg: _of("this"),
    exp.Not: _of("this"),
    exp.In: _of("this expressions"),
    exp.Between: _of("this low high symmetric"),
    exp.Escape: _BINARY,
    exp.Concat: _of("expressions safe coalesce"),
    exp.Coalesce: _of("this expressions is_nvl is_null"),
    exp.Nullif: _BINARY,
    exp.Case: _of("this ifs default"),
    exp.DecodeCase: _of("expressions"),
    exp.Nvl2: _of("this true false"),
    exp.If: _of("this true false"),
    exp.Cast: _of("this to"),
    exp.Convert: _of("this expression"),
    exp.DataType: _of("this expressions nested"),
    exp.DataTypeParam: _of("this"),
    exp.Lower: _of("this"),
    exp.Upper: _of("this"),
    exp.Trim: _of("this"),
    exp.Length: _of("this binary"),
    exp.Abs: _of("this"),
    exp.Substring: _of("this start length"),
    exp.Anonymous: _of("this expressions"),  # rewritten, or refused by name
    **dict.fromkeys(
        (exp.And, exp.Or, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.NullSafeEQ, exp.NullSafeNEQ,
         exp.Like, exp.Add, exp.Sub, exp.Mul, exp.DPipe, exp.RegexpLike),
        _of("this expression safe negate"),
    ),
}  # fmt: skip
NOW: dict[type[exp.Expr], frozenset[str]] = {
    exp.CurrentTimestamp: _of("this sysdate"),
    exp.CurrentDate: _of(""),
    exp.UtcTimestamp: _of("this"),
    exp.Localtimestamp: _of("this"),
    exp.Systimestamp: _of("this"),
    exp.CurrentUser: _of(""),
    exp.SessionUser: _of(""),
}
QUERY: dict[type[exp.Expr], frozenset[str]] = {
    exp.Select: _of("expressions from_ from joins where group having order limit offset distinct with_ with"),
    exp.From: _of("this"),
    exp.Table: _of("this db catalog alias joins"),
    exp.TableAlias: _of("this columns"),
    exp.Join: _of("this on using side kind method"),
    exp.Where: _of("this"),
    exp.Group: _of("expressions"),
    exp.Having: _of("this"),
    exp.Order: _of("this expressions"),
    exp.Ordered: _of("this desc nulls_first"),
    exp.Limit: _of("expression"),
    exp.Offset: _of("expression"),
    exp.Fetch: _of("direction count limit_options"),
    exp.LimitOptions: _of("rows"),
    exp.Subquery: _of("this alias joins"),
    exp.Union: _of("this expression distinct order limit offset with_ with"),
    exp.Except: _of("this expression distinct order limit offset with_ with"),
    exp.Intersect: _of("this expression distinct order limit offset with_ with"),
    exp.With: _of("expressions"),
    exp.CTE: _of("this alias"),
    exp.Alias: _of("this alias"),
    exp.Star: _of(""),
    exp.Distinct: _of("expressions"),
    exp.Exists: _of("this"),
    exp.Count: _of("this expressions big_int"),
    exp.Sum: _of("this"),
    exp.Avg: _of("this"),
    exp.Min: _of("this"),
    exp.Max: _of("this"),
    exp.GroupConcat: _of("this separator"),
    exp.Year: _of("this"),
    exp.Month: _of("this"),
    exp.Extract: _of("this expression"),
    exp.Div: _of("this expression typed safe"),
    exp.Mod: _of("this expression"),
    exp.Floor: _of("this"),
    exp.Ceil: _of("this"),
    exp.Round: _of("this decimals"),
    exp.Var: _of("this"),
    exp.RowNumber: _of(""),
    exp.Window: _of("this partition_by order over"),
}
ALLOWED: Mapping[Purpose, Mapping[type[exp.Expr], frozenset[str]]] = {
    Purpose.GENERATED: EXACT,
    Purpose.INDEX: EXACT,
    Purpose.CHECK: EXACT | NOW,
    Purpose.VIEW: EXACT | NOW | QUERY | {exp.In: _of("this expressions query")},
}


def unknown(tree: exp.Expr, purpose: Purpose) -> str | None:
    """The first thing in it that is not known to mean the same: as a person would look for it."""
    allowed = ALLOWED[purpose]
    for node in tree.walk():
        if type(node) not in allowed:
            return _called(node)
        for argument, value in node.args.items():
            if value and argument not in allowed[type(node)] and not _is_empty(value):
                return f"{_called(node)} … {argument.strip('_')}"
    return None


def _is_empty(value: object) -> bool:
    return isinstance(value, list) and not any(value)


def _called(node: exp.Expr) -> str:
    if isinstance(node, exp.Anonymous):
        return str(node.this)
    return node.sql_name() if isinstance(node, exp.Func) else node.key
