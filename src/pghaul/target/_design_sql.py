"""What the source's catalogues know of tables that are made anew on the target. Set-wise, and for 9.3 and later."""

from __future__ import annotations

from psycopg.sql import SQL, Composable

from pghaul.postgres.catalog_sql import NAMED
from pghaul.postgres.versions import Capabilities

# One row per living column: with the sequence that it owns, and the one that its default calls (and whether it does
# nothing else).
_COLUMNS = SQL(
    """
SELECT n.nspname::text, c.relname::text, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod),
       a.attnotnull,
       CASE WHEN a.attcollation <> 0 AND a.attcollation <> t.typcollation
            THEN pg_catalog.quote_ident(cn.nspname) || '.' || pg_catalog.quote_ident(co.collname) END,
       pg_catalog.pg_get_expr(d.adbin, d.adrelid), {generated}::text, {identity}::text,
       CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage::text END,
       pg_catalog.col_description(c.oid, a.attnum), o.schema, o.name,
       u.schema, u.name, u.call = pg_catalog.pg_get_expr(d.adbin, d.adrelid)
FROM {named} w
JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
LEFT JOIN LATERAL (
    SELECT sn.nspname::text AS schema, s.relname::text AS name
    FROM pg_catalog.pg_depend q
    JOIN pg_catalog.pg_class s ON s.oid = q.objid AND s.relkind = 'S'
    JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
    WHERE q.classid = 1259 AND q.refclassid = 1259 AND q.refobjid = c.oid AND q.refobjsubid = a.attnum
      AND q.deptype IN ('a', 'i') LIMIT 1
) AS o ON true
LEFT JOIN LATERAL (
    SELECT un.nspname::text AS schema, us.relname::text AS name,
           'nextval(' || pg_catalog.quote_literal(pg_catalog.quote_ident(un.nspname) || '.'
                                                  || pg_catalog.quote_ident(us.relname)) || '::regclass)' AS call
    FROM pg_catalog.pg_depend ud
    JOIN pg_catalog.pg_class us ON us.oid = ud.refobjid AND us.relkind = 'S'
    JOIN pg_catalog.pg_namespace un ON un.oid = us.relnamespace
    WHERE ud.classid = 2604 AND ud.objid = d.oid AND ud.refclassid = 1259 LIMIT 1
) AS u ON true
ORDER BY c.oid, a.attnum
"""
)

CHECKS = SQL(
    """
SELECT n.nspname::text, c.relname::text, k.conname::text, pg_catalog.pg_get_constraintdef(k.oid), k.connoinherit,
       pg_catalog.pg_get_expr(k.conbin, k.conrelid), k.convalidated,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum = ANY (k.conkey))
FROM {named} w
JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname
JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'c'
ORDER BY c.oid, k.conname
"""
).format(named=NAMED)

RELATIONS = SQL(
    """
SELECT n.nspname::text, c.relname::text, c.relpersistence = 'u',
       coalesce(pg_catalog.array_to_string(c.reloptions, ', '), ''), pg_catalog.obj_description(c.oid, 'pg_class')
FROM {named} w
JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname
"""
).format(named=NAMED)

_SEQUENCES = SQL(
    """
SELECT n.nspname::text, s.relname::text, p.start_value, p.minimum_value, p.maximum_value, p.increment,
       p.cycle_option, {cache}, {type}
FROM {named} w
JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
JOIN pg_catalog.pg_class s ON s.relnamespace = n.oid AND s.relname = w.relname AND s.relkind = 'S',
LATERAL pg_catalog.pg_sequence_parameters(s.oid) AS p
"""
)

# The columns that an index touches, its expressions and predicate included; and those that are plain keys of it.
INDEX_COLUMNS = SQL(
    """
SELECT n.nspname::text, c.relname::text, x.relname::text,
       ARRAY(SELECT DISTINCT a.attname::text
             FROM pg_catalog.pg_attribute a
             LEFT JOIN pg_catalog.pg_depend d ON d.classid = 1259 AND d.objid = i.indexrelid AND d.refclassid = 1259
                                             AND d.refobjid = c.oid AND d.refobjsubid = a.attnum
             WHERE a.attrelid = c.oid AND (a.attnum = ANY (i.indkey) AND a.attnum > 0 OR d.objid IS NOT NULL)),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.attnum = ANY (i.indkey))
FROM {named} w
JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname
JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisvalid
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
"""
).format(named=NAMED)

# Keys with an end in one of these tables, whole ones only: a partition's share comes with its root's.
FOREIGN_KEYS = SQL(
    """
SELECT tn.nspname::text, t.relname::text, k.conname::text, fn.nspname::text, f.relname::text,
       pg_catalog.pg_get_constraintdef(k.oid),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey))
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class t ON t.oid = k.conrelid
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_catalog.pg_class f ON f.oid = k.confrelid
JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
WHERE k.contype = 'f' AND k.coninhcount = 0
  AND EXISTS (SELECT 1 FROM {named} w
              WHERE (w.nspname, w.relname) IN ((tn.nspname, t.relname), (fn.nspname, f.relname)))
ORDER BY 1, 2, 3
"""
).format(named=NAMED)

CLUSTERED = SQL(
    """
SELECT n.nspname::text, c.relname::text, x.relname::text
FROM {named} w
JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname
JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisclustered AND i.indisvalid
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
"""
).format(named=NAMED)

PRESENT = SQL(
    """
SELECT n.nspname::text, c.relname::text, pn.nspname::text, p.relname::text
FROM {named} w
JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname
LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
LEFT JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
"""
).format(named=NAMED)

CONSTRAINTS_PRESENT = SQL(
    """
SELECT n.nspname::text, c.relname::text, k.conname::text
FROM {named} w
JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname
JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid
"""
).format(named=NAMED)


def columns_sql(can: Capabilities) -> Composable:
    """Schema, table, column and what makes it."""
    return _COLUMNS.format(
        generated=SQL("a.attgenerated") if can.generated_columns else SQL("''"),
        identity=SQL("a.attidentity") if can.identity else SQL("''"),
        named=NAMED,
    )


def sequences_sql(can: Capabilities) -> Composable:
    """Schema, name and parameters; cache and type are told by the function since identity columns exist."""
    return _SEQUENCES.format(
        cache=SQL("p.cache_size") if can.identity else SQL("1::int8"),
        type=SQL("pg_catalog.format_type(p.data_type, NULL)") if can.identity else SQL("'bigint'"),
        named=NAMED,
    )
