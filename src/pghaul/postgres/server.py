"""What one server and our place on it are, read once when a session opens."""

from __future__ import annotations

from dataclasses import dataclass

from pghaul.postgres.versions import Capabilities

# What an auditor asks of a server, years later. All of them are there from 9.3 on, and none of them is set by us.
TELLING = (
    "wal_level",
    "fsync",
    "full_page_writes",
    "data_checksums",
    "archive_mode",
    "shared_buffers",
    "maintenance_work_mem",
    "max_connections",
)

SERVER_SQL = """
SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
       pg_catalog.current_setting('server_version'),
       pg_catalog.current_setting('server_encoding'),
       d.datname::pg_catalog.text,
       current_user::pg_catalog.text,
       pg_catalog.current_setting('is_superuser') = 'on',
       d.oid::pg_catalog.int8,
       pg_catalog.current_setting('max_locks_per_transaction')::pg_catalog.int4
         * (pg_catalog.current_setting('max_connections')::pg_catalog.int4
            + pg_catalog.current_setting('max_prepared_transactions')::pg_catalog.int4),
       pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_setting('integer_datetimes') = 'on',
       d.datcollate::pg_catalog.text,
       d.datctype::pg_catalog.text,
       ARRAY[{settings}]
  FROM pg_catalog.pg_database AS d
 WHERE d.datname = pg_catalog.current_database()
""".format(settings=", ".join(f"pg_catalog.current_setting('{name}')" for name in TELLING))

SYSTEM_IDENTIFIER_SQL = "SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()"

# In autocommit a local setting ends with its statement: it asks for the privilege and changes nothing.
TRY_REPLICA_ROLE_SQL = "SELECT pg_catalog.set_config('session_replication_role', 'replica', true)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """`identity` tells databases apart whatever their address; `max_locks` is the size of the lock table.

    `timezone` is the one that a session of ours gets before we set another; `settings` are those of TELLING.
    """

    version_num: int
    version: str
    capabilities: Capabilities
    encoding: str
    database: str
    user: str
    superuser: bool
    identity: str
    max_locks: int
    in_recovery: bool
    integer_datetimes: bool
    can_replica_role: bool
    timezone: str = ""
    collation: str = ""
    character_type: str = ""
    encrypted: bool = False  # our session to it, by TLS
    settings: tuple[tuple[str, str], ...] = ()
