"""What our roles may do: on the target's tables and schemas, and to its triggers. All that lacks, not the first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pghaul.model.finding import Finding, Kind, refuse
from pghaul.model.table import Name, Table
from pghaul.model.text import joined, say
from pghaul.postgres.session import Session

PRIVILEGES = """
SELECT n.nspname, c.relname,
       pg_catalog.has_table_privilege(c.oid, 'INSERT'), pg_catalog.has_table_privilege(c.oid, 'TRUNCATE'),
       pg_catalog.has_table_privilege(c.oid, 'SELECT'), pg_catalog.has_table_privilege(c.oid, 'UPDATE'),
       pg_catalog.has_schema_privilege(n.oid, 'USAGE')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN (SELECT pg_catalog.unnest(%s::text[]) AS s, pg_catalog.unnest(%s::text[]) AS t) AS w
  ON w.s = n.nspname AND w.t = c.relname
ORDER BY 1, 2
"""
USAGE = "USAGE on its schema"
KINDS = ("INSERT", "TRUNCATE", "SELECT", "UPDATE", USAGE)
SCHEMAS = """
SELECT nspname::text, pg_catalog.has_schema_privilege(oid, 'CREATE')
FROM pg_catalog.pg_namespace WHERE nspname = ANY(%s) ORDER BY 1
"""
MAY_CREATE_SCHEMAS = "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')"

LOUD_TRIGGERS = """
SELECT n.nspname, c.relname, t.tgname, CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' ELSE 'REPLICA' END
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN (SELECT pg_catalog.unnest(%s::text[]) AS s, pg_catalog.unnest(%s::text[]) AS t) AS w
  ON w.s = n.nspname AND w.t = c.relname
WHERE NOT t.tgisinternal AND t.tgenabled IN ('A', 'R') AND t.tgtype & 36 <> 0  -- INSERT or TRUNCATE
ORDER BY 1, 2, 3
"""


def held(session: Session, names: Sequence[Name]) -> dict[Name, set[str]]:
    """What our role holds on tables that are there."""
    rows = session.rows(PRIVILEGES, ([n.schema for n in names], [n.name for n in names]))
    return {Name(s, t): {kind for kind, has in zip(KINDS, may, strict=True) if has} for s, t, *may in rows}


def may_write(session: Session, lacking: Mapping[Name, set[str]]) -> Iterator[Finding]:
    """What the role lacks on tables that are there, one finding for each table."""
    for name, kinds in lacking.items():
        if not kinds:
            continue
        words = sorted(kinds, key=KINDS.index)
        granted = ", ".join(w for w in words if w != USAGE) or "USAGE"
        yield Finding(
            kind=Kind.PRIVILEGE,
            object=str(name),
            what=say(
                "role {role} lacks {privileges} on the target's {table}",
                role=session.server.user,
                privileges=joined(", ", [say("USAGE on its schema") if w == USAGE else w for w in words]),
                table=str(name),
            ),
            where=session.server.database,
            advice=say("GRANT {privileges} … TO {role}", privileges=granted, role=session.server.user),
            code=5132,
        )


def may_create(session: Session, missing: Sequence[Table]) -> Iterator[Finding]:
    """Schemas in which the role may not create, and schemas that are missing and that it may not create."""
    user, database = session.server.user, session.server.database
    schemas = sorted({t.name.schema for t in missing})
    there = dict(session.rows(SCHEMAS, (schemas,)))
    absent = [s for s in schemas if s not in there]
    if absent and not session.value(MAY_CREATE_SCHEMAS):
        for schema in absent:
            yield Finding(
                kind=Kind.PRIVILEGE,
                object=schema,
                what=say("role {role} may not create the schema {schema}", role=user, schema=schema),
                where=database,
                advice=say("GRANT CREATE ON DATABASE {database} TO {role}", database=database, role=user),
                code=5133,
            )
    for schema in (s for s, may in there.items() if not may):
        yield Finding(
            kind=Kind.PRIVILEGE,
            object=schema,
            what=say("role {role} may not create tables in schema {schema}", role=user, schema=schema),
            where=database,
            advice=say("GRANT CREATE ON SCHEMA {schema} TO {role}", schema=schema, role=user),
            code=5134,
        )


def noisy(tables: Iterable[Table]) -> set[Name]:
    """Tables whose triggers would fire."""
    return {t.name for t in tables if t.row_triggers}


def can_silence_triggers(session: Session, tables: Iterable[Table], others: set[Name]) -> set[Name]:
    """Tables whose triggers would fire, and `others` for which we have to be as quiet.

    Raises AccessError, NotSupportedError where they cannot be kept quiet.
    """
    found = noisy(tables) | others
    refuse(loud_triggers(session, sorted(found)))
    return found


def loud_triggers(session: Session, noisy: Sequence[Name]) -> Iterator[Finding]:
    """Triggers that cannot be kept quiet: the role may not, or they are made for a replica, as which we load."""
    if noisy and not session.server.can_replica_role:
        for name in noisy:
            yield Finding(
                kind=Kind.PRIVILEGE,
                object=str(name),
                what=say(
                    "{table} has triggers that a load would fire, and role {role} may not switch them off",
                    table=str(name),
                    role=session.server.user,
                ),
                where=say("target"),
                advice=say(
                    "use a superuser (or, from PostgreSQL 15, GRANT SET ON PARAMETER session_replication_role), or "
                    "drop the triggers for the load"
                ),
                code=5135,
            )
        return
    for schema, table, trigger, mode in session.rows(
        LOUD_TRIGGERS, ([n.schema for n in noisy], [n.name for n in noisy])
    ):
        name = Name(schema, table)
        yield Finding(
            kind=Kind.TRIGGER,
            object=f"{name}.{trigger}",
            what=say(
                "the trigger {trigger} of the target's {table} is ENABLE {mode}: a load would fire it",
                trigger=trigger,
                table=str(name),
                mode=mode,
            ),
            where=say("target"),
            advice=say("for the load: ALTER TABLE {table} DISABLE TRIGGER {trigger}", table=str(name), trigger=trigger),
            code=5343,
        )
