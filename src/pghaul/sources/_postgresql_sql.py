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

LABELS = """
SELECT DISTINCT 'SECURITY LABEL', c.name, 'labels', ''
FROM chosen c
JOIN pg_catalog.pg_seclabel l ON l.classoid = 'pg_catalog.pg_class'::regclass AND l.objoid = c.oid
"""
INVALID_INDEXES = """
SELECT 'INDEX', c.name || '.' || x.relname::text, 'invalid', ''
FROM chosen c
JOIN pg_catalog.pg_index i ON i.indrelid = c.oid
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
WHERE NOT i.indisvalid
"""
INCOMING = """
SELECT 'FK CONSTRAINT', n.nspname::text || '.' || o.relname::text || '.' || k.conname::text,
       'incoming', c.name
FROM chosen c
JOIN pg_catalog.pg_constraint k ON k.confrelid = c.oid AND k.contype = 'f'
JOIN pg_catalog.pg_class o ON o.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace
WHERE o.oid NOT IN (SELECT oid FROM chosen)
"""
OUTGOING = """
SELECT 'FK CONSTRAINT', c.name || '.' || k.conname::text,
       'outgoing', n.nspname::text || '.' || o.relname::text
FROM chosen c
JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'f'
JOIN pg_catalog.pg_class o ON o.oid = k.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace
WHERE o.oid NOT IN (SELECT oid FROM chosen)
"""
FOREIGN = """
SELECT 'FOREIGN TABLE', c.name, 'elsewhere', ''
FROM chosen c
WHERE c.relkind = 'f'
"""
SEQUENCES = """
SELECT 'SEQUENCE', n.nspname::text || '.' || s.relname::text, 'unread', ''
FROM chosen c
JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid
                           AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
WHERE NOT pg_catalog.has_table_privilege(s.oid, 'SELECT')
"""
PUBLICATIONS = """
SELECT 'PUBLICATION', p.pubname::text || ' of ' || c.name, 'published', ''
FROM chosen c
JOIN pg_catalog.pg_publication_rel r ON r.prrelid = c.oid
JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
"""


def left_behind_sql(capable: Capabilities, *, whole: bool) -> Composable:
    """Rows of (kind, name, why, table): what stays whatever the target is. Of a whole database fewer things do."""
    parts = [LABELS, INVALID_INDEXES, INCOMING, OUTGOING, SEQUENCES]
    parts += [] if whole else [FOREIGN]
    if capable.publications and not whole:
        parts.append(PUBLICATIONS)
    return _CHOSEN + SQL(" UNION ALL ").join([SQL(p) for p in parts]) + SQL(" ORDER BY 1, 2")
