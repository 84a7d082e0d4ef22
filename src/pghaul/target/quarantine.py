"""What lies in pghaul.quarantine: counted, read and deleted. How rows come in is a load's business."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import sql

from pghaul.model.errors import NotFoundError
from pghaul.model.quarantine import WHERE, Lot, Reason, SetAside, Which
from pghaul.model.text import say
from pghaul.postgres.session import Session

READ_AT_ONCE = 8 << 20  # bytes of rows in hand: a row may have 50 MB, and then it comes alone
KEYS_AT_ONCE = 1000

IS_THERE = """
SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'pghaul' AND c.relname = 'quarantine')
"""
READABLE = """
SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'pghaul' AND c.relname = 'quarantine'
"""
WAITING = """
SELECT q.relation, pg_catalog.count(*) FROM pghaul.quarantine q
WHERE q.replayed_at IS NULL AND q.run_id = coalesce(%s, (
    SELECT l.run_id FROM pghaul.quarantine l WHERE l.relation = q.relation ORDER BY l.id DESC LIMIT 1))
GROUP BY q.relation
"""
TABLES = "SELECT DISTINCT relation FROM pghaul.quarantine ORDER BY 1"
LOTS = """
SELECT run_id, relation, pg_catalog.count(*), pg_catalog.count(replayed_at),
       pg_catalog.sum(pg_catalog.octet_length(row_data))::int8, pg_catalog.min(set_aside_at),
       pg_catalog.max(set_aside_at)
FROM pghaul.quarantine WHERE {} GROUP BY run_id, relation ORDER BY pg_catalog.max(id) DESC
"""
REASONS = """
SELECT r.run_id, r.relation, r.sqlstate, r.constraint_name, r.column_name, r.rows,
       (SELECT q.message FROM pghaul.quarantine q WHERE q.id = r.first)
FROM (SELECT run_id, relation, sqlstate, constraint_name, column_name, pg_catalog.count(*) AS rows,
             pg_catalog.min(id) AS first
      FROM pghaul.quarantine WHERE replayed_at IS NULL AND {} GROUP BY 1, 2, 3, 4, 5) r
ORDER BY r.rows DESC, r.first
"""
KEYS = """
DECLARE pghaul_set_aside NO SCROLL CURSOR FOR
SELECT id, pg_catalog.octet_length(row_data) FROM pghaul.quarantine WHERE {} ORDER BY id
"""
NEXT_KEYS = f"FETCH {KEYS_AT_ONCE:d} FROM pghaul_set_aside"
NO_MORE = "CLOSE pghaul_set_aside"
ROWS = """
SELECT id, run_id, relation, chunk, source_key, columns, row_data, encoding, sqlstate, message, column_name,
       constraint_name, set_aside_at, replayed_by, replayed_at
FROM pghaul.quarantine WHERE id = ANY (%s) ORDER BY id
"""
FIRST = "SELECT id FROM pghaul.quarantine WHERE {} ORDER BY id LIMIT {}"
DROP = "DELETE FROM pghaul.quarantine WHERE {}"


def waiting(session: Session, run: str | None) -> dict[str, int]:
    """How many rows each table has set aside by a run, or by the last that has set any; empty where we may not look."""
    return dict(session.rows(WAITING, (run,))) if session.value(READABLE) else {}


def check(session: Session) -> None:
    """NotFoundError where this database keeps no rows that were set aside."""
    if not session.value(IS_THERE):
        raise NotFoundError(
            say("nothing was ever set aside in this database"),
            where=session.server.database,
            advice=say("name the target of the run whose rows you look for"),
            code=5297,
        )


def tables(session: Session, which: Which) -> list[str]:
    """That have rows, as the ledger calls them, and fit a pattern; NotFoundError for a pattern that none fits."""
    found = [name for (name,) in session.rows(TABLES)]
    if not which.tables:
        return found
    fitting = {pattern: _fitting(found, pattern) for pattern in which.tables}
    if nothing := [pattern for pattern, names in fitting.items() if not names]:
        raise NotFoundError(
            say("no row of {table} is set aside", table=nothing[0]),
            where=session.server.database,
            advice=say("`pghaul quarantine list` shows the tables that have some"),
            code=5298,
        )
    return list(dict.fromkeys(name for names in fitting.values() for name in names))


def _fitting(found: Sequence[str], said: str) -> list[str]:
    pattern = said if "." in said else f"public.{said}"
    return [name for name in found if name == pattern or fnmatch.fnmatchcase(name, pattern)]


def condition(session: Session, which: Which) -> sql.Composable:
    """The WHERE of a selection. What belongs to rows that are staged and not merged is nobody's yet."""
    parts: list[sql.Composable] = [sql.SQL("pg_catalog.left(chunk, 6) <> 'stage:'")]
    if which.runs:
        parts.append(sql.SQL("run_id = ANY ({})").format(sql.Literal(list(which.runs))))
    if which.tables:
        parts.append(sql.SQL("relation = ANY ({})").format(sql.Literal(tables(session, which))))
    if which.ids:
        parts.append(sql.SQL("id = ANY ({}::int8[])").format(sql.Literal(list(which.ids))))
    for word, value in which.conditions:
        parts.append(sql.SQL("{} = {}").format(sql.Identifier(WHERE[word]), sql.Literal(value)))
    if which.older_than is not None:
        age = sql.Literal(float(which.older_than))
        parts.append(sql.SQL("set_aside_at < pg_catalog.now() - {} * '1 second'::pg_catalog.interval").format(age))
    if which.replayed is not None:
        parts.append(sql.SQL("replayed_at IS NOT NULL" if which.replayed else "replayed_at IS NULL"))
    return sql.SQL(" AND ").join(parts)


def lots(session: Session, which: Which) -> list[Lot]:
    """By run and table, the latest first."""
    where = condition(session, which)
    reasons: dict[tuple[str, str], list[Reason]] = {}
    for run, table, *about in session.rows(sql.SQL(REASONS).format(where)):
        reasons.setdefault((run, table), []).append(_reason(about))
    return [
        Lot(
            run=run,
            table=table,
            rows=rows,
            replayed=replayed,
            bytes=size,
            first=first,
            last=last,
            reasons=tuple(reasons.get((run, table), ())),
        )
        for run, table, rows, replayed, size, first, last in session.rows(sql.SQL(LOTS).format(where))
    ]


def _reason(about: Sequence[Any]) -> Reason:
    sqlstate, constraint, column, rows, message = about
    return Reason(sqlstate=sqlstate, constraint=constraint, column=column, rows=rows, message=message)


def first(session: Session, which: Which, limit: int) -> Iterator[SetAside]:
    """The first of them, one after the other."""
    statement = sql.SQL(FIRST).format(condition(session, which), sql.Literal(limit))
    for (number,) in session.rows(statement):
        yield from read(session, [number])


def read(session: Session, ids: Sequence[int]) -> list[SetAside]:
    """Those that are still there, in order."""
    return [_set_aside(row) for row in session.rows(ROWS, (list(ids),))]


def portions(session: Session, where: sql.Composable, *, lock: bool = False) -> Iterator[list[int]]:
    """Numbers of rows, so many at a time as fit into memory, in order; inside the caller's transaction.

    `lock`: nobody else changes or deletes them until its end.
    """
    statement = sql.SQL(KEYS).format(where)
    session.execute(sql.Composed([statement, sql.SQL(" FOR UPDATE")]) if lock else statement)
    held: list[int] = []
    size = 0
    while found := session.rows(NEXT_KEYS):
        for number, length in found:
            if held and size + length > READ_AT_ONCE:
                yield held
                held, size = [], 0
            held.append(number)
            size += length
    if held:
        yield held
    session.execute(NO_MORE)


def all_rows(session: Session, which: Which) -> Iterator[list[SetAside]]:
    """All of them as of one moment, in constant memory."""
    where = condition(session, which)
    with session.transaction():
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for ids in portions(session, where):
            yield read(session, ids)


def drop(session: Session, which: Which) -> int:
    """Delete them; how many there were."""
    return session.execute(sql.SQL(DROP).format(condition(session, which)))


def _set_aside(row: tuple[Any, ...]) -> SetAside:
    number, run, table, chunk, key, columns, line, encoding, sqlstate, message, column, constraint, at, by, then = row
    return SetAside(
        id=number,
        run=run,
        table=table,
        chunk=chunk,
        key=key,
        columns=tuple(columns),
        line=bytes(line),
        encoding=encoding,
        sqlstate=sqlstate,
        message=message,
        column=column,
        constraint=constraint,
        at=at,
        replayed_by=by,
        replayed_at=then,
    )
