"""What of a whole database stays behind, whatever the run does: named, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator

from pghaul.model.table import Unsupported
from pghaul.model.text import say, saying
from pghaul.postgres.session import Session

SUBSCRIPTIONS = """
SELECT s.subname::text FROM pg_catalog.pg_subscription AS s
 WHERE s.subdbid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
 ORDER BY 1
"""
MAPPINGS = "SELECT m.usename::text, m.srvname::text FROM pg_catalog.pg_user_mappings AS m ORDER BY 2, 1"
SETTINGS = """
SELECT coalesce(r.rolname::text, ''), c.setting
  FROM (SELECT s.setrole, s.setdatabase, pg_catalog.unnest(s.setconfig) AS setting
          FROM pg_catalog.pg_db_role_setting AS s) AS c
  LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = c.setrole
 WHERE c.setdatabase = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
 ORDER BY 1, 2
"""
# pg_dump would copy these rows of extensions' own tables.
CONFIGURED = """
SELECT x.extname::text, c.oid::pg_catalog.regclass::text
  FROM (SELECT e.extname, pg_catalog.unnest(e.extconfig) AS relation FROM pg_catalog.pg_extension AS e) AS x
  JOIN pg_catalog.pg_class AS c ON c.oid = x.relation AND c.relkind = 'r' AND c.relpages > 0
 ORDER BY 1, 2
"""

NEVER = say("it would begin to receive rows at once; create it on the target when the source's is disabled")
MAPPING = say("it may hold a password; create it on the target")
SETTING = saying("settings of a database are not carried; on the target: ALTER {whose} SET {setting}")
ROWS = saying("rows of the extension {extension} are its own; they are not copied")


def left(source: Session) -> Iterator[Unsupported]:
    """One record each."""
    if source.server.capabilities.publications:
        for (name,) in source.rows(SUBSCRIPTIONS):
            yield Unsupported(kind="SUBSCRIPTION", name=name, why=NEVER)
    for user, server in source.rows(MAPPINGS):
        yield Unsupported(kind="USER MAPPING", name=say("{user} at {server}", user=user, server=server), why=MAPPING)
    for role, setting in source.rows(SETTINGS):
        name, _, value = setting.partition("=")
        whose = f"ROLE {role} IN DATABASE …" if role else "DATABASE …"
        yield Unsupported(kind="SETTING", name=name, why=SETTING.format(whose=whose, setting=f"{name} = {value}"))
    for extension, table in source.rows(CONFIGURED):
        yield Unsupported(kind="EXTENSION TABLE", name=table, why=ROWS.format(extension=extension))
