"""Tables that are on the target already, or that a script of the plan makes: their columns decide, and are matched.

A column is found by the name it would get, then by the source's own, then by either without regard to case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.mapped import Made, MappedColumn, MappedDatabase, MappedTable
from pghaul.model.table import Column, Name, Table
from pghaul.model.text import say
from pghaul.postgres.session import Session
from pghaul.target.foreign import ddl, types

FILLED = """
SELECT n.nspname::text, c.relname::text, a.attname::text
  FROM pg_catalog.pg_attribute AS a
  JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.oid = ANY (%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
   AND (a.atthasdef OR NOT a.attnotnull)
"""
# What a sequence may count; of a type with a schema, which is somebody's own, nothing is known.
NUMBER = re.compile(r"(smallint|integer|bigint|numeric|real|double precision)\b|.*\.")


def matched(mapped: MappedDatabase, there: Mapping[Name, Table]) -> MappedDatabase:
    """The same, where `there` are tables of the target that keep their shape."""
    return replace(mapped, tables=tuple(_matched(t, there[t.name]) if t.name in there else t for t in mapped.tables))


def _matched(table: MappedTable, there: Table) -> MappedTable:
    return replace(table, columns=tuple(_column(c, there) for c in table.columns), exists=True)


def _column(column: MappedColumn, there: Table) -> MappedColumn:
    """What both compute is not carried; where the target's column is a plain one, the source's values are."""
    found = find(column, there)
    if found is None:
        return replace(column, generated=None)
    computed = found.generated and column.source.generated is not None
    return replace(column, name=found.name, generated="" if computed else None)


def find(column: MappedColumn, there: Table) -> Column | None:
    """The target's column that is meant."""
    known = {c.name: c for c in there.columns}
    for name in (column.name, column.source.name):
        if name in known:
            return known[name]
    wanted = {column.name.lower(), column.source.name.lower()}
    same = [c for c in there.columns if c.name.lower() in wanted]
    return same[0] if len(same) == 1 else None


def differences(
    session: Session, mapped: MappedDatabase, there: Mapping[Name, Table], *, filled: frozenset[str] | None = None
) -> Iterator[Finding]:
    """What is another thing there than the mapping would have made. A column that only the target has must fill itself.

    `filled`: the columns, as schema.table.column, that do; asked of the session if nothing is said.
    """
    present = [(t, there[t.name]) for t in mapped.tables if t.name in there]
    if filled is None:
        rows = session.rows(FILLED, ([t.oid for _, t in present],)) if present else []
        filled = frozenset(f"{Name(s, t)}.{c}" for s, t, c in rows)
    for table, found in present:
        yield from _of_table(table, found, filled)


def _of_table(table: MappedTable, there: Table, filled: frozenset[str]) -> Iterator[Finding]:
    met = set()
    for column in table.columns:
        found = find(column, there)
        if found is None:
            continue  # preflight refuses it: the column has no place
        met.add(found.name)
        yield from _of_column(f"{table.name}.{found.name}", column, found)
    for other in there.columns:
        label = f"{table.name}.{other.name}"
        if other.name not in met and not (other.generated or other.identity) and label not in filled:
            yield Finding(
                kind=Kind.NAME,
                object=label,
                what=say("{column} may not be NULL, and the source has nothing for it", column=label),
                where=say("target"),
                advice=say("give it a default, or drop its NOT NULL"),
                code=7042,
            )


def _of_column(label: str, column: MappedColumn, there: Column) -> Iterator[Finding]:
    if types.spelled(there.type) != types.spelled(column.type):
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.TYPE,
            object=label,
            what=say(
                "{column} is {there} on the target, and would be {ours}",
                column=label,
                there=there.type,
                ours=column.type,
            ),
            where=say("target"),
            code=7043,
        )
    if there.not_null and not column.source.not_null and not there.identity:
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.TYPE,
            object=label,
            what=say("{column} may not be NULL on the target, and may be on the source", column=label),
            where=say("target"),
            code=7044,
        )


def sequences(tables: Sequence[MappedTable], there: Mapping[Name, Table]) -> Iterator[Made]:
    """Of tables that were there: whatever counts their columns goes on behind the rows that have come.

    What is no number there (a text, a uuid) is not counted.
    """
    for table in tables:
        numbers = {c.name for c in there[table.name].columns if NUMBER.match(c.type)}
        for column in table.columns:
            if column.carried and column.source.identity and column.name in numbers:
                yield ddl.set_sequence(table.name, column.name, column.source.identity_next)
