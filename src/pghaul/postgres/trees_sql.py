"""The catalogue queries about partition trees: set-wise, without a look at any row."""

from __future__ import annotations

from psycopg.sql import SQL, Composable

from pghaul.postgres.catalog_sql import NOT_SYSTEM, RELATION_KINDS
from pghaul.postgres.versions import Capabilities

LINKS = SQL(
    """
SELECT i.inhrelid::int8, i.inhparent::int8
FROM pg_catalog.pg_inherits i
JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relkind IN {kinds}
ORDER BY i.inhrelid, i.inhseqno
"""
).format(kinds=RELATION_KINDS)

# pages and tuples as of the last VACUUM or ANALYZE: no file is opened and no lock taken.
_RELATIONS = SQL(
    """
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, {bound}, c.relpages, c.reltuples::float8, (
           SELECT x.relname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
           WHERE i.indrelid = c.oid AND i.indisclustered)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY (%s::oid[]) AND {not_system}
"""
)

# Per partitioned table: its key as text, and the key's columns in order with their types, '' for an expression.
KEYS = SQL(
    """
SELECT p.partrelid::int8, p.partstrat::text, pg_catalog.pg_get_partkeydef(p.partrelid),
       ARRAY(SELECT coalesce(a.attname::text, '')
             FROM pg_catalog.unnest(p.partattrs::int2[]) WITH ORDINALITY k (attnum, n)
             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = k.attnum AND k.attnum > 0
             ORDER BY k.n),
       ARRAY(SELECT coalesce(pg_catalog.format_type(a.atttypid, a.atttypmod), '')
             FROM pg_catalog.unnest(p.partattrs::int2[]) WITH ORDINALITY k (attnum, n)
             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = k.attnum AND k.attnum > 0
             ORDER BY k.n)
FROM pg_catalog.pg_partitioned_table p
WHERE p.partrelid = ANY (%s::oid[])
"""
)

# NO INHERIT says nothing against a relation's own rows, which is all that is asked here. The server locks each relation
# to learn its columns.
CHECKS = SQL(
    """
SELECT k.conrelid::int8, k.conname::text, pg_catalog.pg_get_expr(k.conbin, k.conrelid), k.convalidated
FROM pg_catalog.pg_constraint k
WHERE k.conrelid = ANY (%s::oid[]) AND k.contype = 'c'
ORDER BY k.conrelid, k.conname
"""
)
LOCKED = SQL(
    """
SELECT l.relation::int8 FROM pg_catalog.pg_locks l
WHERE l.relation = ANY (%s::oid[]) AND l.mode = 'AccessExclusiveLock' AND l.locktype = 'relation'
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
"""
)

COLUMNS = SQL(
    """
SELECT a.attrelid::int8, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = ANY (%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
"""
)
NOT_NULL = SQL(
    """
SELECT a.attrelid::int8, a.attname::text
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = ANY (%s::oid[]) AND a.attname = ANY (%s::name[]) AND a.attnotnull
"""
)

# What happens to a row that is inserted into a parent: triggers of INSERT (4), and rules.
ROUTES = SQL(
    """
SELECT t.tgrelid::int8,
       CASE WHEN (t.tgtype & 2) <> 0 THEN 'BEFORE' WHEN (t.tgtype & 64) <> 0 THEN 'INSTEAD OF' ELSE 'AFTER' END
           || ' INSERT trigger ' || t.tgname::text
           || CASE WHEN p.prosrc ~* '\\mEXECUTE\\M' THEN ' (dynamic EXECUTE)' ELSE '' END
           || CASE WHEN t.tgenabled = 'D' THEN ' (disabled)' ELSE '' END
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = ANY (%s::oid[]) AND NOT t.tgisinternal AND (t.tgtype & 4) <> 0
UNION ALL
SELECT r.ev_class::int8,
       pg_catalog.count(*)::text || CASE WHEN r.is_instead THEN ' INSTEAD' ELSE '' END
           || CASE WHEN pg_catalog.count(*) = 1 THEN ' rule' ELSE ' rules' END || ' ON INSERT'
FROM pg_catalog.pg_rewrite r
WHERE r.ev_class = ANY (%s::oid[]) AND r.ev_type = '3'
GROUP BY r.ev_class, r.is_instead
ORDER BY 1, 2
"""
)

HOLDS_ROWS = SQL("SELECT EXISTS (SELECT 1 FROM ONLY {})")
READABLE = SQL(
    """
SELECT c.oid::int8
FROM pg_catalog.pg_class c
WHERE c.oid = ANY (%s::oid[]) AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
  AND pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')
"""
)

# Tables that have all the columns of a registry of partitions.
REGISTRIES = SQL(
    """
SELECT n.nspname::text, c.relname::text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'v', 'm') AND {not_system} AND a.attname = ANY (%s::name[])
  AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
GROUP BY n.nspname, c.relname
HAVING pg_catalog.count(*) = pg_catalog.array_length(%s::text[], 1)
ORDER BY 1, 2
"""
).format(not_system=NOT_SYSTEM)
ENTRIES = SQL("SELECT table_name::text, table_data::text, from_date::text, to_date::text FROM {}")


def tree_relations_sql(capable: Capabilities) -> Composable:
    """One row per relation of the given oids."""
    # Bounds hold constants only; with the relation's oid, the server would lock it to learn its columns.
    bound = SQL("pg_catalog.pg_get_expr(c.relpartbound, 0)") if capable.declarative_partitions else SQL("NULL")
    return _RELATIONS.format(bound=bound, not_system=NOT_SYSTEM)
