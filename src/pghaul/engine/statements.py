"""Every statement that the engine hands to a worker, composed from names by psycopg.sql. No connection in sight."""

from __future__ import annotations

import re
from collections.abc import Sequence

from psycopg import sql

from pghaul.engine.job import Statement
from pghaul.model.chunk import Chunk, ChunkKind
from pghaul.model.placement import Origin, Placement
from pghaul.model.table import Column, Index, Name

DEFERRABLE = re.compile(r"( DEFERRABLE.*)$")

INDEX_EXISTS = sql.SQL(
    "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = {} AND c.relname = {})"
)
CONSTRAINT_EXISTS = sql.SQL(
    "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = {} AND c.relname = {} AND k.conname = {})"
)
ANY_INDEX = sql.SQL(
    "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE (n.nspname, c.relname) IN ({}))"
)
FILENODE = sql.SQL(
    "SELECT pg_catalog.pg_relation_filenode(c.oid)::int8 FROM pg_catalog.pg_class c "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {} AND c.relname = {}"
)


def identifier(name: Name) -> sql.Identifier:
    """Quoted, qualified."""
    return sql.Identifier(name.schema, name.name)


def _on(template: str, name: Name) -> str:
    return sql.SQL(template).format(identifier(name)).as_string(None)


def lock_target(name: Name) -> str:
    """What TRUNCATE takes anyway; taken first, so that nobody fills the table between our look and our TRUNCATE."""
    return _on("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE", name)


def lock_source(names: Sequence[Name]) -> str:
    """Keeps TRUNCATE, rewrites and DROP away while we read."""
    tables = sql.SQL(", ").join(sql.SQL("ONLY ") + identifier(n) for n in names)
    return sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(tables).as_string(None)


def truncate(name: Name) -> str:
    """ONLY: children have chunks of their own. Never CASCADE."""
    return _on("TRUNCATE TABLE ONLY {}", name)


def is_empty(name: Name) -> str:
    """True when the relation itself holds no row."""
    return _on("SELECT NOT EXISTS (SELECT 1 FROM ONLY {})", name)


def count(name: Name, *, own: bool = True) -> str:
    """Rows of the relation itself, or with what inherits from it and its partitions."""
    return _on("SELECT pg_catalog.count(*) FROM ONLY {}" if own else "SELECT pg_catalog.count(*) FROM {}", name)


def analyze(name: Name) -> str:
    """ANALYZE may run inside a transaction."""
    return _on("ANALYZE {}", name)


def vacuum(name: Name, *, analyze: bool) -> str:
    """VACUUM may not run inside a transaction."""
    return _on("VACUUM (ANALYZE) {}" if analyze else "VACUUM {}", name)


def filenode(name: Name) -> str:
    """The relation's file now: TRUNCATE and rewrites change it."""
    return FILENODE.format(sql.Literal(name.schema), sql.Literal(name.name)).as_string(None)


def rows_query(placement: Placement, columns: Sequence[Column], chunk: Chunk | None = None) -> str | None:
    """The SELECT of what fills a leaf, or a page range of it; None where COPY may read the table itself.

    A range of ctid is a TID range scan from PostgreSQL 14: it reads its own pages and no others.
    """
    pages = _pages(chunk) if chunk is not None and chunk.kind is ChunkKind.CTID else []
    whole = len(placement.origins) == 1 and not placement.origins[0].where  # COPY takes a list of columns
    if whole and not pages:
        return None
    names = sql.SQL(", ").join(sql.Identifier(c.name) for c in columns)
    selects = [_select(names, origin, pages) for origin in placement.origins]
    return sql.SQL("\nUNION ALL ").join(selects).as_string(None)


def _select(names: sql.Composable, origin: Origin, pages: Sequence[sql.Composable]) -> sql.Composable:
    # A line of its own: a condition may end with a comment.
    conditions = [*pages, *([sql.SQL("(\n{}\n)").format(sql.SQL(origin.where))] if origin.where else [])]
    where = sql.SQL(" WHERE ") + sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("")
    return sql.SQL("SELECT {} FROM ONLY {}").format(names, identifier(origin.table)) + where


def _pages(chunk: Chunk) -> list[sql.Composable]:
    found: list[sql.Composable] = [sql.SQL("ctid >= {}::pg_catalog.tid").format(sql.Literal(f"({chunk.first_page},0)"))]
    if chunk.end_page is not None:
        found.append(sql.SQL("ctid < {}::pg_catalog.tid").format(sql.Literal(f"({chunk.end_page},0)")))
    return found


def probes(table: Name, condition: str) -> tuple[str, ...]:
    """Read nothing: the server says whether it understands the condition.

    Bare and in parentheses: what closes one that it has not opened would escape from those that we put around it.
    """
    forms = ("SELECT 1 FROM ONLY {} WHERE\n{}\nLIMIT 0", "SELECT 1 FROM ONLY {} WHERE (\n{}\n) LIMIT 0")
    return tuple(sql.SQL(f).format(identifier(table), sql.SQL(condition)).as_string(None) for f in forms)


def any_index(tables: Sequence[Name]) -> str:
    """True when one of these tables has an index."""
    names = [sql.SQL("({}, {})").format(sql.Literal(t.schema), sql.Literal(t.name)) for t in tables]
    return ANY_INDEX.format(sql.SQL(", ").join(names)).as_string(None)


def in_one_transaction(table: Name, indexes: Sequence[Index]) -> tuple[Statement, ...]:
    """A leaf's indexes, built right after its rows: unique ones first, constraints with their own index."""
    return tuple(_whole(table, i) for i in sorted(indexes, key=lambda i: (not i.unique, i.name)))


def _whole(table: Name, index: Index) -> Statement:
    if index.constraint is None or index.constraint_definition is None:
        return _index(table, index)
    return _constraint(table, index.constraint, index.constraint_definition)


def _index(table: Name, index: Index) -> Statement:
    exists = INDEX_EXISTS.format(sql.Literal(table.schema), sql.Literal(index.name)).as_string(None)
    return Statement(name=f"index:{index.name}", sql=index.definition, exists=exists)


def _constraint(table: Name, name: str, definition: str) -> Statement:
    text = sql.SQL("ALTER TABLE ONLY {} ADD CONSTRAINT {} ").format(identifier(table), sql.Identifier(name))
    exists = CONSTRAINT_EXISTS.format(sql.Literal(table.schema), sql.Literal(table.name), sql.Literal(name))
    return Statement(name=f"constraint:{name}", sql=text.as_string(None) + definition, exists=exists.as_string(None))


def side_by_side(table: Name, indexes: Sequence[Index]) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
    """A big table's indexes, to be built in parallel, and then its constraints USING INDEX."""
    builds, constraints = [], []
    for index in sorted(indexes, key=lambda i: (not i.unique, i.name)):
        if index.constraint is None or index.constraint_definition is None:
            builds.append(_index(table, index))
        elif index.constraint_kind == "x":  # an exclusion constraint cannot adopt an index
            constraints.append(_constraint(table, index.constraint, index.constraint_definition))
        else:
            builds.append(_index(table, index))
            constraints.append(_constraint(table, index.constraint, _using(index)))
    return tuple(builds), tuple(constraints)


def _using(index: Index) -> str:
    kind = "PRIMARY KEY" if index.constraint_kind == "p" else "UNIQUE"
    late = DEFERRABLE.search(index.constraint_definition or "")
    name = sql.Identifier(index.name).as_string(None)
    return f"{kind} USING INDEX {name}{late.group(1) if late else ''}"
