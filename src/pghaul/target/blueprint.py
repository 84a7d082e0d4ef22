"""What the source knows of the tables that designs are made of, read at once for all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pghaul.model.table import Name
from pghaul.postgres.expressions import parse_check
from pghaul.postgres.session import Session
from pghaul.target._design_sql import CHECKS, RELATIONS, columns_sql, sequences_sql


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnPlan:
    """One column, as CREATE TABLE needs it; texts of the server where they are SQL."""

    name: str
    type: str
    not_null: bool
    collation: str | None
    default: str | None  # of a generated column, its expression
    generated: str  # '', s (stored), v (virtual)
    identity: str  # '', a (always), d (by default)
    storage: str | None
    comment: str | None
    sequence: Name | None  # that it owns
    calls: Name | None  # the sequence that its default calls …
    only_calls: bool  # … and does nothing else


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    name: str
    definition: str
    own_only: bool  # NO INHERIT
    columns: tuple[str, ...]
    bounds: bool  # it says which values a column takes, and nothing else


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    start: int
    low: int
    high: int
    step: int
    cycle: bool
    cache: int
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """One table of the source."""

    columns: tuple[ColumnPlan, ...]
    checks: tuple[Check, ...]
    unlogged: bool
    options: str
    comment: str | None

    def kept(self, wanted: tuple[str, ...] | None) -> tuple[ColumnPlan, ...]:
        """The columns that are wanted; generated ones go where only some are."""
        return tuple(c for c in self.columns if wanted is None or c.name in wanted)


def blueprints(source: Session, names: Iterable[Name]) -> dict[Name, Blueprint]:
    """Three queries, however many tables."""
    wanted = sorted(set(names))
    arrays = ([n.schema for n in wanted], [n.name for n in wanted])
    columns: dict[Name, list[ColumnPlan]] = defaultdict(list)
    for schema, table, *row in source.rows(columns_sql(source.server.capabilities), arrays):
        columns[Name(schema, table)].append(_column(row))
    checks: dict[Name, list[Check]] = defaultdict(list)
    for schema, table, *row in source.rows(CHECKS, arrays):
        name = Name(schema, table)
        checks[name].append(_check(row, {c.name: c.type for c in columns[name]}))
    return {
        Name(s, t): Blueprint(
            columns=tuple(columns[Name(s, t)]),
            checks=tuple(checks[Name(s, t)]),
            unlogged=unlogged,
            options=options,
            comment=comment,
        )
        for s, t, unlogged, options, comment in source.rows(RELATIONS, arrays)
    }


def _column(row: list[Any]) -> ColumnPlan:
    (name, type_name, not_null, collation, default, generated, identity) = row[:7]
    (storage, comment, schema, sequence, called_schema, called, only_calls) = row[7:]
    return ColumnPlan(
        name=name,
        type=type_name,
        not_null=not_null,
        collation=collation,
        default=default,
        generated=generated.strip("\0"),
        identity=identity.strip("\0"),
        storage=storage,
        comment=comment,
        sequence=Name(schema, sequence) if sequence else None,
        calls=Name(called_schema, called) if called else None,
        only_calls=bool(only_calls),
    )


def _check(row: list[Any], types: Mapping[str, str]) -> Check:
    name, definition, own_only, expression, validated, columns = row
    said = parse_check(expression, types, trusted=validated)
    return Check(
        name=name,
        definition=definition,
        own_only=own_only,
        columns=tuple(columns),
        bounds=said.plain and len(said.bounds) == 1,
    )


def sequences(source: Session, names: Iterable[Name]) -> dict[Name, Sequence]:
    """The parameters of sequences."""
    wanted = sorted(set(names))
    rows = source.rows(
        sequences_sql(source.server.capabilities), ([n.schema for n in wanted], [n.name for n in wanted])
    )
    return {
        Name(s, n): Sequence(start=start, low=low, high=high, step=step, cycle=cycle, cache=cache, type=kind)
        for s, n, start, low, high, step, cycle, cache, kind in rows
    }
