"""The source's SQL: locks, privileges, and one query for all that is not carried."""

from __future__ import annotations

from psycopg.sql import SQL, Composable

from pghaul.postgres.catalog_sql import NAMED
from pghaul.postgres.versions import Capabilities

LOCK = SQL("LOCK TABLE {} IN ACCESS SHARE MODE")

_WANTED = SQL(
    """
SELECT n.nspname::text, c.relname::text, c.relkind::text,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT'),
       {hides}
FROM {named} w
JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname
WHERE c.relkind IN ('r', 'p', 'f')
"""
)

# By Capabilities.row_security: may we read it, and would a policy hide rows from us?
WANTED: dict[bool, Composable] = {
    True: _WANTED.format(named=NAMED, hides=SQL("pg_catalog.row_security_active(c.oid)")),
    False: _WANTED.format(named=NAMED, hides=SQL("false")),
}

_CHOSEN = SQL(
    """
WITH chosen AS (
    SELECT c.oid, n.nspname::text || '.' || c.relname::text AS name, c.relkind, c.relacl
    FROM {named} w
    JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname
)
"""
).format(named=NAMED)

TRIGGERS = """
SELECT 'TRIGGER', c.name || '.' || t.tgname::text, 'triggers are not created on the target'
FROM chosen c JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid
WHERE NOT t.tgisinternal
"""
RULES = """
SELECT 'RULE', c.name || '.' || r.rulename::text, 'rules are not created on the target'
FROM chosen c JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid
WHERE r.rulename <> '_RETURN'
"""
VIEWS = """
SELECT DISTINCT CASE v.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END,
       n.nspname::text || '.' || v.relname::text, 'views over ' || c.name || ' are not created on the target'
FROM chosen c
JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid
                           AND d.classid = 'pg_catalog.pg_rewrite'::regclass
JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
JOIN pg_catalog.pg_namespace n ON n.oid = v.relnamespace
"""
COMMENTS = """
SELECT DISTINCT 'COMMENT', c.name, 'comments are not carried'
FROM chosen c
JOIN pg_catalog.pg_description d ON d.classoid = 'pg_catalog.pg_class'::regclass AND d.objoid = c.oid
"""
LABELS = """
SELECT DISTINCT 'SECURITY LABEL', c.name, 'security labels are not carried'
FROM chosen c
JOIN pg_catalog.pg_seclabel l ON l.classoid = 'pg_catalog.pg_class'::regclass AND l.objoid = c.oid
"""
PRIVILEGES = """
SELECT 'PRIVILEGE', c.name, 'the tables belong to the role that creates them, and grants are not carried'
FROM chosen c
WHERE c.relacl IS NOT NULL
   OR EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL)
"""
CLUSTERED = """
SELECT 'CLUSTER', c.name, 'the mark of CLUSTER is not carried'
FROM chosen c JOIN pg_catalog.pg_index i ON i.indrelid = c.oid
WHERE i.indisclustered
"""
INVALID_INDEXES = """
SELECT 'INDEX', c.name || '.' || x.relname::text, 'the index is not valid'
FROM chosen c
JOIN pg_catalog.pg_index i ON i.indrelid = c.oid
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
WHERE NOT i.indisvalid
"""
INCOMING = """
SELECT 'FK CONSTRAINT', n.nspname::text || '.' || o.relname::text || '.' || k.conname::text,
       'it points at ' || c.name || ' from a table that was not selected'
FROM chosen c
JOIN pg_catalog.pg_constraint k ON k.confrelid = c.oid AND k.contype = 'f'
JOIN pg_catalog.pg_class o ON o.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace
WHERE o.oid NOT IN (SELECT oid FROM chosen)
"""
OUTGOING = """
SELECT 'FK CONSTRAINT', c.name || '.' || k.conname::text,
       'it points at ' || n.nspname::text || '.' || o.relname::text || ', which was not selected'
FROM chosen c
JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'f'
JOIN pg_catalog.pg_class o ON o.oid = k.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace
WHERE o.oid NOT IN (SELECT oid FROM chosen)
"""
FOREIGN = """
SELECT 'FOREIGN TABLE', c.name, 'its rows live on another server'
FROM chosen c
WHERE c.relkind = 'f'
"""
SEQUENCES = """
SELECT 'SEQUENCE', n.nspname::text || '.' || s.relname::text,
       'its position may not be read: without SELECT on it the target''s begins anew'
FROM chosen c
JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid
                           AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
WHERE NOT pg_catalog.has_table_privilege(s.oid, 'SELECT')
"""
POLICIES = """
SELECT 'POLICY', c.name || '.' || p.polname::text, 'row security is not carried'
FROM chosen c JOIN pg_catalog.pg_policy p ON p.polrelid = c.oid
"""
STATISTICS = """
SELECT 'STATISTICS', n.nspname::text || '.' || s.stxname::text, 'statistics objects are not carried'
FROM chosen c
JOIN pg_catalog.pg_statistic_ext s ON s.stxrelid = c.oid
JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
"""
PUBLICATIONS = """
SELECT 'PUBLICATION', p.pubname::text || ' of ' || c.name, 'publications are not carried'
FROM chosen c
JOIN pg_catalog.pg_publication_rel r ON r.prrelid = c.oid
JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
"""
IDENTITIES = """
SELECT 'REPLICA IDENTITY', c.name, 'the replica identity is not carried'
FROM chosen c JOIN pg_catalog.pg_class r ON r.oid = c.oid
WHERE r.relreplident NOT IN ('d', 'n')
"""


def left_behind_sql(capable: Capabilities) -> Composable:
    """Rows of (kind, name, why)."""
    parts = [TRIGGERS, RULES, VIEWS, COMMENTS, LABELS, PRIVILEGES, CLUSTERED, INVALID_INDEXES]
    parts += [INCOMING, OUTGOING, FOREIGN, SEQUENCES]
    if capable.row_security:
        parts.append(POLICIES)
    if capable.extended_statistics:
        parts.append(STATISTICS)
    if capable.publications:
        parts.append(PUBLICATIONS)
    if capable.replica_identity:
        parts.append(IDENTITIES)
    return _CHOSEN + SQL(" UNION ALL ").join([SQL(p) for p in parts]) + SQL(" ORDER BY 1, 2")
