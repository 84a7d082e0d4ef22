"""What is asked of a server to describe it and our place on it; all of it is known to 9.3, unless it says otherwise."""

from __future__ import annotations

CLOCK_SQL = "SELECT EXTRACT(epoch FROM pg_catalog.clock_timestamp())::pg_catalog.float8"

# Ours are set already: what the database, the role or the server would give a session is their reset value.
DEFAULTS_SQL = """
SELECT s.name::pg_catalog.text, s.reset_val
  FROM pg_catalog.pg_settings AS s
 WHERE s.name IN ('TimeZone', 'default_transaction_read_only')
"""

ROLE_SQL = """
SELECT r.rolsuper, r.rolreplication,
       pg_catalog.has_database_privilege(d.oid, 'CREATE'),
       pg_catalog.has_database_privilege(d.oid, 'TEMPORARY')
  FROM pg_catalog.pg_roles AS r, pg_catalog.pg_database AS d
 WHERE r.rolname = current_user AND d.datname = pg_catalog.current_database()
"""

BYPASS_SQL = "SELECT r.rolbypassrls FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user"  # 9.5

MEMBER_SQL = """
SELECT r.rolname::pg_catalog.text, pg_catalog.pg_has_role(r.oid, 'USAGE')
  FROM pg_catalog.pg_roles AS r
 WHERE r.rolname IN ('pg_read_all_data', 'pg_monitor')
"""

SCHEMAS_SQL = """
SELECT n.nspname::pg_catalog.text
  FROM pg_catalog.pg_namespace AS n
 WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
   AND pg_catalog.has_schema_privilege(n.oid, 'CREATE')
 ORDER BY 1
"""

TLS_SQL = """
SELECT s.version || ' ' || s.cipher
  FROM pg_catalog.pg_stat_ssl AS s
 WHERE s.pid = pg_catalog.pg_backend_pid() AND s.ssl
"""  # 9.5

COPY_OUT_SQL = "COPY (SELECT 1) TO STDOUT"
WRITING_SQL = "SET TRANSACTION READ WRITE"
TEMPORARY_SQL = "CREATE TEMPORARY TABLE pghaul_probe (n pg_catalog.int4) ON COMMIT DROP"
COPY_IN_SQL = "COPY pg_temp.pghaul_probe FROM STDIN"
COPIED = b"1\n"
