"""What hangs on the tables of a database, asked of the catalogues without any of the product's code."""

from __future__ import annotations

from collections import Counter

import psycopg

COLUMNS = """
SELECT 'column', c.oid::regclass::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
       pg_get_expr(d.adbin, d.adrelid), a.attidentity::text, a.attstorage::text, nullif(a.attstattarget, -1)::text
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d
     ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relnamespace IN ('m'::regnamespace, 'public'::regnamespace) AND c.relkind IN ('r', 'p')
  AND a.attnum > 0 AND NOT a.attisdropped
"""
INDEXES = """
SELECT 'index', i.indrelid::regclass::text, pg_get_indexdef(i.indexrelid), i.indisvalid::text, i.indisprimary::text
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
WHERE c.relnamespace IN ('m'::regnamespace, 'public'::regnamespace) AND c.relkind IN ('r', 'p')
"""
# NOT NULL constraints are in the catalogue since 18; before, the column says it. A partition's share of a foreign key
# gets its name from the server, and that from another rule in each version.
CONSTRAINTS = """
SELECT 'constraint', coalesce(c.oid::regclass::text, t.typname), k.conname, pg_get_constraintdef(k.oid),
       k.convalidated::text
FROM pg_constraint k LEFT JOIN pg_class c ON c.oid = k.conrelid LEFT JOIN pg_type t ON t.oid = k.contypid
WHERE k.connamespace IN ('m'::regnamespace, 'public'::regnamespace) AND k.contype <> 'n'
  AND (k.contype <> 'f' OR k.coninhcount = 0)
"""
PARTITIONS = """
SELECT 'relation', c.oid::regclass::text, c.relpersistence::text, c.relkind::text,
       pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid)
FROM pg_class c
WHERE c.relnamespace IN ('m'::regnamespace, 'public'::regnamespace) AND c.relkind IN ('r', 'p')
"""
PARENTS = """
SELECT 'parent', inhrelid::regclass::text, inhparent::regclass::text, inhseqno::text FROM pg_inherits
"""
SEQUENCES = """
SELECT 'sequence', s.seqrelid::regclass::text, s.seqstart::text, s.seqincrement::text, s.seqcache::text,
       pg_sequence_last_value(s.seqrelid)::text
FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid WHERE c.relnamespace = 'm'::regnamespace
"""
# By name: each version writes their definitions in its own words.
NAMED = """
SELECT 'trigger', t.tgrelid::regclass::text, t.tgname, t.tgenabled::text FROM pg_trigger t WHERE NOT t.tgisinternal
UNION ALL SELECT 'rule', r.ev_class::regclass::text, r.rulename, r.is_instead::text FROM pg_rewrite r
          JOIN pg_class c ON c.oid = r.ev_class WHERE c.relnamespace = 'm'::regnamespace
UNION ALL SELECT 'policy', p.polrelid::regclass::text, p.polname, p.polcmd::text FROM pg_policy p
UNION ALL SELECT 'statistics', s.stxrelid::regclass::text, s.stxname, s.stxkeys::text FROM pg_statistic_ext s
UNION ALL SELECT 'view', c.oid::regclass::text, c.relkind::text, c.relispopulated::text FROM pg_class c
          WHERE c.relkind IN ('v', 'm') AND c.relnamespace = 'm'::regnamespace
"""
QUERIES = (COLUMNS, INDEXES, CONSTRAINTS, PARTITIONS, PARENTS, SEQUENCES, NAMED)


def structure(url: str) -> Counter[tuple[str | None, ...]]:
    """Everything that should be the same on both sides, however they differ in version."""
    with psycopg.connect(url) as session:
        session.execute("SET search_path = ''")
        found = (row for query in QUERIES for row in session.execute(query.encode()).fetchall())
        return Counter(tuple(row) for row in found)


def differing(here: Counter[tuple[str | None, ...]], there: Counter[tuple[str | None, ...]]) -> str:
    """What only one of them has, a line each; empty when they are the same."""
    lines = [f"- {row}" for row in here - there] + [f"+ {row}" for row in there - here]
    return "\n".join(sorted(lines, key=lambda line: line[2:]))
