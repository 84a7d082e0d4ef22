"""The SQL of increments: the look at open transactions, and a watermark's comparisons by its kind.

Constants are cast to the kind's own type without its modifier: numeric(10,2) would round, and a cast to text would
order otherwise. A column of a domain is compared as what is below it.
"""

from __future__ import annotations

from psycopg.sql import SQL, Composable, Identifier, Literal

from pghaul.model.merging import WatermarkKind
from pghaul.model.table import Name
from pghaul.postgres.versions import Capabilities
from pghaul.sources.increments_moments import FORMATS

CLEAR = "SELECT pg_catalog.pg_stat_clear_snapshot()"  # within a transaction, all looks would be the first
CLOCK = SQL("SELECT pg_catalog.clock_timestamp(), pg_catalog.pg_is_in_recovery(), {sees_all}")
SEES_ALL = {  # by Capabilities.read_all_stats: whether xact_start of others' sessions is shown to us
    True: SQL("pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')"),
    False: SQL("pg_catalog.current_setting('is_superuser') = 'on'"),
}
# A session that is at work, and has not told yet since when, began at query_start. Not so a walsender, whose query
# lasts for days. What autovacuum is at for hours writes no rows.
_OPEN = SQL(
    """
SELECT a.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), {begun},
       a.query = '<insufficient privilege>' OR coalesce(a.state, '') = 'disabled'
  FROM pg_catalog.pg_stat_activity AS a
 WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid() AND {not_vacuum}
"""
)
OPEN = {  # by Capabilities.backend_type
    True: _OPEN.format(
        begun=SQL(
            "coalesce(a.xact_start, CASE WHEN a.backend_type = 'client backend' AND a.state <> 'idle' "
            "THEN a.query_start END)"
        ),
        not_vacuum=SQL("a.backend_type IS DISTINCT FROM 'autovacuum worker'"),
    ),
    False: _OPEN.format(begun=SQL("a.xact_start"), not_vacuum=SQL("a.query NOT LIKE 'autovacuum:%'")),
}
PREPARED = """
SELECT p.gid FROM pg_catalog.pg_prepared_xacts AS p WHERE p.database = pg_catalog.current_database() ORDER BY p.prepared
"""
NUMBERS = """
SELECT pg_catalog.txid_snapshot_xmin(s.now), pg_catalog.txid_snapshot_xmax(s.now)
  FROM (SELECT pg_catalog.txid_current_snapshot() AS now) AS s
"""
AFTER = """
SELECT pg_catalog.clock_timestamp(), pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot())
"""
EXPLAIN = SQL("EXPLAIN (COSTS off) SELECT * FROM {rows}")  # nothing runs
SOME = SQL("SELECT {column}::pg_catalog.text FROM {rows} WHERE {where} LIMIT 3")
# Whatever holds rows of its own below a parent. One that was taken off and put back again has another xmin there.
MEMBERS = """
WITH RECURSIVE tree (relation, edge) AS (
    SELECT i.inhrelid, i.xmin::text FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = %s::pg_catalog.oid
    UNION
    SELECT i.inhrelid, i.xmin::text FROM tree AS t JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.relation)
SELECT t.relation::text || '.' || t.edge, n.nspname::text, c.relname::text
  FROM tree AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.relation
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind <> 'p' ORDER BY 1
"""
INDEXED = """
SELECT EXISTS (
    SELECT 1 FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = %s::pg_catalog.oid AND i.indisvalid AND i.indpred IS NULL AND a.attname = %s)
"""
# Sequences of a column's default that give more than one number to a session at a time, or count down.
UNORDERED = """
SELECT s.seqrelid::pg_catalog.regclass::text
  FROM pg_catalog.pg_attribute AS a
  LEFT JOIN pg_catalog.pg_attrdef AS f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
  JOIN pg_catalog.pg_depend AS d
    ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
   AND (d.classid = d.refclassid AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
        OR d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = f.oid)
  JOIN pg_catalog.pg_sequence AS s ON s.seqrelid = CASE WHEN d.classid = d.refclassid THEN d.objid ELSE d.refobjid END
 WHERE a.attrelid = %s::pg_catalog.oid AND a.attname = %s AND (s.seqcache > 1 OR s.seqincrement < 0)
 LIMIT 1
"""

_TYPES = {
    WatermarkKind.TIMESTAMP: SQL("pg_catalog.timestamp"),
    WatermarkKind.TIMESTAMPTZ: SQL("pg_catalog.timestamptz"),
    WatermarkKind.DATE: SQL("pg_catalog.date"),
    WatermarkKind.INTEGER: SQL("pg_catalog.int8"),
    WatermarkKind.NUMERIC: SQL("pg_catalog.numeric"),
    WatermarkKind.UUID: SQL("pg_catalog.uuid"),
}
_CALENDAR = frozenset({WatermarkKind.TIMESTAMP, WatermarkKind.TIMESTAMPTZ, WatermarkKind.DATE})
_ODD_NUMBERS = SQL("('NaN', 'Infinity', '-Infinity')")


def compared(column: str, kind: WatermarkKind) -> Composable:
    """The column as it is put in order. Texts byte by byte: whatever the database's collation says of digits."""
    if kind is WatermarkKind.TEXT:
        return SQL('{}::pg_catalog.text COLLATE pg_catalog."C"').format(Identifier(column))
    return Identifier(column)


def from_low(column: str, kind: WatermarkKind, low: str) -> Composable:
    """Rows at `low` and above."""
    if kind is WatermarkKind.TEXT:
        return SQL("{} >= {}").format(compared(column, kind), Literal(low))
    return SQL("{} >= {}::{}").format(compared(column, kind), Literal(low), _TYPES[kind])


def changed_from(first: int, count: int, *, frozen_by_flag: bool) -> Composable:
    """Rows whose xmin is one of `count` transaction numbers from `first` on, round the clock of 32 bits.

    Where VACUUM writes 2 over a row's xmin, nobody can say when the row was changed.
    """
    number = SQL("xmin::pg_catalog.text::pg_catalog.int8")
    condition = SQL("pg_catalog.mod({number} + {add}, 4294967296) < {count}").format(
        number=number, add=Literal((1 << 32) - first), count=Literal(count)
    )
    return condition if frozen_by_flag else SQL("({} OR {} < 3)").format(condition, number)


def unusable(column: str, kind: WatermarkKind, form: str | None, able: Capabilities) -> Composable:
    """Rows that no order places: without a watermark, or with one that says nothing."""
    name = Identifier(column)
    null = SQL("{} IS NULL").format(name)
    if kind in _CALENDAR:
        return SQL("({} OR {} = '-infinity'::{})").format(null, name, _TYPES[kind])
    if kind is WatermarkKind.NUMERIC:
        odd = ("NaN", "-Infinity") if able.infinite_numerics else ("NaN",)
        either = [SQL("{} = {}::pg_catalog.numeric").format(name, Literal(o)) for o in odd]
        return SQL("({})").format(SQL(" OR ").join([null, *either]))
    if kind is WatermarkKind.TEXT and form is not None:
        return SQL("({} OR {}::pg_catalog.text !~ {})").format(null, name, Literal(FORMATS[form]))
    if kind is WatermarkKind.UUID:
        return SQL("({} OR pg_catalog.substr({}::pg_catalog.text, 15, 1) <> '7')").format(null, name)
    return null


def greatest(column: str, kind: WatermarkKind, form: str | None, table: Composable, where: Composable) -> Composable:
    """The greatest finite watermark of `table`, as exact text. max() of a uuid is younger than uuids."""
    name = Identifier(column)
    return SQL(
        "SELECT g.w::pg_catalog.text FROM (SELECT {name} AS w FROM {table} WHERE {usable} AND {where} "
        "ORDER BY {order} DESC LIMIT 1) AS g"  # apart: ORDER BY means what is selected, the text
    ).format(name=name, table=table, usable=_finite(name, kind, form), where=where, order=compared(column, kind))


def _finite(name: Composable, kind: WatermarkKind, form: str | None) -> Composable:
    if kind in _CALENDAR:
        return SQL("pg_catalog.isfinite({})").format(name)
    if kind is WatermarkKind.NUMERIC:
        return SQL("{}::pg_catalog.text NOT IN {}").format(name, _ODD_NUMBERS)
    if kind is WatermarkKind.TEXT and form is not None:
        return SQL("{}::pg_catalog.text ~ {}").format(name, Literal(FORMATS[form]))
    if kind is WatermarkKind.UUID:
        return SQL("pg_catalog.substr({}::pg_catalog.text, 15, 1) = '7'").format(name)
    return SQL("{} IS NOT NULL").format(name)


def rows_of(name: Name, query: str | None) -> Composable:
    """What is behind FROM. A query may end with a comment."""
    if query is None:
        return Identifier(name.schema, name.name)
    return SQL("(\n{}\n) AS q").format(SQL(query))


def stated(condition: str) -> Composable:
    """A person's own, which may end with a comment."""
    return SQL("(\n{}\n)").format(SQL(condition))
