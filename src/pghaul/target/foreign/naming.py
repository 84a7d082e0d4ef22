"""Which name everything gets on the target, and what cannot have the one it should."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.foreign import ForeignDatabase
from pghaul.model.mapped import MappedTable
from pghaul.model.plan import Plan
from pghaul.model.table import Name
from pghaul.model.text import joined, listed, say
from pghaul.target.foreign import names
from pghaul.target.foreign.selection import said

USUAL = "dbo"  # SQL Server's schema of whoever says none: as public here


class Naming:
    """Of one database under one plan."""

    def __init__(self, database: ForeignDatabase, plan: Plan) -> None:
        self._plan = plan
        self._rule = plan.mapping.names
        relations = [t.name for t in database.tables] + [v.name for v in database.views]
        self._single = len({n.schema for n in relations} - {""}) <= 1

    def column(self, name: str) -> str:
        """Of a column, an index, a constraint."""
        return names.by_rule(name, self._rule)

    def schema(self, name: str) -> str:
        """The only one of a source becomes the plan's; several keep theirs, but for the usual one."""
        if self._single or not name or name.lower() == USUAL:
            return self._plan.mapping.target_schema
        return self.column(name)

    def relation(self, name: Name) -> Name:
        """Of a table or view; `into` is taken as it stands."""
        into = said(self._plan, name, "into")
        ruled = Name(self.schema(name.schema), self.column(name.name))
        if into is None:
            return ruled
        schema, dot, relation = into.rpartition(".")
        return Name(schema if dot else ruled.schema, ruled.name if relation == "*" else relation)

    def collisions(self, tables: Sequence[MappedTable]) -> Iterable[Finding]:
        """Two tables, or two columns of a table, that become one."""
        same: dict[Name, list[str]] = defaultdict(list)
        for table in tables:
            same[table.name].append(str(table.source.name).removeprefix("."))
        for name, sources in same.items():
            if len(sources) > 1:
                yield collision(str(name), sources)
        for table in tables:
            of_columns: dict[str, list[str]] = defaultdict(list)
            for column in table.columns:
                of_columns[column.name].append(column.source.name)
            for column_name, sources in of_columns.items():
                if len(sources) > 1:
                    yield collision(f"{table.name}.{column_name}", sources)


def collision(name: str, sources: Sequence[str]) -> Finding:
    """Several that would be one."""
    return Finding(
        severity=Severity.ERROR,
        kind=Kind.NAME,
        object=name,
        what=say("{sources} would all be {name}", sources=joined(", ", [listed(sources)]), name=name),
        advice=say('say names = "as-is" under [mapping], or give one of them another place by `into`'),
        code=7030,
    )
