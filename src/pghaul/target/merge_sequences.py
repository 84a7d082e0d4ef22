"""Sequences behind merged columns move on beyond what was inserted, never back, while others call nextval().

nextval() alone is safe beside itself, so a short way is walked. A long one is jumped by setval(): from thousands of
numbers behind, nobody overtakes it in the meantime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Identifier, Literal

from pghaul.model.table import Name
from pghaul.postgres.session import Session
from pghaul.target.merge_sql import Statements

WALK = 10_000  # about 5 ms

# Of serial and identity columns, and those that a default calls without owning them.
FIND = SQL(
    """
WITH used AS (
    SELECT d.objid AS oid, d.refobjsubid AS attnum, d.refobjid AS relation
      FROM pg_catalog.pg_depend AS d
     WHERE d.classid = 1259 AND d.refclassid = 1259 AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
       AND d.refobjid = {relation}::pg_catalog.regclass
    UNION
    SELECT d.refobjid, a.adnum, a.adrelid
      FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_attrdef AS a ON a.oid = d.objid
     WHERE d.classid = 2604 AND d.refclassid = 1259 AND a.adrelid = {relation}::pg_catalog.regclass
)
SELECT n.nspname::text, s.relname::text, c.attname::text
  FROM used AS u
  JOIN pg_catalog.pg_class AS s ON s.oid = u.oid AND s.relkind = 'S'
  JOIN pg_catalog.pg_namespace AS n ON n.oid = s.relnamespace
  JOIN pg_catalog.pg_attribute AS c ON c.attrelid = u.relation AND c.attnum = u.attnum
   AND c.atttypid IN (20, 21, 23, 1700)
 ORDER BY 1, 2
"""
)
# Apart, as none of these functions bears to be asked about anything but a sequence. None that cycles is moved.
RANGE = SQL(
    "SELECT p.increment, p.minimum_value, p.maximum_value"
    " FROM pg_catalog.pg_sequence_parameters({sequence}::pg_catalog.regclass) AS p WHERE NOT p.cycle_option"
)
MAY_MOVE = SQL(
    "SELECT pg_catalog.has_sequence_privilege({sequence}::pg_catalog.regclass, 'SELECT')"
    " AND pg_catalog.has_sequence_privilege({sequence}::pg_catalog.regclass, 'UPDATE')"
)
FURTHEST = SQL("SELECT pg_catalog.{extreme}({column}) FROM {changes} AS c WHERE c.verdict <> 'g'")
FURTHEST_STAGED = SQL("SELECT pg_catalog.{extreme}({column}) FROM {staging} AS s")
POSITION = SQL("SELECT s.last_value, s.is_called FROM {sequence} AS s")
STEPS = SQL(
    "SELECT pg_catalog.max(pg_catalog.nextval({sequence}::pg_catalog.regclass)) FROM pg_catalog.generate_series(1, {n})"
)
JUMP = SQL("SELECT pg_catalog.setval({sequence}::pg_catalog.regclass, {position})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A sequence, and the column that takes its numbers."""

    name: Name
    column: str
    increment: int
    least: int
    greatest: int

    def steps(self, last: int, called: bool, furthest: int) -> tuple[int, int]:
        """How many numbers to take so that the next one is beyond, and the last of these."""
        first = last + self.increment if called else last
        way = (furthest - first) if self.increment > 0 else (first - furthest)
        if way < 0:
            return 0, last
        size = abs(self.increment)
        room = ((self.greatest - first) if self.increment > 0 else (first - self.least)) // size + 1
        n = min(way // size + 1, max(room, 0))
        return n, first + (n - 1) * self.increment


def owned(session: Session, table: Name, columns: Iterable[str]) -> Iterator[tuple[Name, str, bool]]:
    """The sequences behind these columns: name, column, and whether we may move it."""
    for schema, name, column in session.rows(FIND.format(relation=_literal(table))):
        if column in set(columns):
            sequence = Name(schema, name)
            yield sequence, column, bool(session.value(MAY_MOVE.format(sequence=_literal(sequence))))


def advance(session: Session, statements: Statements, *, staged: bool = False) -> None:
    """Beyond the rows that this merge has written; `staged`: there are no changes, look at all staged rows."""
    design = statements.design
    for name, column, may in [*owned(session, design.target, design.columns)]:
        range_ = session.rows(RANGE.format(sequence=_literal(name))) if may else []
        for step, least, greatest in range_:
            _advance(
                session,
                _staged if staged else _changed,
                statements,
                Owned(name=name, column=column, increment=int(step), least=int(least), greatest=int(greatest)),
            )


def _changed(statements: Statements, column: str, extreme: Composable) -> Composable:
    changes = Identifier(statements.changes.schema, statements.changes.name)
    return FURTHEST.format(extreme=extreme, column=statements.terms.change(column), changes=changes)


def _staged(statements: Statements, column: str, extreme: Composable) -> Composable:
    name = statements.design.staging
    return FURTHEST_STAGED.format(
        extreme=extreme, column=SQL("s.") + Identifier(column), staging=Identifier(name.schema, name.name)
    )


def _advance(
    session: Session, furthest_sql: Callable[..., Composable], statements: Statements, sequence: Owned
) -> None:
    extreme = SQL("max" if sequence.increment > 0 else "min")
    furthest = session.value(furthest_sql(statements, sequence.column, extreme))
    if furthest is None:
        return
    name = Identifier(sequence.name.schema, sequence.name.name)
    quoted = _literal(sequence.name)
    last, called = session.rows(POSITION.format(sequence=name))[0]
    steps, end = sequence.steps(int(last), called, int(furthest))
    if steps > WALK:
        session.value(JUMP.format(sequence=quoted, position=Literal(end)))
    elif steps:
        session.value(STEPS.format(sequence=quoted, n=Literal(steps)))


def _literal(name: Name) -> Composable:
    """Its quoted name, for ::regclass."""
    return Literal(Identifier(name.schema, name.name).as_string(None))
