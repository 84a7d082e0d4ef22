"""From a decided table to the plan of its inserts: how it is read, which statements write it, how it is proven."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.sql import Composable

from pghaul.engine import insert_sql
from pghaul.engine.insert_sql import Reading, Writing
from pghaul.engine.job import ByKey, ByPages, InsertPlan
from pghaul.model.chunk import Chunk, ChunkKind
from pghaul.model.plan import OnConflict
from pghaul.model.table import Table
from pghaul.model.text import Text, say
from pghaul.postgres.rowhash import row_hash
from pghaul.postgres.versions import Capabilities
from pghaul.postgres.widening import type_changes

if TYPE_CHECKING:
    from pghaul.engine.compose import Loading

CONFLICTS_IGNORED = say("conflicts are ignored, and rows that were there are not compared")
NO_KEY = say("rows that were there before, and no key to tell ours by")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inserting:
    """What the recipe adds to a Loading. `policies`: row security of the target applies to our role."""

    on_conflict: OnConflict
    source: Capabilities
    target: Capabilities
    policies: bool = False


def insert_plan(loading: Loading, how: Inserting, chunk: Chunk) -> InsertPlan:
    """For one chunk."""
    writing = _writing(loading, how)
    hashed = loading.verify and loading.hashable and how.on_conflict is not OnConflict.IGNORE
    by_keys = loading.appended and bool(writing.keys)
    return InsertPlan(
        columns=len(loading.columns),
        readers=tuple(_readers(loading, how, chunk, _hash(loading, source=True) if hashed else None)),
        before=insert_sql.before(writing, row_security=how.policies),
        writes=insert_sql.writes(writing),
        on_conflict=how.on_conflict.value,
        found=insert_sql.found(writing, _hash(loading, source=False)) if hashed and by_keys else None,
        hashed=hashed and (by_keys or not loading.appended),
    )


def unproven(loading: Loading, how: Inserting) -> Text | None:
    """Why appended rows are compared by count alone; None where the keys of the batches find them on the target."""
    if how.on_conflict is OnConflict.IGNORE:
        return CONFLICTS_IGNORED
    return None if loading.hashable and _writing(loading, how).keys else NO_KEY


def unique_keys(table: Table) -> list[tuple[str, ...]]:
    """Keys that hold for every row and never are NULL, the primary key first."""
    never_null = {c.name for c in table.columns if c.not_null}
    found = sorted((i for i in table.indexes if i.columns), key=lambda i: (i.constraint_kind != "p", i.name))
    return [i.columns for i in found if never_null.issuperset(i.columns)]


def arbiters(table: Table) -> list[tuple[str, ...]]:
    """Keys by which a conflict can be met: a deferrable one is checked too late."""
    deferred = {i.columns for i in table.indexes if not i.immediate}
    return [k for k in unique_keys(table) if k not in deferred]


def _writing(loading: Loading, how: Inserting) -> Writing:
    there = {c.name: c for c in loading.target.columns}
    columns = tuple(there[c.name] for c in loading.columns)
    names = {c.name for c in columns}
    keys = [k for k in arbiters(loading.target) if names.issuperset(k)]
    others = [i.columns for i in loading.target.indexes if i.columns and i.columns not in keys]
    return Writing(
        table=loading.target,
        columns=columns,
        encoding=loading.encodings[1],
        can=how.target,
        on_conflict=how.on_conflict,
        keys=tuple(keys) + (tuple(others) if how.on_conflict is OnConflict.IGNORE else ()),
    )


def _readers(loading: Loading, how: Inserting, chunk: Chunk, hashed: Composable | None) -> Iterator[ByKey | ByPages]:
    for origin, table in zip(loading.placement.origins, loading.origins, strict=True):
        own = {c.name: c for c in table.columns}
        reading = Reading(
            table=table.name,
            columns=tuple(own[c.name] for c in loading.columns),
            encoding=loading.encodings[0],
            where=origin.where,
            hash=hashed,
        )
        # With a condition, each batch in key order might search the table anew for its rows.
        key = _reading_key(table, how.source) if not origin.where and chunk.kind is ChunkKind.LEAF else ()
        if key:
            yield insert_sql.by_key(reading, [own[n] for n in key])
        else:
            yield insert_sql.by_pages(reading, how.source, first_page=chunk.first_page, end_page=chunk.end_page)


def _reading_key(table: Table, can: Capabilities) -> tuple[str, ...]:
    """A unique key under which no row can hide: NOT NULL may be a promise that nobody has checked (18)."""
    primary = {i.columns for i in table.indexes if i.constraint_kind == "p"}
    keys = [k for k in unique_keys(table) if k in primary or not can.not_null_constraints]
    return keys[0] if keys else ()


def _hash(loading: Loading, *, source: bool) -> Composable:
    agreed = loading.agreement
    return row_hash(
        loading.columns,
        extended=agreed.extended,
        float_binary=agreed.float_binary,
        recode=agreed.source_recode if source else agreed.target_recode,
        changes=type_changes(loading.columns, loading.target.columns),
    )
