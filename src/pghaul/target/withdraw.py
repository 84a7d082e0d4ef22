"""What a resume takes away again before it loads: triggers, rules and row security that the killed attempt had already
put on the run's own tables.

They would act on rows that are copied again, and some cannot be silenced (ENABLE ALWAYS). The end of the run makes
them anew. Only what the ledger says is the run's own is touched.
"""

from __future__ import annotations

from collections.abc import Collection

from psycopg import sql

from pghaul.postgres.session import Session
from pghaul.target.closure import PG_EVENT_TRIGGER, PG_REWRITE, PG_TRIGGER, ROW_SECURITY, Thing, unquoted
from pghaul.target.scope import Scope, key_text

ACTING = (PG_TRIGGER, PG_REWRITE, ROW_SECURITY, PG_EVENT_TRIGGER)

TRIGGERS = """
SELECT t.tgname::text, n.nspname::text, c.relname::text,
       (pg_catalog.pg_identify_object(2620, t.oid, 0)).identity
  FROM pg_catalog.pg_trigger AS t
  JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE NOT t.tgisinternal AND c.relkind <> 'v'
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = 2620 AND d.objid = t.oid AND d.refclassid = 2620)
"""
RULES = """
SELECT r.rulename::text, n.nspname::text, c.relname::text,
       (pg_catalog.pg_identify_object(2618, r.oid, 0)).identity
  FROM pg_catalog.pg_rewrite AS r
  JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE r.oid >= 16384 AND r.rulename <> '_RETURN' AND c.relkind <> 'v'
"""
EVENT_TRIGGERS = "SELECT e.evtname::text FROM pg_catalog.pg_event_trigger AS e"
SECURED = """
SELECT n.nspname::text, c.relname::text
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relrowsecurity
"""


def acting(target: Session, scope: Scope, ours: Collection[str]) -> None:
    """In one transaction; nothing happens where there is nothing."""
    mine = {t.key: t for t in scope.things if t.tableoid in ACTING and key_text(t.key) in ours}
    if not mine:
        return
    with target.transaction():
        for name, schema, relation, identity in target.rows(TRIGGERS):
            if (PG_TRIGGER, unquoted(identity)) in mine:
                _drop(target, "TRIGGER", name, schema, relation)
        for name, schema, relation, identity in target.rows(RULES):
            if (PG_REWRITE, unquoted(identity)) in mine:
                _drop(target, "RULE", name, schema, relation)
        _switch_off_the_rest(target, mine.values())


def _switch_off_the_rest(target: Session, things: Collection[Thing]) -> None:
    events = {unquoted(t.identity) for t in things if t.tableoid == PG_EVENT_TRIGGER}
    for (name,) in target.rows(EVENT_TRIGGERS) if events else []:
        if unquoted(name) in events:
            target.execute(sql.SQL("DROP EVENT TRIGGER {}").format(sql.Identifier(name)))
    tables = {t.name for t in things if t.tableoid == ROW_SECURITY}
    known = target.server.capabilities.row_security
    for schema, relation in target.rows(SECURED) if tables and known else []:
        if any(t and (t.schema, t.name) == (schema, relation) for t in tables):
            target.execute(
                sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(sql.Identifier(schema, relation))
            )


def _drop(target: Session, kind: str, name: str, schema: str, relation: str) -> None:
    target.execute(
        sql.SQL("DROP {} {} ON {}").format(sql.SQL(kind), sql.Identifier(name), sql.Identifier(schema, relation))
    )
