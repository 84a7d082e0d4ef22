"""The state of sequences: a table without its sequence's position would hand out its numbers twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from pghaul.model.table import Name
from pghaul.model.text import saying
from pghaul.postgres.session import Session

# Of serial and identity columns, and those that a default calls without owning them. pg_sequences (10) is younger
# than pg_sequence_parameters().
FIND_SQL = """
WITH chosen AS (
    SELECT c.oid
      FROM pg_catalog.pg_class AS c
      JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     WHERE (n.nspname::text, c.relname::text) IN (
           SELECT (%s::text[])[i], (%s::text[])[i]
             FROM pg_catalog.generate_subscripts(%s::text[], 1) AS i)
), used AS (
    SELECT d.objid AS oid
      FROM pg_catalog.pg_depend AS d JOIN chosen AS t ON d.refobjid = t.oid
     WHERE d.classid = 1259 AND d.refclassid = 1259 AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
    UNION
    SELECT d.refobjid
      FROM pg_catalog.pg_depend AS d
      JOIN pg_catalog.pg_attrdef AS a ON a.oid = d.objid
      JOIN chosen AS t ON t.oid = a.adrelid
     WHERE d.classid = 2604 AND d.refclassid = 1259
)
SELECT n.nspname::text, s.relname::text,
       CASE WHEN pg_catalog.has_sequence_privilege(s.oid, 'SELECT')
            THEN (pg_catalog.pg_sequence_parameters(s.oid)).increment END
  FROM used
  JOIN pg_catalog.pg_class AS s ON s.oid = used.oid AND s.relkind = 'S'
  JOIN pg_catalog.pg_namespace AS n ON n.oid = s.relnamespace
 ORDER BY 1, 2
"""

# Of the whole database: those that stand alone, too.
ALL_SQL = """
SELECT n.nspname::text, s.relname::text,
       CASE WHEN pg_catalog.has_sequence_privilege(s.oid, 'SELECT')
            THEN (pg_catalog.pg_sequence_parameters(s.oid)).increment END
  FROM pg_catalog.pg_class AS s
  JOIN pg_catalog.pg_namespace AS n ON n.oid = s.relnamespace
 WHERE s.relkind = 'S' AND s.relpersistence <> 't' AND n.nspname <> 'pghaul'
 ORDER BY 1, 2
"""

PRESENT_SQL = """
SELECT n.nspname::text, s.relname::text, pg_catalog.has_sequence_privilege(s.oid, 'SELECT')
           AND pg_catalog.has_sequence_privilege(s.oid, 'UPDATE')
  FROM pg_catalog.pg_class AS s JOIN pg_catalog.pg_namespace AS n ON n.oid = s.relnamespace
 WHERE s.relkind = 'S' AND s.relname::text IN (SELECT pg_catalog.unnest(%s::text[]))
"""

# Its position stands in the sequence itself only (all versions); so many are read by one statement.
READ = sql.SQL("SELECT {number}::int4, s.last_value::int8, s.is_called FROM {sequence} AS s")
BATCH = 100
SET = "SELECT pg_catalog.setval(%s::pg_catalog.text::pg_catalog.regclass, %s, %s)"

UNREAD = saying("sequence {name} may not be read on the source")
MISSING = saying("sequence {name} is missing on the target")
NOT_SET = saying("sequence {name} may not be set on the target")
SET_TO = saying("sequence {name} at {position}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Position:
    last: int
    called: bool

    def is_behind(self, other: _Position, increment: int) -> bool:
        """Whether `other` is further on, in the direction of the sequence."""
        sign = 1 if increment > 0 else -1
        return (sign * self.last, self.called) < (sign * other.last, other.called)


def carry(
    source: Session,
    target: Session,
    tables: Sequence[Name],
    renamed: Mapping[Name, Name] | None = None,
    *,
    whole: bool = False,
) -> list[str]:
    """Move the target's sequences of these tables (owned, identity, used by a default) to the source's position.

    With `whole` all sequences of the database.

    Never backwards: a target with rows of its own may be further on. Tables, and the keys of `renamed`, are named as on
    the source. Returns what was moved, and what could not be.
    """
    wanted = [t.name for t in tables]
    where = ([t.schema for t in tables], wanted, wanted)
    found = {Name(s, n): i for s, n, i in (source.rows(ALL_SQL) if whole else source.rows(FIND_SQL, where))}
    increments = {name: int(i) for name, i in found.items() if i is not None}
    new = {n: (renamed or {}).get(n, n) for n in increments}
    rows = target.rows(PRESENT_SQL, ([n.name for n in new.values()],)) if new else []
    there = {Name(s, n): may for s, n, may in rows}
    names = [n for n in increments if there.get(new[n])]
    ours, theirs = dict(_positions(source, names)), dict(_positions(target, [new[n] for n in names]))
    said: list[str] = [UNREAD.format(name=str(n)) for n in found if n not in increments]
    said += [MISSING.format(name=str(n)) for n in new.values() if n not in there]
    said += [NOT_SET.format(name=str(n)) for n in new.values() if there.get(n) is False]
    for name in names:
        if theirs[new[name]].is_behind(ours[name], increments[name]):
            _set(target, new[name], ours[name])
            said.append(SET_TO.format(name=str(new[name]), position=ours[name].last))
    return said


def _positions(session: Session, names: Sequence[Name]) -> Iterator[tuple[Name, _Position]]:
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        reads = [
            READ.format(number=sql.Literal(i), sequence=sql.Identifier(n.schema, n.name)) for i, n in enumerate(batch)
        ]
        for number, last, called in session.rows(sql.SQL(" UNION ALL ").join(reads)):
            yield batch[number], _Position(last=last, called=called)


def _set(target: Session, name: Name, position: _Position) -> None:
    quoted = sql.Identifier(name.schema, name.name).as_string(None)
    target.value(SET, (quoted, position.last, position.called))
