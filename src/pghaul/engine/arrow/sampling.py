"""A sample of each table through the whole pipeline, into transactions that are rolled back: `run --dry-run`."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import closing
from dataclasses import replace

from psycopg import sql

from pghaul.engine import statements
from pghaul.engine.arrow import compose, decided
from pghaul.engine.arrow.compose import Loading
from pghaul.engine.arrow.ground import Ground
from pghaul.engine.arrow.looks import Look
from pghaul.engine.arrow.settled import settled_by
from pghaul.engine.arrow.stage import Stage
from pghaul.engine.job import ArrowPlan
from pghaul.model.errors import PghaulError, TransientError
from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.mapped import Made
from pghaul.model.plan import Plan
from pghaul.model.table import Name
from pghaul.model.text import say
from pghaul.postgres.catalog import describe
from pghaul.target.foreign.portions import in_parts

ROWS = 1000  # of each table …
ENOUGH = 16 << 20  # … or so many bytes: rows may be of any width
WRITES = "SET TRANSACTION READ WRITE"  # the session of a look is read-only
QUIET = "SET LOCAL session_replication_role = replica"


def findings(held: Ground, found: Look, plan: Plan) -> list[Finding]:
    """What went wrong, table by table; and that nothing did."""
    out: list[Finding] = []
    rows = 0
    for some in _parts(held, found, plan):
        with held.target.transaction(try_only=True):
            held.target.execute(WRITES)
            if held.target.server.can_replica_role:
                held.target.execute(QUIET)
            rows += _part(held, found, plan, set(some), out)
    # A type that many tables have is made for each part of them.
    return [*dict.fromkeys(out), _all_went(held, rows)]


def _parts(held: Ground, found: Look, plan: Plan) -> list[list[Name]]:
    """What is made stays locked to the end of its transaction: a server has no room for thousands of tables."""
    names = [t.name for t in found.mapped.tables]
    if plan.mapping.ddl is not None:  # a script makes all of them at once
        return [names]
    return in_parts(names, (*found.mapped.before, *found.mapped.after), held.target.server.max_locks)


def _part(held: Ground, found: Look, plan: Plan, names: Set[Name], out: list[Finding]) -> int:
    """Make these tables as far as they are missing, and send a sample into each: how many rows."""
    created = {t.name for t in found.fate.missing}
    for made in found.mapped.before:
        if made.table is None or made.table in created & names:
            out += _tried(held, made)
    mapped = replace(found.mapped, tables=tuple(t for t in found.mapped.tables if t.name in names))
    there = describe(held.target, [t.name for t in mapped.tables])
    chunks = [c for c in found.chunks if c.table in names]
    rows = 0
    for loading in decided.loadings(plan, mapped, there, chunks, found.fate.dispositions):
        try:
            with held.target.transaction():
                rows += _sampled(held, loading)
        except TransientError:
            raise
        except PghaulError as exc:
            out.append(_of(exc, str(loading.name)))
            continue
        for made in loading.builds:
            out += _tried(held, made)
    return rows


def _all_went(held: Ground, rows: int) -> Finding:
    return Finding(
        severity=Severity.NOTE,
        kind=Kind.SOURCE,
        object=held.database.product,
        what=say("{n} sample rows went through the whole pipeline, and were rolled back", n=rows),
        code=6904,
    )


def _tried(held: Ground, made: Made) -> Iterator[Finding]:
    try:
        with held.target.transaction():
            if made.exists is None or not held.target.value(made.exists):
                held.target.execute(made.sql)
    except TransientError:
        raise
    except PghaulError as exc:
        yield _of(exc, made.name)


def _of(exc: PghaulError, object_: str) -> Finding:
    return Finding(
        kind=Kind.SOURCE,
        object=object_,
        what=say("the sample of {object} was refused: {error}", object=object_, error=exc.message),
        where=exc.where,
        advice=exc.advice,
        sqlstate=exc.sqlstate,
        code=6905,
    )


def _sampled(held: Ground, loading: Loading) -> int:
    """Read, transformed, cast, encoded and copied as a run does it, but by the leader."""
    plan = settled_by(compose.arrow_plan(loading, loading.chunks[0], limit=ROWS), loading.name, held.target.rows)
    data = bytearray()
    with closing(held.source.read(plan.reading)) as batches:
        stage = Stage(batches.schema, plan, relation=str(loading.name), proves=False)
        for batch in batches:
            for part in stage.encode(batch):
                data += part
            if len(data) > ENOUGH:
                break
        data += stage.finish()
    held.target.copy_in(_copy(loading, plan, stage), bytes(data))
    return stage.rows


def _copy(loading: Loading, plan: ArrowPlan, stage: Stage) -> str:
    options = [
        sql.SQL("{} {}").format(sql.SQL(word.upper()), sql.SQL(value) if word == "format" else sql.Literal(value))
        for word, value in stage.words.items()
    ]
    columns = sql.SQL(", ").join(sql.Identifier(f.name) for f in plan.fields)
    into = sql.SQL("({})").format(columns) if plan.fields else sql.SQL("")
    copy = sql.SQL("COPY {} {} FROM STDIN ({})")
    return copy.format(statements.identifier(loading.name), into, sql.SQL(", ").join(options)).as_string(None)
