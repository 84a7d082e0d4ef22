"""The data that faults are tried on: small, but with everything that has its own way through the engine.

Leaves of a partitioned table, a table of several page ranges, a foreign key, floats and true duplicates without a
key, an UNLOGGED table that a crash empties, and many small tables, which are loaded in batches.
"""

from __future__ import annotations

SPLIT_SIZE = "256kB"  # a leaf is smaller, plant.flat is about five times as large

SMALL = tuple(f"plant.small_{n:02d}" for n in range(30))

SCHEMA = """
CREATE SCHEMA plant;
CREATE TABLE plant.tag (id int PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE plant.history (
    path_id int8 NOT NULL, issued int8 NOT NULL, value varchar(100), status bool, PRIMARY KEY (path_id, issued)
) PARTITION BY RANGE (issued);
CREATE TABLE plant.history_1 PARTITION OF plant.history FOR VALUES FROM (1000) TO (2000);
CREATE TABLE plant.history_2 PARTITION OF plant.history FOR VALUES FROM (2000) TO (3000);
CREATE TABLE plant.history_3 PARTITION OF plant.history FOR VALUES FROM (3000) TO (4000);
CREATE TABLE plant.history_4 PARTITION OF plant.history FOR VALUES FROM (4000) TO (5000);
CREATE TABLE plant.history_5 PARTITION OF plant.history FOR VALUES FROM (5000) TO (6000);
CREATE TABLE plant.history_6 PARTITION OF plant.history FOR VALUES FROM (6000) TO (7000);
CREATE INDEX history_value ON plant.history (value);
CREATE TABLE plant.flat (id int8 PRIMARY KEY, tag_id int NOT NULL REFERENCES plant.tag, body text NOT NULL);
CREATE INDEX flat_tag ON plant.flat (tag_id, id);
CREATE TABLE plant.measure (id int, reading float8, rough float4, readings float8[]);
CREATE UNLOGGED TABLE plant.scratch (a int PRIMARY KEY, b text);
""" + "".join(f"CREATE TABLE {t} (id int PRIMARY KEY, body text UNIQUE);" for t in SMALL)

ROWS = """
INSERT INTO plant.tag SELECT g, 'tag ' || g FROM generate_series(1, 50) g;
INSERT INTO plant.history SELECT g % 40, 1000 + g / 3, nullif(md5(g::text), md5('7')), g % 5 = 0
    FROM generate_series(0, 17999) g;
INSERT INTO plant.flat SELECT g, 1 + g % 50, repeat(md5(g::text), 3) FROM generate_series(1, 8000) g;
INSERT INTO plant.measure SELECT g, g / 3.0, g / 7.0, ARRAY[g / 11.0, 'NaN', NULL] FROM generate_series(1, 1000) g;
INSERT INTO plant.measure SELECT * FROM plant.measure WHERE id <= 200;
"""
FILL_SMALL = "INSERT INTO {} SELECT g, repeat(md5(g::text), 5) FROM generate_series(1, {}) g;"
ROWS += "".join(FILL_SMALL.format(t, 20 * n) for n, t in enumerate(SMALL)) + "ANALYZE;"

# Apart: a crash of the source empties the template's UNLOGGED table too, for every case that comes after it.
SCRATCH = """
INSERT INTO plant.scratch SELECT g, md5(g::text) FROM generate_series(1, 300) g ON CONFLICT DO NOTHING;
ANALYZE plant.scratch;
"""

SCRIPT = SCHEMA + ROWS + SCRATCH

# A target that holds an older state of all tables with a key, for rows to be brought up to date in.
STALE = """
DELETE FROM plant.scratch;
UPDATE plant.tag SET name = 'old ' || name WHERE id % 4 = 0;
UPDATE plant.history SET value = 'old', status = NULL WHERE issued % 3 = 0;
DELETE FROM plant.history WHERE issued % 5 = 0;
UPDATE plant.flat SET body = 'old' WHERE id % 3 = 0;
DELETE FROM plant.flat WHERE id % 5 = 0;
ANALYZE;
"""
KEYED = ("plant.tag", "plant.history", "plant.flat", "plant.scratch")

LEAVES = tuple(f"plant.history_{n}" for n in range(1, 7))
TABLES = ("plant.tag", *LEAVES, "plant.flat", "plant.measure", "plant.scratch", *SMALL)

# What belongs to the tables besides rows, as sortable words; NOT NULL became a constraint in 18 and is left out.
FURNITURE = """
    SELECT c.relname, 'index ' || pg_get_indexdef(i.indexrelid) || ' valid ' || i.indisvalid::text
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace = 'plant'::regnamespace
    UNION ALL
    SELECT c.relname,
           'constraint ' || o.conname || ' ' || pg_get_constraintdef(o.oid) || ' valid ' || o.convalidated::text
    FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
    WHERE c.relnamespace = 'plant'::regnamespace AND o.contype <> 'n'
    UNION ALL
    SELECT c.relname, 'child of ' || h.inhparent::regclass::text
    FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
    WHERE c.relnamespace = 'plant'::regnamespace
    UNION ALL
    SELECT c.relname, 'kind ' || c.relkind::text || c.relpersistence::text FROM pg_class c
    WHERE c.relnamespace = 'plant'::regnamespace
"""
