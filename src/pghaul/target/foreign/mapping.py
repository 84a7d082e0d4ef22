"""From what a source describes and a plan asks for to what shall be on the target: names, types, statements.

Nothing is left out in silence: what has no place is listed with its text, or is a finding.
"""

from __future__ import annotations

from collections.abc import Collection

from pghaul.model.finding import Finding
from pghaul.model.foreign import ForeignDatabase
from pghaul.model.mapped import Made, MappedDatabase, MappedTable
from pghaul.model.plan import Plan
from pghaul.model.table import Name, Unsupported
from pghaul.target.foreign import ddl
from pghaul.target.foreign.naming import Naming
from pghaul.target.foreign.tables import map_table


def map_database(database: ForeignDatabase, selected: Collection[Name], plan: Plan) -> MappedDatabase:
    """What becomes of the selected tables, and in which order it is made.

    `findings` has errors where the plan cannot be followed: who runs it refuses them (model.finding.refuse).
    """
    naming = Naming(database, plan)
    findings: list[Finding] = []
    tables = [map_table(t, naming, plan, findings) for t in database.tables if t.name in set(selected)]
    findings += naming.collisions(tables)
    return MappedDatabase(
        database=database,
        tables=tuple(tables),
        before=tuple(_before(tables)),
        after=tuple(_after(tables)),
        left=tuple(Unsupported(kind=o.kind, name=o.name, why=o.why) for o in database.others),
        findings=tuple(findings),
    )


def _before(tables: Collection[MappedTable]) -> list[Made]:
    schemas = sorted({t.name.schema for t in tables})
    return [*map(ddl.schema, schemas), *map(ddl.table, tables)]


def _after(tables: Collection[MappedTable]) -> list[Made]:
    made = []
    for table in tables:
        key = table.source.primary
        columns = [table.named(c) for c in key.columns] if key else []
        if columns and None not in columns:
            made.append(ddl.primary(table.name, f"{table.name.name}_pkey", [c for c in columns if c]))
    return made
