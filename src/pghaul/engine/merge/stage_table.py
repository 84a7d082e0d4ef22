"""The shape of a staging table: the target's columns, and, where rows may be set aside, what the target demands of one.

So a value that the target cannot hold is refused while it is staged, where each row can be told from the others. What
asks for other rows (a foreign key, a unique index) is refused by the merge, which then fails as a whole.
"""

from __future__ import annotations

import re

from psycopg import sql

from pghaul.engine import statements
from pghaul.engine.merge.staging import Staged
from pghaul.engine.merge.units import Unit
from pghaul.model.plan import NullKeys, Options
from pghaul.postgres.session import Session
from pghaul.target import staging as tables
from pghaul.target.merge_target import Target

# Of whole rows, by the columns that they are about.
CHECKS = """
SELECT k.conname::text, pg_catalog.pg_get_constraintdef(k.oid),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
              WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
  FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE k.contype = 'c' AND n.nspname = %s AND c.relname = %s ORDER BY 1
"""
ADD = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}")
BESIDE = re.compile(r"( NO INHERIT| NOT VALID| NOT ENFORCED)+$")


def create(target: Session, staged: Staged, options: Options) -> None:
    """Empty, and ours alone."""
    unit = staged.unit
    strict = options.max_rejects != 0
    tables.create(target, staged.table, columns(unit, staged.there, strict=strict))
    if strict and unit.there is not None:
        for statement in _checks(target, staged):
            target.execute(statement)


def columns(unit: Unit, target: Target | None, *, strict: bool) -> list[tuple[str, str]]:
    """(name, type): what the target's columns are, or will be in the transaction that merges."""
    changed = {c.name: c.type for c in unit.drift.columns}
    there = {c.name: c for c in unit.there.columns} if unit.there else {}
    same = [n for n, t in changed.items() if n in there and there[n].type == t]
    known = dict(tables.declared(target.name, target.columns, same)) if target and same else {}
    demanding = _demanding(unit) if strict else set()
    return [(n, known.get(n, t) + (" NOT NULL" if n in demanding else "")) for n, t in changed.items()]


def _demanding(unit: Unit) -> set[str]:
    """Columns that take no NULL."""
    there = unit.there or unit.source
    found = {c.name for c in there.columns if c.not_null}
    return found if unit.asked.merge.null_keys is NullKeys.MATCH else found | set(unit.key)


def _checks(target: Session, staged: Staged) -> list[sql.Composable]:
    name, merged = staged.unit.name, set(staged.unit.columns)
    found = target.rows(CHECKS, (name.schema, name.name))
    return [
        ADD.format(statements.identifier(staged.table), sql.Identifier(n), sql.SQL(BESIDE.sub("", definition)))
        for n, definition, about in found
        if set(about) <= merged
    ]
