"""A target table that is not there: made from the source's columns and the key, in the transaction that merges.

So a first run that fails leaves no empty table behind. What a table has beside columns, NOT NULL and the key (other
indexes, defaults, checks, foreign keys) comes with the recipe copy, and can be carried by it before the first merge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence

from psycopg import sql

from pghaul.engine import statements
from pghaul.engine.merge.choice import Asked
from pghaul.model.errors import PghaulError, TransientError
from pghaul.model.finding import Finding, Kind
from pghaul.model.plan import MergeMode
from pghaul.model.table import Column, Name
from pghaul.model.text import say
from pghaul.postgres.session import Session

OTHER_RELATION = """
SELECT n.nspname::text, c.relname::text, c.relkind::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN (SELECT pg_catalog.unnest(%s::text[]) AS s, pg_catalog.unnest(%s::text[]) AS t) AS w
  ON w.s = n.nspname AND w.t = c.relname
WHERE c.relkind NOT IN ('r', 'p')
"""
KINDS = {"v": say("a view"), "m": say("a materialized view"), "f": say("a foreign table")}
TRY_TYPE = sql.SQL("SELECT NULL::{}")
SCHEMA = sql.SQL("CREATE SCHEMA IF NOT EXISTS {}")
TABLE = sql.SQL("CREATE TABLE {} (\n  {}\n)")
CURRENT = sql.SQL("CREATE UNIQUE INDEX {} ON {} ({}) WHERE {} IS NULL")
LONGEST = 63  # bytes of a name


def create(asked: Asked, columns: Sequence[Column], key: Sequence[str]) -> list[str]:
    """The statements that make the table, and the schema where it is missing."""
    merge, table = asked.merge, statements.identifier(asked.target)
    scd2 = merge.mode is MergeMode.SCD2
    lines = [_column(c, not_null=c.not_null or (c.name in key and not asked_for_nulls(asked))) for c in columns]
    names = {c.name for c in columns}
    if scd2:
        lines.append(sql.SQL("{} timestamp with time zone NOT NULL").format(sql.Identifier(merge.valid_from)))
        lines.append(sql.SQL("{} timestamp with time zone").format(sql.Identifier(merge.valid_to)))
    elif merge.deleted and merge.deleted not in names:
        lines.append(sql.SQL("{} timestamp with time zone").format(sql.Identifier(merge.deleted)))
    keyed = sql.SQL(", ").join(sql.Identifier(c) for c in key)
    if not scd2 and not asked_for_nulls(asked):
        lines.append(sql.SQL("PRIMARY KEY ({})").format(keyed))
    made = [
        SCHEMA.format(sql.Identifier(asked.target.schema)),
        TABLE.format(table, sql.SQL(",\n  ").join(lines)),
    ]
    if scd2:
        index = sql.Identifier(_short(f"{asked.target.name}_current"))
        made.append(CURRENT.format(index, table, keyed, sql.Identifier(merge.valid_to)))
    return [s.as_string(None) for s in made]


def asked_for_nulls(asked: Asked) -> bool:
    """A primary key takes no NULL."""
    return asked.merge.null_keys.value == "match"


def _column(column: Column, *, not_null: bool) -> sql.Composable:
    ending = " NOT NULL" if not_null else ""
    return sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(f"{column.type}{ending}"))


def _short(name: str) -> str:
    """Cut to what fits, and still its own."""
    encoded = name.encode()
    if len(encoded) <= LONGEST:
        return name
    digest = hashlib.blake2b(encoded, digest_size=4).hexdigest()
    return f"{encoded[: LONGEST - 9].decode(errors='ignore')}_{digest}"


def occupied(session: Session, names: Collection[Name]) -> Iterator[Finding]:
    """Names that something else has: a view takes no merge."""
    wanted = [n.schema for n in names], [n.name for n in names]
    for schema, name, kind in session.rows(OTHER_RELATION, wanted):
        yield Finding(
            kind=Kind.MERGE,
            object=str(Name(schema, name)),
            what=say(
                "{table} on the target is {what}: rows are merged into tables only",
                table=str(Name(schema, name)),
                what=KINDS.get(kind, say("no table")),
            ),
            where=say("target"),
            advice=say("name the table behind it, or another one, with `into`"),
            code=6638,
        )


def unknown_types(session: Session, asked: Asked, columns: Sequence[Column]) -> Iterator[Finding]:
    """Types of the source that the target does not have."""
    for column in columns:
        if "." not in column.type:  # built in: both have it, or the version says so when it is made
            continue
        if _is_there(session, column.type):
            continue
        yield Finding(
            kind=Kind.MERGE,
            object=f"{asked.target}.{column.name}",
            what=say(
                "the target does not have the type {type} of {table}.{column}",
                type=column.type,
                table=str(asked.target),
                column=column.name,
            ),
            where=say("target"),
            advice=say("create the type there, or copy the table once with --recipe copy, which brings its types"),
            code=6639,
        )


def _is_there(session: Session, name: str) -> bool:
    try:
        with session.transaction():
            session.value(TRY_TYPE.format(sql.SQL(name)))
    except TransientError:
        raise
    except PghaulError:
        return False
    return True
