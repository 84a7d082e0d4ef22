"""Names that something else on the target has already: a view where a table is to be, an index of another table.

PostgreSQL keeps tables, views, sequences, indexes and composite types of a schema under one roof, and every table has
a type of its name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from pghaul.model.finding import Finding, Kind
from pghaul.model.mapped import Made, MappedDatabase
from pghaul.model.table import Name
from pghaul.model.text import Text, say
from pghaul.postgres.session import Session

# Arrays of a type get another name by themselves when theirs is wanted.
HELD = """
SELECT n.nspname::text, c.relname::text, c.relkind::text
  FROM (SELECT pg_catalog.unnest(%s::text[]) AS nspname, pg_catalog.unnest(%s::text[]) AS relname) AS w
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.nspname
  JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.relname
UNION ALL
SELECT n.nspname::text, t.typname::text, 'type'
  FROM (SELECT pg_catalog.unnest(%s::text[]) AS nspname, pg_catalog.unnest(%s::text[]) AS typname) AS w
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.nspname
  JOIN pg_catalog.pg_type AS t ON t.typnamespace = n.oid AND t.typname = w.typname
 WHERE t.typrelid = 0 AND t.typcategory <> 'A'
 ORDER BY 1, 2, 3
"""
KINDS: Mapping[str, Text] = {
    "r": say("a table"),
    "p": say("a partitioned table"),
    "f": say("a foreign table"),
    "v": say("a view"),
    "m": say("a materialized view"),
    "S": say("a sequence"),
    "i": say("an index"),
    "I": say("an index"),
    "c": say("a type"),
    "type": say("a type"),
}
INDEXES = frozenset({"primary", "unique", "index"})  # of Made: what is an index of its own name


def findings(session: Session, mapped: MappedDatabase, missing: Collection[Name]) -> Iterator[Finding]:
    """`missing` are the tables that the run makes."""
    tables = dict.fromkeys(missing)
    indexes = {_index(m): m for m in mapped.after if m.kind in INDEXES and m.table in tables}
    wanted = [*tables, *(n for n in indexes if n not in tables)]
    if not wanted:
        return
    schemas, names = [n.schema for n in wanted], [n.name for n in wanted]
    of_tables = [n.name if n in tables else None for n in wanted]
    for schema, relation, kind in session.rows(HELD, (schemas, names, schemas, of_tables)):
        name = Name(schema, relation)
        yield _table(name, KINDS.get(kind, kind)) if name in tables else _of_index(name, indexes[name], KINDS[kind])


def _index(made: Made) -> Name:
    """It lies in the schema of its table."""
    table = made.table or Name("", "")
    return Name(table.schema, made.name.removeprefix(f"{made.kind}:{table}."))


def _table(name: Name, kind: str) -> Finding:
    return Finding(
        kind=Kind.NAME,
        object=str(name),
        what=say("{name} is {kind} on the target, where a table of this name is to be made", name=str(name), kind=kind),
        where=say("target"),
        advice=say(
            "rename or drop it there, give the table another name by `into`, or leave it out: --exclude {table}",
            table=name.name,
        ),
        code=7052,
    )


def _of_index(name: Name, made: Made, kind: str) -> Finding:
    return Finding(
        kind=Kind.NAME,
        object=str(name),
        what=say(
            "{name} is {kind} on the target, where {table} is to get an index of this name",
            name=str(name),
            kind=kind,
            table=str(made.table),
        ),
        where=say("target"),
        advice=say("rename or drop it there, or load without indexes: --no-indexes"),
        code=7053,
    )
