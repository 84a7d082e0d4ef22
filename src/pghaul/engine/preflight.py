"""Looks before the first write: what the target holds, what the role may do, and what each table's fate will be.

Everything here reads only. What is wrong is raised by name, with what to do, while nothing on the target has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from pghaul.engine import statements
from pghaul.model.errors import (
    AccessError,
    NotFoundError,
    NotSupportedError,
    PlanError,
    ShapeChangedError,
    TargetNotEmptyError,
)
from pghaul.model.plan import OnExisting, Plan
from pghaul.model.table import Name, RelationKind, Table
from pghaul.postgres.session import Session

BATCH = 200  # tables per UNION ALL: 10,000 leaves in 50 statements
PRIVILEGES = """
SELECT n.nspname, c.relname,
       pg_catalog.has_table_privilege(c.oid, 'INSERT'), pg_catalog.has_table_privilege(c.oid, 'TRUNCATE'),
       pg_catalog.has_table_privilege(c.oid, 'SELECT'), pg_catalog.has_schema_privilege(n.oid, 'USAGE')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN (SELECT pg_catalog.unnest(%s::text[]) AS s, pg_catalog.unnest(%s::text[]) AS t) AS w
  ON w.s = n.nspname AND w.t = c.relname
"""
SCHEMAS = "SELECT nspname::text FROM pg_catalog.pg_namespace WHERE nspname = ANY(%s)"
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

Ask = Callable[[Name, int | None], OnExisting]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of each selected table: `dispositions` by name, `missing` are to be created."""

    dispositions: Mapping[Name, str]
    missing: tuple[Table, ...]


def decide(
    plan: Plan,
    source: Mapping[Name, Table],
    target: Mapping[Name, Table],
    session: Session,
    ask: Ask | None,
    choice: Callable[[Name], OnExisting],
) -> Fate:
    """Every table's disposition. Raises TargetNotEmptyError, NotFoundError, AccessError, NotSupportedError.

    `source` are the shapes that the target's relations should have, by their names there.
    """
    missing = tuple(t for n, t in source.items() if n not in target)
    if missing and not plan.options.create:
        raise NotFoundError(
            f"the target has no table {missing[0].name}",
            where="target",
            advice="create it, or drop --no-create",
        )
    _can_hold(missing, session)
    present = [n for n in source if n in target]
    for name in present:
        check_shape(source[name], target[name])
    filled = rows_present(session, [n for n in present if target[n].kind is RelationKind.TABLE])
    found = {t.name: "created" for t in missing}
    for name in present:
        found[name] = _disposition(name, choice(name), target[name], filled=name in filled, ask=ask)
    _may_write(session, {n: d for n, d in found.items() if d not in {"created", "skip"}})
    return Fate(dispositions=found, missing=missing)


def _disposition(name: Name, choice: OnExisting, table: Table, *, filled: bool, ask: Ask | None) -> str:
    if not filled:
        return "empty"
    if choice is OnExisting.ASK:
        if ask is None:
            raise PlanError(
                f"{name} has rows on the target, and there is nobody to ask",
                advice="say it with --on-existing truncate | append | skip | fail",
            )
        choice = ask(name, table.rows)
    if choice is OnExisting.FAIL:
        raise TargetNotEmptyError(
            f"{name} has rows on the target",
            advice="choose what to do with them: --on-existing truncate | append | skip",
        )
    return choice.value


def check_shape(source: Table, target: Table) -> None:
    """Raise ShapeChangedError where a column that is copied has no place on the target."""
    there = {c.name: c for c in target.columns}
    for column in source.copied_columns:
        if column.name not in there:
            raise ShapeChangedError(
                f"the target's {target.name} has no column {column.name}",
                advice=f"add it ({column.type}), or drop the table to have it created",
            )
        if there[column.name].generated:
            raise ShapeChangedError(f"the target's column {target.name}.{column.name} is generated: it takes no values")


def rows_present(session: Session, names: Sequence[Name]) -> set[Name]:
    """Which of these relations hold a row of their own."""
    found: set[Name] = set()
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        query = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {}::int4, EXISTS (SELECT 1 FROM ONLY {})").format(sql.Literal(i), statements.identifier(n))
            for i, n in enumerate(batch)
        )
        found |= {batch[i] for i, full in session.rows(query) if full}
    return found


def _may_write(session: Session, found: Mapping[Name, str]) -> None:
    names = list(found)
    rows = session.rows(PRIVILEGES, ([n.schema for n in names], [n.name for n in names]))
    for schema, table, insert, truncate, select, usage in rows:
        name = Name(schema, table)
        needed = {"INSERT": insert, "SELECT": select, "USAGE on its schema": usage}
        if found[name] != "append":
            needed["TRUNCATE"] = truncate
        lacking = [p for p, has in needed.items() if not has]
        if lacking:
            raise AccessError(
                f"role {session.server.user} lacks {', '.join(lacking)} on the target's {name}",
                where=session.server.database,
                advice=f"GRANT {', '.join(p for p in lacking if ' ' not in p) or 'USAGE'} … TO {session.server.user}",
            )


def _can_hold(missing: Iterable[Table], session: Session) -> None:
    can = session.server.capabilities
    for table in missing:
        lacks = None
        if table.kind is RelationKind.PARTITIONED and not can.declarative_partitions:
            lacks = "declarative partitions"
        elif any(c.identity for c in table.columns) and not can.identity:
            lacks = "identity columns"
        elif any(c.generated for c in table.columns) and not can.generated_columns:
            lacks = "generated columns"
        if lacks:
            raise NotSupportedError(
                f"{table.name} needs {lacks}, which PostgreSQL {session.server.version} does not have",
                where="target",
                advice="create the table on the target in a form that it knows, then run again",
            )


def may_create(session: Session, missing: Sequence[Table]) -> None:
    """Raise AccessError where the role may not create in a schema, nor a schema that is missing."""
    schemas = sorted({t.name.schema for t in missing})
    there = {name for (name,) in session.rows(SCHEMAS, (schemas,))}
    absent = [s for s in schemas if s not in there]
    if absent and not session.value(MAY_CREATE_SCHEMAS):
        raise AccessError(
            f"role {session.server.user} may not create the schema {absent[0]}",
            where=session.server.database,
            advice=f"GRANT CREATE ON DATABASE {session.server.database} TO {session.server.user}",
        )
    rows = session.rows(
        "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname = ANY(%s) "
        "AND NOT pg_catalog.has_schema_privilege(oid, 'CREATE')",
        (schemas,),
    )
    if rows:
        raise AccessError(
            f"role {session.server.user} may not create tables in schema {rows[0][0]}",
            where=session.server.database,
            advice=f"GRANT CREATE ON SCHEMA {rows[0][0]} TO {session.server.user}",
        )


def can_silence_triggers(session: Session, tables: Iterable[Table]) -> set[Name]:
    """Tables whose triggers would fire; raises AccessError where they cannot be kept quiet."""
    noisy = [t.name for t in tables if t.row_triggers]
    if noisy and not session.server.can_replica_role:
        raise AccessError(
            f"{noisy[0]} has triggers that a load would fire, and role {session.server.user} may not switch them off",
            where="target",
            advice="use a superuser (or, from PostgreSQL 15, GRANT SET ON PARAMETER session_replication_role), "
            "or drop the triggers for the load",
        )
    _refuse_unsilenceable(session, noisy)
    return set(noisy)


def _refuse_unsilenceable(session: Session, noisy: Sequence[Name]) -> None:
    """Where ordinary triggers are kept quiet as on a replica, those made for a replica fire."""
    found = session.rows(LOUD_TRIGGERS, ([n.schema for n in noisy], [n.name for n in noisy]))
    for schema, table, trigger, mode in found:
        name = Name(schema, table)
        raise NotSupportedError(
            f"the trigger {trigger} of the target's {name} is ENABLE {mode}: a load would fire it",
            where="target",
            advice=f"for the load: ALTER TABLE {name} DISABLE TRIGGER {trigger}",
        )
