"""A person's SQL as a source: one statement that only reads. The server decides; a look at the text is faster, and
tells more clearly what is in the way.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from psycopg.sql import SQL

from pghaul.model.errors import PghaulError, PlanError, RowError, TerminalError, UsageError
from pghaul.model.table import Name, RelationKind, Table
from pghaul.model.text import listed, say
from pghaul.postgres.catalog import describe_columns

if TYPE_CHECKING:
    from pghaul.postgres.session import Session

# What a semicolon may stand in without ending anything. Block comments nest: they are counted.
_PIECE = re.compile(
    r"""
    (?P<comment>--[^\n]*)
    | (?P<block>/\*)
    | (?P<text>[eE]'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
              | (?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
    | (?P<end>;)
    | (?P<word>\w[\w$]*)
    | (?P<space>\s+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK = re.compile(r"/\*|\*/")
HOMELESS = frozenset({"record", "record[]", "unknown", "void", "cstring"})  # a literal is of unknown type before 10
READS = ("select", "with", "values", "table")
ONE = say("write one SELECT, without anything behind it")


def check(sql: str) -> None:
    """PlanError for what is plainly not one statement that reads."""
    statements = _statements(sql)
    if not statements:
        raise PlanError(say("the query is empty"), advice=ONE, code=1170)
    if len(statements) > 1:
        raise PlanError(say("the query is {n} statements, not one", n=len(statements)), advice=ONE, code=1171)
    first = re.match(r"[\s(]*(\w*)", _plain(sql)[0])
    word = first[1].lower() if first else ""
    if word not in READS:
        raise PlanError(
            say("a query begins with SELECT, WITH, VALUES or TABLE, not with {word!r}", word=word.upper()),
            advice=ONE,
            code=1172,
        )
    _check_tree(statements[0])


def _check_tree(statement: str) -> None:
    """What sqlglot understands of it. What it does not, the server will tell."""
    import sqlglot  # noqa: PLC0415 -- a twentieth of a second, only for who brings a query
    from sqlglot import exp  # noqa: PLC0415
    from sqlglot.errors import SqlglotError  # noqa: PLC0415

    try:
        tree = sqlglot.parse_one(statement, read="postgres")
    except (SqlglotError, RecursionError):
        return
    writing = tree.find(exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into, exp.Lock)
    if writing is not None:
        raise PlanError(
            say(
                "the query does not only read: it has {word}",
                word="FOR UPDATE/SHARE" if isinstance(writing, exp.Lock) else writing.key.upper(),
            ),
            advice=ONE,
            code=1173,
        )


def bare(sql: str) -> str:
    """The one statement, without its semicolon: to stand in parentheses. A line comment at its end stays."""
    statements = _statements(sql)
    return statements[0] if len(statements) == 1 else sql


def _statements(sql: str) -> list[str]:
    """The parts between semicolons that say something."""
    found, start, says = [], 0, False
    for piece, begin, end in _pieces(sql):
        if piece == "end":
            if says:
                found.append(sql[start:begin])
            start, says = end, False
        elif piece not in {"comment", "space"}:
            says = True
    return [*found, sql[start:]] if says else found


def _plain(sql: str) -> list[str]:
    """The text without comments."""
    return ["".join(" " if piece == "comment" else sql[begin:end] for piece, begin, end in _pieces(sql))]


def _pieces(sql: str) -> list[tuple[str, int, int]]:
    found, at = [], 0
    while at < len(sql):
        piece = _PIECE.match(sql, at)
        if piece is None:  # cannot be: `other` takes anything
            break
        kind, end = str(piece.lastgroup), piece.end()
        if kind == "tag":
            kind = "text"
        if kind == "block":
            kind, end = "comment", _end_of_block(sql, at)
        found.append((kind, at, end))
        at = end
    return found


def _end_of_block(sql: str, at: int) -> int:
    depth = 0
    for mark in _BLOCK.finditer(sql, at):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(sql)


def describe(session: Session, sql: str, name: Name) -> Table:
    """The columns of a query's rows, as if it were a table of this name. The server has prepared it, and ran nothing.

    PlanError for what it refuses, and for columns without a name, with the same name, or of a type that no table has.
    """
    check(sql)
    wrapped = SQL("SELECT * FROM (\n{}\n) AS q LIMIT 0").format(SQL(bare(sql)))
    try:
        with session.transaction():
            session.execute("SET TRANSACTION READ ONLY")
            shape = session.shape(wrapped)
    except (UsageError, TerminalError, RowError) as exc:
        raise _refused(exc) from exc
    _check_names([column for column, _, _ in shape])
    columns = describe_columns(session, shape)
    if homeless := [c.name for c in columns if c.type in HOMELESS]:
        raise PlanError(
            say("columns of the query have no type that a table could have: {columns}", columns=listed(homeless)),
            advice=say("cast them: … ::text AS name"),
            code=1177,
        )
    return Table(name=name, oid=0, kind=RelationKind.TABLE, columns=columns)


def _refused(exc: PghaulError) -> PlanError:
    return PlanError(
        say("the source does not take the query: {why}", why=exc.message),
        where=exc.where,
        advice=say("try it with psql, after SET search_path TO '': names need their schema"),
        sqlstate=exc.sqlstate,
        code=1174,
    )


def _check_names(names: list[str]) -> None:
    if "?column?" in names:
        raise PlanError(
            say("column {n} of the query has no name", n=names.index("?column?") + 1),
            advice=say("give it one: … AS name"),
            code=1175,
        )
    if twice := [n for n, count in Counter(names).items() if count > 1]:
        raise PlanError(
            say("columns of the query have the same name: {columns}", columns=listed(twice)),
            advice=say("give them names of their own: … AS name"),
            code=1176,
        )
