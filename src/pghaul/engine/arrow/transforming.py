"""Before the first row: can every transform be applied to what the source delivers, and does the target take it?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from pghaul.engine.arrow import shape
from pghaul.engine.arrow.ground import Ground
from pghaul.model.errors import MappingError, TransformError
from pghaul.model.finding import Finding, Severity, of_error
from pghaul.model.foreign import Reading
from pghaul.model.mapped import MappedDatabase, MappedTable
from pghaul.model.plan import Plan
from pghaul.model.transforming import Transform
from pghaul.target.foreign.selection import said


def findings(plan: Plan, mapped: MappedDatabase, ground: Ground) -> Iterator[Finding]:
    """What stands against it. A table without transforms is not asked for."""
    if any(f.severity is Severity.ERROR for f in mapped.findings):
        return  # what is wrong with names and types is said there
    for table in mapped.tables:
        steps = said(plan, table.source.name, "transform") or ()
        if steps or any(c.encoding for c in table.carried):
            try:
                _bound(plan, table, steps, ground)
            except (TransformError, MappingError) as exc:
                yield of_error(exc, str(table.name))


def _bound(plan: Plan, table: MappedTable, steps: Sequence[Transform], ground: Ground) -> None:
    from pghaul.target.arrow.encoding import TargetColumn, choose  # noqa: PLC0415 -- needs pyarrow
    from pghaul.transforms.chain import chain  # noqa: PLC0415

    there = {c.name: c for c in ground.there[table.name].columns} if table.exists else {}
    if table.exists and any(c.name not in there for c in table.carried):
        return  # preflight refuses it
    read = shape.read_columns(table, there, steps)
    made = chain(read, [c.source.name for c in table.carried], steps, plan.mapping)
    with closing(ground.source.read(Reading(table=table.source.name, columns=read, limit=1))) as batches:
        schema = made.bind(batches.schema)
    types = [there[c.name].type if table.exists else c.type for c in table.carried]
    choose(schema, [TargetColumn(name=c.name, type=t) for c, t in zip(table.carried, types, strict=True)])
