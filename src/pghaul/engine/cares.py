"""What is composed for rows that the target may refuse: how many, by which key they are found again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from psycopg.sql import SQL, Composable, Identifier

from pghaul.engine.job import MEMORY, Care
from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.rejects import allowance
from pghaul.model.table import Table
from pghaul.postgres.rowhash import row_hash_sql
from pghaul.postgres.widening import type_changes

if TYPE_CHECKING:
    from pghaul.engine.compose import Loading

SMALLEST_ROW = 28  # bytes of a heap: no table has more rows than as many of these as it has room for
BY_KEY = SQL("SELECT {columns} FROM ONLY {table} WHERE {where}({key}) IN (SELECT {values} FROM (SELECT {arrays}) AS u)")
ARRAY = SQL("pg_catalog.unnest({number}::pg_catalog.text[]) AS {name}")
EVER_SO_MANY = 1 << 62  # rows: any share but 0% allows one of so many
COMMA = SQL(", ")


def care_of(loading: Loading, before: int) -> Care:
    """For the jobs of a table, of which so many rows are set aside already."""
    columns = tuple(c.name for c in loading.columns)
    key = _key(loading.source, columns)
    return Care(
        limit=str(loading.max_rejects),
        most=_most(loading, before),
        whole=not loading.split,
        memory=loading.memory_limit or MEMORY,
        columns=columns,
        key=key,
        hash_by_key=_hash_by_key(loading, key) if key and loading.verify and loading.hashable else "",
    )


def softened(findings: Iterable[Finding], max_rejects: int | str) -> list[Finding]:
    """Rows that the target cannot hold are no obstacle where some may be set aside."""
    may = allowance(max_rejects, EVER_SO_MANY) > 0
    return [replace(f, severity=Severity.WARNING) if may and f.kind is Kind.CHARACTERS else f for f in findings]


def _most(loading: Loading, before: int) -> int:
    if isinstance(loading.max_rejects, int):
        return max(0, loading.max_rejects - before)
    return allowance(loading.max_rejects, sum(o.bytes for o in loading.origins) // SMALLEST_ROW + 1)


def _key(table: Table, columns: tuple[str, ...]) -> tuple[int, ...]:
    """Places of the primary key's columns; none where not all of them are copied."""
    keys = [i.columns for i in table.indexes if i.constraint_kind == "p"]
    if not keys or not set(columns).issuperset(keys[0]):
        return ()
    return tuple(columns.index(name) for name in keys[0])


def _hash_by_key(loading: Loading, key: tuple[int, ...]) -> str:
    """Rows of one relation only: a key of several may be there several times."""
    if len(loading.origins) != 1:
        return ""
    agreed, parts = loading.agreement, [loading.columns[i] for i in key]
    where = loading.placement.origins[0].where
    values: list[Composable] = [SQL(f"u.k{i}::{c.base}") for i, c in enumerate(parts)]
    arrays = [ARRAY.format(number=SQL(f"${i + 1}"), name=Identifier(f"k{i}")) for i in range(len(parts))]
    query = BY_KEY.format(
        columns=COMMA.join([Identifier(c.name) for c in loading.columns]),
        table=Identifier(loading.origins[0].name.schema, loading.origins[0].name.name),
        where=SQL("(\n{}\n) AND ").format(SQL(where)) if where else SQL(""),
        key=COMMA.join([Identifier(c.name) for c in parts]),
        values=COMMA.join(values),
        arrays=COMMA.join(arrays),
    )
    return row_hash_sql(
        loading.columns,
        loading.source.name,
        extended=agreed.extended,
        float_binary=agreed.float_binary,
        recode=agreed.source_recode,
        changes=type_changes(loading.columns, loading.target.columns),
        query=query.as_string(None),
    )
