"""A look at a database: everything from its catalogues, set-wise, and no row counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from psycopg.sql import SQL

from pghaul.model.bounds import Strategy
from pghaul.model.inspection import Amount, Inspection, SchemaSeen, Seen, SeenTree, total
from pghaul.model.plan import Period
from pghaul.model.table import Name, RelationKind
from pghaul.model.text import say, saying
from pghaul.model.tree import Member, Tree
from pghaul.postgres.catalog import Directory, estimate
from pghaul.postgres.catalog_sql import NOT_SYSTEM
from pghaul.postgres.moments import Scale, find_zone, from_to, shown
from pghaul.postgres.registry_bounds import tree_scale
from pghaul.postgres.sizes import Size, sizes
from pghaul.postgres.trees import trees

if TYPE_CHECKING:
    from pghaul.postgres.session import Session

RELATIONS = SQL(
    """
SELECT c.oid::int8, c.relkind::text, c.reltuples::float8, c.relpages, pg_catalog.current_setting('block_size')::int4, (
           SELECT x.relname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
           WHERE i.indrelid = c.oid AND i.indisclustered)
FROM pg_catalog.pg_class c WHERE c.oid = ANY (%s::oid[])
"""
)
OTHERS = SQL(
    """
SELECT n.nspname::text,
       CASE c.relkind WHEN 'v' THEN 'views' WHEN 'm' THEN 'materialized views' ELSE 'sequences' END, pg_catalog.count(*)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm', 'S') AND {not_system}
GROUP BY 1, 2
UNION ALL
SELECT n.nspname::text, 'functions', pg_catalog.count(*)
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pghaul')
GROUP BY 1
ORDER BY 1, 2
"""
).format(not_system=NOT_SYSTEM)

DEFAULT, HASHED = say("everything else"), saying("hash {remainder} of {modulus}")
CLAIMED = saying("{span} (claimed)")
MOST_VALUES = 5  # of a list, that are shown


def inspect(session: Session, patterns: Sequence[str], exclude: Sequence[str], period: Period) -> Inspection:
    """All tables that the patterns match, by default all; trees whole, if any part of them is matched.

    Of the period its time zone, unit and registry are meant. Raises NotFoundError for a pattern that matches nothing.
    """
    zone = find_zone(period.timezone)
    directory = Directory(session)
    chosen = directory.matching(patterns) if patterns else directory.ordinary
    oids = (directory.descend(chosen).keys() - directory.descend(directory.matching(exclude)).keys()) & set(
        directory.names
    )
    found, exact = _seen(session, directory, oids)
    grown = trees(session, found, period=period)
    inside = {n for tree in grown for n in (tree.root, *tree.by_name)}
    tables = tuple(found[n] for n in sorted(found) if n not in inside)
    return Inspection(
        database=session.server.database,
        version=session.server.version,
        encoding=session.server.encoding,
        timezone=zone.key,
        exact=exact,
        schemas=_schemas(session, found.values(), whole=not patterns),
        tables=tables,
        trees=tuple(_tree(tree, found, zone, period) for tree in grown),
    )


def _seen(session: Session, directory: Directory, oids: Collection[int]) -> tuple[dict[Name, Seen], bool]:
    measured, exact = sizes(session, oids)
    unknown = session.server.capabilities.reltuples_unknown
    found = {}
    for oid, kind, tuples, relpages, block, clustered in session.rows(RELATIONS, (sorted(oids),)):
        name, size = directory.names[oid], measured.get(oid, Size())
        rows = estimate(tuples, relpages, size.heap // block, unknown) if exact or relpages else None
        amount = Amount(
            rows=rows or 0,
            unknown=int(rows is None and kind == RelationKind.TABLE.value),
            heap=size.heap,
            indexes=size.indexes,
            total=size.total,
        )
        found[name] = Seen(name=name, kind=RelationKind(kind), amount=amount, clustered=clustered)
    return found, exact


def _schemas(session: Session, found: Collection[Seen], *, whole: bool) -> tuple[SchemaSeen, ...]:
    """Of the tables that are shown; with what else there is if all of them are."""
    tables: dict[str, list[Seen]] = defaultdict(list)
    for seen in found:
        tables[seen.name.schema].append(seen)
    others: dict[str, dict[str, int]] = defaultdict(dict)
    for schema, kind, count in session.rows(OTHERS) if whole else ():
        others[schema][kind] = count
    return tuple(
        SchemaSeen(
            name=name,
            tables=len(tables.get(name, ())),
            amount=total(s.amount for s in tables.get(name, ())),
            others=others.get(name, {}),
        )
        for name in sorted({*tables, *others})
    )


def _tree(tree: Tree, found: Mapping[Name, Seen], zone: ZoneInfo, period: Period) -> SeenTree:
    scale = tree_scale(tree, period.unit)
    low, high = tree.extent() or (None, None)
    return SeenTree(
        tree=tree,
        amounts={n: found[n].amount for n in (tree.root, *tree.by_name) if n in found},
        scale=None if scale is None else scale.value,
        since=None if low is None else shown(low, scale, zone),
        until=None if high is None else shown(high, scale, zone),
        spans={m.name: _span(tree, m, scale, zone) for m in tree.members},
    )


def _span(tree: Tree, member: Member, scale: Scale | None, zone: ZoneInfo) -> str:
    """What may lie in a member, for people: by its own bounds first, which of a lower level are of another column."""
    own = next((b for b in member.said if b.authority.value == "partition"), None) or tree.bounds(member)
    if own is None:
        return ""
    match own.strategy:
        case Strategy.DEFAULT:
            return DEFAULT
        case Strategy.HASH:
            return HASHED.format(remainder=own.remainder, modulus=own.modulus)
        case Strategy.LIST:
            values = [str(v) for v in own.values[:MOST_VALUES]] + (["NULL"] if own.nulls else [])
            return ", ".join(values) + (" …" if len(own.values) > MOST_VALUES else "")
    known = scale if own.column == tree.key else None
    since, until = ("…" if v is None else shown(v, known, zone) for v in own.ends)
    span = from_to(since, until)
    return span if own.trusted else CLAIMED.format(span=span)
