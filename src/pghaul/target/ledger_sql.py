"""The ledger's tables and statements, apart from the connections that run them.

Workers speak asyncpg ($1), the runner psycopg (%s); both read this one page, so that the order of locks is seen at
once: run row, claim row, marker, then the table itself.
"""

from __future__ import annotations

# One run at a time may install the ledger: CREATE … IF NOT EXISTS alone races with itself.
INSTALL_LOCK = 0x70676861756C00
CLAIM_LOCK = 0x70676861756C01

INSTALL = """
CREATE SCHEMA IF NOT EXISTS pghaul;
CREATE TABLE IF NOT EXISTS pghaul.run (
    run_id text PRIMARY KEY, epoch int NOT NULL, leader text NOT NULL, state text NOT NULL,
    source_identity text NOT NULL, started_at timestamptz NOT NULL DEFAULT pg_catalog.now(), finished_at timestamptz,
    seen text);
CREATE TABLE IF NOT EXISTS pghaul.claim (relation text PRIMARY KEY, run_id text NOT NULL);
CREATE TABLE IF NOT EXISTS pghaul.run_table (
    run_id text, relation text, disposition text NOT NULL, PRIMARY KEY (run_id, relation));
CREATE TABLE IF NOT EXISTS pghaul.chunk_marker (
    run_id text, relation text, chunk text, epoch int NOT NULL, rows int8, bytes int8, seconds float8,
    proof text, source_hash text, target_hash text, updated int8, unchanged int8, ignored int8,
    rejected int8, deleted int8, finished_at timestamptz,
    PRIMARY KEY (run_id, relation, chunk));
CREATE UNLOGGED TABLE IF NOT EXISTS pghaul.chunk_marker_unlogged (
    run_id text, relation text, chunk text, epoch int NOT NULL, rows int8, bytes int8, seconds float8,
    proof text, source_hash text, target_hash text, updated int8, unchanged int8, ignored int8,
    rejected int8, deleted int8, finished_at timestamptz,
    PRIMARY KEY (run_id, relation, chunk));
CREATE TABLE IF NOT EXISTS pghaul.undo (
    id serial PRIMARY KEY, run_id text NOT NULL, relation text NOT NULL, kind text NOT NULL,
    forward_sql text NOT NULL, restore_sql text NOT NULL, validate_sql text, done boolean NOT NULL DEFAULT false);
CREATE TABLE IF NOT EXISTS pghaul.made (run_id text, thing text, PRIMARY KEY (run_id, thing));
CREATE TABLE IF NOT EXISTS pghaul.watermark (
    relation text, origin text, run_id text NOT NULL, mark text NOT NULL, moved_at timestamptz NOT NULL,
    PRIMARY KEY (relation, origin));
CREATE TABLE IF NOT EXISTS pghaul.quarantine (
    id bigserial PRIMARY KEY, run_id text NOT NULL, relation text NOT NULL, chunk text NOT NULL, source_key text,
    columns text[] NOT NULL, row_data bytea NOT NULL, encoding text NOT NULL, sqlstate text NOT NULL,
    message text NOT NULL, column_name text, constraint_name text,
    set_aside_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(), replayed_by text, replayed_at timestamptz);
"""

IS_INSTALLED = """
SELECT pg_catalog.count(*) = 9 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'pghaul' AND c.relkind = 'r'
  AND c.relname IN ('run', 'claim', 'run_table', 'chunk_marker', 'chunk_marker_unlogged', 'undo', 'made',
                    'watermark', 'quarantine')
"""

# What later releases added: an older ledger gets it in place, when a run of this release begins.
ADDED = (
    *(
        (table, column, "int8")
        for table in ("chunk_marker", "chunk_marker_unlogged")
        for column in ("updated", "unchanged", "ignored", "rejected", "deleted")
    ),
    ("run", "seen", "text"),
)
COLUMNS = """
SELECT c.relname::text, a.attname::text FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'pghaul' AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
"""


def add_column(table: str, column: str, kind: str) -> str:
    """From ADDED alone: all three are words of ours."""
    return f"ALTER TABLE pghaul.{table} ADD COLUMN {column} {kind}"


# --- the workers' side (asyncpg) ---------------------------------------------------------------------------------

# FOR SHARE on both rows until commit: a resume (which updates the run row) and a takeover (which deletes the claim)
# wait for this transaction, or end it, before they go on.
OWNED = """
SELECT r.epoch FROM pghaul.run r JOIN pghaul.claim c ON c.run_id = r.run_id
WHERE r.run_id = $1 AND c.relation = $2 FOR SHARE
"""

# The same for all tables of a batch: how many of them are still this run's in this epoch.
OWNED_ALL = """
SELECT pg_catalog.count(*) FROM (
    SELECT 1 FROM pghaul.run r JOIN pghaul.claim c ON c.run_id = r.run_id
    WHERE r.run_id = $1 AND r.epoch = $3 AND c.relation = ANY($2::text[]) FOR SHARE
) AS owned
"""

# {marker} is one of two constants below; markers of unlogged tables vanish with their rows in a crash.
MARKER = "pghaul.chunk_marker"
MARKER_UNLOGGED = "pghaul.chunk_marker_unlogged"


def insert_marker(marker: str) -> str:
    """First of all writes: a chunk that is in flight twice waits here for its twin."""
    return f"INSERT INTO {marker} (run_id, relation, chunk, epoch) VALUES ($1, $2, $3, $4)"  # noqa: S608


def complete_marker(marker: str) -> str:
    """Last before commit: what the receipt says."""
    return (
        f"UPDATE {marker} SET rows = $4, bytes = $5, seconds = $6, proof = $7, source_hash = $8, target_hash = $9, "  # noqa: S608
        "updated = $10, unchanged = $11, ignored = $12, rejected = $13, deleted = $14, "
        "finished_at = pg_catalog.clock_timestamp() "
        "WHERE run_id = $1 AND relation = $2 AND chunk = $3"
    )


def insert_markers(marker: str) -> str:
    """All of a batch."""
    return (
        f"INSERT INTO {marker} (run_id, relation, chunk, epoch) "  # noqa: S608
        "SELECT $1, u.relation, u.chunk, $4 FROM (SELECT pg_catalog.unnest($2::text[]) AS relation, "
        "pg_catalog.unnest($3::text[]) AS chunk) AS u"
    )


def complete_markers(marker: str) -> str:
    """All of a batch."""
    return (
        f"UPDATE {marker} AS m SET rows = u.rows, bytes = u.bytes, seconds = u.seconds, proof = u.proof, "  # noqa: S608
        "source_hash = u.source_hash, target_hash = u.target_hash, finished_at = pg_catalog.clock_timestamp() "
        "FROM (SELECT pg_catalog.unnest($2::text[]) AS relation, pg_catalog.unnest($3::text[]) AS chunk, "
        "pg_catalog.unnest($4::int8[]) AS rows, pg_catalog.unnest($5::int8[]) AS bytes, "
        "pg_catalog.unnest($6::float8[]) AS seconds, pg_catalog.unnest($7::text[]) AS proof, "
        "pg_catalog.unnest($8::text[]) AS source_hash, pg_catalog.unnest($9::text[]) AS target_hash) AS u "
        "WHERE m.run_id = $1 AND m.relation = u.relation AND m.chunk = u.chunk"
    )


def delete_marker(marker: str) -> str:
    """A chunk is done again."""
    return f"DELETE FROM {marker} WHERE run_id = $1 AND relation = $2 AND chunk = $3"  # noqa: S608


def delete_markers(marker: str) -> str:
    """A table is started again: its ranges mean nothing under another snapshot."""
    return f"DELETE FROM {marker} WHERE run_id = $1 AND relation = $2"  # noqa: S608


def delete_chunks(marker: str) -> str:
    """Some of a table's, for a composer: what they had loaded is taken out with them."""
    return f"DELETE FROM {marker} WHERE run_id = {{run}} AND relation = {{relation}} AND chunk = ANY({{chunks}})"  # noqa: S608


# A row is set aside in its chunk's transaction; a chunk that is done again first forgets what it had set aside.
SET_ASIDE = """
INSERT INTO pghaul.quarantine (run_id, relation, chunk, source_key, columns, row_data, encoding, sqlstate, message,
                               column_name, constraint_name)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
TAKE_BACK = "DELETE FROM pghaul.quarantine WHERE run_id = $1 AND relation = ANY($2::text[])"
TAKE_BACK_CHUNKS = (
    "DELETE FROM pghaul.quarantine WHERE run_id = {run} AND relation = {relation} AND chunk = ANY({chunks})"
)


def read_marker(marker: str) -> str:
    """What a twin committed."""
    return (
        "SELECT rows, bytes, seconds, proof, source_hash, target_hash, epoch, "  # noqa: S608
        "updated, unchanged, ignored, rejected, deleted "
        f"FROM {marker} WHERE run_id = $1 AND relation = $2 AND chunk = $3"
    )


# --- the runner's side (psycopg) ---------------------------------------------------------------------------------

RUN_KEY = "pg_catalog.hashtext('pghaul run ' || %s)"
TRY_RUN_LOCK = f"SELECT pg_catalog.pg_try_advisory_lock(28519, {RUN_KEY})"
TRY_RUN_LOCK_XACT = f"SELECT pg_catalog.pg_try_advisory_xact_lock(28519, {RUN_KEY})"
RELEASE_RUN_LOCK = f"SELECT pg_catalog.pg_advisory_unlock(28519, {RUN_KEY})"
HELD_RUN_LOCK = (
    "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()"  # noqa: S608
    f" AND classid = 28519 AND objid::int8 = ({RUN_KEY})::int8 & 4294967295)"
)

SELECT_RUN = "SELECT epoch, state, source_identity FROM pghaul.run WHERE run_id = %s"
INSERT_RUN = "INSERT INTO pghaul.run (run_id, epoch, leader, state, source_identity) VALUES (%s, 1, %s, 'running', %s)"
RAISE_EPOCH = (
    "UPDATE pghaul.run SET epoch = epoch + 1, leader = %s, state = 'running', finished_at = NULL "
    "WHERE run_id = %s RETURNING epoch"
)
# What the source was like when all that is marked was read, where it can tell of itself that nothing has changed.
SEEN = "SELECT seen FROM pghaul.run WHERE run_id = %s"
SAW = "UPDATE pghaul.run SET seen = %s WHERE run_id = %s"
LEADER = "SELECT leader FROM pghaul.run WHERE run_id = %s"
FINISH_RUN = (
    "UPDATE pghaul.run SET state = %s, finished_at = pg_catalog.clock_timestamp() WHERE run_id = %s AND epoch = %s"
)
OTHER_CLAIMS = "SELECT DISTINCT run_id FROM pghaul.claim WHERE relation = ANY(%s) AND run_id <> %s"
CLAIMED_BY_OTHERS = "SELECT relation, run_id FROM pghaul.claim WHERE relation = ANY(%s) AND run_id <> %s ORDER BY 1"
CLAIMED_ALIVE = """
SELECT c.relation, c.run_id FROM pghaul.claim c
WHERE c.relation = ANY(%s) AND c.run_id <> %s AND EXISTS (
    SELECT 1 FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND l.classid = 28519
       AND l.pid <> pg_catalog.pg_backend_pid()
       AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
       AND l.objid::int8 = pg_catalog.hashtext('pghaul run ' || c.run_id)::int8 & 4294967295)
ORDER BY 1
"""
DROP_CLAIMS = "DELETE FROM pghaul.claim WHERE relation = ANY(%s)"
ADD_CLAIMS = "INSERT INTO pghaul.claim (relation, run_id) SELECT r, %s FROM pg_catalog.unnest(%s::text[]) r"
COUNT_CLAIMS = "SELECT pg_catalog.count(*) FROM pghaul.claim WHERE run_id = %s AND relation = ANY(%s)"
# Of runs that are at their end: what a resume would ask for. What was set aside stays.
FORGET_RUNS = """
WITH gone AS (DELETE FROM pghaul.run r WHERE r.run_id = ANY(%s) AND r.state IN ('done', 'different')
              AND NOT EXISTS (SELECT 1 FROM pghaul.claim c WHERE c.run_id = r.run_id) RETURNING r.run_id),
     tables AS (DELETE FROM pghaul.run_table t USING gone WHERE t.run_id = gone.run_id),
     made AS (DELETE FROM pghaul.made m USING gone WHERE m.run_id = gone.run_id),
     marked AS (DELETE FROM pghaul.chunk_marker k USING gone WHERE k.run_id = gone.run_id),
     unlogged AS (DELETE FROM pghaul.chunk_marker_unlogged u USING gone WHERE u.run_id = gone.run_id)
SELECT pg_catalog.count(*) FROM gone
"""
RELEASE_CLAIMS = "DELETE FROM pghaul.claim WHERE run_id = %s"
DISPOSITIONS = "SELECT relation, disposition FROM pghaul.run_table WHERE run_id = %s"
ADD_DISPOSITIONS = (
    "INSERT INTO pghaul.run_table (run_id, relation, disposition) "
    "SELECT %s, r, d FROM (SELECT pg_catalog.unnest(%s::text[]) AS r, pg_catalog.unnest(%s::text[]) AS d) AS x"
)
MARKERS = """
SELECT relation, chunk, epoch, rows, bytes, seconds, proof, source_hash, target_hash, updated, unchanged, ignored,
       rejected, deleted
FROM pghaul.chunk_marker WHERE run_id = %s AND finished_at IS NOT NULL
UNION ALL
SELECT relation, chunk, epoch, rows, bytes, seconds, proof, source_hash, target_hash, updated, unchanged, ignored,
       rejected, deleted
FROM pghaul.chunk_marker_unlogged WHERE run_id = %s AND finished_at IS NOT NULL
"""
ADD_UNDO = (
    "INSERT INTO pghaul.undo (run_id, relation, kind, forward_sql, restore_sql, validate_sql) "
    "VALUES (%s, %s, %s, %s, %s, %s)"
)
PENDING_UNDO = (
    "SELECT id, relation, kind, restore_sql, validate_sql FROM pghaul.undo WHERE run_id = %s AND NOT done ORDER BY id"
)
DONE_UNDO = "UPDATE pghaul.undo SET done = true WHERE id = %s"

LARGE = "large objects"
BATCHES = "SELECT chunk FROM pghaul.chunk_marker WHERE run_id = %s AND relation = %s AND finished_at IS NOT NULL"
STILL_OURS = "SELECT r.epoch FROM pghaul.run r WHERE r.run_id = %s AND r.epoch = %s FOR SHARE"
FORGET_BATCH = "DELETE FROM pghaul.chunk_marker WHERE run_id = %s AND relation = %s AND chunk = %s"
ADD_BATCH = (
    "INSERT INTO pghaul.chunk_marker (run_id, relation, chunk, epoch, rows, finished_at) "
    "VALUES (%s, %s, %s, %s, %s, pg_catalog.clock_timestamp())"
)
MORE_REJECTED = (
    "UPDATE pghaul.chunk_marker SET rejected = rejected + %s WHERE run_id = %s AND relation = %s AND chunk = %s"
)
ADD_REJECTED = (
    "INSERT INTO pghaul.chunk_marker (run_id, relation, chunk, epoch, rows, rejected, finished_at) "
    "VALUES (%s, %s, %s, %s, 0, %s, pg_catalog.clock_timestamp())"
)
MADE = "SELECT thing FROM pghaul.made WHERE run_id = %s"
ADD_MADE = "INSERT INTO pghaul.made (run_id, thing) SELECT %s, t FROM pg_catalog.unnest(%s::text[]) t"
