"""Tables on the target, recreated by pg_dump's own sections, never by home-made DDL.

pre-data (before the rows) brings the tables and what they need; post-data (after the rows) what the load itself
has not built: partitioned parents' indexes and constraints, their attachments, foreign keys between the selected
tables. Each is one transaction, so that a crash leaves all of it or nothing, and both skip what the target has by
name, so that resume may call them again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from psycopg import sql

from pghaul.model.table import Name
from pghaul.model.text import say
from pghaul.postgres.session import Session
from pghaul.target import closure, post_data, restore, toc
from pghaul.target.closure import PARTS, PG_ATTRDEF, PG_CLASS, PG_CONSTRAINT, PG_EVENT_TRIGGER, PG_TYPE, Thing
from pghaul.target.programs import Running
from pghaul.target.restore import Transfer, calling, database
from pghaul.target.scope import Scope, key_text

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
INSTALLED_SQL = "SELECT e.extname::text FROM pg_catalog.pg_extension AS e"
COMMENT_ON_PUBLIC = "COMMENT - SCHEMA public "
MAY_COMMENT_PUBLIC = """
SELECT pg_catalog.pg_has_role(n.nspowner, 'USAGE') FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'public'
"""
# Kinds that pg_dump leaves out as soon as it is given schemas: casts, transforms, languages, access methods,
# foreign data wrappers and servers, event triggers.
OF_NO_SCHEMA = {2605, 3576, 2612, 2601, 2328, 1417, PG_EVENT_TRIGGER}


@contextmanager
def dumping(
    transfer: Transfer, scope: Scope, *, snapshot: str | None, alive: Callable[[], bool] | None = None
) -> Iterator[Callable[[], None]]:
    """pg_dump -Fc --schema-only of what the scope needs, for our eyes only; without tables that may not be read.

    It works while the caller does something else; what is yielded waits for its end.
    """
    args: list[str | Path] = [transfer.programs.pg_dump, "--format=custom", "--schema-only", "--compress=0"]
    args += ["--encoding=UTF8", *transfer.switches, "--no-password", f"--exclude-schema={exact_pattern('pghaul')}"]
    if not (scope.whole or any(t.tableoid in OF_NO_SCHEMA and not t.extension for t in scope.things)):
        schemas = sorted({n.schema for n in scope.created} | set(closure.schemas_of(scope.things)))
        args += [f"--schema={exact_pattern(s)}" for s in schemas]
        without = unreadable(transfer.source, schemas)
        args += [f"--exclude-table={exact_pattern(n.schema)}.{exact_pattern(n.name)}" for n in without]
    args += [f"--snapshot={snapshot}"] if snapshot else []
    transfer.file.touch(mode=0o600)
    args += [f"--file={transfer.file}", f"--dbname={database(transfer.source_at)}"]
    with ExitStack() as held:
        name = f"{transfer.application_name}/dump"
        environ = held.enter_context(calling(transfer.source_at, name, transfer.file.parent))
        program = held.enter_context(Running(args, environ, transfer.source_at.password))

        def wait() -> None:
            program.wait(alive, transfer.stall_timeout)
            held.close()  # its password file goes with it: who is killed later leaves none behind

        yield wait


def exact_pattern(identifier: str) -> str:
    """As pg_dump's pattern for this name alone: in quotes nothing is folded, nothing is a wildcard."""
    quoted = identifier.replace('"', '""')
    return f'"{quoted}"'


def unreadable(source: Session, schemas: Sequence[str]) -> list[Name]:
    """Tables of these schemas that the role may not read; a selected one has been refused before."""
    return [Name(s, n) for s, n in source.rows(UNREADABLE_SQL, (list(schemas),))]


def lacking(target: Session, scope: Scope) -> list[Thing]:
    """What of the scope the target does not have."""
    there = closure.present(target, scope.things)
    return [t for t in scope.things if not t.extension and t.tableoid not in PARTS and t.key not in there]


def create(transfer: Transfer, scope: Scope) -> list[str]:
    """Make what has to be there before the rows, as far as the target lacks it; returns what was made.

    Extensions are created by name where the target offers them; one that it does not offer is named in the
    answer ("needs extension x"), and is an error only if something cannot do without.
    """
    things = [t for t in scope.things if t.tableoid != PG_EVENT_TRIGGER]
    if not things:
        return []
    said = _create_extensions(transfer.target, things)
    there = closure.present(transfer.target, things)
    new = {t.oid for t in things if t.tableoid == PG_CLASS and t.key not in there}
    chosen = [t for t in things if not t.extension and _is_wanted(t, new, there)]
    named = [*_attachments(transfer.source, transfer.target, things, new), *_without_oid(chosen)]
    wanted = toc.Wanted(ids={(t.tableoid, t.oid) for t in chosen}, named=named)
    entries = toc.choose(restore.entries(transfer, section="pre-data"), wanted)
    restore.restore(transfer, entries, section="pre-data")
    return said + _said(chosen, entries)


def finish(transfer: Transfer, scope: Scope, *, ours: Collection[str], indexes: bool = True) -> list[str]:
    """Make what comes after the rows, as far as the target lacks it; returns what was made.

    Indexes, constraints and attachments that the load has not built; views that need a key; statistics objects, rules,
    triggers, policies; and the comments and grants of all that is `ours` (keys of what the run has made).
    """
    wanted, said, parts = post_data.lacking(transfer.source, transfer.target, scope.relations(ours), indexes=indexes)
    late = [t for t in lacking(transfer.target, scope) if t.tableoid != PG_EVENT_TRIGGER and not _of_table(t)]
    late = [t for t in late if t.relkind not in {"i", "I"}]
    archive = restore.entries(transfer)
    entries = toc.choose(
        archive, toc.Wanted(ids={*wanted.ids, *((t.tableoid, t.oid) for t in late)}, named=wanted.named)
    )
    made = {(t.tableoid, t.oid) for t in scope.things if key_text(t.key) in ours or t.name in scope.created} | parts
    also = toc.belonging(archive, toc.COMMENT, made)
    if scope.whole and transfer.target.value(MAY_COMMENT_PUBLIC):  # the schema itself is no entry: it is everywhere
        also += [e for e in archive if e.words.startswith(COMMENT_ON_PUBLIC)]
    if transfer.privileges:
        also += toc.belonging(archive, toc.GRANTS, made)
        also += [e for e in archive if scope.whole and e.words.startswith(toc.DEFAULT_GRANTS)]
    restore.restore(transfer, [*entries, *also])
    return said + _said(late, entries)


def conclude(transfer: Transfer, scope: Scope) -> list[str]:
    """Event triggers, after the last statement that would set them off."""
    late = [t for t in lacking(transfer.target, scope) if t.tableoid == PG_EVENT_TRIGGER]
    if not late:
        return []
    archive = restore.entries(transfer)
    ids = {(t.tableoid, t.oid) for t in late}
    entries = toc.choose(archive, toc.Wanted(ids=ids))
    restore.restore(transfer, [*entries, *toc.belonging(archive, toc.COMMENT, ids)])
    return _said(late, entries)


def _said(chosen: Sequence[Thing], entries: Sequence[toc.Entry]) -> list[str]:
    listed = {(e.tableoid, e.oid) for e in entries}
    return [t.description for t in chosen if (t.tableoid, t.oid) in listed and t.told]


def _of_table(thing: Thing) -> bool:
    """Its constraints are post_data's to make."""
    return thing.tableoid == PG_CONSTRAINT and thing.owner is not None


def _is_wanted(thing: Thing, new: set[int], there: Collection[closure.ThingKey]) -> bool:
    if thing.tableoid in PARTS or _of_table(thing):
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
    said: list[str] = []
    for name, schema in sorted(wanted.items()):
        if name in installed:
            continue
        if name in available:
            _create_extension(target, name, schema or "public")
            said.append(say("extension {name}", name=name))
        else:
            said.append(say("needs extension {name}, which the target does not offer", name=name))
    return said


def _create_extension(target: Session, name: str, schema: str) -> None:
    with target.transaction():
        if schema != "pg_catalog":
            target.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        target.execute(
            sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {}").format(sql.Identifier(name), sql.Identifier(schema))
        )
