"""Which rows differ, asked of the target: the source's rows are put into a temporary table beside its own.

So both are what this server makes of them, jsonb and intervals too, whatever the key is and whether there is one. It
is done only where the hashes of a table, or of a range of its key, differ, in a transaction that is rolled back.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql
from psycopg.sql import SQL, Composable, Identifier

from pghaul.engine.job import Field, Narrowing, ReadBack
from pghaul.model.table import Name, Table

TABLE = "pghaul_compared"
CREATE = SQL("CREATE TEMPORARY TABLE {mine} ON COMMIT DROP AS SELECT {columns} FROM ONLY {theirs} WITH NO DATA")
# One row for each that is not the same: how often it is on either side, and all its values as text.
KEYED = SQL(
    """
SELECT s.here IS NOT NULL, t.here IS NOT NULL, {mine}, {theirs}
FROM (SELECT {columns}, true AS here FROM pg_temp.{table}) AS s
FULL JOIN (SELECT {columns}, true AS here FROM {target}{where}) AS t ON ({joined})
WHERE {mine} IS DISTINCT FROM {theirs} OR s.here IS NULL OR t.here IS NULL
"""
)
COUNT_KEYED = SQL(
    """
SELECT coalesce(sum(CASE WHEN NOT q.there THEN 1 END), 0)::int8,
       coalesce(sum(CASE WHEN NOT q.mine THEN 1 END), 0)::int8,
       coalesce(sum(CASE WHEN q.mine AND q.there THEN 1 END), 0)::int8
FROM ({rows}) AS q (mine, there, ours, theirs)
"""
)
PLAIN = SQL(
    """
SELECT v, sum(mine)::int8 AS mine, sum(there)::int8 AS there
FROM (SELECT {values} AS v, 1 AS mine, 0 AS there FROM pg_temp.{table}
      UNION ALL SELECT {values}, 0, 1 FROM {target}{where}) AS a
GROUP BY v HAVING sum(mine) <> sum(there)
"""
)
COUNT_PLAIN = SQL(
    """
SELECT coalesce(sum(greatest(q.mine - q.there, 0)), 0)::int8,
       coalesce(sum(greatest(q.there - q.mine, 0)), 0)::int8, 0::int8
FROM ({rows}) AS q
"""
)


def narrowing(target: Table, fields: Sequence[Field], back: ReadBack, limit: int) -> Narrowing:
    """The statements; `back` says which rows of the target are meant."""
    names = [f.name for f in fields]
    key = primary_key(target, names)
    mine, theirs = (_values(names, side) for side in ("s", "t"))
    words = {
        "table": Identifier(TABLE),
        "target": SQL("{}{}").format(SQL("ONLY " if back.own else ""), _ident(target.name)),
        "columns": SQL(", ").join(map(Identifier, names)),
        "where": SQL(" WHERE {}").format(_trusted(back.where)) if back.where else SQL(""),
    }
    if key:
        pairs = [SQL("s.{0} = t.{0}").format(Identifier(k)) for k in key]
        rows = KEYED.format(mine=mine, theirs=theirs, joined=SQL(" AND ").join(pairs), **words)
        counts = COUNT_KEYED.format(rows=rows)
    else:
        rows = PLAIN.format(values=_values(names, None), **words)
        counts = COUNT_PLAIN.format(rows=rows)
    create = CREATE.format(mine=Identifier(TABLE), columns=words["columns"], theirs=_ident(target.name))
    shown = SQL("{} LIMIT {}").format(rows, sql.Literal(limit))
    return Narrowing(
        table=TABLE,
        create=create.as_string(None),
        counts=counts.as_string(None),
        rows=shown.as_string(None),
        key=key,
        limit=limit,
    )


def primary_key(table: Table, among: Sequence[str]) -> tuple[str, ...]:
    """The target's, where all of it is carried."""
    key = next((i.columns for i in table.indexes if i.constraint_kind == "p"), ())
    return key if set(key) <= set(among) else ()


def _values(names: Sequence[str], side: str | None) -> Composable:
    """All values of a row, as text."""
    prefix = SQL(f"{side}.") if side else SQL("")
    texts = [SQL("{}{}::text").format(prefix, Identifier(n)) for n in names]
    return SQL("ARRAY[{}]::text[]").format(SQL(", ").join(texts))


def _ident(name: Name) -> Composable:
    return Identifier(name.schema, name.name)


def _trusted(text: str) -> Composable:
    """SQL of ours."""
    return SQL(text.replace("{", "{{").replace("}", "}}")).format()
