"""A look at a database that is not PostgreSQL, as its source describes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pghaul.model.foreign import ForeignDatabase, ForeignEndpoint
from pghaul.model.inspection import Amount, Inspection, SchemaSeen, Seen, total
from pghaul.model.plan import Plan, Selection
from pghaul.model.table import RelationKind
from pghaul.sources.protocol import engine_of
from pghaul.target.foreign.selection import chosen


def inspect(endpoint: ForeignEndpoint, patterns: Sequence[str], exclude: Sequence[str]) -> Inspection:
    """All tables that the patterns match, by default all. NotFoundError for a pattern that matches nothing."""
    with engine_of(endpoint.engine).open(endpoint) as source:
        database = source.database()
    plan = Plan(
        source=endpoint.display,
        target="",
        whole=not patterns,
        tables=[Selection(name=p) for p in patterns],
        exclude=list(exclude),
    )
    names = set(chosen(plan, [t.name for t in database.tables]))
    tables = tuple(
        Seen(
            name=t.name,
            kind=RelationKind.TABLE,
            amount=Amount(rows=t.rows or 0, unknown=int(t.rows is None), heap=t.bytes, total=t.bytes),
        )
        for t in database.tables
        if t.name in names
    )
    return Inspection(
        database=endpoint.get("database") or endpoint.get("path") or database.identity,
        product=database.product,
        url=endpoint.display,
        version=database.product,
        encoding=database.encoding,
        timezone=database.timezone,
        exact=True,
        schemas=_schemas(database, tables, whole=not patterns),
        tables=tables,
        trees=(),
    )


def _schemas(database: ForeignDatabase, tables: Sequence[Seen], *, whole: bool) -> tuple[SchemaSeen, ...]:
    others: Mapping[str, Counter[str]] = {}
    if whole:
        others = {s: Counter() for s in {v.name.schema for v in database.views}}
        for view in database.views:
            others[view.name.schema]["views"] += 1
    return tuple(
        SchemaSeen(
            name=schema,
            tables=sum(t.name.schema == schema for t in tables),
            amount=total(t.amount for t in tables if t.name.schema == schema),
            others=others.get(schema, {}),
        )
        for schema in sorted({*(t.name.schema for t in tables), *others})
    )
