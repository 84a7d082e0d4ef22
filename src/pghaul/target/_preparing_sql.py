"""What `target prepare` asks a server before it makes anything. SQL of 9.3, but where a capability stands before it."""

from __future__ import annotations

from psycopg.sql import SQL

ROLE = "SELECT r.rolcanlogin FROM pg_catalog.pg_roles AS r WHERE r.rolname = %s"
IS_MEMBER = "SELECT pg_catalog.pg_has_role(%s, %s)"  # the role, MEMBER or SET
DATABASE = """
SELECT pg_catalog.pg_get_userbyid(d.datdba)::text, pg_catalog.pg_encoding_to_char(d.encoding)::text,
       d.datcollate::text, d.datctype::text
  FROM pg_catalog.pg_database AS d WHERE d.datname = %s
"""
IN_DATABASE = """
SELECT pg_catalog.has_database_privilege(%s::name, d.oid, 'CONNECT'),
       pg_catalog.has_database_privilege(%s::name, d.oid, 'CREATE')
  FROM pg_catalog.pg_database AS d WHERE d.datname = %s
"""
SCHEMA = """
SELECT pg_catalog.pg_get_userbyid(n.nspowner)::text,
       pg_catalog.has_schema_privilege(%s::name, n.oid, 'USAGE'),
       pg_catalog.has_schema_privilege(%s::name, n.oid, 'CREATE')
  FROM pg_catalog.pg_namespace AS n WHERE n.nspname = %s
"""
EXTENSION = "SELECT e.extversion FROM pg_catalog.pg_extension AS e WHERE e.extname = %s"
# Its own schema, where it will have no other.
AVAILABLE = """
SELECT v.schema::text FROM pg_catalog.pg_available_extensions AS a
  LEFT JOIN pg_catalog.pg_available_extension_versions AS v ON v.name = a.name AND v.version = a.default_version
 WHERE a.name = %s
"""

CREATE_ROLE = SQL("CREATE ROLE {role} LOGIN")
WITH_PASSWORD = SQL(" PASSWORD {verifier}")
JOIN_ROLE = SQL("GRANT {role} TO {me}")
CREATE_DATABASE = SQL("CREATE DATABASE {database}")
OWNER = SQL(" OWNER {owner}")
TEMPLATE = SQL(" TEMPLATE template0")
ENCODING = SQL(" ENCODING {encoding}")
LOCALE = SQL(" LC_COLLATE {collation} LC_CTYPE {ctype}")
GRANT_DATABASE = SQL("GRANT CONNECT, CREATE ON DATABASE {database} TO {owner}")
CREATE_SCHEMA = SQL("CREATE SCHEMA IF NOT EXISTS {schema}")
AUTHORIZATION = SQL(" AUTHORIZATION {owner}")
GRANT_SCHEMA = SQL("GRANT USAGE, CREATE ON SCHEMA {schema} TO {owner}")
CREATE_EXTENSION = SQL("CREATE EXTENSION IF NOT EXISTS {extension}")
INTO_SCHEMA = SQL(" SCHEMA {schema}")
