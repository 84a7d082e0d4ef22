"""Which recipe a table is loaded by, and what that asks of the target: privileges, keys, silence, an encoding.

Everything here reads only; what cannot be is said by name before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from pghaul.engine import inserts, mapping
from pghaul.engine.insert_sql import POLICIES_APPLY
from pghaul.engine.inserts import Inserting
from pghaul.engine.mapping import Mapped
from pghaul.model.errors import PlanError
from pghaul.model.finding import Finding, Kind
from pghaul.model.plan import OnConflict, OnExisting, Plan, Recipe
from pghaul.model.table import Name, RelationKind, Table
from pghaul.model.text import say
from pghaul.postgres.server import Server
from pghaul.postgres.session import Session
from pghaul.postgres.versions import Capabilities

# A second byte of these may be a backslash or a brace: a SQL_ASCII server, which takes it for one, writes arrays wrong.
UNSAFE_IN_ARRAYS = frozenset(
    {"BIG5", "GB18030", "GBK", "JOHAB", "SJIS", "SHIFTJIS", "SHIFTJIS2004", "WIN932", "MSKANJI"}
)

# How a rule or trigger is switched on that fires for a replica too, as which we load.
ENABLED = {"A": "ALWAYS", "R": "REPLICA"}

_WANTED = """
JOIN (SELECT pg_catalog.unnest(%s::text[]) AS s, pg_catalog.unnest(%s::text[]) AS t) AS w
  ON w.s = n.nspname AND w.t = c.relname
"""
GUARDED = f"""
SELECT n.nspname::text, c.relname::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace {_WANTED}
WHERE pg_catalog.row_security_active(c.oid)
"""  # noqa: S608
# What INSERT and UPDATE set off and COPY does not: rules (2 and 3 are their events), triggers of UPDATE (16).
SET_OFF = f"""
SELECT n.nspname::text, c.relname::text, 'RULE', r.rulename::text, r.ev_enabled::text
FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace {_WANTED}
WHERE r.ev_type IN ('2', '3') AND r.ev_enabled <> 'D'
UNION ALL
SELECT n.nspname::text, c.relname::text, 'TRIGGER', t.tgname::text, t.tgenabled::text
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace {_WANTED}
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 16 <> 0
"""  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What the plan says for one table."""

    recipe: Recipe
    on_conflict: OnConflict

    @property
    def inserts(self) -> bool:
        """Is it loaded by INSERT?"""
        return self.recipe is Recipe.INSERT

    @property
    def meets(self) -> bool:
        """Are rows expected that are there already?"""
        return self.on_conflict is not OnConflict.ERROR


def chosen_for(plan: Plan, tables: Mapping[Name, Table], mapped: Mapped) -> dict[Name, Chosen]:
    """By the target's names. PlanError where a selection contradicts the options."""
    sources = mapped.sources
    return {n: chosen(plan, tables, sources.get(n, n)) for n in mapped.shapes}


def choices(
    plan: Plan, tables: Mapping[Name, Table], mapped: Mapped, how: Mapping[Name, Chosen]
) -> dict[Name, OnExisting]:
    """What shall become of rows that are there, by the target's names."""
    sources = mapped.sources
    return {
        n: OnExisting.APPEND if how[n].meets else mapping.on_existing(plan, tables, sources.get(n, n))
        for n in mapped.shapes
    }


def chosen(plan: Plan, tables: Mapping[Name, Table], name: Name) -> Chosen:
    """What is said of a source's table. PlanError where its selection contradicts the options."""
    recipe = mapping.said(plan, tables, name, "recipe") or plan.options.recipe
    said = mapping.said(plan, tables, name, "on_conflict") or plan.options.on_conflict
    conflict = said if recipe is Recipe.INSERT else OnConflict.ERROR
    existing = mapping.said(plan, tables, name, "on_existing")
    if conflict is not OnConflict.ERROR and existing not in {None, OnExisting.APPEND}:
        raise PlanError(
            say(
                "{table}: on_conflict = {conflict} goes with on_existing = append only",
                table=str(name),
                conflict=conflict.value,
            ),
            where="on_conflict",
            code=1144,
        )
    return Chosen(recipe=recipe, on_conflict=conflict)


def guarded(session: Session, tables: Iterable[Table]) -> set[Name]:
    """Tables on which row security applies to our role."""
    names = [t.name for t in tables if t.row_security]
    if not names:
        return set()
    return {Name(s, t) for s, t in session.rows(GUARDED, ([n.schema for n in names], [n.name for n in names]))}


@contextmanager
def policies_applied(session: Session, tables: set[Name]) -> Iterator[None]:
    """Look at these tables as a load by INSERT does; elsewhere a policy is an error rather than rows left out."""
    if not tables:
        yield
        return
    with session.transaction():
        session.execute(POLICIES_APPLY)
        yield


def findings(how: Chosen, shape: Table, table: Table, can: Capabilities, *, guarded: bool) -> Iterator[Finding]:
    """Why a table of the target cannot be loaded in this way; `shape` has the columns that are carried."""
    if guarded and not how.inserts:
        yield Finding(
            kind=Kind.ROW_SECURITY,
            object=str(table.name),
            what=say(
                "row security applies on the target's {table}, and COPY cannot load it then", table=str(table.name)
            ),
            where=say("target"),
            advice=say("use --recipe insert, or a role that may bypass row security"),
            code=5136,
        )
    if how.meets and table.kind is RelationKind.TABLE and not _can_conflict(how, shape, table, can):
        yield Finding(
            kind=Kind.SHAPE,
            object=str(table.name),
            what=say(
                "the target's {table} has no key among the columns that are carried, so no row can conflict",
                table=str(table.name),
            ),
            where=say("target"),
            advice=say("give it a primary key, or a unique constraint over NOT NULL columns that is not deferrable"),
            code=5835,
        )


def _can_conflict(how: Chosen, shape: Table, table: Table, can: Capabilities) -> bool:
    carried = {c.name for c in shape.copied_columns}
    if any(carried.issuperset(k) for k in inserts.arbiters(table)):
        return True
    return how.on_conflict is OnConflict.IGNORE and can.on_conflict and any(i.unique for i in table.indexes)


def encoding_findings(source: Server, plan: Plan, choices: Iterable[Chosen]) -> Iterator[Finding]:
    """Bytes that a SQL_ASCII source cannot put into an array unharmed."""
    encoding = plan.options.source_encoding
    if source.encoding != "SQL_ASCII" or not encoding or not any(c.inserts for c in choices):
        return
    if "".join(c for c in encoding.upper() if c.isalnum()) in UNSAFE_IN_ARRAYS:
        yield Finding(
            kind=Kind.ENCODING,
            object=encoding,
            what=say(
                "the recipe insert cannot read {encoding} from a SQL_ASCII database: some of its characters hold a "
                "backslash or a brace as their second byte",
                encoding=encoding,
            ),
            where=say("source"),
            advice=say("use --recipe copy"),
            code=5341,
        )


def disposition(found: str, how: Chosen, *, may_truncate: bool, guarded: bool) -> str:
    """An empty table that may not be emptied again, or need not be, is added to."""
    if how.inserts and found == "empty" and (how.meets or guarded or not may_truncate):
        return "append"
    return found


def privileges(how: Chosen, disposition: str, can: Capabilities) -> set[str]:
    """What the load asks of our role, and no more."""
    needed = {"INSERT", "SELECT", "USAGE on its schema"}
    if disposition != "append":
        needed.add("TRUNCATE")
    if how.on_conflict is OnConflict.UPDATE or (how.meets and not can.on_conflict):  # the latter: to lock it
        needed.add("UPDATE")
    return needed


def set_off(session: Session, names: Iterable[Name], how: Mapping[Name, Chosen]) -> tuple[set[Name], list[Finding]]:
    """Tables whose rules, or triggers of UPDATE, a load by INSERT would set off; and those that nothing can silence."""
    ours = [n for n in names if how[n].inserts]
    if not ours:
        return set(), []
    wanted = ([n.schema for n in ours], [n.name for n in ours])
    found, loud = set(), []
    for schema, table, kind, what, mode in session.rows(SET_OFF, wanted + wanted):
        name = Name(schema, table)
        if kind == "TRIGGER" and how[name].on_conflict is not OnConflict.UPDATE:
            continue
        found.add(name)
        if mode in ENABLED:
            loud.append(_loud(name, kind, what, ENABLED[mode]))
    return found, loud


def _loud(name: Name, kind: str, what: str, mode: str) -> Finding:
    return Finding(
        kind=Kind.TRIGGER,
        object=f"{name}.{what}",
        what=say(
            "the {kind} {name} of the target's {table} is ENABLE {mode}: a load would set it off",
            kind=kind.lower(),
            name=what,
            table=str(name),
            mode=mode,
        ),
        where=say("target"),
        advice=say("for the load: ALTER TABLE {table} DISABLE {kind} {name}", table=str(name), kind=kind, name=what),
        code=5342,
    )


def inserting(
    how: Chosen, disposition: str, source: Capabilities, target: Capabilities, *, guarded: bool
) -> Inserting | None:
    """For the table's jobs. In a table that the run creates nothing can conflict: its keys come after the rows."""
    if not how.inserts:
        return None
    conflict = OnConflict.ERROR if disposition == "created" else how.on_conflict
    return Inserting(on_conflict=conflict, source=source, target=target, policies=guarded)
