"""A script of the plan in place of what we would make: run whole, in one transaction, and its tables described.

The server takes it as it is, in one message: nothing here splits statements, so a semicolon in a function's body is
no problem. A script that ends transactions of its own could leave half of itself behind, and is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import sqlglot
from psycopg import sql
from sqlglot.errors import SqlglotError

from pghaul.model.errors import MappingError, PghaulError, TransientError
from pghaul.model.finding import Finding, Kind
from pghaul.model.mapped import Made, MappedColumn, MappedDatabase, MappedTable
from pghaul.model.plan import Plan
from pghaul.model.table import Name, Table
from pghaul.model.text import say
from pghaul.postgres.catalog import describe
from pghaul.postgres.session import Session
from pghaul.postgres.settings import settings
from pghaul.target.foreign import ddl, existing, names

ENDS = frozenset({"BEGIN", "START", "COMMIT", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"})
BEFORE = sql.SQL("SET LOCAL search_path TO {}, pg_catalog;\n")
# What the script has set for itself is not for our session.
AFTER = sql.SQL("\n;\nSELECT {}")
SET = sql.SQL("pg_catalog.set_config({}, {}, false)")
ALL = sql.SQL("SELECT {}")


class _RolledBackError(Exception):
    """Nothing of it is to stay."""


def read(file: str) -> str:
    """The script. MappingError where it cannot be read, or would not be one transaction."""
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise MappingError(
            say("the script {file} cannot be read: {why}", file=file, why=str(exc)),
            where="[mapping] ddl",
            advice=say("name a file of SQL in UTF-8, from the folder in which pghaul is started"),
            code=7046,
        ) from exc
    for word in _openings(text):
        if word in ENDS:
            raise MappingError(
                say("the script {file} says {word}: it is run as one transaction", file=file, word=word),
                where="[mapping] ddl",
                advice=say("take BEGIN, COMMIT and their like out of it"),
                code=7047,
            )
    return text


def _openings(text: str) -> Iterator[str]:
    """The first word of every statement; nothing of what cannot be read here: the server will say what it is."""
    try:
        tokens = sqlglot.tokenize(text, read="postgres")
    except SqlglotError:
        return
    first = True
    for token in tokens:
        ended = token.token_type.name == "SEMICOLON"
        if first and not ended:
            yield token.text.upper()
        first = ended


def map_script(target: Session, mapped: MappedDatabase, plan: Plan) -> MappedDatabase:
    """The mapping with the tables that the script makes, or has made. Nothing stays: it is run by `before`, later."""
    text = read(plan.mapping.ddl or "")
    candidates = {t.source.name: _candidates(t) for t in mapped.tables}
    there = _described(target, candidates)
    if not there:
        with contextlib.suppress(_RolledBackError), target.transaction():
            target.execute("SET TRANSACTION READ WRITE")
            _run(target, text, plan)
            there = _described(target, candidates)
            findings = _findings(target, mapped, there)
            raise _RolledBackError
    else:
        findings = _findings(target, mapped, there)
    tables = tuple(_table(t, there[t.source.name]) for t in mapped.tables if t.source.name in there)
    made = [t.name for t in tables]
    return replace(
        mapped,
        tables=tables,
        before=(_made(target, text, plan, made),),
        after=tuple(existing.sequences(tables, {t.name: t for t in there.values()})),
        left=mapped.database.others,
        findings=(*(f for f in mapped.findings if f.kind is not Kind.DEFINITION), *findings),
    )


def _candidates(table: MappedTable) -> list[Name]:
    """The name that we would give, then the source's own, then that in lower case."""
    own = names.cut(table.source.name.name)
    return list(dict.fromkeys([table.name, Name(table.name.schema, own), Name(table.name.schema, own.lower())]))


def _described(target: Session, candidates: Mapping[Name, list[Name]]) -> dict[Name, Table]:
    found = describe(target, [n for several in candidates.values() for n in several])
    return {
        source: next(found[n] for n in several if n in found)
        for source, several in candidates.items()
        if any(n in found for n in several)
    }


def _run(target: Session, text: str, plan: Plan) -> None:
    try:
        target.execute(_whole(target, text, plan))
    except TransientError:
        raise
    except PghaulError as exc:
        raise MappingError(
            say("the script {file} cannot be run: {why}", file=plan.mapping.ddl or "", why=exc.message),
            where="[mapping] ddl",
            advice=say("mend it; psql's own commands (\\connect …) are none for the server"),
            sqlstate=exc.sqlstate,
            code=7048,
        ) from exc


def _whole(target: Session, text: str, plan: Plan) -> str:
    ours = settings(target.server.capabilities, "target", lock_timeout=plan.options.lock_timeout)
    ours.append(("client_encoding", "UTF8"))
    calls = sql.SQL(", ").join(SET.format(sql.Literal(n), sql.Literal(v)) for n, v in ours)
    schema = sql.Identifier(plan.mapping.target_schema)
    return BEFORE.format(schema).as_string(None) + text + AFTER.format(calls).as_string(None)


def _made(target: Session, text: str, plan: Plan, tables: list[Name]) -> Made:
    there = sql.SQL(" AND ").join(sql.SQL("({})").format(sql.SQL(ddl.relation_exists(t))) for t in tables)
    return Made(
        name=f"script:{plan.mapping.ddl}",
        sql=_whole(target, text, plan),
        table=None,
        kind="script",
        exists=ALL.format(there).as_string(None) if tables else None,
        text=text,
    )


def _table(table: MappedTable, there: Table) -> MappedTable:
    """With the script's names and types. It is made by this run: `exists` is for what was there before."""
    columns = []
    for column in table.columns:
        found = existing.find(column, there)
        if found is not None:
            computed = found.generated and column.source.generated is not None
            columns.append(
                MappedColumn(
                    source=column.source,
                    name=found.name,
                    type=found.type,
                    not_null=found.not_null,
                    identity=found.identity,
                    identity_next=column.identity_next,
                    generated="" if computed else None,
                    encoding=column.encoding,
                    note=column.note,
                )
            )
    return MappedTable(source=table.source, name=there.name, columns=tuple(columns))


def _findings(target: Session, mapped: MappedDatabase, there: Mapping[Name, Table]) -> list[Finding]:
    found = []
    for table in mapped.tables:
        made = there.get(table.source.name)
        if made is None:
            found.append(_no_table(table))
            continue
        found += [_no_column(table, made, c.source.name) for c in table.columns if existing.find(c, made) is None]
    renamed = [replace(t, name=there[t.source.name].name) for t in mapped.tables if t.source.name in there]
    by_name = {t.name: t for t in there.values()}
    return [*found, *existing.differences(target, replace(mapped, tables=tuple(renamed)), by_name)]


def _no_table(table: MappedTable) -> Finding:
    return Finding(
        kind=Kind.NAME,
        object=str(table.name),
        what=say("the script makes no table for {table}", table=str(table.source.name).removeprefix(".")),
        where="[mapping] ddl",
        advice=say("make it as {name}, or leave it out of the plan by `exclude`", name=str(table.name)),
        code=7049,
    )


def _no_column(table: MappedTable, made: Table, column: str) -> Finding:
    return Finding(
        kind=Kind.NAME,
        object=f"{made.name}.{column}",
        what=say("the script's {table} has no column for {column}", table=str(made.name), column=column),
        where="[mapping] ddl",
        advice=say("add it, or leave it out by `columns` of a [[tables]] for {table}", table=table.source.name.name),
        code=7050,
    )
