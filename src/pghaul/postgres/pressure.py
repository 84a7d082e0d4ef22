"""How much a server has to bear, from its statistics views; what the views are called differs by version."""

from __future__ import annotations

from dataclasses import dataclass

from pghaul.postgres.session import Session

# Of a primary: the replica that is furthest behind. NULL is one that has caught up and hears nothing new.
REPLICAS_LAG_SQL = """
SELECT COALESCE(pg_catalog.max(EXTRACT(epoch FROM r.replay_lag)), 0)::pg_catalog.float8
  FROM pg_catalog.pg_stat_replication AS r
"""

# Of a standby: the age of what it replayed last, unless it has replayed all that it was sent.
OWN_LAG_SQL = """
SELECT COALESCE(
         CASE WHEN pg_catalog.{received}() = pg_catalog.{replayed}() THEN 0
              ELSE EXTRACT(epoch FROM pg_catalog.now() - pg_catalog.pg_last_xact_replay_timestamp()) END,
         0)::pg_catalog.float8
"""
LAG_FUNCTIONS = {
    True: {"received": "pg_last_wal_receive_lsn", "replayed": "pg_last_wal_replay_lsn"},
    False: {"received": "pg_last_xlog_receive_location", "replayed": "pg_last_xlog_replay_location"},
}

# Sessions of clients that run something, without ours of any run.
ACTIVE_SQL = """
SELECT pg_catalog.count(*)
  FROM pg_catalog.pg_stat_activity AS a
 WHERE a.state = 'active' AND a.pid <> pg_catalog.pg_backend_pid()
   AND a.application_name NOT LIKE 'pghaul/%'
"""
OF_CLIENTS = " AND a.backend_type = 'client backend'"
NO_VACUUM = " AND a.query NOT LIKE 'autovacuum: %'"

CHECKPOINTS_SQL = {
    True: "SELECT c.num_requested FROM pg_catalog.pg_stat_checkpointer AS c",
    False: "SELECT b.checkpoints_req FROM pg_catalog.pg_stat_bgwriter AS b",
}

SEES_ALL_SQL = "SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')"

# Mostly nobody waits, and one look at the lock table is enough.
ANYBODY_WAITS_SQL = """
SELECT EXISTS (SELECT 1
                 FROM pg_catalog.pg_locks AS w
                WHERE NOT w.granted AND w.locktype = 'relation' AND w.mode = 'AccessExclusiveLock')
"""

# Who waits for a lock on a relation while sessions of ours hold one on the same.
WAITING_SQL = """
SELECT w.pid, COALESCE(a.usename::pg_catalog.text, ''), w.mode, n.nspname || '.' || c.relname
  FROM pg_catalog.pg_locks AS w
  JOIN pg_catalog.pg_class AS c ON c.oid = w.relation
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = w.pid
 WHERE NOT w.granted AND w.locktype = 'relation' AND w.mode = 'AccessExclusiveLock'
   AND w.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
   AND EXISTS (SELECT 1
                 FROM pg_catalog.pg_locks AS h
                 JOIN pg_catalog.pg_stat_activity AS o ON o.pid = h.pid
                WHERE h.granted AND h.relation = w.relation AND h.database = w.database AND h.pid <> w.pid
                  AND pg_catalog.left(o.application_name, pg_catalog.length(%s)) = %s)
 ORDER BY w.pid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A session that waits for a lock behind one of ours."""

    pid: int
    user: str
    mode: str
    relation: str


def replication_lag(session: Session) -> float:
    """Seconds by which the worst replica of this server is behind, or this server itself where it is one."""
    server = session.server
    if server.in_recovery:
        return float(session.value(OWN_LAG_SQL.format(**LAG_FUNCTIONS[server.capabilities.replay_lag])))
    return float(session.value(REPLICAS_LAG_SQL))


def active_sessions(session: Session) -> float:
    """How many sessions of others run a statement on this server, in any of its databases."""
    clients = OF_CLIENTS if session.server.capabilities.backend_type else NO_VACUUM
    return float(session.value(ACTIVE_SQL + clients))


def requested_checkpoints(session: Session) -> int:
    """How many checkpoints were forced since the counter began: by the amount of WAL, or by a command."""
    return int(session.value(CHECKPOINTS_SQL[session.server.capabilities.checkpointer_view]))


def sees_all(session: Session) -> bool:
    """Whether our role sees the sessions of others in the statistics views."""
    server = session.server
    if server.superuser or not server.capabilities.read_all_stats:
        return server.superuser
    return bool(session.value(SEES_ALL_SQL))


def waiting_behind(session: Session, application_prefix: str) -> list[Waiting]:
    """Sessions that wait for ACCESS EXCLUSIVE while sessions with this prefix hold a lock on the same relation."""
    if not session.value(ANYBODY_WAITS_SQL):
        return []
    rows = session.rows(WAITING_SQL, (application_prefix, application_prefix))
    return [Waiting(pid=pid, user=user, mode=mode, relation=relation) for pid, user, mode, relation in rows]
