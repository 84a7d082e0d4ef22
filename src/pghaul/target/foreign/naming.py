"""Which name everything gets on the target, and what cannot have the one it should."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from pghaul.model.finding import Finding, Kind
from pghaul.model.foreign import ForeignDatabase
from pghaul.model.plan import Plan
from pghaul.model.table import Name
from pghaul.model.text import joined, listed, say
from pghaul.target.foreign import names
from pghaul.target.foreign.selection import said

USUAL = "dbo"  # SQL Server's schema of whoever says none: as public here


class Naming:
    """Of one database under one plan. A name of an index, a type, a view is given once, and then taken.

    `prefix` puts all of it into schemas of their own: where statements are tried (trial.py).
    """

    def __init__(self, database: ForeignDatabase, plan: Plan, prefix: str = "") -> None:
        self._plan = plan
        self._rule = plan.mapping.names
        self._prefix = prefix
        relations = [t.name for t in database.tables] + [v.name for v in database.views]
        self._single = len({n.schema for n in relations} - {""}) <= 1
        self._taken: dict[str, set[str]] = defaultdict(set)

    def ruled(self, name: str) -> str:
        """By the rule, however long."""
        return names.ruled(name, self._rule)

    def column(self, name: str) -> str:
        """Of a column, an index, a constraint: as long as PostgreSQL holds it."""
        return names.by_rule(name, self._rule)

    def schema(self, name: str) -> str:
        """The only one of a source becomes the plan's; several keep theirs, but for the usual one."""
        if self._single or not name or name.lower() == USUAL:
            return self._prefix + self._plan.mapping.target_schema
        return self._prefix + self.column(name)

    def relation(self, name: Name) -> Name:
        """Of a table or view; `into` is taken as it stands."""
        into = said(self._plan, name, "into")
        ruled = Name(self.schema(name.schema), self.column(name.name))
        if into is None:
            return ruled
        schema, dot, relation = into.rpartition(".")
        return Name(self._prefix + schema if dot else ruled.schema, ruled.name if relation == "*" else relation)

    def table(self, name: Name) -> Name:
        """The same, and now it is taken."""
        found = self.relation(name)
        self._taken[found.schema].add(found.name)
        return found

    def reserve(self, name: Name) -> None:
        """Nothing else shall have it."""
        self._taken[name.schema].add(name.name)

    def type(self, table: Name, column: str) -> Name:
        """Of a column's own type."""
        return self._give(table.schema, f"{table.name}_{column}")

    def index(self, table: Name, name: str, usual: str) -> str:
        """The source's name where it has a real one and nobody has it here; else one that tells the table."""
        wanted = self.column(name) if name else names.cut(usual)
        if name and wanted in self._taken[table.schema]:
            wanted = f"{table.name}_{wanted}"
        return self._give(table.schema, wanted).name

    def sequence(self, table: Name, column: str) -> Name:
        """Of a column that counts, and is no identity."""
        return self._give(table.schema, f"{table.name}_{column}_seq")

    def constraint(self, taken: Collection[str], name: str, usual: str) -> str:
        """Constraints that have no index need a name of their own in their table only."""
        return names.free(self.column(name) if name else usual, taken)

    def _give(self, schema: str, name: str) -> Name:
        given = names.free(name, self._taken[schema])
        self._taken[schema].add(given)
        return Name(schema, given)


def collisions(what: Mapping[str, Sequence[str]]) -> Iterable[Finding]:
    """Several names of the source that would be one of the target."""
    for name, sources in what.items():
        if len(sources) > 1:
            yield Finding(
                kind=Kind.NAME,
                object=name,
                what=say("{sources} would all be {name}", sources=joined(", ", [listed(sources)]), name=name),
                advice=say('say names = "as-is" under [mapping], or give one of them another place by `into`'),
                code=7030,
            )
