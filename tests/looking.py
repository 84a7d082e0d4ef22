"""What a test asks of a database, over connections of its own: values, sessions, and whether anything changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import psycopg
from psycopg import sql

from pghaul.model.table import Name
from pghaul.postgres.catalog import Directory
from pghaul.postgres.session import Session
from tests.faults.program import wait_until

OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pghaul/%' AND datname = current_database()"
RELATIONS = """
    SELECT n.nspname, c.relname, c.relkind, c.relfilenode, c.relnatts, c.relhasindex, c.relhastriggers
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY 1, 2
"""
OTHERS = """
    SELECT 'schema ' || nspname || coalesce(nspacl::text, '') FROM pg_namespace
    WHERE nspname !~ '^pg_temp|^pg_toast_temp'
    UNION ALL SELECT 'constraint ' || conname FROM pg_constraint
    UNION ALL SELECT 'type ' || typname FROM pg_type WHERE typtype IN ('e', 'd') UNION ALL SELECT 'ext ' || extname
    FROM pg_extension ORDER BY 1
"""

State: TypeAlias = tuple[Any, ...]


def execute(url: str, *statements: str) -> None:
    """Each in a transaction of its own."""
    with psycopg.connect(url, autocommit=True) as session:
        for statement in statements:
            session.execute(statement.encode())


def value(url: str, query: str) -> Any:
    """The first column of the first row."""
    with psycopg.connect(url, autocommit=True) as session:
        row = session.execute(query.encode()).fetchone()
    return row[0] if row else None


def state_of(url: str) -> State:
    """Everything a run could change: relations and their files, schemas, constraints, types, and all rows."""
    with psycopg.connect(url, autocommit=True) as session:
        relations = session.execute(RELATIONS.encode()).fetchall()
        rows = [
            (r[:2], sorted(map(str, session.execute(_all_rows(r[0], r[1])).fetchall())))
            for r in relations
            if r[2] in {"r", "p"}
        ]
        return relations, session.execute(OTHERS.encode()).fetchall(), rows


def rows_of(url: str, table: str) -> list[str]:
    """A table's rows with where they lie and who wrote them."""
    schema, _, name = table.partition(".")
    with psycopg.connect(url, autocommit=True) as session:
        return sorted(map(str, session.execute(_all_rows(schema, name)).fetchall()))


def _all_rows(schema: str, table: str) -> sql.Composed:
    return sql.SQL("SELECT ctid, xmin, t::text FROM {} t").format(sql.Identifier(schema, table))


def sessions_of_ours(url: str) -> int:
    """How many sessions of any run are on this database now."""
    return int(value(url, OURS))


def assert_no_session_is_left(*urls: str) -> None:
    """A backend takes a moment to go after its client has gone, on a busy machine some seconds."""
    for url in urls:
        assert wait_until(lambda url=url: sessions_of_ours(url) == 0, 20), f"{sessions_of_ours(url)} left"  # type: ignore[misc]


def markers(url: str) -> set[tuple[str, str]]:
    """(table, chunk) of every committed marker on a target."""
    query = (
        "SELECT relation, chunk FROM pghaul.chunk_marker WHERE finished_at IS NOT NULL UNION ALL "
        "SELECT relation, chunk FROM pghaul.chunk_marker_unlogged WHERE finished_at IS NOT NULL"
    )
    with psycopg.connect(url, autocommit=True) as session:
        return {(r, c) for r, c in session.execute(query).fetchall()}


def select(session: Session, patterns: Iterable[str]) -> list[Name]:
    """What the patterns match and all below it, parents first."""
    names = Directory(session)
    depths = names.descend(names.matching(patterns))
    return names.listed(depths, depths)
