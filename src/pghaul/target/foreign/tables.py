"""One table of the source as a table of the target: its columns, their names and types."""

from __future__ import annotations

from collections.abc import Iterable

from pghaul.model.finding import Finding, Kind
from pghaul.model.foreign import ForeignColumn, ForeignTable
from pghaul.model.mapped import MappedColumn, MappedTable
from pghaul.model.plan import Plan
from pghaul.model.text import listed, say
from pghaul.target.foreign import types
from pghaul.target.foreign.naming import Naming
from pghaul.target.foreign.selection import said


def map_table(table: ForeignTable, naming: Naming, plan: Plan, findings: list[Finding]) -> MappedTable:
    """Its columns under their new names; `findings` takes what is to be said of them."""
    wanted = said(plan, table.name, "columns")
    columns = [c for c in table.columns if wanted is None or c.name in wanted]
    own = said(plan, table.name, "types") or {}
    encodings = said(plan, table.name, "encodings") or {}
    findings += _unknown(table, {*(wanted or ()), *own, *encodings})
    return MappedTable(
        source=table,
        name=naming.relation(table.name),
        columns=tuple(_column(c, naming, plan, own, encodings.get(c.name, plan.mapping.encoding)) for c in columns),
    )


def _column(
    column: ForeignColumn, naming: Naming, plan: Plan, own: dict[str, str], encoding: str | None
) -> MappedColumn:
    typed = types.decide(column, own, plan.mapping.types)
    identity = column.identity and typed.type in types.INTEGERS
    return MappedColumn(
        source=column,
        name=naming.column(column.name),
        type=typed.type,
        not_null=column.not_null or identity,
        identity=identity,
        identity_next=column.identity_next if identity else None,
        encoding=encoding if types.base(typed.type) in types.TEXTS else None,
        note=column.note,
    )


def _unknown(table: ForeignTable, named: Iterable[str]) -> list[Finding]:
    """A column that the plan names and the table does not have is a slip, never a wish."""
    known = {c.name.lower() for c in table.columns}
    return [
        Finding(
            kind=Kind.NAME,
            object=str(table.name),
            what=say("{table} has no column {column}, which the plan names", table=str(table.name), column=name),
            advice=say("its columns are {columns}", columns=listed(c.name for c in table.columns)),
            code=7031,
        )
        for name in sorted(named)
        if name.lower() not in known
    ]
