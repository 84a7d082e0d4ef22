"""What a database engineer looks at before and after a migration, from the catalogues and statistics of one server.

All of it reads; none of it counts rows or waits for a lock. SQL of 9.3 throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from pghaul.model.table import Name
from pghaul.postgres.catalog_sql import NAMED
from pghaul.postgres.session import Session

LONG = 3600  # seconds: a transaction that is older keeps VACUUM from its work, and locks wait for it

LONG_TRANSACTIONS = """
SELECT a.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''),
       extract(epoch FROM pg_catalog.now() - a.xact_start)::float8
  FROM pg_catalog.pg_stat_activity AS a
 WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
   AND a.xact_start < pg_catalog.now() - interval '1 second' * %s
   AND a.application_name NOT LIKE 'pghaul/%%' AND a.query NOT LIKE 'autovacuum:%%'
 ORDER BY a.xact_start
"""
PREPARED = """
SELECT p.gid, p.owner::text, extract(epoch FROM pg_catalog.now() - p.prepared)::float8
  FROM pg_catalog.pg_prepared_xacts AS p WHERE p.database = pg_catalog.current_database() ORDER BY p.prepared
"""
LOCK_WAITS = """
SELECT DISTINCT a.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), 0::float8
  FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
 WHERE NOT l.granted AND a.datname = pg_catalog.current_database() ORDER BY 1
"""
CONNECTIONS = """
SELECT pg_catalog.current_setting('max_connections')::int4
         - pg_catalog.current_setting('superuser_reserved_connections')::int4
         - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE datname IS NOT NULL)::int4
"""
IDLE_SLOTS = "SELECT s.slot_name::text FROM pg_catalog.pg_replication_slots AS s WHERE NOT s.active ORDER BY 1"
CLOCK = "SELECT extract(epoch FROM pg_catalog.clock_timestamp())::float8"
SETTINGS = "SELECT s.name, s.setting FROM pg_catalog.pg_settings AS s WHERE s.name = ANY (%s::text[])"

_CHOSEN = """
  FROM {named} AS w
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.nspname
  JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.relname
"""
PRESENT = "SELECT n.nspname::text, c.relname::text {chosen} ORDER BY 1, 2"
KEYLESS = """
SELECT n.nspname::text, c.relname::text {chosen}
 WHERE c.relkind = 'r' AND NOT EXISTS (
       SELECT 1 FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indisvalid)
 ORDER BY 1, 2
"""
NEVER_ANALYSED = """
SELECT n.nspname::text, c.relname::text {chosen}
 WHERE c.relkind = 'r' AND pg_catalog.pg_relation_size(c.oid) > 0
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_statistic AS s WHERE s.starelid = c.oid)
   AND pg_catalog.pg_stat_get_last_analyze_time(c.oid) IS NULL
   AND pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid) IS NULL
 ORDER BY 1, 2
"""
# Where pg_statistic may not be read, the counters alone decide.
NEVER_ANALYSED_SEEN = NEVER_ANALYSED.replace(
    "   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_statistic AS s WHERE s.starelid = c.oid)\n", ""
)
INVALID_INDEXES = """
SELECT n.nspname::text, x.relname::text {chosen}
  JOIN pg_catalog.pg_index AS i ON i.indrelid = c.oid AND NOT i.indisvalid
  JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
 ORDER BY 1, 2
"""
NOT_VALID = """
SELECT n.nspname::text, c.relname::text || '.' || k.conname::text {chosen}
  JOIN pg_catalog.pg_constraint AS k ON k.conrelid = c.oid AND NOT k.convalidated
 ORDER BY 1, 2
"""
SILENT_TRIGGERS = """
SELECT n.nspname::text, c.relname::text || '.' || t.tgname::text {chosen}
  JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled = 'D'
 ORDER BY 1, 2
"""
# Sequences that a column owns, with the column they feed. Asked of an index, has_sequence_privilege() fails, and the
# server may ask it before it looks at relkind: CASE holds the order.
FEEDING = """
SELECT n.nspname::text, c.relname::text, a.attname::text, sn.nspname::text, s.relname::text {chosen}
  JOIN pg_catalog.pg_depend AS d ON d.refobjid = c.oid AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
   AND d.classid = 1259 AND d.refclassid = 1259
  JOIN pg_catalog.pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
  JOIN pg_catalog.pg_namespace AS sn ON sn.oid = s.relnamespace
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
 WHERE a.atttypid IN (20, 21, 23, 1700) AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
   AND CASE WHEN s.relkind = 'S' THEN pg_catalog.has_sequence_privilege(s.oid, 'SELECT') END
 ORDER BY 1, 2, 3
"""
# With an index on the column, its ends are read, not its table.
BEHIND = sql.SQL(
    "SELECT p.increment > 0 AND (m.most > q.last_value OR m.most = q.last_value AND NOT q.is_called)"
    " OR p.increment < 0 AND (m.least < q.last_value OR m.least = q.last_value AND NOT q.is_called)"
    " FROM {sequence} AS q, pg_catalog.pg_sequence_parameters({oid}::regclass) AS p,"
    " (SELECT max({column})::numeric AS most, min({column})::numeric AS least FROM {table}) AS m"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Somebody's session; `seconds` it has been at it."""

    pid: int
    user: str
    application: str
    seconds: float


def long_transactions(session: Session, seconds: float = LONG) -> list[Client]:
    """Transactions that are older; without pg_read_all_stats only those of our own role are seen."""
    return _clients(session.rows(LONG_TRANSACTIONS, (seconds,)))


def lock_waits(session: Session) -> list[Client]:
    """Sessions that wait for a lock now."""
    return _clients(session.rows(LOCK_WAITS))


def _clients(rows: Sequence[tuple[int, str, str, float]]) -> list[Client]:
    return [Client(pid=p, user=u, application=a, seconds=float(s or 0)) for p, u, a, s in rows]


def prepared_transactions(session: Session) -> list[str]:
    """Names of transactions that were prepared and wait for their second half."""
    return [gid for gid, _, _ in session.rows(PREPARED)]


def free_connections(session: Session) -> int:
    """How many more sessions of ordinary roles the server takes."""
    return int(session.value(CONNECTIONS))


def idle_slots(session: Session) -> list[str]:
    """Replication slots that nobody reads: WAL piles up behind them. Empty before 9.4."""
    return [n for (n,) in session.rows(IDLE_SLOTS)] if session.server.capabilities.replica_identity else []


def clock(session: Session) -> float:
    """Seconds since 1970, as the server has it."""
    return float(session.value(CLOCK))


def server_settings(session: Session, names: Sequence[str]) -> dict[str, str]:
    """Those that this version knows."""
    return dict(session.rows(SETTINGS, (list(names),)))


def present(session: Session, tables: Sequence[Name]) -> list[Name]:
    """Those that are there."""
    return _of(session, PRESENT, tables)


def keyless(session: Session, tables: Sequence[Name]) -> list[Name]:
    """Tables without any unique index over all rows."""
    return _of(session, KEYLESS, tables)


def never_analysed(session: Session, tables: Sequence[Name]) -> list[Name]:
    """Tables with pages of which the planner knows nothing."""
    return _of(session, NEVER_ANALYSED if session.server.superuser else NEVER_ANALYSED_SEEN, tables)


def invalid_indexes(session: Session, tables: Sequence[Name]) -> list[Name]:
    """Indexes that a CREATE INDEX CONCURRENTLY left half made."""
    return _of(session, INVALID_INDEXES, tables)


def not_valid(session: Session, tables: Sequence[Name]) -> list[Name]:
    """Constraints (as table.constraint) that were never checked for the rows that are there."""
    return _of(session, NOT_VALID, tables)


def silent_triggers(session: Session, tables: Sequence[Name]) -> list[Name]:
    """Triggers (as table.trigger) that are disabled."""
    return _of(session, SILENT_TRIGGERS, tables)


def sequences_behind(session: Session, tables: Sequence[Name]) -> list[Name]:
    """Sequences that would give out a number that their column has already."""
    behind = []
    for schema, table, column, of, sequence in session.rows(_statement(FEEDING), _names(tables)):
        name = sql.Identifier(of, sequence)
        question = BEHIND.format(
            sequence=name,
            oid=sql.Literal(name.as_string(None)),
            column=sql.Identifier(column),
            table=sql.Identifier(schema, table),
        )
        if session.value(question):
            behind.append(Name(of, sequence))
    return sorted(set(behind))


def _of(session: Session, template: str, tables: Sequence[Name]) -> list[Name]:
    return [Name(s, n) for s, n in session.rows(_statement(template), _names(tables))]


def _statement(template: str) -> sql.Composed:
    return sql.SQL(template).format(chosen=sql.SQL(_CHOSEN).format(named=NAMED))


def _names(tables: Sequence[Name]) -> tuple[list[str], list[str]]:
    return [t.schema for t in tables], [t.name for t in tables]
