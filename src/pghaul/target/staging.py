"""Staging tables: where the rows of a merge wait on the target. One page knows their names, so that none is left over.

A name carries the run that it belongs to. A run's leader holds an advisory lock as long as it lives; what belongs to a
run without a leader is an orphan, and the next run drops it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence

from psycopg.sql import SQL, Identifier

from pghaul.model.errors import AccessError, MergeError, ServerBusyError
from pghaul.model.table import Name
from pghaul.model.text import say
from pghaul.postgres.session import Session
from pghaul.target import merge_target
from pghaul.target.merge_target import Column, quoted

SCHEMA = "pghaul"
NAME = re.compile(r"stage_([0-9a-zA-Z-]+)_[0-9]+")

MAY_CREATE = """
SELECT n.oid IS NOT NULL,
       CASE WHEN n.oid IS NULL
            THEN pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
            ELSE pg_catalog.has_schema_privilege(n.oid, 'CREATE') END
  FROM (SELECT 'pghaul'::pg_catalog.name AS wanted) AS w
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.wanted
"""
CREATE_SCHEMA = "CREATE SCHEMA pghaul"
# Nothing of it outlives the run, so neither the log nor autovacuum has to know it.
CREATE = SQL("CREATE UNLOGGED TABLE {name} ({columns}) WITH (autovacuum_enabled = false)")
DROP = SQL("DROP TABLE IF EXISTS {names}")
COUNT = SQL("SELECT pg_catalog.count(*) FROM {name}")
FOUND = """
SELECT c.relname::text FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = 'pghaul' AND c.relkind = 'r' AND pg_catalog.left(c.relname::text, 6) = 'stage_' ORDER BY 1
"""
LED = """
SELECT r.run FROM (SELECT pg_catalog.unnest(%s::text[]) AS run) AS r
 WHERE EXISTS (
    SELECT 1 FROM pg_catalog.pg_locks AS l WHERE l.locktype = 'advisory' AND l.classid = 28519 AND l.granted
       AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
       AND l.objid::int8 = pg_catalog.hashtext('pghaul run ' || r.run)::int8 & 4294967295)
"""
PATIENCE = "SET LOCAL lock_timeout = '2s'"  # a dead run's COPY may still hold its table; the next sweep finds it


def name_for(run: str, number: int) -> Name:
    """The staging table of a run's table with this number."""
    return Name(SCHEMA, f"stage_{run}_{number}")


def columns_of(session: Session, target: Name, columns: Sequence[str]) -> list[tuple[str, str]]:
    """What `create` takes, so that a staged value is what the target would hold: types with their modifiers, and
    collations. Raises MergeError for a column that the target lacks.
    """
    return declared(target, merge_target.columns(session, target), columns)


def declared(target: Name, known: Iterable[Column], columns: Sequence[str]) -> list[tuple[str, str]]:
    """The same of a target that has been looked at."""
    there = {c.name: c for c in known}
    missing = [c for c in columns if c not in there]
    if missing:
        raise merge_target.no_column(target, missing)
    return [(c, there[c].declared) for c in columns]


def create(session: Session, name: Name, columns: Sequence[tuple[str, str]]) -> None:
    """(name, type) of each column; a type is SQL, e.g. 'numeric(10,2)' or 'text COLLATE "C"'. See `columns_of`.

    One of the same name is replaced. Raises MergeError where the role may not create it.
    """
    there = check_may_create(session)
    words = [SQL("{} {}").format(Identifier(n), SQL(t)) for n, t in columns]
    with session.transaction():
        if not there:
            session.execute(CREATE_SCHEMA)
        drop(session, [name])
        session.execute(CREATE.format(name=quoted(name), columns=SQL(", ").join(words)))


def check_may_create(session: Session) -> bool:
    """Before any row is read: may the role create tables in schema pghaul? Whether the schema is there already."""
    there, may = session.rows(MAY_CREATE)[0]
    if may:
        return bool(there)
    role, database = session.server.user, session.server.database
    raise MergeError(
        say("role {role} may not create staging tables in the target's schema pghaul", role=role),
        where=database,
        advice=say(
            "GRANT CREATE ON SCHEMA pghaul TO {role}; where there is no such schema yet, CREATE SCHEMA pghaul "
            "AUTHORIZATION {role}",
            role=role,
        ),
        code=6601,
    )


def count(session: Session, name: Name) -> int:
    """How many rows it holds: none after a crash of the server, as it is UNLOGGED."""
    return int(session.value(COUNT.format(name=quoted(name))))


def drop(session: Session, names: Iterable[Name]) -> None:
    """Those that are there."""
    known = [quoted(n) for n in names]
    if known:
        session.execute(DROP.format(names=SQL(", ").join(known)))


def sweep(session: Session, own_run: str | None) -> list[Name]:
    """Drop what is left of runs that nobody leads, and of `own_run`; which ones these were.

    One that is still locked (the backend of a killed process is at work) or belongs to another role is left for later.
    """
    found = [n for (n,) in session.rows(FOUND)]
    runs = {n: match[1] for n in found if (match := NAME.fullmatch(n))}
    led = led_of(session, runs.values())
    dropped = []
    for name, run in runs.items():
        if run in led and run != own_run:
            continue
        with contextlib.suppress(ServerBusyError, AccessError), session.transaction():
            session.execute(PATIENCE)
            drop(session, [Name(SCHEMA, name)])
            dropped.append(Name(SCHEMA, name))
    return dropped


def led_of(session: Session, runs: Iterable[str]) -> set[str]:
    """Those of these runs that somebody leads."""
    wanted = sorted(set(runs))
    return {run for (run,) in session.rows(LED, (wanted,))} if wanted else set()
