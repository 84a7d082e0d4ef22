"""Foreign keys of the target that stand in the way of a load: found, dropped, put back, checked.

Never TRUNCATE … CASCADE: what refers to a table from outside the selection must not be emptied. The statements
are texts, because the ledger keeps them: a resume must be able to put back what a killed run has dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from pghaul.model.table import ForeignKey, Name
from pghaul.postgres.session import Session

# A partition's foreign key belongs to its root's and falls with it alone, so the tables' roots are asked too.
# coninhcount = 0: only what stands for itself; a partition's share has 1 (conparentid says so from 11 on only).
FIND_SQL = """
WITH RECURSIVE concerned(oid) AS (
    SELECT c.oid
      FROM pg_catalog.pg_class AS c
      JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p')
       AND (n.nspname::text, c.relname::text) IN (
           SELECT (%s::text[])[i], (%s::text[])[i]
             FROM pg_catalog.generate_subscripts(%s::text[], 1) AS i)
  UNION
    SELECT p.oid
      FROM concerned AS x
      JOIN pg_catalog.pg_inherits AS h ON h.inhrelid = x.oid
      JOIN pg_catalog.pg_class AS p ON p.oid = h.inhparent AND p.relkind = 'p'
)
SELECT tn.nspname::text, t.relname::text, k.conname::text, fn.nspname::text, f.relname::text,
       pg_catalog.pg_get_constraintdef(k.oid), 'p' IN (t.relkind, f.relkind)
  FROM pg_catalog.pg_constraint AS k
  JOIN pg_catalog.pg_class AS t ON t.oid = k.conrelid
  JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
  JOIN pg_catalog.pg_class AS f ON f.oid = k.confrelid
  JOIN pg_catalog.pg_namespace AS fn ON fn.oid = f.relnamespace
 WHERE k.contype = 'f' AND k.coninhcount = 0
   AND (k.conrelid IN (SELECT oid FROM concerned) OR k.confrelid IN (SELECT oid FROM concerned))
 ORDER BY 1, 2, 3
"""

DROP = sql.SQL("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {constraint}")
ADD = sql.SQL("ALTER TABLE {table} ADD CONSTRAINT {constraint} {definition}")
VALIDATE = sql.SQL("ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainForeignKey(ForeignKey):
    """Put back as it was, in one step: NOT VALID is unknown to this partitioned table, or it was so before."""


def find(session: Session, tables: Sequence[Name]) -> list[ForeignKey]:
    """Those of the tables, and those that refer to them, from whatever table."""
    names = [t.name for t in tables]
    where = ([t.schema for t in tables], names, names)
    # Before, a partitioned table could not have a key that is NOT VALID; and of one that refers to a partitioned table
    # VALIDATE left the partitions' shares unvalidated (seen on 15).
    partitioned_plain = not session.server.capabilities.not_valid_on_partitioned
    found = []
    for schema, table, name, ref_schema, ref_table, definition, partitioned in session.rows(FIND_SQL, where):
        unchecked = definition.endswith((" NOT VALID", " NOT ENFORCED"))
        kind = PlainForeignKey if unchecked or (partitioned and partitioned_plain) else ForeignKey
        found.append(
            kind(
                table=Name(schema, table),
                constraint=name,
                references=Name(ref_schema, ref_table),
                definition=definition,
            )
        )
    return found


def drop_sql(fk: ForeignKey) -> str:
    """Takes it away; no error where it is away already."""
    return DROP.format(table=_table(fk), constraint=sql.Identifier(fk.constraint)).as_string(None)


def add_sql(fk: ForeignKey) -> str:
    """Puts it back NOT VALID (old rows are not checked yet), or plainly where that is impossible."""
    definition = fk.definition if isinstance(fk, PlainForeignKey) else f"{fk.definition} NOT VALID"
    # The definition is the server's own text (pg_get_constraintdef).
    return ADD.format(
        table=_table(fk), constraint=sql.Identifier(fk.constraint), definition=_verbatim(definition)
    ).as_string(None)


def validate_sql(fk: ForeignKey) -> str:
    """Checks the old rows; empty where add_sql left nothing to check."""
    if isinstance(fk, PlainForeignKey):
        return ""
    return VALIDATE.format(table=_table(fk), constraint=sql.Identifier(fk.constraint)).as_string(None)


def _table(fk: ForeignKey) -> sql.Identifier:
    return sql.Identifier(fk.table.schema, fk.table.name)


def _verbatim(definition: str) -> sql.Composable:
    return sql.SQL(definition)
