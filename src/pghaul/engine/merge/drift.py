"""Columns that differ between a source and its target: what is merged, what is changed first, and what is refused.

A column of the target that fills itself (a default, an identity, a generated value) or that the merge fills (the times
of scd2, the mark of a deletion) is no difference, nor is one that is wider than the source's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from psycopg import sql

from pghaul.engine import statements
from pghaul.engine.merge.choice import Asked
from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.plan import MergeMode, OnDrift
from pghaul.model.table import Column, Name, Table
from pghaul.model.text import Text, say
from pghaul.postgres.session import Session
from pghaul.postgres.widening import holds

FILLED = """
SELECT n.nspname::text, c.relname::text, a.attname::text
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN (SELECT pg_catalog.unnest(%s::text[]) AS s, pg_catalog.unnest(%s::text[]) AS t) AS w
  ON w.s = n.nspname AND w.t = c.relname
WHERE a.attnum > 0 AND NOT a.attisdropped AND a.atthasdef
"""
ADD = sql.SQL("ALTER TABLE {} ADD COLUMN {} {}")
WIDEN = sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE {}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of the target's table, in words and as SQL; made in the transaction that merges."""

    what: Text
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """`columns` are merged: the source's, with the types that the target has, or will have after the changes."""

    columns: tuple[Column, ...]
    changes: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()


def filled(session: Session, names: Collection[Name]) -> set[tuple[Name, str]]:
    """Columns with a default of their own."""
    wanted = [n.schema for n in names], [n.name for n in names]
    return {(Name(s, t), c) for s, t, c in session.rows(FILLED, wanted)}


def none(asked: Asked) -> Drift:
    """Of a table that is to be created."""
    return Drift(columns=asked.source.copied_columns)


def compare(asked: Asked, there: Table, defaults: Collection[tuple[Name, str]]) -> Drift:
    """The source's columns with those of the target that is there."""
    here = {c.name: c for c in asked.source.copied_columns}
    known = {c.name: c for c in there.columns}
    columns: list[Column] = []
    changes: list[Change] = []
    findings: list[Finding] = []
    for name, column in here.items():
        if name not in known:
            _missing(asked, column, columns, changes, findings)
        elif known[name].generated:
            findings += [] if name in asked.generated else [_generated(asked, name)]
        else:
            _typed(asked, column, known[name], columns, changes, findings)
    ours = _ours(asked)
    for column in there.columns:
        fills_itself = column.generated or column.identity or (there.name, column.name) in defaults
        if column.name not in here and column.name not in ours and not fills_itself:
            findings += _lost(asked, column)
    return Drift(columns=tuple(columns), changes=tuple(changes), findings=tuple(findings))


def _ours(asked: Asked) -> set[str]:
    """Columns that the merge itself fills."""
    merge = asked.merge
    if merge.mode is MergeMode.SCD2:
        return {merge.valid_from, merge.valid_to}
    return {merge.deleted} if merge.deleted else set()


def _missing(
    asked: Asked, column: Column, columns: list[Column], changes: list[Change], findings: list[Finding]
) -> None:
    table = str(asked.target)
    if asked.merge.on_drift is OnDrift.ADD:
        columns.append(column)
        statement = ADD.format(statements.identifier(asked.target), sql.Identifier(column.name), sql.SQL(column.type))
        what = say("{table} gets the column {column} ({type})", table=table, column=column.name, type=column.type)
        changes.append(Change(what=what, sql=statement.as_string(None)))
    elif asked.merge.on_drift is OnDrift.IGNORE:
        findings.append(
            Finding(
                severity=Severity.NOTE,
                kind=Kind.MERGE,
                object=f"{table}.{column.name}",
                what=say(
                    "the target's {table} has no column {column}: it is not merged", table=table, column=column.name
                ),
                where=say("target"),
                code=6630,
            )
        )
    else:
        findings.append(
            Finding(
                kind=Kind.MERGE,
                object=f"{table}.{column.name}",
                what=say("the source's {column} has no place in the target's {table}", table=table, column=column.name),
                where=say("target"),
                advice=say("on_drift = add adds it ({type}), on_drift = ignore leaves it out", type=column.type),
                code=6631,
            )
        )


def _generated(asked: Asked, column: str) -> Finding:
    return Finding(
        kind=Kind.SHAPE,
        object=f"{asked.target}.{column}",
        what=say("the target's column {column} is generated: it takes no values", column=f"{asked.target}.{column}"),
        where=say("target"),
        advice=say("leave it out with `columns`, or make it a plain column on the target"),
        code=5834,
    )


def _typed(
    asked: Asked,
    here: Column,
    there: Column,
    columns: list[Column],
    changes: list[Change],
    findings: list[Finding],
) -> None:
    """The target's type is what rows are staged as."""
    columns.append(there)
    if here.type == there.type or holds(here.type, there.type):
        return
    table = str(asked.target)
    facts = {"table": table, "column": here.name, "here": here.type, "there": there.type}
    if asked.merge.on_drift is OnDrift.IGNORE:
        findings.append(
            Finding(
                severity=Severity.NOTE,
                kind=Kind.MERGE,
                object=f"{table}.{here.name}",
                what=say(
                    "{table}.{column} is {here} on the source and {there} on the target: what does not fit is refused",
                    **facts,
                ),
                where=say("target"),
                code=6633,
            )
        )
    elif asked.merge.on_drift is OnDrift.ADD and holds(there.type, here.type):
        columns[-1] = here
        statement = WIDEN.format(statements.identifier(asked.target), sql.Identifier(here.name), sql.SQL(here.type))
        what = say("{table}.{column} becomes {here}, from {there}", **facts)
        changes.append(Change(what=what, sql=statement.as_string(None)))
    else:
        findings.append(
            Finding(
                kind=Kind.MERGE,
                object=f"{table}.{here.name}",
                what=say("{table}.{column} is {here} on the source and {there} on the target", **facts),
                where=say("target"),
                advice=say(
                    "change it on the target; on_drift = add widens what can be widened without a loss, on_drift = "
                    "ignore takes what fits"
                ),
                code=6634,
            )
        )


def _lost(asked: Asked, column: Column) -> Iterator[Finding]:
    """A column that only the target has, and that nothing fills: new rows have NULL there."""
    table = str(asked.target)
    inserts = asked.merge.mode is not MergeMode.UPDATE_ONLY
    if column.not_null and inserts:
        yield Finding(
            kind=Kind.MERGE,
            object=f"{table}.{column.name}",
            what=say(
                "the source has nothing for {table}.{column}, which takes no NULL and has no default",
                table=table,
                column=column.name,
            ),
            where=say("target"),
            advice=say("give it a default, or let it take NULL"),
            code=6635,
        )
    elif asked.merge.on_drift is OnDrift.FAIL and not asked.chosen:
        yield Finding(
            kind=Kind.MERGE,
            object=f"{table}.{column.name}",
            what=say("the source has no column {column} for the target's {table}", table=table, column=column.name),
            where=say("target"),
            advice=say("on_drift = ignore leaves it as it is; new rows have NULL there"),
            code=6636,
        )
    else:
        yield Finding(
            severity=Severity.NOTE,
            kind=Kind.MERGE,
            object=f"{table}.{column.name}",
            what=say("{table}.{column} stays as it is: the source does not have it", table=table, column=column.name),
            where=say("target"),
            code=6637,
        )
