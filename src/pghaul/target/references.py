"""Foreign keys as the catalogue has them, and the rows that break them: found by one anti-join for each key.

The join is the server's own of VALIDATE CONSTRAINT: its operators, its collations, MATCH FULL, and ONLY where the table
is not partitioned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg import sql

from pghaul.model.table import Name
from pghaul.postgres.session import Session

NAMED = 5
PROBE = Name("pghaul", "probe")

READ = """
SELECT k.conname::text, tn.nspname::text, t.relname::text, fn.nspname::text, f.relname::text, t.relkind = 'p',
       f.relkind = 'p', k.confmatchtype = 'f',
       ARRAY(SELECT a.attname::text FROM pg_catalog.generate_subscripts(k.conkey, 1) AS n
             JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[n] ORDER BY n),
       ARRAY(SELECT a.attname::text FROM pg_catalog.generate_subscripts(k.confkey, 1) AS n
             JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = k.confkey[n] ORDER BY n),
       ARRAY(SELECT 'OPERATOR(' || pg_catalog.quote_ident(s.nspname) || '.' || o.oprname::text || ')'
             FROM pg_catalog.generate_subscripts(k.conpfeqop, 1) AS n
             JOIN pg_catalog.pg_operator AS o ON o.oid = k.conpfeqop[n]
             JOIN pg_catalog.pg_namespace AS s ON s.oid = o.oprnamespace ORDER BY n),
       ARRAY(SELECT CASE WHEN a.attcollation <> b.attcollation AND c.oid IS NOT NULL THEN
                 ' COLLATE ' || pg_catalog.quote_ident(s.nspname) || '.' || pg_catalog.quote_ident(c.collname)
                 ELSE '' END
             FROM pg_catalog.generate_subscripts(k.confkey, 1) AS n
             JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = k.confkey[n]
             JOIN pg_catalog.pg_attribute AS b ON b.attrelid = k.conrelid AND b.attnum = k.conkey[n]
             LEFT JOIN pg_catalog.pg_collation AS c ON c.oid = a.attcollation
             LEFT JOIN pg_catalog.pg_namespace AS s ON s.oid = c.collnamespace ORDER BY n)
  FROM pg_catalog.pg_constraint AS k
  JOIN pg_catalog.pg_class AS t ON t.oid = k.conrelid
  JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
  JOIN pg_catalog.pg_class AS f ON f.oid = k.confrelid
  JOIN pg_catalog.pg_namespace AS fn ON fn.oid = f.relnamespace
 WHERE k.contype = 'f' AND k.oid = ANY (%s::oid[])
 ORDER BY 2, 3, 1
"""
# Those to be made: what is NOT VALID on the source is not checked on the target, either.
CHECKED = "SELECT k.oid::int8 FROM pg_catalog.pg_constraint AS k WHERE k.oid = ANY (%s::oid[]) AND k.convalidated"
OF_TABLE = """
SELECT k.oid::int8 FROM pg_catalog.pg_constraint AS k
  JOIN pg_catalog.pg_class AS t ON t.oid = k.conrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
 WHERE k.contype = 'f' AND k.coninhcount = 0 AND n.nspname = %s AND t.relname = %s
"""
LIKE = "CREATE UNLOGGED TABLE {} (LIKE {})"  # an unlogged table may refer to any other
IS_PARTITIONED = """
SELECT t.relkind = 'p' FROM pg_catalog.pg_class AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
 WHERE n.nspname = %s AND t.relname = %s
"""
REFERRED_TO = """
SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint AS k WHERE k.contype = 'f' AND k.confrelid = %s::oid)
"""
BROKEN = """
FROM {child} AS fk LEFT JOIN {parent} AS pk ON {joined} WHERE pk.{first} IS NULL AND {within}
"""
COUNTS = """
SELECT c.oid::int8, n.nspname::text, c.relname::text, b.rows
  FROM (SELECT fk.tableoid AS leaf, pg_catalog.count(*) AS rows {broken} GROUP BY 1) AS b
  JOIN pg_catalog.pg_class AS c ON c.oid = b.leaf JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 ORDER BY 1
"""
FIRST = "SELECT {shown} {broken} LIMIT {named}"


class _RolledBackError(Exception):
    """Nothing of it is to stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A foreign key."""

    constraint: str
    table: Name
    references: Name
    partitioned: bool
    to_partitioned: bool
    full: bool  # MATCH FULL: a key that is NULL in part is a violation
    columns: tuple[str, ...]
    referenced: tuple[str, ...]
    operators: tuple[str, ...]
    collations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """Rows of a table (or of one partition) that refer to nothing."""

    oid: int
    table: Name
    rows: int


def read(session: Session, oids: Sequence[int]) -> list[Reference]:
    """Those of these constraints that are foreign keys, by table and name."""
    return [
        Reference(
            constraint=name,
            table=Name(schema, table),
            references=Name(ref_schema, ref_table),
            partitioned=partitioned,
            to_partitioned=to_partitioned,
            full=full,
            columns=tuple(columns),
            referenced=tuple(referenced),
            operators=tuple(operators),
            collations=tuple(collations),
        )
        for (
            name, schema, table, ref_schema, ref_table, partitioned, to_partitioned, full, columns, referenced,
            operators, collations,
        ) in session.rows(READ, (list(oids),))
    ]  # fmt: skip


def checked(session: Session, oids: Sequence[int]) -> list[Reference]:
    """Of these, the ones that the server checks when it makes them."""
    return read(session, [oid for (oid,) in session.rows(CHECKED, (list(oids),))])


def of_table(session: Session, table: Name) -> list[Reference]:
    """The keys that it has, checked or not."""
    return read(session, [oid for (oid,) in session.rows(OF_TABLE, (table.schema, table.name))])


def checked_of_table(session: Session, table: Name) -> list[Reference]:
    """The keys that it has and that hold for all of its rows: they are checked again after a load."""
    return checked(session, [oid for (oid,) in session.rows(OF_TABLE, (table.schema, table.name))])


def before_it_is_back(session: Session, table: Name, add_sql: str) -> list[Reference]:
    """A key that cannot be added because rows break it: read from a table without any, which is gone again at once.

    `add_sql` is the ledger's: ALTER TABLE … ADD CONSTRAINT … FOREIGN KEY ….
    """
    real, probe = (sql.Identifier(n.schema, n.name).as_string(None) for n in (table, PROBE))
    found: list[Reference] = []
    with contextlib.suppress(_RolledBackError), session.transaction():
        session.execute(sql.SQL(LIKE).format(sql.Identifier(PROBE.schema, PROBE.name), _table(table, only=False)))
        session.execute(add_sql.replace(f"ALTER TABLE {real} ", f"ALTER TABLE {probe} ", 1))
        found = of_table(session, PROBE)
        partitioned = bool(session.value(IS_PARTITIONED, (table.schema, table.name)))
        raise _RolledBackError
    return [replace(key, table=table, partitioned=partitioned) for key in found]


def referred_to(session: Session, oid: int) -> bool:
    """May a row that goes take others with it?"""
    return bool(session.value(REFERRED_TO, (oid,)))


def broken(session: Session, reference: Reference) -> list[Broken]:
    """How many rows break it, by the table that holds them."""
    statement = sql.SQL(COUNTS).format(broken=violations(reference))
    return [Broken(oid=o, table=Name(s, t), rows=n) for o, s, t, n in session.rows(statement)]


def first(session: Session, reference: Reference) -> list[str]:
    """Some of the keys that are missing."""
    statement = sql.SQL(FIRST).format(
        shown=shown(reference, sql.SQL("fk.")), broken=violations(reference), named=sql.Literal(NAMED)
    )
    return [str(key) for (key,) in session.rows(statement)]


def violations(reference: Reference, leaf: Name | None = None) -> sql.Composable:
    """FROM … WHERE: the rows that break it, as `fk`; of one partition, or of all."""
    only = leaf is not None or not reference.partitioned
    child, parent = leaf or reference.table, reference.references
    pairs = zip(reference.referenced, reference.operators, reference.columns, reference.collations, strict=True)
    present = [sql.SQL("fk.{} IS NOT NULL").format(sql.Identifier(c)) for c in reference.columns]
    return sql.SQL(BROKEN).format(
        child=_table(child, only=only),
        parent=_table(parent, only=not reference.to_partitioned),
        joined=sql.SQL(" AND ").join(
            sql.SQL("pk.{}{} {} fk.{}{}").format(
                sql.Identifier(p), sql.SQL(collation), sql.SQL(operator), sql.Identifier(c), sql.SQL(collation)
            )
            for p, operator, c, collation in pairs
        ),
        first=sql.Identifier(reference.referenced[0]),
        within=sql.SQL("({})").format(sql.SQL(" OR " if reference.full else " AND ").join(present)),
    )


def shown(reference: Reference, row: sql.Composable) -> sql.Composable:
    """The key as a person reads it: (a, b)=(1, 2)."""
    names = sql.Literal(f"({', '.join(reference.columns)})=(")
    values = sql.SQL(", ").join(
        sql.SQL("CASE WHEN {0}{1} IS NULL THEN 'NULL' ELSE pg_catalog.format('%s', {0}{1}) END").format(
            row, sql.Identifier(c)
        )
        for c in reference.columns
    )
    return sql.SQL("{} || pg_catalog.concat_ws(', ', {}) || ')'").format(names, values)


def _table(name: Name, *, only: bool) -> sql.Composable:
    return sql.SQL("ONLY {}" if only else "{}").format(sql.Identifier(name.schema, name.name))
