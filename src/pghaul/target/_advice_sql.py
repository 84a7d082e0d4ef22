"""What `target advise` asks: catalogues and statistics alone, no table is read. SQL of 9.3, but behind capabilities."""

from __future__ import annotations

OURS = """
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname NOT IN ('information_schema', 'pghaul')
   AND pg_catalog.left(n.nspname::text, 3) <> 'pg_'
"""
FOREIGN_KEYS = """
SELECT n.nspname::text, c.relname::text, k.conname::text, c.relkind = 'p', pg_catalog.pg_relation_size(c.oid),
       ARRAY(SELECT a.attname::text FROM pg_catalog.generate_series(1, pg_catalog.array_length(k.conkey, 1)) AS i
               JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.conkey[i] ORDER BY i)
  FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid {ours}
 WHERE k.contype = 'f' AND k.conislocal AND NOT EXISTS (
       SELECT 1 FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
          AND (i.indkey::int2[])[0:pg_catalog.array_length(k.conkey, 1) - 1] @> k.conkey)
 ORDER BY 5 DESC, 1, 2, 3
"""
UNUSED = """
SELECT n.nspname::text, x.relname::text, c.relname::text, pg_catalog.pg_relation_size(x.oid)
  FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
  JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid {ours}
 WHERE x.relkind = 'i' AND pg_catalog.pg_stat_get_numscans(x.oid) = 0 AND NOT i.indisunique AND i.indisvalid
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint AS k WHERE k.conindid = x.oid)
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits AS h WHERE h.inhrelid = x.oid)
   AND pg_catalog.pg_relation_size(x.oid) >= %s
 ORDER BY 4 DESC, 1, 2
"""
SINCE = """
SELECT EXTRACT(epoch FROM pg_catalog.now() - COALESCE(d.stats_reset, pg_catalog.pg_postmaster_start_time()))::float8
  FROM pg_catalog.pg_stat_database AS d WHERE d.datname = pg_catalog.current_database()
"""
# Of those that are alike, first what must stay: the index of a constraint, a unique one, the older one.
DUPLICATES = """
SELECT n.nspname::text, c.relname::text,
       pg_catalog.array_agg(x.relname::text ORDER BY k.oid IS NOT NULL DESC, i.indisunique DESC, x.oid),
       pg_catalog.array_agg(k.oid IS NOT NULL ORDER BY k.oid IS NOT NULL DESC, i.indisunique DESC, x.oid),
       pg_catalog.array_agg(pg_catalog.pg_relation_size(x.oid)
                            ORDER BY k.oid IS NOT NULL DESC, i.indisunique DESC, x.oid)
  FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
  JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid {ours}
  LEFT JOIN pg_catalog.pg_constraint AS k ON k.conindid = x.oid AND k.conrelid = c.oid AND k.contype IN ('p', 'u', 'x')
 WHERE i.indisvalid AND x.relkind = 'i'
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits AS h WHERE h.inhrelid = x.oid)
 GROUP BY n.nspname, c.relname, c.oid, x.relam, i.indkey::text, i.indclass::text, i.indoption::text,
          i.indcollation::text, pg_catalog.pg_get_expr(i.indexprs, c.oid), pg_catalog.pg_get_expr(i.indpred, c.oid)
HAVING pg_catalog.count(*) > 1 ORDER BY 1, 2, 3
"""
KEYLESS = """
SELECT n.nspname::text, c.relname::text,
       (SELECT x.relname::text FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
         WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
           AND x.relkind = 'i' AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint AS k WHERE k.conindid = x.oid)
           AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND NOT a.attnotnull
                              AND a.attnum = ANY (i.indkey::int2[])) ORDER BY x.oid LIMIT 1),
       u.conname::text,
       (SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attnum) FROM pg_catalog.pg_attribute AS a
         WHERE a.attrelid = c.oid AND a.attnum = ANY (u.conkey)),
       CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'id')
            THEN 'row_id' ELSE 'id' END
  FROM pg_catalog.pg_class AS c {ours}
  LEFT JOIN LATERAL (
       SELECT k.conname, k.conkey FROM pg_catalog.pg_constraint AS k
        WHERE k.conrelid = c.oid AND k.contype = 'u' AND NOT k.condeferrable
          AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint AS f WHERE f.contype = 'f' AND f.conindid = k.conindid)
          AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute AS b
                           WHERE b.attrelid = c.oid AND NOT b.attnotnull AND b.attnum = ANY (k.conkey))
        ORDER BY k.oid LIMIT 1) AS u ON true
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype = 'p')
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits AS h WHERE h.inhrelid = c.oid)
 ORDER BY 1, 2
"""
DEAD = """
SELECT n.nspname::text, c.relname::text, pg_catalog.pg_stat_get_dead_tuples(c.oid),
       pg_catalog.pg_stat_get_live_tuples(c.oid), pg_catalog.pg_relation_size(c.oid)
  FROM pg_catalog.pg_class AS c {ours}
 WHERE c.relkind = 'r' AND pg_catalog.pg_stat_get_dead_tuples(c.oid) > %s
   AND pg_catalog.pg_stat_get_dead_tuples(c.oid) > 0.2 * pg_catalog.pg_stat_get_live_tuples(c.oid)
 ORDER BY 3 DESC
"""
# As wide as the statistics say that rows are, against the pages that are there: a header of 28 bytes for each row.
BLOAT = """
SELECT n.nspname::text, c.relname::text, pg_catalog.pg_relation_size(c.oid),
       (c.reltuples * (28 + pg_catalog.sum((1 - s.null_frac) * s.avg_width)) * 1.1)::int8, c.oid::int8
  FROM pg_catalog.pg_class AS c {ours}
  JOIN pg_catalog.pg_stats AS s ON s.schemaname = n.nspname AND s.tablename = c.relname AND NOT s.inherited
 WHERE c.relkind = 'r' AND c.reltuples > 0 AND pg_catalog.pg_relation_size(c.oid) >= %s
 GROUP BY 1, 2, c.oid, c.reltuples
HAVING (c.reltuples * (28 + pg_catalog.sum((1 - s.null_frac) * s.avg_width)) * 1.1)
       < 0.5 * pg_catalog.pg_relation_size(c.oid)
 ORDER BY 3 DESC
"""
NEVER_ANALYSED = """
SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class AS c {ours}
 WHERE c.relkind IN ('r', 'm') AND pg_catalog.pg_relation_size(c.oid) > 0
   AND pg_catalog.pg_stat_get_last_analyze_time(c.oid) IS NULL
   AND pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid) IS NULL
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_stats AS s
                    WHERE s.schemaname = n.nspname AND s.tablename = c.relname)
 ORDER BY 1, 2
"""
WRAPAROUND = """
SELECT pg_catalog.age(d.datfrozenxid), pg_catalog.current_setting('autovacuum_freeze_max_age')::int4
  FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()
"""
# A sequence that feeds an integer ends where the integer does.
SEQUENCES = """
SELECT q.schemaname::text, q.sequencename::text, q.last_value::float8,
       LEAST(q.max_value::float8, CASE a.atttypid WHEN 21 THEN 32767 WHEN 23 THEN 2147483647 END),
       t.nspname::text, c.relname::text, a.attname::text
  FROM pg_catalog.pg_sequences AS q
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = q.schemaname
  JOIN pg_catalog.pg_class AS s ON s.relnamespace = n.oid AND s.relname = q.sequencename
  LEFT JOIN pg_catalog.pg_depend AS d ON d.classid = 1259 AND d.objid = s.oid AND d.refclassid = 1259
       AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
  LEFT JOIN pg_catalog.pg_class AS c ON c.oid = d.refobjid
  LEFT JOIN pg_catalog.pg_namespace AS t ON t.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
 WHERE q.last_value IS NOT NULL AND NOT q.cycle AND q.increment_by > 0
   AND q.last_value::float8
       > 0.7 * LEAST(q.max_value::float8, CASE a.atttypid WHEN 21 THEN 32767 WHEN 23 THEN 2147483647 END)
 ORDER BY 1, 2
"""
SETTINGS = """
SELECT s.name, s.setting, COALESCE(s.unit, '') FROM pg_catalog.pg_settings AS s
 WHERE s.name IN ('shared_buffers', 'effective_cache_size', 'work_mem', 'maintenance_work_mem', 'max_wal_size',
                  'checkpoint_timeout', 'random_page_cost', 'autovacuum', 'track_counts', 'fsync', 'full_page_writes',
                  'max_connections')
"""
SIZES = """
SELECT pg_catalog.pg_database_size(d.datname)::float8, d.temp_bytes::float8
  FROM pg_catalog.pg_stat_database AS d WHERE d.datname = pg_catalog.current_database()
"""
# Looked for by name: an extension may lie in any schema.
STATEMENTS = """
SELECT n.nspname::text, ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid)
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relname = 'pg_stat_statements' AND c.relkind = 'v' LIMIT 1
"""
FUNCTION = """
SELECT n.nspname::text FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
 WHERE p.proname = %s LIMIT 1
"""
VECTORS = """
SELECT n.nspname::text, c.relname::text, a.attname::text, y.typname::text, v.nspname::text, a.atttypmod,
       GREATEST(c.reltuples, 0)::float8, c.relkind = 'p',
       EXISTS (SELECT 1 FROM pg_catalog.pg_am AS m WHERE m.amname = 'hnsw')
  FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid {ours}
  JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid AND y.typname IN ('vector', 'halfvec')
  JOIN pg_catalog.pg_namespace AS v ON v.oid = y.typnamespace
 WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits AS h WHERE h.inhrelid = c.oid)
   AND NOT EXISTS (
       SELECT 1 FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
         JOIN pg_catalog.pg_am AS m ON m.oid = x.relam AND m.amname IN ('hnsw', 'ivfflat')
        WHERE i.indrelid = c.oid AND i.indisvalid AND (a.attnum = ANY (i.indkey::int2[]) OR i.indexprs IS NOT NULL))
 ORDER BY 1, 2, a.attnum
"""
