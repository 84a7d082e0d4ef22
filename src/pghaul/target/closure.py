"""What a table needs before it can be created: types, domains, sequences, functions, schemas, parents …

Computed on the source from pg_depend in one recursive query, so that the answer is pg_dump's own idea of
dependency, and in (tableoid, oid), so that it can be matched with the entries of an archive.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pghaul.model.table import Name
from pghaul.model.text import say, saying
from pghaul.postgres.session import Session
from pghaul.target import _closure_sql

# Oids of the catalogues themselves: the same in every version, and what `pg_restore --list` prints first.
PG_TYPE = 1247
PG_CLASS = 1259
PG_ATTRDEF = 2604
PG_CONSTRAINT = 2606
PG_NAMESPACE = 2615
PG_REWRITE = 2618
PG_TRIGGER = 2620
PG_POLICY = 3256
PG_STATISTIC_EXT = 3381
PG_EVENT_TRIGGER = 3466
ROW_SECURITY = 0  # ENABLE ROW LEVEL SECURITY has an entry of its own: no catalogue, and the oid of its table
PARTS = (PG_ATTRDEF, 2602, 2603)  # of other objects (the last two: pg_amop, pg_amproc)
# What a person calls them.
A_TABLE = saying("table {name}")
SPECIAL = {PG_TYPE: saying("type {name}"), ROW_SECURITY: saying("row security of {name}")}
KINDS = {
    "S": saying("sequence {name}"),
    "v": saying("view {name}"),
    "m": saying("materialized view {name}"),
    "f": saying("foreign table {name}"),
}

Key: TypeAlias = tuple[int, int]  # a catalogue and an oid in it, of one server
ThingKey: TypeAlias = tuple[int, Name | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One object of the source. `owner` is the table that a default, constraint or sequence belongs to."""

    tableoid: int
    oid: int
    relkind: str | None = None  # and A for array types, which come with their elements'
    extension: str | None = None  # it is this extension, or a member of it
    extension_schema: str | None = None
    owner: int | None = None
    name: Name | None = None  # of relations and types
    type: str = ""
    schema: str | None = None
    identity: str = ""

    @property
    def key(self) -> ThingKey:
        """The same on two servers."""
        return (self.tableoid, self.name or unquoted(self.identity))

    @property
    def told(self) -> bool:
        """Worth a line: not what comes with something else (indexes with their tables, composites with their types)."""
        if self.tableoid in PARTS or self.relkind in {"i", "I", "c", "A"}:
            return False
        return self.tableoid != PG_CONSTRAINT and not self.identity.startswith('"_RETURN" on ')

    @property
    def description(self) -> str:
        """For a person."""
        if not self.name:
            return say("{kind} {name}", kind=self.type, name=self.identity)
        words = SPECIAL.get(self.tableoid) or KINDS.get(self.relkind or "", A_TABLE)
        return words.format(name=str(self.name))


def needed_by(source: Session, seeds: Collection[Key], stops: Collection[int] = ()) -> list[Thing]:
    """These objects (catalogue and oid on the source) and all that they need; nothing beyond the relations `stops`."""
    if not seeds:
        return []
    pairs = list(seeds)
    return _described(
        source,
        _closure_sql.NEEDED + _closure_sql.DESCRIBED,
        ([c for c, _ in pairs], [o for _, o in pairs], list(stops)),
    )


def everything(source: Session) -> list[Thing]:
    """All objects of the source that initdb did not make."""
    return _described(source, _closure_sql.everything(source.server.capabilities), ())


def _described(source: Session, query: str, parameters: Sequence[object]) -> list[Thing]:
    with source.transaction():
        source.rows(_closure_sql.JIT_OFF)
        return [_thing(row) for row in source.rows(query, parameters)]


def _thing(row: Sequence[object]) -> Thing:
    classid, objid, relkind, extension, home, owner, name, schema, kind, identity_schema, identity = row
    return Thing(
        tableoid=int(str(classid)),
        oid=int(str(objid)),
        relkind=None if relkind is None else str(relkind),
        extension=None if extension is None else str(extension),
        extension_schema=None if home is None else str(home),
        owner=None if owner is None else int(str(owner)),
        name=None if name is None else Name(str(schema), str(name)),
        type=str(kind or ""),
        schema=str(schema or identity_schema) if schema or identity_schema else None,
        identity=str(identity or ""),
    )


def schemas_of(things: Iterable[Thing]) -> list[str]:
    """The schemas that pg_dump must look into for them."""
    return sorted({t.schema for t in things if t.schema and not t.extension})


def present(target: Session, things: Sequence[Thing]) -> set[ThingKey]:
    """The keys of those that the target has, by name (Thing.key)."""
    classes = {t.tableoid for t in things}
    relations = [t.name.name for t in things if t.name and t.tableoid == PG_CLASS]
    types = [t.name.name for t in things if t.name and t.tableoid == PG_TYPE]
    found: set[ThingKey] = {(PG_CLASS, Name(s, n)) for s, n in target.rows(_closure_sql.RELATIONS, (relations,))}
    if types:
        found |= {(PG_TYPE, Name(s, n)) for s, n in target.rows(_closure_sql.TYPES, (types,))}
    if ROW_SECURITY in classes and target.server.capabilities.row_security:
        found |= {(ROW_SECURITY, Name(s, n)) for s, n in target.rows(_closure_sql.ROW_SECURITY)}
    others = target.rows(_closure_sql.identities(target.server.capabilities, classes))
    return found | {(c, unquoted(i)) for c, i in others if i is not None}


def unquoted(identity: str) -> str:
    """Keywords, and so quotes, differ between versions."""
    return identity.replace('"', "")
