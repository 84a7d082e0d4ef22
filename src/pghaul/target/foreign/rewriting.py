"""Where the same words mean something else, or another word means the same: rewritten before PostgreSQL's is written.

Every rule is about the node it stands at; children come first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from sqlglot import exp

from pghaul.model.text import say
from pghaul.target.foreign import kinds, types
from pghaul.target.foreign.grammar import NotTranslatedError

Rule: TypeAlias = Callable[[exp.Expr, str, kinds.Finds], exp.Expr]

FOLDING = frozenset({"mysql", "sqlite", "tsql"})  # LIKE sees no difference between a and A, as they come
CASED = re.compile(r"_(bin2?|cs)(_|$)", re.IGNORECASE)  # collations that do: utf8mb4_bin, Latin1_General_CS_AS
BRACKETS = re.compile(r"\[\^?[^\]]+\]|%|_|.", re.DOTALL)
UTC = frozenset({"GETUTCDATE", "SYSUTCDATETIME", "UTC_TIMESTAMP"})
LOCAL = frozenset({"NOW", "GETDATE", "SYSDATETIME", "LOCALTIME", "SYSDATE"})
SAME = {"mysql": frozenset({"OCTET_LENGTH"})}  # the same function, which sqlglot has no class for
PRECISE = {"MONEY": "DECIMAL(19,4)", "SMALLMONEY": "DECIMAL(10,4)"}
TSQL_TYPES = {"BIT": "BOOLEAN", "DATETIME": "TIMESTAMP(3)", "DATETIME2": "TIMESTAMP", "SMALLDATETIME": "TIMESTAMP(0)"}
KEPT = {"DECIMAL", "INT", "BIGINT", "SMALLINT", "TEXT", "VARCHAR", "NVARCHAR", "CHAR", "NCHAR", "DATE", "TIMESTAMP",
        "BOOLEAN", "DOUBLE", "FLOAT"}  # fmt: skip


def rewrite(tree: exp.Expr, dialect: str, find: kinds.Finds, *, condition: bool) -> exp.Expr:
    """The same meaning in words that PostgreSQL understands alike. `condition`: the whole is true or false."""
    tree = _rewritten(tree.copy(), dialect, find)
    return _truth(tree, find) if condition else tree


def _rewritten(node: exp.Expr, dialect: str, find: kinds.Finds) -> exp.Expr:
    for child in list(node.iter_expressions()):
        new = _rewritten(child, dialect, find)
        if new is not child:
            child.replace(new)
    rule = RULES.get(type(node))
    return rule(node, dialect, find) if rule else node


def _truth(node: exp.Expr, find: kinds.Finds) -> exp.Expr:
    """A number where PostgreSQL wants a truth."""
    return exp.NEQ(this=node.copy(), expression=exp.Literal.number(0)) if kinds.of(node, find) == "number" else node


def _both(node: exp.Expr, _dialect: str, find: kinds.Finds) -> exp.Expr:
    for argument in ("this", "expression"):
        node.set(argument, _truth(node.args[argument], find))
    return node


def _condition(node: exp.Expr, _dialect: str, find: kinds.Finds) -> exp.Expr:
    """CASE x WHEN 1 compares; CASE WHEN 1 asks for a truth."""
    if not (isinstance(node.parent, exp.Case) and node.parent.this):
        node.set("this", _truth(node.this, find))
    return node


def _on(node: exp.Expr, _dialect: str, find: kinds.Finds) -> exp.Expr:
    if node.args.get("on"):
        node.set("on", _truth(node.args["on"], find))
    return node


def _compared(node: exp.Expr, dialect: str, find: kinds.Finds) -> exp.Expr:
    """A boolean column with 0 or 1; in SQLite a number is compared with a column of texts as a text."""
    sides = [node.this, node.expression]
    if dialect == "sqlite" and "text" in [
        kinds.of(s.unnest(), find) for s in sides if isinstance(s.unnest(), exp.Column)
    ]:
        for argument, side in zip(("this", "expression"), sides, strict=True):
            if isinstance(side.unnest(), exp.Literal):
                node.set(argument, exp.Literal.string(side.unnest().this))
    if "boolean" in [kinds.of(s, find) for s in sides]:
        for argument, side in zip(("this", "expression"), sides, strict=True):
            node.set(argument, _boolean(side))
    return node


def _one_of(node: exp.Expr, _dialect: str, find: kinds.Finds) -> exp.Expr:
    if kinds.of(node.this, find) == "boolean":
        node.set("expressions", [_boolean(e) for e in node.expressions])
    return node


def _boolean(side: exp.Expr) -> exp.Expr:
    bare = side.unnest()
    if isinstance(bare, (exp.Literal, exp.BitString)) and str(bare.this) in {"0", "1"}:
        return exp.Boolean(this=str(bare.this) == "1")
    return side


def _added(node: exp.Expr, dialect: str, find: kinds.Finds) -> exp.Expr:
    """SQL Server joins texts by +. A date and 1 is the next day in one dialect, and a number in another."""
    if "moment" in [kinds.of(side, find) for side in (node.this, node.expression)]:
        raise NotTranslatedError(say("arithmetic with dates"))
    if dialect == "tsql" and isinstance(node, exp.Add) and kinds.of(node, find) == "text":
        return exp.DPipe(this=node.this, expression=node.expression, safe=True)
    return node


def _literal(node: exp.Expr, dialect: str, _find: kinds.Finds) -> exp.Expr:
    if dialect == "oracle" and node.args.get("is_string") and not node.this:
        raise NotTranslatedError(say("an empty text, which is NULL in Oracle"))
    return node


def _like(node: exp.Expr, dialect: str, find: kinds.Finds) -> exp.Expr:
    pattern = node.expression.unnest()
    literal = isinstance(pattern, exp.Literal) and pattern.is_string
    if dialect == "tsql" and literal and "[" in pattern.this:
        return exp.RegexpILike(this=node.this, expression=exp.Literal.string(_regex(pattern.this)))
    if dialect == "tsql" and not literal:
        raise NotTranslatedError(say("a pattern that is not written out: SQL Server has [ ] in it"))
    if dialect != "mysql" and (not literal or "\\" in pattern.this) and not isinstance(node.parent, exp.Escape):
        raise NotTranslatedError(say("a pattern in which PostgreSQL would see an escape"))
    folds = dialect in FOLDING and not _sees_case(node.this, find)
    return exp.ILike(this=node.this, expression=node.expression) if folds else node


def _sees_case(node: exp.Expr, find: kinds.Finds) -> bool:
    column = find(node) if isinstance(node, exp.Column) else None
    return column is not None and CASED.search(column.source.collation or "") is not None


def _regex(pattern: str) -> str:
    special = {"%": ".*", "_": "."}
    parts = (
        special.get(p) or (p if p.startswith("[") and len(p) > 2 else re.escape(p)) for p in BRACKETS.findall(pattern)
    )
    return f"^{''.join(parts)}$"


def _matched(node: exp.Expr, dialect: str, _find: kinds.Finds) -> exp.Expr:
    if dialect == "mysql":
        return exp.RegexpILike(this=node.this, expression=node.expression)
    return node


def _bytes(node: exp.Expr, _dialect: str, _find: kinds.Finds) -> exp.Expr:
    return exp.cast(exp.Literal.string("\\x" + str(node.this)), "bytea", dialect="postgres")


def _bits(node: exp.Expr, _dialect: str, _find: kinds.Finds) -> exp.Expr:
    if not (str(node.this) in {"0", "1"} and isinstance(node.find_ancestor(exp.EQ, exp.NEQ, exp.In), exp.Expr)):
        raise NotTranslatedError(say("a bit literal"))
    return node


def _plain(node: exp.Expr, _dialect: str, _find: kinds.Finds) -> exp.Expr:
    return exp.Literal.string(str(node.this))


def _introduced(node: exp.Expr, _dialect: str, _find: kinds.Finds) -> exp.Expr:
    if not isinstance(node.expression, exp.Literal):
        raise NotTranslatedError(say("a text with a character set of its own"))
    return node.expression


def _length(node: exp.Expr, dialect: str, find: kinds.Finds) -> exp.Expr:
    if dialect == "tsql":  # it does not count spaces at the end
        return exp.Length(this=exp.func("rtrim", node.this, dialect="postgres"))
    if node.args.get("binary"):
        return exp.Anonymous(this="octet_length", expressions=[node.this])
    if dialect == "sqlite" and kinds.of(node.this, find) != "text":
        raise NotTranslatedError(say("the length of what is no text"))
    return node


def _part(node: exp.Expr, dialect: str, _find: kinds.Finds) -> exp.Expr:
    """Before the first character there is nothing in PostgreSQL, and the end of the text elsewhere."""
    start = node.args.get("start")
    counted = isinstance(start, exp.Literal) and not start.is_string and start.this.isdigit() and int(start.this) > 0
    if dialect != "tsql" and not counted:
        raise NotTranslatedError(say("a part of a text whose beginning is not written out"))
    return node


def _averaged(node: exp.Expr, dialect: str, find: kinds.Finds) -> exp.Expr:
    """SQL Server's average of integers is an integer."""
    column = find(node.this) if isinstance(node.this, exp.Column) else None
    if dialect == "tsql" and (column is None or column.type in types.INTEGERS):
        raise NotTranslatedError(say("an average that may be cut to an integer"))
    return node


def _divided(node: exp.Expr, dialect: str, find: kinds.Finds) -> exp.Expr:
    """In SQLite the values decide whether a fraction is cut off; columns of floats have no integers."""
    if dialect == "sqlite" and not any(_is_float(n, find) for n in (node.this, node.expression)):
        raise NotTranslatedError(say("a division that may be one of integers"))
    return node


def _is_float(node: exp.Expr, find: kinds.Finds) -> bool:
    bare = node.unnest()
    if isinstance(bare, exp.Column):
        column = find(bare)
        return column is not None and column.type in {"real", "double precision"}
    return isinstance(bare, exp.Literal) and not bare.is_string and not bare.this.isdigit()


def _cast(node: exp.Expr, dialect: str, find: kinds.Finds) -> exp.Expr:
    to = node.this if isinstance(node, exp.Convert) else node.args["to"]
    value = node.expression if isinstance(node, exp.Convert) else node.this
    word = to.this.name if isinstance(to, exp.DataType) else ""
    lengths = ",".join(e.name for e in to.expressions)
    if dialect == "tsql" and word in TSQL_TYPES | PRECISE:
        return _tsql_cast(value, word)
    if word not in KEPT or not re.fullmatch(r"(\d+(,\d+)?)?", lengths):
        raise NotTranslatedError(say("a cast to {type}", type=to.sql()))
    if dialect == "sqlite" or (dialect == "tsql" and "INT" in word and kinds.of(value, find) != "text"):
        raise NotTranslatedError(say("a cast that rounds in another way"))  # it cuts the fraction off
    if dialect == "tsql" and "CHAR" in word and not lengths:
        raise NotTranslatedError(say("a cast to {type}", type=to.sql()))  # 30 characters, unless it says so
    return exp.Cast(this=value, to=to)


def _tsql_cast(value: exp.Expr, word: str) -> exp.Expr:
    bare = value.unnest()
    if word == "BIT":
        new = _boolean(bare)
        if not isinstance(new, exp.Boolean):
            raise NotTranslatedError(say("a cast to {type}", type="bit"))
        return new
    return exp.cast(value, PRECISE.get(word) or TSQL_TYPES[word], dialect="postgres")


def _now(node: exp.Expr, dialect: str, _find: kinds.Finds) -> exp.Expr:
    if dialect == "sqlite" or isinstance(node, exp.UtcTimestamp):
        return _utc()
    return exp.CurrentTimestamp() if isinstance(node, exp.Systimestamp) else exp.Localtimestamp()


def _utc() -> exp.Expr:
    return exp.Anonymous(this="timezone", expressions=[exp.Literal.string("UTC"), exp.CurrentTimestamp()])


def _named(node: exp.Expr, dialect: str, _find: kinds.Finds) -> exp.Expr:
    name = str(node.this).upper()
    if name in UTC:
        return _utc()
    if name in LOCAL:
        return exp.Localtimestamp()
    if name in SAME.get(dialect, ()):
        return node
    raise NotTranslatedError(say("nothing equal is known for {words}", words=str(node.this)))


def _joined(node: exp.Expr, _dialect: str, _find: kinds.Finds) -> exp.Expr:
    """Texts in a row: PostgreSQL joins no numbers."""
    inner = node.this
    order = inner if isinstance(inner, exp.Order) else None
    value = order.this if order else inner
    if isinstance(value, exp.Distinct):
        value.set("expressions", [_texted(e) for e in value.expressions])
    elif isinstance(value, exp.Expr) and order:
        order.set("this", _texted(value))
    elif isinstance(value, exp.Expr):
        node.set("this", _texted(value))
    return node


def _texted(node: exp.Expr) -> exp.Expr:
    return exp.cast(node.copy(), "text", dialect="postgres")


RULES: Mapping[type[exp.Expr], Rule] = {
    exp.Anonymous: _named,
    exp.National: _plain,
    exp.Introducer: _introduced,
    exp.HexString: _bytes,
    exp.BitString: _bits,
    exp.Length: _length,
    exp.Substring: _part,
    exp.Avg: _averaged,
    exp.Div: _divided,
    exp.Cast: _cast,
    exp.Convert: _cast,
    exp.CurrentTimestamp: _now,
    exp.UtcTimestamp: _now,
    exp.Systimestamp: _now,
    exp.RegexpLike: _matched,
    exp.Like: _like,
    exp.Add: _added,
    exp.Sub: _added,
    exp.Literal: _literal,
    exp.GroupConcat: _joined,
    exp.In: _one_of,
    exp.EQ: _compared,
    exp.NEQ: _compared,
    exp.And: _both,
    exp.Or: _both,
    exp.Not: _condition,
    exp.If: _condition,
    exp.Where: _condition,
    exp.Having: _condition,
    exp.Join: _on,
}
