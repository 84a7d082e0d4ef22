"""The catalogue queries, apart from the code that runs them.

All of them are set-wise: names and oids go in as arrays, so that ten thousand leaves cost the same few
queries as one. Columns that old servers lack are written by the caller's capabilities (see
`pghaul.postgres.catalog`); everything else runs on 9.3 and later. Sessions have an empty search_path:
pg_catalog is found first, and regclass texts are qualified.
"""

from __future__ import annotations

from psycopg.sql import SQL, Composable

from pghaul.postgres.versions import Capabilities

RELATION_KINDS = SQL("('r', 'p', 'f')")
NOT_SYSTEM = SQL(
    "n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pghaul') AND c.relpersistence <> 't'"
)

# Every relation a person could select; `member` = made by an extension, so only meant when named outright.
CANDIDATES = SQL(
    """
SELECT c.oid::int8, n.nspname::text, c.relname::text,
       EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
               WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
                 AND d.deptype = 'e') AS member
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN {kinds} AND {not_system}
"""
).format(kinds=RELATION_KINDS, not_system=NOT_SYSTEM)

INHERITANCE = SQL("SELECT inhparent::int8, inhrelid::int8 FROM pg_catalog.pg_inherits ORDER BY inhrelid, inhseqno")

# 9.3 has no unnest() of several arrays in FROM; in the select list arrays of equal length go side by side.
NAMED = SQL("(SELECT pg_catalog.unnest(%s::text[]) AS nspname, pg_catalog.unnest(%s::text[]) AS relname)")

# relfilenode as the row says it, which is the snapshot's own: pg_relation_filenode() would already tell of a TRUNCATE
# that came after the snapshot, and hide it from the comparison that locks = chunk makes.
# Triggers of INSERT (4) and TRUNCATE (32) that an ordinary session fires; ENABLE REPLICA ones wait for a replica.
_RELATIONS = SQL(
    """
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence = 'u',
       pn.nspname::text, pc.relname::text, {partition}, c.relhassubclass,
       coalesce(pg_catalog.pg_relation_size(c.oid), 0)::int8, pg_catalog.current_setting('block_size')::int,
       c.reltuples::float8, c.relpages,
       c.relfilenode::int8, {row_security},
       EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t
               WHERE c.relhastriggers AND t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
                 AND (t.tgtype & 36) <> 0)
FROM {named} w
JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname
LEFT JOIN pg_catalog.pg_inherits i
  ON i.inhrelid = c.oid AND i.inhseqno = (SELECT pg_catalog.min(s.inhseqno) FROM pg_catalog.pg_inherits s
                                          WHERE s.inhrelid = c.oid)
LEFT JOIN pg_catalog.pg_class pc ON pc.oid = i.inhparent
LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace
WHERE c.relkind IN {kinds}
"""
)

_COLUMNS = SQL(
    """
SELECT a.attrelid::int8, a.attname::text, a.atttypid::int8, pg_catalog.format_type(a.atttypid, a.atttypmod),
       a.attnotnull, {generated}, {identity}
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = ANY (%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""
)

# In the select list both arrays go side by side, and in order.
FORMAT_TYPES = SQL(
    "SELECT pg_catalog.format_type(w.oid, w.modifier) FROM "
    "(SELECT pg_catalog.unnest(%s::oid[]) AS oid, pg_catalog.unnest(%s::int4[]) AS modifier) AS w"
)

# The types of the columns and all they are made of. UNION (not ALL) ends at types that hold themselves.
TYPES = SQL(
    """
WITH RECURSIVE reached (oid, whole) AS (
    SELECT pg_catalog.unnest(%s::oid[]), 0::oid
    UNION
    SELECT part.oid, r.oid FROM reached r, LATERAL (
        SELECT t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = r.oid AND t.typtype = 'd'
        UNION ALL
        SELECT t.typelem FROM pg_catalog.pg_type t
        WHERE t.oid = r.oid AND t.typsend = 'pg_catalog.array_send(anyarray)'::regprocedure
        UNION ALL
        SELECT g.rngsubtype FROM pg_catalog.pg_range g WHERE g.rngtypid = r.oid
        UNION ALL
        SELECT a.atttypid FROM pg_catalog.pg_type t
        JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE t.oid = r.oid AND t.typtype = 'c'
    ) AS part (oid)
)
SELECT t.oid::int8, n.nspname::text, t.typname::text, t.typtype::text,
       t.typsend = 'pg_catalog.array_send(anyarray)'::regprocedure,
       ARRAY(SELECT m.oid::int8 FROM reached m WHERE m.whole = t.oid),
       coalesce(pn.nspname::text || '.' || p.proname::text, ''),
       CASE WHEN p_out.proargtypes[0] = t.oid OR a_out.typtype = 'p'
            THEN n_out.nspname::text || '.' || p_out.proname::text
            ELSE '' END, pg_catalog.format_type(t.oid, -1),
       t.typarray <> 0 AND t.typdelim = ','
FROM (SELECT DISTINCT oid FROM reached) r
JOIN pg_catalog.pg_type t ON t.oid = r.oid
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_proc p ON p.oid = t.typsend
LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = p.pronamespace
JOIN pg_catalog.pg_proc p_out ON p_out.oid = t.typoutput
JOIN pg_catalog.pg_namespace n_out ON n_out.oid = p_out.pronamespace
LEFT JOIN pg_catalog.pg_type a_out ON a_out.oid = p_out.proargtypes[0]
"""
)

# `columns`: of expressions, parts of a table and foreign operator classes, none. The keys of a unique index, each with
# its collation where that is not the column's own (a column's definition does not tell it).
_INDEXES = SQL(
    """
SELECT i.indrelid::int8, c.relname::text, pg_catalog.pg_get_indexdef(i.indexrelid), i.indisunique,
       k.conname::text, pg_catalog.pg_get_constraintdef(k.oid), k.contype::text,
       CASE WHEN i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT EXISTS (
           SELECT 1 FROM pg_catalog.generate_series(0, {keys} - 1) AS n
           JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[n] WHERE NOT o.opcdefault
       ) THEN ARRAY(SELECT a.attname::text FROM pg_catalog.generate_series(0, {keys} - 1) AS n
                    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n] ORDER BY n)
       ELSE '{{}}'::text[] END,
       i.indimmediate,
       CASE WHEN i.indisunique THEN ARRAY(
           SELECT '(' || pg_catalog.pg_get_indexdef(i.indexrelid, n + 1, false) || ')' || coalesce(
               ' COLLATE ' || pg_catalog.quote_ident(cn.nspname) || '.' || pg_catalog.quote_ident(co.collname), '')
           FROM pg_catalog.generate_series(0, {keys} - 1) AS n
           LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n]
           LEFT JOIN pg_catalog.pg_collation co
             ON co.oid = i.indcollation[n] AND co.oid <> coalesce(nullif(a.attcollation, 0), 100)
           LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
           ORDER BY n) ELSE '{{}}'::text[] END,
       CASE WHEN i.indisunique THEN pg_catalog.pg_get_expr(i.indpred, i.indrelid) END,
       {nulls_distinct}
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
LEFT JOIN pg_catalog.pg_constraint k
  ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
WHERE i.indrelid = ANY (%s::oid[]) AND i.indisvalid
ORDER BY i.indrelid, i.indisunique DESC, c.relname
"""
)


def indexes_sql(capable: Capabilities) -> Composable:
    """One row per valid index."""
    return _INDEXES.format(
        keys=SQL("i.indnkeyatts") if capable.index_include else SQL("i.indnatts"),
        nulls_distinct=SQL("NOT i.indnullsnotdistinct") if capable.nulls_not_distinct else SQL("true"),
    )


def relations_sql(capable: Capabilities) -> Composable:
    """One row per named relation."""
    return _RELATIONS.format(
        partition=SQL("c.relispartition") if capable.declarative_partitions else SQL("false"),
        row_security=SQL("c.relrowsecurity") if capable.row_security else SQL("false"),
        named=NAMED,
        kinds=RELATION_KINDS,
    )


def columns_sql(capable: Capabilities) -> Composable:
    """One row per living column."""
    return _COLUMNS.format(
        generated=SQL("a.attgenerated <> ''") if capable.generated_columns else SQL("false"),
        identity=SQL("a.attidentity <> ''") if capable.identity else SQL("false"),
    )
