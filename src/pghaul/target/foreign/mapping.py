"""From what a source describes and a plan asks for to what shall be on the target: names, types, statements.

Nothing is left out in silence: what has no place is listed with its text, or is a finding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.foreign import ForeignDatabase
from pghaul.model.mapped import Made, MappedDatabase, MappedTable
from pghaul.model.plan import Plan
from pghaul.model.table import Name
from pghaul.model.text import listed, say
from pghaul.postgres.versions import Capabilities
from pghaul.target.foreign import ddl, enums, references, types, views
from pghaul.target.foreign.keys import Keys
from pghaul.target.foreign.naming import Naming, collisions
from pghaul.target.foreign.outcome import Outcome
from pghaul.target.foreign.tables import map_table


def map_database(
    database: ForeignDatabase,
    selected: Collection[Name],
    plan: Plan,
    *,
    refused: Mapping[str, str] | None = None,
    prefix: str = "",
    schemas: Mapping[str, str] | None = None,
    can: Capabilities | None = None,
) -> MappedDatabase:
    """What becomes of the selected tables, and in which order it is made.

    `findings` has errors where the plan cannot be followed: who runs it refuses them (model.finding.refuse).
    `refused` and `prefix` are the trial's (trial.py): what the server would not have, and where it is asked; `schemas`
    are those of the types of its extensions, which need not be named then. `can`: what its version has.
    """
    naming = Naming(database, plan, prefix)
    outcome = Outcome(refused=refused or {}, prefix=prefix, schemas=schemas or {}, can=can, left=list(database.others))
    names = set(selected)
    wanted = [t for t in database.tables if t.name in names]
    outcome.findings += [t.trouble for t in wanted if t.trouble is not None]
    chosen = [t for t in wanted if t.trouble is None]
    carried = [*(t.name for t in chosen), *(v.name for v in database.views)]
    for name in carried:
        naming.reserve(naming.relation(name))
    tables = enums.shared([map_table(t, naming, plan, database.dialect, outcome) for t in chosen])
    outcome.findings += _collisions(tables)
    outcome.findings += _unused_types(database, plan)
    outcome.findings += _without_case(tables)
    keys = [Keys(t, naming, database.dialect, outcome) for t in tables]
    after = _after(keys, outcome)
    if plan.mapping.views:
        after += views.make(database, tables, naming, outcome, whole=plan.whole)
    return MappedDatabase(
        database=database,
        tables=tuple(tables),
        before=tuple(_before(tables)),
        after=tuple(after),
        left=tuple(outcome.left),
        findings=tuple(outcome.findings),
    )


def _before(tables: Sequence[MappedTable]) -> Iterator[Made]:
    yield from map(ddl.schema, sorted({t.name.schema for t in tables}))
    for enum, uses in enums.used(tables).items():
        owners = {t for t, _ in uses}
        yield ddl.enumeration(enum, uses[0][1].source.values, owners.pop() if len(owners) == 1 else None)
    yield from map(ddl.table, tables)


def _after(keys: Sequence[Keys], outcome: Outcome) -> list[Made]:
    made = [m for key in keys for m in key.indexes()]
    made.sort(key=lambda m: ("primary", "unique", "index").index(m.kind))
    made += [m for key in keys for m in key.checks()]
    made += [m for key in keys for m in key.sequences()]
    made += references.make(keys, outcome)
    return made + [m for key in keys for m in key.comments()]


def _collisions(tables: Sequence[MappedTable]) -> Iterator[Finding]:
    """Two tables, or two columns of a table, that become one."""
    same: dict[str, list[str]] = defaultdict(list)
    for table in tables:
        same[str(table.name)].append(str(table.source.name).removeprefix("."))
    yield from collisions(same)
    for table in tables:
        columns: dict[str, list[str]] = defaultdict(list)
        for column in table.columns:
            columns[f"{table.name}.{column.name}"].append(column.source.name)
        yield from collisions(columns)


def _without_case(tables: Sequence[MappedTable]) -> Iterator[Finding]:
    """Keys that the source finds unique by a collation of its own, and the target by every byte."""
    found = []
    for table in tables:
        blind = {c.source.name for c in table.columns if types.sees_no_case(c.source, c.type)}
        keys = [i for i in table.source.indexes if i.unique and blind & set(i.columns)]
        found += [f"{table.name} ({', '.join(i.columns)})" for i in keys]
    if found:
        yield Finding(
            severity=Severity.NOTE,
            kind=Kind.COLLATION,
            object=found[0],
            what=say(
                "{n} unique keys see no case on the source, and see it here: {keys}", n=len(found), keys=listed(found)
            ),
            advice=say("where that matters, give the columns the type public.citext"),
            code=5390,
        )


def _unused_types(database: ForeignDatabase, plan: Plan) -> Iterator[Finding]:
    """A rule for a type that the source does not have is a slip, or a leftover."""
    known = {n for t in database.tables for c in t.columns for n in types.keys_of(c.native)}
    for native in plan.mapping.types:
        if types.normal(native) not in known:
            yield Finding(
                severity=Severity.WARNING,
                kind=Kind.TYPE,
                object=native,
                what=say("no column of the source has the type {native}, which [mapping] names", native=native),
                advice=say("`pghaul types {engine}` lists how types are spelled", engine=database.engine),
                code=7034,
            )
