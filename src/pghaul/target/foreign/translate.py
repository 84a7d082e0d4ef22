"""Expressions of another dialect as PostgreSQL's: what is not known to mean the same is refused, with the reason.

What comes out has been parsed once more as PostgreSQL's, and is tried by the server where there is one (trial.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import sqlglot
from sqlglot import ErrorLevel, exp
from sqlglot.errors import SqlglotError

from pghaul.model.mapped import MappedColumn
from pghaul.model.text import say
from pghaul.target.foreign import kinds, rewriting
from pghaul.target.foreign.grammar import NotTranslatedError, Purpose, unknown

DIALECTS = frozenset({"mysql", "sqlite", "tsql", "oracle"})


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """Whose words they are, and what a name in them means."""

    name: str
    columns: dict[str, MappedColumn] = field(default_factory=dict)  # of one table, by the source's names

    def find(self, node: exp.Column) -> MappedColumn | None:
        """The column that is meant: names of columns have no case in any of these dialects."""
        name = node.name
        if name in self.columns:
            return self.columns[name]
        return next((c for n, c in self.columns.items() if n.lower() == name.lower()), None)


def parse(text: str, dialect: str) -> exp.Expr:
    """One expression or query; NotTranslatedError for anything else."""
    if dialect not in DIALECTS:
        raise NotTranslatedError(say("nothing is known of this dialect of SQL"))
    try:
        with _quiet():
            found = [t for t in sqlglot.parse(text, read=dialect, error_level=ErrorLevel.RAISE) if t is not None]
    except (SqlglotError, RecursionError, ValueError) as exc:
        raise NotTranslatedError(say("it cannot be read")) from exc
    if len(found) != 1 or isinstance(found[0], exp.Command):
        raise NotTranslatedError(say("it is not one expression"))
    return found[0]


class _quiet:  # noqa: N801 -- reads as what it does
    """sqlglot warns through logging of what we refuse anyway."""

    def __enter__(self) -> None:
        self._log = logging.getLogger("sqlglot")
        self._was = self._log.disabled
        self._log.disabled = True

    def __exit__(self, *_: object) -> None:
        self._log.disabled = self._was


def expression(text: str, dialect: Dialect, purpose: Purpose) -> str:
    """PostgreSQL's SQL for a check, a generated column, an index. NotTranslatedError says why there is none."""
    tree = parse(text, dialect.name)
    return finished(tree, dialect.name, purpose, dialect.find)


def expressions(text: str, dialect: Dialect, purpose: Purpose) -> list[tuple[str, bool]]:
    """Several of them, as an index lists them ("lower(a), b DESC"), and whether they descend."""
    order = parse(f"SELECT 1 ORDER BY {text}", dialect.name).args.get("order")
    if not isinstance(order, exp.Order):
        raise NotTranslatedError(say("it cannot be read"))
    return [
        (finished(p.this, dialect.name, purpose, dialect.find), bool(p.args.get("desc"))) for p in order.expressions
    ]


def finished(
    tree: exp.Expr,
    dialect: str,
    purpose: Purpose,
    find: kinds.Finds,
    rename: Callable[[exp.Expr], exp.Expr] | None = None,
) -> str:
    """Check, rewrite, rename, write, and read once more what has been written."""
    strange = unknown(tree, purpose)
    if strange:
        raise NotTranslatedError(say("nothing equal is known for {words}", words=strange))
    tree = rewriting.rewrite(tree, dialect, find, condition=purpose is Purpose.CHECK)
    if purpose is Purpose.GENERATED:
        _refuse_other_values(tree, dialect, find)
    renamed = tree.transform(rename or _single(dialect, find))
    try:
        with _quiet():
            words = renamed.sql(dialect="postgres", unsupported_level=ErrorLevel.RAISE, identify=True, comments=False)
            sqlglot.parse_one(words, read="postgres", error_level=ErrorLevel.RAISE)
    except (SqlglotError, RecursionError, ValueError) as exc:
        raise NotTranslatedError(say("PostgreSQL has no words for it")) from exc
    return words


COMPARISONS = (
    exp.EQ,
    exp.NEQ,
    exp.GT,
    exp.GTE,
    exp.LT,
    exp.LTE,
    exp.In,
    exp.Between,
    exp.ILike,
    exp.RegexpILike,
    exp.Nullif,
)


def _refuse_other_values(tree: exp.Expr, dialect: str, find: kinds.Finds) -> None:
    """A generated column is not carried: PostgreSQL has to compute the very same value of it."""
    for node in tree.walk():
        if isinstance(node, COMPARISONS) and dialect in {"mysql", "tsql"} and kinds.of(node.this, find) != "number":
            raise NotTranslatedError(say("texts are compared there by a collation of their own"))
        if isinstance(node, (exp.Concat, exp.DPipe)):
            parts = node.expressions or [node.this, node.expression]
            if dialect == "oracle" or {kinds.of(p, find) for p in parts} != {"text"}:
                raise NotTranslatedError(say("what is no text is written in another way there"))


def _single(dialect: str, find: kinds.Finds) -> Callable[[exp.Expr], exp.Expr]:
    """Of an expression about one table: a column is named alone."""

    def rename(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Column):
            return node
        column = find(node)
        if column is not None:
            return exp.column(exp.to_identifier(column.name, quoted=True))
        if dialect == "sqlite" and node.this.quoted and not node.table:  # SQLite's kindness: "x" that is no column
            return exp.Literal.string(node.name)
        raise NotTranslatedError(say("there is no column {name}", name=node.name))

    return rename
