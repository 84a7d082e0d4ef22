"""Before the first row: can each column be read, each transform be applied, and does the target take what comes?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from pghaul.engine.arrow import shape
from pghaul.engine.arrow.ground import Ground
from pghaul.model.errors import MappingError, TransformError
from pghaul.model.finding import Finding, Kind, Severity, of_error
from pghaul.model.foreign import ForeignColumn, Reading
from pghaul.model.mapped import MappedDatabase, MappedTable
from pghaul.model.plan import Plan
from pghaul.model.text import say
from pghaul.model.transforming import Transform
from pghaul.target.foreign.selection import said
from pghaul.transforms.needs import needs, of_source


def findings(plan: Plan, mapped: MappedDatabase, ground: Ground) -> Iterator[Finding]:
    """What stands against it. A table without transforms is not asked for: its description says it."""
    if any(f.severity is Severity.ERROR for f in mapped.findings):
        return  # what is wrong with names and types is said there
    for table in mapped.tables:
        steps = said(plan, table.source.name, "transform") or ()
        if unread := _unread(table, steps):
            yield from (_not_read(str(table.name), c) for c in unread)
        elif steps or any(c.encoding for c in table.carried):
            try:
                _bound(plan, table, steps, ground)
            except (TransformError, MappingError) as exc:
                yield of_error(exc, str(table.name))


def _unread(table: MappedTable, steps: Sequence[Transform]) -> list[ForeignColumn]:
    """Columns that would be read, and that the source cannot read."""
    known = {c.name: c for c in table.source.columns if c.unread}
    sql = of_source(steps)
    wanted = {c.source.name for c in table.carried} | set(needs(steps, [c.name for c in table.source.columns]))
    return [c for n, c in known.items() if n in wanted and n not in sql]


def _not_read(table: str, column: ForeignColumn) -> Finding:
    return Finding(
        kind=Kind.TYPE,
        object=f"{table}.{column.name}",
        what=say(
            "{column} is of the type {type}, which the source cannot read", column=column.name, type=column.native
        ),
        where=say("source"),
        advice=say('leave it out by `columns`, or make something else of it by a transform: kind = "sql"'),
        code=7051,
    )


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
