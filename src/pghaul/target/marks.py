"""What pg_dump writes together with an index, for indexes that the load itself has built: CLUSTER marks, the replica
identity, and statistics targets of an index's expressions. And the refreshing of materialized views.

All of it is compared by name and set where it differs, so that a resume may do it again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from psycopg import sql

from pghaul.model.errors import PghaulError, StoppedError, TransientError
from pghaul.model.table import Name
from pghaul.model.text import say
from pghaul.postgres.session import Session

INDEX_MARKS = """
SELECT n.nspname::text, t.relname::text, i.relname::text, x.indisclustered, {replica}
  FROM pg_catalog.pg_index AS x
  JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
  JOIN pg_catalog.pg_class AS t ON t.oid = x.indrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
 WHERE n.nspname::text IN (SELECT pg_catalog.unnest(%s::text[])) AND (x.indisclustered OR {replica})
"""
INDEX_STATISTICS = """
SELECT n.nspname::text, i.relname::text, a.attnum::int4, a.attstattarget::int4
  FROM pg_catalog.pg_attribute AS a
  JOIN pg_catalog.pg_class AS i ON i.oid = a.attrelid AND i.relkind IN ('i', 'I')
  JOIN pg_catalog.pg_index AS x ON x.indexrelid = i.oid
  JOIN pg_catalog.pg_class AS t ON t.oid = x.indrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = i.relnamespace
 WHERE n.nspname::text IN (SELECT pg_catalog.unnest(%s::text[])) AND a.attstattarget >= 0
"""
CLUSTER_ON = sql.SQL("ALTER TABLE {table} CLUSTER ON {index}")
REPLICA_IDENTITY = sql.SQL("ALTER TABLE ONLY {table} REPLICA IDENTITY USING INDEX {index}")
SET_STATISTICS = sql.SQL("ALTER INDEX {index} ALTER COLUMN {number} SET STATISTICS {target}")

# Depth below the tables: a view is refreshed after all that it reads.
MATERIALIZED = """
WITH RECURSIVE reads(view, relation) AS (
    SELECT DISTINCT r.ev_class, d.refobjid
      FROM pg_catalog.pg_rewrite AS r
      JOIN pg_catalog.pg_depend AS d ON d.classid = 2618 AND d.objid = r.oid AND d.refclassid = 1259
                                    AND d.refobjid <> r.ev_class
     WHERE r.rulename = '_RETURN' AND r.ev_class >= 16384
), deep(view, depth) AS (
    SELECT c.oid, 0 FROM pg_catalog.pg_class AS c WHERE c.relkind IN ('v', 'm') AND c.oid >= 16384
  UNION
    SELECT r.view, d.depth + 1 FROM deep AS d JOIN reads AS r ON r.relation = d.view
)
SELECT n.nspname::text, c.relname::text, c.relispopulated
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN deep AS d ON d.view = c.oid
 WHERE c.relkind = 'm'
 GROUP BY 1, 2, 3
 ORDER BY pg_catalog.max(d.depth), 1, 2
"""
REFRESH = sql.SQL("REFRESH MATERIALIZED VIEW {}")


def carry_index_marks(source: Session, target: Session, relations: Collection[Name]) -> list[str]:
    """Returns what was marked."""
    schemas = sorted({n.schema for n in relations})
    if not schemas:
        return []
    said, statements = [], []
    for what, statement in _index_marks(source, target, schemas, relations):
        said.append(what)
        statements.append(statement)
    if statements:
        with target.transaction():
            for statement in statements:
                target.execute(statement)
    return said


def _index_marks(
    source: Session, target: Session, schemas: Sequence[str], relations: Collection[Name]
) -> Iterator[tuple[str, sql.Composed]]:
    there = set(_marks(target, schemas))
    for mark in _marks(source, schemas):
        table, index, kind = mark
        if table in relations and mark not in there:
            statement = CLUSTER_ON if kind == "CLUSTER" else REPLICA_IDENTITY
            yield (
                say("{kind} of {table} by {index}", kind=kind, table=str(table), index=index),
                statement.format(table=sql.Identifier(table.schema, table.name), index=sql.Identifier(index)),
            )
    known = set(_statistics(target, schemas))
    for schema, index, number, goal in _statistics(source, schemas):
        if (schema, index, number, goal) not in known:
            yield (
                say("statistics of {name}", name=str(Name(schema, index))),
                SET_STATISTICS.format(
                    index=sql.Identifier(schema, index), number=sql.Literal(number), target=sql.Literal(goal)
                ),
            )


def _marks(session: Session, schemas: Sequence[str]) -> Iterator[tuple[Name, str, str]]:
    replica = "x.indisreplident" if session.server.capabilities.replica_identity else "false"
    for schema, table, index, clustered, identity in session.rows(
        INDEX_MARKS.format(replica=replica), (list(schemas),)
    ):
        if clustered:
            yield (Name(schema, table), index, "CLUSTER")
        if identity:
            yield (Name(schema, table), index, "REPLICA IDENTITY")


def _statistics(session: Session, schemas: Sequence[str]) -> list[tuple[str, str, int, int]]:
    if not session.server.capabilities.index_statistics:
        return []
    return [(s, i, n, g) for s, i, n, g in session.rows(INDEX_STATISTICS, (list(schemas),))]


def refresh(
    source: Session, target: Session, views: Collection[Name], *, again: bool
) -> tuple[list[str], list[tuple[Name, str]]]:
    """Fill these materialized views in the order of what they read, where the source's are filled.

    `again` refreshes filled ones too. Returns what was refreshed, and what could not be with the server's words.
    """
    filled = {Name(s, n) for s, n, populated in source.rows(MATERIALIZED) if populated}
    done: list[str] = []
    failed: list[tuple[Name, str]] = []
    for schema, view, populated in target.rows(MATERIALIZED):
        name = Name(schema, view)
        if name not in views or name not in filled or (populated and not again):
            continue
        try:
            target.execute(REFRESH.format(sql.Identifier(schema, view)))
            done.append(say("materialized view {name}", name=str(name)))
        except (StoppedError, TransientError):
            raise
        except PghaulError as exc:
            failed.append((name, exc.message))
    return done, failed
