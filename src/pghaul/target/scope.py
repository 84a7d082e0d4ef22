"""What of the source's schema a run carries: tables with what they need, what hangs on them, or the whole database.

Everything is decided from the catalogues of both servers, before anything is written, so that what cannot be carried
is named in the plan with the same words as at the end. Objects are the source's (tableoid, oid); the target is asked
by name. What an earlier attempt of the run has made counts as new: `ours` are its keys, from the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pghaul.model.table import Name, Table, Unsupported
from pghaul.model.text import say, saying
from pghaul.postgres.session import Session
from pghaul.postgres.versions import Capabilities
from pghaul.target import _scope_sql, closure, large_objects, left_whole, post_data
from pghaul.target.closure import (
    PG_CLASS,
    PG_EVENT_TRIGGER,
    PG_NAMESPACE,
    PG_POLICY,
    PG_STATISTIC_EXT,
    ROW_SECURITY,
    Key,
    Thing,
    ThingKey,
)

RELATIONS = ("r", "p", "f", "v", "m")

SUPERUSERS = (PG_EVENT_TRIGGER, 2328, 2601)  # and foreign-data wrappers, access methods
PUBLISHED = (6104, 6106, 6237)
SUPERUSER_ONLY = say("only a superuser may create it on the target")
# What a target must be able to do for them.
NEEDS = {PG_POLICY: "row_security", ROW_SECURITY: "row_security", PG_STATISTIC_EXT: "extended_statistics"}
UNKNOWN_THERE = say("the target's version does not know it")

STAYED = saying("{relation} was on the target before the run, and is left as it is")
READS_OLD = say("what it reads was on the target before the run, and is left as it is")
ELSEWHERE = saying("{relation} arrives under another name or in another form")
NOT_CARRIED = saying("it belongs to {relation}, which is not carried")
LACKS_RELATION = saying("it needs {relation}, which the target will not have")
LACKS_EXTENSION = saying("it needs the extension {extension}, which the target does not offer")
LACKS_ROLE = saying("it names the role {role}, which the target does not have")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """`things` is all that may have to be made (some may be there already); `left` is what cannot be carried."""

    things: tuple[Thing, ...] = ()
    created: frozenset[Name] = frozenset()  # tables that the run creates as they are on the source
    left: tuple[Unsupported, ...] = ()
    whole: bool = False

    def relations(self, ours: Collection[str]) -> set[Name]:
        """Tables and materialized views whose indexes and constraints are the run's to make."""
        views = {t.name for t in self.things if t.name and t.relkind == "m" and key_text(t.key) in ours}
        return {*self.created, *views}

    def materialized(self, ours: Collection[str]) -> set[Name]:
        """Those that the run fills: its own, and of a whole database all."""
        views = {t.name: t.key for t in self.things if t.name and t.relkind == "m" and not t.extension}
        return {name for name, key in views.items() if self.whole or key_text(key) in ours}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hanging:
    """A trigger, rule, policy, statistics object, ENABLE ROW LEVEL SECURITY, or view; `relation` is what it is on."""

    thing: ThingKey
    key: Key
    kind: str
    label: str
    relation: Name
    view: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    relkind: str | None
    name: Name | None
    extension: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Graph:
    edges: Mapping[Key, Sequence[Key]]
    nodes: Mapping[Key, _Node]

    def reach(self, start: Key) -> Iterator[_Node]:
        """What an object needs, down to relations."""
        seen, ahead = {start}, [start]
        while ahead:
            for key in self.edges.get(ahead.pop(), ()):
                if key not in seen:
                    seen.add(key)
                    ahead.append(key)
                    yield self.nodes[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """What the judging needs to know of the target."""

    there: Collection[ThingKey]
    extensions: Collection[str]
    can: Capabilities
    lacking_roles: Mapping[int, str] = field(default_factory=dict)  # by the oid of the policy that names them


def survey(
    source: Session,
    target: Session,
    tables: Sequence[Table],
    *,
    created: Collection[Name],
    elsewhere: Collection[Name] = (),
    needing: Collection[Name] = (),
    ours: Collection[str] = (),
    whole: bool = False,
) -> Scope:
    """The scope of these tables, or of everything.

    Tables `elsewhere` arrive under another name or in another form: for those `needing` comes what they need alone.
    """
    created, elsewhere = frozenset(created), frozenset(elsewhere)
    everything = closure.everything(source) if whole else []
    oids = [t.oid for t in tables] + [t.oid for t in everything if t.relkind in RELATIONS and not t.extension]
    hanging = _hanging(source, oids)
    graph = _graph(source, [h.key for h in hanging])
    seen = _look_at(source, target, hanging, graph)
    at_hand = {t.name for t in tables} | {t.name for t in everything if t.name and t.tableoid == PG_CLASS}
    at_hand = (at_hand - set(elsewhere)) | {n for c, n in seen.there if c == PG_CLASS and isinstance(n, Name)}
    verdicts: dict[Key, str] = {}
    new, lost = set(created), set[Name]()
    for each in hanging:  # views come first
        why = _of_relation(each, new, lost, elsewhere) or _of_needs(each, graph, seen, at_hand)
        if why is None and each.view and not whole and not _reads(each, graph, created):
            why = READS_OLD
        if why is not None:
            verdicts[each.key] = why
            lost |= {each.relation} if each.view else set()
        elif each.view and (each.thing not in seen.there or key_text(each.thing) in ours):
            new.add(each.relation)
    if whole:
        away = {t.oid for t in everything if t.name in elsewhere and t.relkind in {"r", "p"}}
        things = [t for t in everything if (t.tableoid, t.oid) not in verdicts and not {t.oid, t.owner} & away]
    else:
        seeds = {(PG_CLASS, t.oid) for t in tables if t.name in created}
        seeds |= {h.key for h in hanging if h.key not in verdicts}
        stops = {k[1] for k, n in graph.nodes.items() if n.relkind in ("r", "p", "f") and n.name not in created}
        things = closure.needed_by(source, seeds, stops)
        things += _needs(source, {t.oid for t in tables if t.name in needing}, {(t.tableoid, t.oid) for t in things})
    left = [
        Unsupported(kind=h.kind, name=h.label, why=verdicts[h.key])
        for h in hanging
        if h.key in verdicts and h.thing not in seen.there and (h.view or h.relation not in elsewhere)
    ]
    left += post_data.unmade_keys(source, created, {t.name for t in tables} - set(created) - set(elsewhere))
    if whole:
        left += [*left_whole.left(source), *large_objects.left(source)]
        things, unmade = _may_make(target, things)
        left += unmade
    return Scope(things=tuple(things), created=created, left=tuple(left), whole=whole)


def _may_make(target: Session, things: Sequence[Thing]) -> tuple[list[Thing], list[Unsupported]]:
    """Without what only a superuser may make, and without publications where there are none."""
    denied = {} if target.server.superuser else dict.fromkeys(SUPERUSERS, SUPERUSER_ONLY)
    if not target.server.capabilities.publications:
        denied |= dict.fromkeys(PUBLISHED, UNKNOWN_THERE)
    kept = [t for t in things if t.extension or t.tableoid not in denied]
    out = [
        Unsupported(kind=t.type.upper(), name=t.identity, why=denied[t.tableoid])
        for t in things
        if not t.extension and t.tableoid in denied
    ]
    return kept, out


def _needs(source: Session, oids: Collection[int], known: Collection[Key]) -> list[Thing]:
    """Of tables that are made otherwise: no tables, nor parts of some, and schemas only where something lies."""
    found = [
        t
        for t in closure.needed_by(source, {(PG_CLASS, oid) for oid in oids})
        if t.tableoid not in closure.PARTS
        and t.relkind not in {"r", "p", "f", "i", "I"}
        and t.owner not in oids
        and (t.tableoid, t.oid) not in known
    ]
    homes = {t.schema for t in found if t.tableoid != PG_NAMESPACE and not t.extension}
    return [t for t in found if t.tableoid != PG_NAMESPACE or closure.unquoted(t.identity) in homes]


def key_text(key: ThingKey) -> str:
    """As the ledger keeps it."""
    return f"{key[0]} {key[1]}"


def _hanging(source: Session, oids: Sequence[int]) -> list[Hanging]:
    """Views first: they decide about what hangs on them."""
    views = [
        Hanging(
            thing=(PG_CLASS, Name(schema, name)),
            key=(PG_CLASS, oid),
            kind="MATERIALIZED VIEW" if relkind == "m" else "VIEW",
            label=str(Name(schema, name)),
            relation=Name(schema, name),
            view=True,
        )
        for oid, schema, name, relkind in source.rows(_scope_sql.VIEWS, (list(oids),))
    ]
    found = source.rows(_scope_sql.belongings(source.server.capabilities), ([*oids, *(v.key[1] for v in views)],))
    return views + [
        Hanging(
            thing=(classid, closure.unquoted(identity) if identity else Name(schema, relation)),
            key=(classid, oid),
            kind=kind,
            label=f"{Name(schema, relation)}.{name}" if name else str(Name(schema, relation)),
            relation=Name(schema, relation),
        )
        for classid, oid, _, kind, schema, relation, name, identity in found
    ]


def _graph(source: Session, keys: Sequence[Key]) -> _Graph:
    edges, nodes = defaultdict(list), {}
    if keys:
        rows = source.rows(_scope_sql.EDGES, ([c for c, _ in keys], [o for _, o in keys]))
        for from_class, from_oid, to_class, to_oid, relkind, schema, name, extension in rows:
            edges[from_class, from_oid].append((to_class, to_oid))
            nodes[to_class, to_oid] = _Node(
                relkind=relkind, name=Name(schema, name) if name else None, extension=extension
            )
    return _Graph(edges=edges, nodes=nodes)


def _look_at(source: Session, target: Session, hanging: Sequence[Hanging], graph: _Graph) -> _Target:
    if not hanging:
        return _Target(there=(), extensions=(), can=target.server.capabilities)
    asked = [Thing(tableoid=PG_CLASS, oid=0, name=n.name) for n in graph.nodes.values() if n.name]
    asked += [Thing(tableoid=h.thing[0], oid=0) for h in hanging if h.thing[0] != PG_CLASS]
    needed = {n.extension for n in graph.nodes.values() if n.extension}
    return _Target(
        there=closure.present(target, asked),
        extensions={name for (name,) in target.rows(_scope_sql.OFFERED)} if needed else (),
        can=target.server.capabilities,
        lacking_roles=_lacking_roles(source, target, [h.key[1] for h in hanging if h.key[0] == PG_POLICY]),
    )


def _lacking_roles(source: Session, target: Session, policies: Sequence[int]) -> dict[int, str]:
    named = source.rows(_scope_sql.POLICY_ROLES, (list(policies),)) if policies else []
    roles = {name for (name,) in target.rows(_scope_sql.ROLES)} if named else set()
    return {oid: role for oid, role in named if role not in roles}


def _of_relation(
    each: Hanging, new: Collection[Name], lost: Collection[Name], elsewhere: Collection[Name]
) -> str | None:
    """What hangs on a relation comes with it, and only with it; `lost` are views that are not carried."""
    if each.view or each.relation in new:
        return None
    if each.relation in lost:
        return NOT_CARRIED.format(relation=str(each.relation))
    return (ELSEWHERE if each.relation in elsewhere else STAYED).format(relation=str(each.relation))


def _of_needs(each: Hanging, graph: _Graph, seen: _Target, at_hand: Collection[Name]) -> str | None:
    for node in graph.reach(each.key):
        if node.extension:
            if node.extension not in seen.extensions:
                return LACKS_EXTENSION.format(extension=node.extension)
        elif node.name and node.relkind in {"r", "p", "f"} and node.name not in at_hand:
            return LACKS_RELATION.format(relation=str(node.name))
    if each.key[0] in NEEDS and not getattr(seen.can, NEEDS[each.key[0]]):
        return UNKNOWN_THERE
    role = seen.lacking_roles.get(each.key[1]) if each.key[0] == PG_POLICY else None
    return LACKS_ROLE.format(role=role) if role else None


def _reads(view: Hanging, graph: _Graph, created: Collection[Name]) -> bool:
    """Whether a view has anything to do with a new table."""
    return any(n.name in created for n in graph.reach(view.key) if n.name)
