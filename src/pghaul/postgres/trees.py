"""Partition trees as the catalogues tell of them: the same few queries for any number of leaves, never a COUNT(*)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from psycopg.sql import Identifier

from pghaul.model.bounds import Bounds, Strategy, low_order
from pghaul.model.errors import PghaulError, ServerBusyError
from pghaul.model.plan import Period
from pghaul.model.table import Name, RelationKind
from pghaul.model.tree import Finding, Member, Tree, TreeKind
from pghaul.postgres.catalog import estimate
from pghaul.postgres.expressions import parse_check
from pghaul.postgres.moments import find_zone
from pghaul.postgres.partition_bounds import parse_partition_bound
from pghaul.postgres.registry import Registry, find_registries
from pghaul.postgres.registry_bounds import with_registry
from pghaul.postgres.sizes import SHORT_WAIT
from pghaul.postgres.tree_findings import findings
from pghaul.postgres.trees_sql import (
    CHECKS,
    COLUMNS,
    HOLDS_ROWS,
    KEYS,
    LINKS,
    LOCKED,
    NOT_NULL,
    READABLE,
    ROUTES,
    tree_relations_sql,
)

if TYPE_CHECKING:
    from pghaul.postgres.session import Session

STRATEGIES = {"r": Strategy.RANGE, "l": Strategy.LIST, "h": Strategy.HASH}
# Whether a parent holds rows is worth a look, but no waiting for who locks it, nor for a heap full of dead ones.
LIMIT_LOOK = "SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '500ms'"
ANY_PERIOD = Period()


@dataclass(frozen=True, slots=True)
class _Key:
    strategy: Strategy
    definition: str
    columns: Sequence[str]
    types: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Relation:
    oid: int
    name: Name
    kind: RelationKind
    bound: str | None
    pages: int
    rows: int | None
    clustered: str | None


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """All that was asked, by oid."""

    relations: Mapping[int, _Relation]
    parents: Mapping[int, int]
    children: Mapping[int, Sequence[int]]
    keys: Mapping[int, _Key]
    checks: Mapping[int, Sequence[tuple[str, str, bool]]]  # name, expression, validated
    unread: Collection[int]  # relations whose checks could not be read, for somebody locks them out
    columns: Mapping[int, Mapping[str, str]]  # of the roots
    not_null: Mapping[int, frozenset[str]]
    routes: Mapping[int, Sequence[str]]
    own_rows: Mapping[int, bool | None]


def trees(
    session: Session,
    names: Collection[Name] | None = None,
    *,
    period: Period = ANY_PERIOD,
) -> tuple[Tree, ...]:
    """The trees that any of the names belongs to, by default all, in the order of their roots' names.

    Of the period its time zone and unit are meant, in which findings tell dates, and the registry of partitions.
    """
    links = session.rows(LINKS)
    parents: dict[int, int] = {}
    for child, parent in links:
        parents.setdefault(child, parent)  # of several parents the first
    relations = _relations(session, {*parents, *parents.values()})
    wanted = _wanted(relations, parents, names)
    facts = _facts(session, relations, parents, wanted)
    roots = sorted((oid for oid in wanted if oid not in parents), key=lambda oid: relations[oid].name)
    built = [_tree(oid, facts) for oid in roots]
    registries = find_registries(session, [m.name for t in built for m in t.members], period.registry) if built else []
    return tuple(_judged(tree, registries, period) for tree in built)


def _relations(session: Session, oids: Collection[int]) -> dict[int, _Relation]:
    capable = session.server.capabilities
    rows = session.rows(tree_relations_sql(capable), (sorted(oids),))
    return {
        oid: _Relation(
            oid=oid,
            name=Name(schema, name),
            kind=RelationKind(kind),
            bound=bound,
            pages=pages,
            rows=estimate(tuples, pages, pages, capable.reltuples_unknown) if pages else None,
            clustered=clustered,
        )
        for oid, schema, name, kind, bound, pages, tuples, clustered in rows
    }


def _wanted(
    relations: Mapping[int, _Relation], parents: Mapping[int, int], names: Collection[Name] | None
) -> list[int]:
    """The oids of whole trees: those that any of the names is part of."""
    root_of: dict[int, int] = {}
    for oid in relations:
        at = oid
        while at in parents:
            at = parents[at]
        root_of[oid] = at
    chosen = {root_of[oid] for oid, r in relations.items() if names is None or r.name in names}
    return [oid for oid in relations if root_of[oid] in chosen and root_of[oid] in relations]


def _facts(
    session: Session, relations: Mapping[int, _Relation], parents: Mapping[int, int], wanted: Sequence[int]
) -> _Facts:
    here = set(wanted)
    children = defaultdict(list)
    for child in wanted:
        if child in parents:
            children[parents[child]].append(child)
    roots = [oid for oid in wanted if oid not in parents]
    keys = _keys(session, list(children))
    checks, unread = _checks(session, wanted)
    columns: dict[int, dict[str, str]] = defaultdict(dict)
    for oid, name, type_name, _ in session.rows(COLUMNS, (roots,)):
        columns[oid][name] = type_name
    routes = defaultdict(list)
    for oid, route in session.rows(ROUTES, (roots, roots)):
        routes[oid].append(route)
    return _Facts(
        relations=relations,
        parents={c: p for c, p in parents.items() if c in here},
        children=children,
        keys=keys,
        checks=checks,
        unread=unread,
        columns=columns,
        not_null=_not_null(session, wanted, {name for named in columns.values() for name in named}),
        routes=routes,
        own_rows=_own_rows(session, [relations[oid] for oid in roots]),
    )


def _keys(session: Session, oids: Sequence[int]) -> dict[int, _Key]:
    if not session.server.capabilities.declarative_partitions:
        return {}
    return {
        oid: _Key(STRATEGIES[strategy], definition, columns, types)
        for oid, strategy, definition, columns, types in session.rows(KEYS, (list(oids),))
    }


def _checks(session: Session, oids: Sequence[int]) -> tuple[dict[int, list[tuple[str, str, bool]]], Collection[int]]:
    """By relation; and those that somebody locks out: then they are stepped over rather than waited for."""
    locked: set[int] = set()
    try:
        with session.transaction():
            session.execute(SHORT_WAIT)
            rows = session.rows(CHECKS, (oids,))
    except ServerBusyError:
        locked = {oid for (oid,) in session.rows(LOCKED, (oids,))}
        rows = session.rows(CHECKS, ([oid for oid in oids if oid not in locked],))
    checks = defaultdict(list)
    for oid, name, expression, valid in rows:
        checks[oid].append((name, expression, valid))
    return checks, locked


def _not_null(session: Session, oids: Sequence[int], columns: set[str]) -> dict[int, frozenset[str]]:
    """Equal sets are one object: ten thousand leaves have the same few."""
    found = defaultdict(list)
    for oid, column in session.rows(NOT_NULL, (list(oids), sorted(columns))):
        found[oid].append(column)
    shared: dict[frozenset[str], frozenset[str]] = {}
    return {oid: shared.setdefault(frozenset(c), frozenset(c)) for oid, c in found.items()}


def _own_rows(session: Session, roots: Iterable[_Relation]) -> dict[int, bool | None]:
    """Whether inheritance parents hold rows: the first one is looked for, none is counted."""
    plain = {r.oid: r for r in roots if r.kind is RelationKind.TABLE}
    found: dict[int, bool | None] = dict.fromkeys(plain)
    for (oid,) in session.rows(READABLE, (list(plain),)):
        found[oid] = _holds_rows(session, plain[oid].name)
    return found


def _holds_rows(session: Session, name: Name) -> bool | None:
    try:
        with session.transaction():
            session.execute(LIMIT_LOOK)
            return bool(session.value(HOLDS_ROWS.format(Identifier(name.schema, name.name))))
    except PghaulError:
        return None


def _tree(root: int, facts: _Facts) -> Tree:
    """Without registry and findings."""
    relation = facts.relations[root]
    columns = facts.columns.get(root, {})
    members = tuple(_members(root, facts, columns))
    key = facts.keys.get(root)
    kind = TreeKind.INHERITANCE if relation.kind is RelationKind.TABLE else TreeKind.DECLARATIVE
    column = (key.columns[0] if key else "") if kind is TreeKind.DECLARATIVE else _key_column(members, relation.name)
    tree = Tree(
        root=relation.name,
        kind=kind,
        members=members,
        strategy=key.strategy if key else _strategy(members, column),
        key=column,
        key_definition=key.definition if key else "",
        columns=columns,
        own_rows=facts.own_rows.get(root, False),
        routes=tuple(facts.routes.get(root, ())),
    )
    return replace(tree, members=ordered(tree))


def _members(root: int, facts: _Facts, columns: Mapping[str, str]) -> Iterator[Member]:
    """Level by level."""
    level, depth = [root], 1
    while level:
        below = [child for parent in level for child in facts.children.get(parent, ())]
        for oid in below:
            yield _member(facts.relations[oid], depth, facts, columns)
        level, depth = below, depth + 1


def _member(relation: _Relation, depth: int, facts: _Facts, columns: Mapping[str, str]) -> Member:
    parent = facts.parents[relation.oid]
    checks = facts.checks.get(relation.oid, ())
    not_null = facts.not_null.get(relation.oid, frozenset())
    said = [*_declared(relation, facts.keys.get(parent))]
    for _, expression, valid in checks:
        said += parse_check(expression, columns, trusted=valid).bounds
    return Member(
        name=relation.name,
        parent=facts.relations[parent].name,
        kind=relation.kind,
        depth=depth,
        has_children=bool(facts.children.get(relation.oid)),
        said=tuple(replace(b, nulls=False) if b.nulls and b.column in not_null else b for b in said),
        expression=relation.bound or " AND ".join(f"{name} {expression}" for name, expression, _ in checks),
        not_null=not_null,
        unread=relation.oid in facts.unread,
        clustered=relation.clustered,
        pages=relation.pages,
        rows=relation.rows,
    )


def _declared(relation: _Relation, key: _Key | None) -> Iterator[Bounds]:
    if relation.bound is None or key is None:
        return
    try:
        yield parse_partition_bound(relation.bound, key.columns, key.types)
    except ValueError:  # a value that Python cannot hold: nothing is known, and the rows are looked at
        return


def _key_column(members: Sequence[Member], root: Name) -> str:
    """The column that tells the root's children apart: the one with the most different bounds, closed ones first."""
    seen: dict[str, set[Bounds]] = defaultdict(set)
    closed: Counter[str] = Counter()
    for member in members:
        for bounds in member.said if member.parent == root else ():
            seen[bounds.column].add(bounds)
            closed[bounds.column] += bounds.low is not None and bounds.high is not None
    return max(seen, key=lambda column: (len(seen[column]), closed[column]), default="")


def _strategy(members: Sequence[Member], column: str) -> Strategy | None:
    kinds = Counter(b.strategy for m in members for b in m.said if b.column == column)
    return kinds.most_common(1)[0][0] if kinds else None


def ordered(tree: Tree) -> tuple[Member, ...]:
    """Parents first, each level by where its bounds begin; what has none comes last, by name."""

    def place(member: Member) -> tuple[Any, ...]:
        bounds = tree.bounds(member)
        if bounds is None or not bounds.is_range:
            return (member.depth, True, False, 0, member.name)
        return (member.depth, False, *low_order(bounds), member.name)

    return tuple(sorted(tree.members, key=place))


def _judged(tree: Tree, registries: Sequence[Registry], period: Period) -> Tree:
    """With the registry's bounds where there are no others, and everything that is wrong."""
    zone = find_zone(period.timezone)
    found: list[Finding] = []
    for registry in registries:
        tree, problems = with_registry(tree, registry, zone, period.unit)
        found += problems
    tree = replace(tree, members=ordered(tree))
    return replace(tree, findings=(*findings(tree, zone, period.unit), *found))
