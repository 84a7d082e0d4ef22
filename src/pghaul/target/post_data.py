"""What of indexes and constraints is still missing on the target, found by name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pghaul.model.table import Name, Unsupported
from pghaul.model.text import say, saying
from pghaul.postgres.session import Session
from pghaul.target import toc
from pghaul.target.closure import PG_CLASS, PG_CONSTRAINT

# Both sides: indexes of tables in one of these schemas, with the partitioned index that they are attached to.
INDEXES_SQL = """
SELECT i.oid::int8, n.nspname::text, t.relname::text, i.relname::text, pn.nspname::text, p.relname::text
  FROM pg_catalog.pg_index AS x
  JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
  JOIN pg_catalog.pg_class AS t ON t.oid = x.indrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
  LEFT JOIN pg_catalog.pg_inherits AS h ON h.inhrelid = i.oid
  LEFT JOIN pg_catalog.pg_class AS p ON p.oid = h.inhparent
  LEFT JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.relnamespace
 WHERE n.nspname::text IN (SELECT pg_catalog.unnest(%s::text[]))
"""

# Those that pg_dump writes apart from CREATE TABLE: a partition's share of its parent's foreign key is none, and a
# check or a NOT NULL only where it is NOT VALID.
CONSTRAINTS_SQL = """
SELECT k.oid::int8, n.nspname::text, t.relname::text, k.conname::text, fn.nspname::text, f.relname::text,
       k.conindid::int8, k.contype::text
  FROM pg_catalog.pg_constraint AS k
  JOIN pg_catalog.pg_class AS t ON t.oid = k.conrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
  LEFT JOIN pg_catalog.pg_class AS f ON f.oid = k.confrelid
  LEFT JOIN pg_catalog.pg_namespace AS fn ON fn.oid = f.relnamespace
 WHERE n.nspname::text IN (SELECT pg_catalog.unnest(%s::text[]))
   AND (k.contype IN ('p', 'u', 'x') OR k.contype = 'f' AND k.coninhcount = 0
        OR k.contype IN ('c', 'n') AND NOT k.convalidated)
"""


POINTS_THERE = saying("it points at {table}, which was on the target before")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    oid: int
    table: Name
    name: Name
    parent: Name | None

    @property
    def place(self) -> tuple[Name, Name | None]:
        """A partition has one index per partitioned index, whatever its name."""
        return (self.table, self.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Constraint:
    oid: int
    table: Name
    name: str
    references: Name | None
    index: int
    kind: str

    @property
    def key(self) -> tuple[Name, str]:
        return (self.table, self.name)


def lacking(
    source: Session, target: Session, selected: Collection[Name], *, indexes: bool = True
) -> tuple[toc.Wanted, list[str], set[tuple[int, int]]]:
    """The entries to restore, what they are, and all indexes and constraints that these relations have."""
    schemas = sorted({n.schema for n in selected})
    ours = [i for i in _indexes(source, schemas) if i.table in selected] if selected else []
    keys = [c for c in _constraints(source, schemas) if c.table in selected] if selected else []
    parts = {(PG_CLASS, i.oid) for i in ours} | {(PG_CONSTRAINT, c.oid) for c in keys}
    if not indexes or not selected:
        return toc.Wanted(), [], parts
    theirs = _indexes(target, schemas)
    names, places = {i.name for i in theirs}, {i.place for i in theirs if i.parent}
    missing = [i for i in ours if i.name not in names and i.place not in places]
    attach = [i for i in ours if i.parent and i.place not in places]
    there = {c.key for c in _constraints(target, schemas)}
    constraints = _constraints_lacking(keys, there, selected, {i.oid for i in ours} - {i.oid for i in missing})
    backed = {c.index for c in constraints if c.kind in "pux"}
    ids = {(PG_CLASS, i.oid) for i in missing} | {(PG_CONSTRAINT, c.oid) for c in constraints}
    said: list[str] = [say("index {name}", name=str(i.name)) for i in missing if i.oid not in backed]
    said += [say("constraint {name} on {table}", name=c.name, table=str(c.table)) for c in constraints]
    said += [say("index {name} attached to {parent}", name=str(i.name), parent=str(i.parent)) for i in attach]
    return toc.Wanted(ids=ids, named=[(toc.INDEX_ATTACH, i.name) for i in attach]), said, parts


def unmade_keys(source: Session, created: Collection[Name], there: Collection[Name]) -> list[Unsupported]:
    """Foreign keys of tables that the run creates, to tables that the target has already: those are somebody else's."""
    if not created or not there:
        return []
    keys = _constraints(source, sorted({n.schema for n in created}))
    return [
        Unsupported(kind="FK CONSTRAINT", name=f"{c.table}.{c.name}", why=POINTS_THERE.format(table=str(c.references)))
        for c in keys
        if c.kind == "f" and c.table in created and c.references in there
    ]


def _constraints_lacking(
    keys: Sequence[_Constraint], there: Collection[tuple[Name, str]], selected: Collection[Name], indexed: set[int]
) -> list[_Constraint]:
    return [
        c
        for c in keys
        if c.key not in there
        and (c.references is None or c.references in selected)
        and not (c.kind in "pux" and c.index in indexed)
    ]


def _indexes(session: Session, schemas: list[str]) -> list[_Index]:
    return [
        _Index(oid=oid, table=Name(s, t), name=Name(s, i), parent=Name(ps, p) if p else None)
        for oid, s, t, i, ps, p in session.rows(INDEXES_SQL, (schemas,))
    ]


def _constraints(session: Session, schemas: list[str]) -> list[_Constraint]:
    return [
        _Constraint(oid=oid, table=Name(s, t), name=k, references=Name(fs, f) if f else None, index=index, kind=kind)
        for oid, s, t, k, fs, f, index, kind in session.rows(CONSTRAINTS_SQL, (schemas,))
    ]
