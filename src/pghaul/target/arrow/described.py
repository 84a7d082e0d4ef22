"""The target's columns as the writer takes them, asked of its catalogue: by a worker, in the chunk's transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import asyncpg

from pghaul.model.errors import MappingError
from pghaul.model.table import Name
from pghaul.model.text import listed, say
from pghaul.target.arrow.column import TargetColumn

Ask: TypeAlias = Callable[[str, tuple[str, str]], Iterable[Sequence[Any]]]  # rows of a leader's session

# Domains are what they are made of; their modifiers are those of the innermost that has any.
_COLUMNS = """
WITH RECURSIVE base AS (
    SELECT a.attname, a.atttypid AS type, a.atttypmod AS modifier
      FROM pg_catalog.pg_attribute AS a
      JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
      JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
     WHERE n.nspname OPERATOR(pg_catalog.=) {schema}::pg_catalog.text
       AND c.relname OPERATOR(pg_catalog.=) {table}::pg_catalog.text
       AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
    UNION ALL
    SELECT b.attname, t.typbasetype, t.typtypmod
      FROM base AS b JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) b.type
     WHERE t.typtype OPERATOR(pg_catalog.=) 'd'
)
SELECT b.attname::pg_catalog.text, pg_catalog.format_type(b.type, b.modifier), b.type::pg_catalog.int8,
       t.typtype OPERATOR(pg_catalog.=) 'e'
  FROM base AS b JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) b.type
 WHERE t.typtype OPERATOR(pg_catalog.<>) 'd'
"""


COLUMNS_SQL = _COLUMNS.format(schema="$1", table="$2")
COLUMNS_OF_SESSION = _COLUMNS.format(schema="%s", table="%s")


async def columns_of(connection: asyncpg.Connection, table: Name, names: Sequence[str]) -> list[TargetColumn]:
    """In the order of `names`. Raises MappingError for those that the table lacks."""
    return _ordered(await connection.fetch(COLUMNS_SQL, table.schema, table.name), table, names)


def columns_by(ask: Ask, table: Name, names: Sequence[str]) -> list[TargetColumn]:
    """The same, of a leader's session."""
    return _ordered(ask(COLUMNS_OF_SESSION, (table.schema, table.name)), table, names)


def _ordered(rows: Iterable[Sequence[Any]], table: Name, names: Sequence[str]) -> list[TargetColumn]:
    found = {name: TargetColumn(name=name, type=type_, oid=oid, enum=enum) for name, type_, oid, enum in rows}
    missing = [n for n in names if n not in found]
    if missing:
        raise MappingError(
            say("{table} of the target lacks the columns {columns}", table=str(table), columns=listed(missing)),
            advice=say("`pghaul plan` shows what the table has become"),
            code=7015,
        )
    return [found[n] for n in names]
