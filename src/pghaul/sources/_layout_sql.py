"""What hangs on tables that are made anew on the target: written for one name and one shape, so it stays behind."""

from __future__ import annotations

from psycopg.sql import SQL, Composable

from pghaul.postgres.catalog_sql import NAMED
from pghaul.postgres.versions import Capabilities

_CHOSEN = SQL(
    """
WITH chosen AS (
    SELECT c.oid, n.nspname::text || '.' || c.relname::text AS name, c.relacl
    FROM {named} w
    JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname
)
"""
).format(named=NAMED)

TRIGGERS = """
SELECT 'TRIGGER', c.name || '.' || t.tgname::text
FROM chosen c JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid
WHERE NOT t.tgisinternal
"""
RULES = """
SELECT 'RULE', c.name || '.' || r.rulename::text
FROM chosen c JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid
WHERE r.rulename <> '_RETURN'
"""
PRIVILEGES = """
SELECT 'PRIVILEGE', c.name
FROM chosen c
WHERE c.relacl IS NOT NULL
   OR EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL)
"""
POLICIES = """
SELECT 'POLICY', c.name || '.' || p.polname::text
FROM chosen c JOIN pg_catalog.pg_policy p ON p.polrelid = c.oid
"""
STATISTICS = """
SELECT 'STATISTICS', n.nspname::text || '.' || s.stxname::text
FROM chosen c
JOIN pg_catalog.pg_statistic_ext s ON s.stxrelid = c.oid
JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
"""


def left_by_layout_sql(capable: Capabilities) -> Composable:
    """Rows of (kind, name)."""
    parts = [TRIGGERS, RULES, PRIVILEGES]
    if capable.row_security:
        parts.append(POLICIES)
    if capable.extended_statistics:
        parts.append(STATISTICS)
    return _CHOSEN + SQL(" UNION ").join([SQL(p) for p in parts]) + SQL(" ORDER BY 1, 2")
