"""Tables on the target, recreated by pg_dump's own sections, never by home-made DDL.

pre-data (before the rows) brings the tables and what they need; post-data (after the rows) what the load itself
has not built: partitioned parents' indexes and constraints, their attachments, foreign keys between the selected
tables. Each is one transaction, so that a crash leaves all of it or nothing, and both skip what the target has by
name, so that resume may call them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psycopg import sql

from pghaul.model.profile import Endpoint
from pghaul.model.table import Name, Table
from pghaul.postgres.session import Session
from pghaul.target import closure, post_data, toc
from pghaul.target.closure import PARTS, PG_ATTRDEF, PG_CLASS, PG_TYPE, Thing
from pghaul.target.programs import STALL_TIMEOUT, Programs, Running
from pghaul.target.restore import EVERYTHING_BUT_OWNERS, Restore, calling, database, restore

PARTITIONS_SQL = """
SELECT i.inhrelid::int8, i.inhparent::int8
  FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS p ON p.oid = i.inhparent
 WHERE p.relkind = 'p' AND i.inhrelid = ANY (%s::oid[])
"""

ATTACHED_SQL = """
SELECT n.nspname::text, c.relname::text
  FROM pg_catalog.pg_inherits AS i
  JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relname::text IN (SELECT pg_catalog.unnest(%s::text[]))
"""

# pg_dump locks every table of a schema, and fails at the first one that it may not.
UNREADABLE_SQL = """
SELECT n.nspname::text, c.relname::text
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%s) AND c.relkind IN ('r', 'p') AND NOT pg_catalog.has_table_privilege(c.oid, 'SELECT')
"""

AVAILABLE_SQL = "SELECT e.name::text FROM pg_catalog.pg_available_extensions AS e"
PG_NAMESPACE = 2615
UNTOLD = ("i", "I", "c", "A")  # indexes are not built yet, composites and arrays come with their types
INSTALLED_SQL = "SELECT e.extname::text FROM pg_catalog.pg_extension AS e"


@contextmanager
def dumping(
    programs: Programs,
    endpoint: Endpoint,
    *,
    snapshot: str | None,
    schemas: Sequence[str],
    without: Sequence[Name] = (),
    file: Path,
    application_name: str,
    alive: Callable[[], bool] | None = None,
    stall_timeout: float = STALL_TIMEOUT,
) -> Iterator[Callable[[], None]]:
    """pg_dump -Fc --schema-only of these schemas (needed_schemas() names them) to `file`, for our eyes only.

    It works while the caller does something else; what is yielded waits for its end. `without` are the tables that
    the role may not read: see unreadable().
    """
    args: list[str | Path] = [
        programs.pg_dump,
        "--format=custom",
        "--schema-only",
        "--compress=0",
        "--encoding=UTF8",
    ]
    args += [*EVERYTHING_BUT_OWNERS, *programs.access_method_switch, "--no-password"]
    args += [f"--schema={exact_pattern(s)}" for s in schemas]
    args += [f"--exclude-table={exact_pattern(n.schema)}.{exact_pattern(n.name)}" for n in without]
    args += [f"--snapshot={snapshot}"] if snapshot else []
    file.touch(mode=0o600)
    args += [f"--file={file}", f"--dbname={database(endpoint)}"]
    with (
        calling(endpoint, application_name, file.parent) as environ,
        Running(args, environ, endpoint.password) as program,
    ):

        def wait() -> None:
            program.wait(alive, stall_timeout)

        yield wait


def dump_schema(programs: Programs, endpoint: Endpoint, **words: Any) -> None:
    """The same, to its end."""
    with dumping(programs, endpoint, **words) as finished:
        finished()


def exact_pattern(identifier: str) -> str:
    """As pg_dump's pattern for this name alone: in quotes nothing is folded, nothing is a wildcard."""
    quoted = identifier.replace('"', '""')
    return f'"{quoted}"'


def needed_schemas(source: Session, target: Session, tables: Sequence[Table]) -> list[str]:
    """The schemas that dump_schema must look into: of the tables, and of what the missing ones need."""
    things = closure.needed_by(source, [t.oid for t in _missing(target, tables)])
    return sorted({t.name.schema for t in tables} | set(closure.schemas_of(things)))


def unreadable(source: Session, schemas: Sequence[str]) -> list[Name]:
    """Tables of these schemas that the role may not read; a selected one has been refused before."""
    return [Name(s, n) for s, n in source.rows(UNREADABLE_SQL, (list(schemas),))]


def create_tables(
    programs: Programs,
    file: Path,
    target: Endpoint,
    *,
    source: Session,
    target_session: Session,
    tables: Sequence[Table],
    application_name: str,
    stall_timeout: float = STALL_TIMEOUT,
) -> list[str]:
    """Create the tables that the target lacks, with what they need and it lacks; returns what was created.

    Extensions are created by name where the target offers them; one that it does not offer is named in the
    answer ("needs extension x"), and is an error only if a table cannot do without.
    """
    things = closure.needed_by(source, [t.oid for t in _missing(target_session, tables)])
    if not things:
        return []
    said = _create_extensions(target_session, things)
    there = closure.present(target_session, things)
    new = {t.oid for t in things if t.tableoid == PG_CLASS and t.key not in there}
    chosen = [t for t in things if not t.extension and _is_wanted(t, new, there)]
    named = [*_attachments(source, target_session, things, new), *_without_oid(chosen)]
    wanted = toc.Wanted(ids={(t.tableoid, t.oid) for t in chosen}, named=named)
    job = Restore(
        programs=programs,
        file=file,
        target=target,
        session=target_session,
        application_name=application_name,
        stall_timeout=stall_timeout,
    )
    restore(job, "pre-data", wanted)
    return said + [t.description for t in chosen if t.tableoid not in PARTS and t.relkind not in UNTOLD]


def schemas_of_needs(source: Session, target: Session, tables: Sequence[Table]) -> list[str]:
    """The schemas that dump_schema must look into for what create_needs brings; none where nothing is missing."""
    chosen, _ = _needs(source, target, tables)
    return closure.schemas_of(chosen)


def create_needs(
    programs: Programs,
    file: Path,
    target: Endpoint,
    *,
    source: Session,
    target_session: Session,
    tables: Sequence[Table],
    application_name: str,
    stall_timeout: float = STALL_TIMEOUT,
) -> list[str]:
    """What these tables need, without them: they are made otherwise. Returns what was created."""
    chosen, things = _needs(source, target_session, tables)
    said = _create_extensions(target_session, things)
    job = Restore(
        programs=programs,
        file=file,
        target=target,
        session=target_session,
        application_name=application_name,
        stall_timeout=stall_timeout,
    )
    named = list(_without_oid(chosen))
    restore(job, "pre-data", toc.Wanted(ids={(t.tableoid, t.oid) for t in chosen}, named=named))
    return said + [t.description for t in chosen if t.relkind not in UNTOLD]


def _needs(source: Session, target: Session, tables: Sequence[Table]) -> tuple[list[Thing], list[Thing]]:
    """What to bring, and all that is needed. No tables, nor parts of some, and schemas only where something lies."""
    things = closure.needed_by(source, [t.oid for t in tables])
    if not things:
        return [], []
    there = closure.present(target, things)
    made = {t.oid for t in tables}
    chosen = [
        t
        for t in things
        if not t.extension
        and t.tableoid not in PARTS
        and t.relkind not in {"r", "p", "f", "i", "I"}
        and t.owner not in made
        and t.key not in there
    ]
    homes = {t.schema for t in chosen if t.tableoid != PG_NAMESPACE}
    return [t for t in chosen if t.tableoid != PG_NAMESPACE or t.identity.replace('"', "") in homes], things


def finish_tables(
    programs: Programs,
    file: Path,
    target: Endpoint,
    *,
    source: Session,
    target_session: Session,
    tables: Sequence[Table],
    application_name: str,
    stall_timeout: float = STALL_TIMEOUT,
) -> list[str]:
    """Build the indexes, constraints and attachments that the target still lacks; returns what was built."""
    wanted, said = post_data.lacking(source, target_session, tables)
    job = Restore(
        programs=programs,
        file=file,
        target=target,
        session=target_session,
        application_name=application_name,
        stall_timeout=stall_timeout,
    )
    if wanted.ids or wanted.named:
        restore(job, "post-data", wanted)
    return said


def _missing(target: Session, tables: Sequence[Table]) -> list[Table]:
    names = [t.name.name for t in tables]
    there = {Name(str(s), str(n)) for s, n in target.rows(closure.RELATIONS_SQL, (names,))}
    return [t for t in tables if t.name not in there]


def _is_wanted(thing: Thing, new: set[int], there: set[tuple[int, Name | str]]) -> bool:
    if thing.tableoid in PARTS:
        return thing.tableoid == PG_ATTRDEF and thing.owner in new
    if thing.relkind == "S" and thing.owner is not None and thing.owner in new:
        return True  # one that is there already belongs to somebody else: better a clear error than a shared one
    return thing.key not in there


def _without_oid(chosen: Sequence[Thing]) -> Iterator[tuple[str, Name]]:
    """Entries that pg_dump writes without an oid, for objects that are chosen."""
    for thing in chosen:
        if thing.name and thing.relkind == "S" and thing.owner is not None:
            yield (toc.SEQUENCE_OWNED_BY, thing.name)
        elif thing.name and thing.tableoid == PG_TYPE:
            yield (toc.SHELL_TYPE, thing.name)


def _attachments(source: Session, target: Session, things: Sequence[Thing], new: set[int]) -> list[tuple[str, Name]]:
    """Partitions to attach: those that are new or whose parent is, and that hang nowhere on the target."""
    names = {t.oid: t.name for t in things if t.name and t.tableoid == PG_CLASS}
    pairs = source.rows(PARTITIONS_SQL, (list(names),))
    children = [names[c] for c, p in pairs if (c in new or p in new) and names[c]]
    rows = target.rows(ATTACHED_SQL, ([n.name for n in children if n],))
    attached = {Name(str(s), str(n)) for s, n in rows}
    return [(toc.TABLE_ATTACH, n) for n in children if n and n not in attached]


def _create_extensions(target: Session, things: Sequence[Thing]) -> list[str]:
    wanted = {t.extension: t.extension_schema for t in things if t.extension}
    if not wanted:
        return []
    installed = {str(n) for (n,) in target.rows(INSTALLED_SQL)}
    available = {str(n) for (n,) in target.rows(AVAILABLE_SQL)}
    said = []
    for name, schema in sorted(wanted.items()):
        if name in installed:
            continue
        if name in available:
            _create_extension(target, name, schema or "public")
            said.append(f"extension {name}")
        else:
            said.append(f"needs extension {name}, which the target does not offer")
    return said


def _create_extension(target: Session, name: str, schema: str) -> None:
    with target.transaction():
        if schema != "pg_catalog":
            target.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        target.execute(
            sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {}").format(sql.Identifier(name), sql.Identifier(schema))
        )
