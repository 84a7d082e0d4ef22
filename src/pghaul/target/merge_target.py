"""What a merge has to know of its target: columns, the operators that its keys are equal by, unique keys, who may what.

Three queries, so that a merge of a thousand rows does not spend its time here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Identifier, Literal

from pghaul.model.errors import MergeError
from pghaul.model.table import Name
from pghaul.model.text import listed, say
from pghaul.postgres.session import Session
from pghaul.postgres.versions import Capabilities

# Two values of these types that are equal are the same bytes. Not so numeric (1.0 and 1.00), floats (0 and -0),
# interval (1 day and 24 hours), jsonb, citext, arrays of any of them …: those are compared by their image.
EXACT = (
    "bool", "int2", "int4", "int8", "oid", "text", "varchar", "bytea", "uuid", "date", "time", "timestamp",
    "timestamptz", "char", "name", "macaddr",
)  # fmt: skip

# The equality of a key is that of its type's default operator class, wherever that lives: under our empty search_path
# a plain "=" between two citext would quietly be the one of text. Types without one of their own (varchar, arrays,
# enums, ranges) have it from pg_catalog. `form` is the type below all domains.
_COLUMNS = SQL(
    """
WITH RECURSIVE form (attnum, oid) AS (
    SELECT a.attnum, a.atttypid FROM pg_catalog.pg_attribute AS a
     WHERE a.attrelid = {relation} AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT f.attnum, t.typbasetype FROM form AS f JOIN pg_catalog.pg_type AS t ON t.oid = f.oid AND t.typtype = 'd'
)
SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod),
       CASE WHEN a.attcollation <> own.typcollation THEN cn.nspname::text END, co.collname::text,
       a.attnotnull, {generated}, {identity}::text,
       b.typname::text, bn.nspname = 'pg_catalog', coalesce(o_n.nspname::text, 'pg_catalog'),
       coalesce(o.oprname::text, '='), {deterministic}
  FROM pg_catalog.pg_attribute AS a
  JOIN pg_catalog.pg_type AS own ON own.oid = a.atttypid
  JOIN form AS f ON f.attnum = a.attnum
  JOIN pg_catalog.pg_type AS b ON b.oid = f.oid AND b.typtype <> 'd'
  JOIN pg_catalog.pg_namespace AS bn ON bn.oid = b.typnamespace
  LEFT JOIN pg_catalog.pg_collation AS co ON co.oid = a.attcollation
  LEFT JOIN pg_catalog.pg_namespace AS cn ON cn.oid = co.collnamespace
  LEFT JOIN pg_catalog.pg_opclass AS oc ON oc.opcintype = b.oid AND oc.opcdefault AND oc.opcmethod = 403
  LEFT JOIN pg_catalog.pg_amop AS ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
        AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype AND ao.amoppurpose = 's'
  LEFT JOIN pg_catalog.pg_operator AS o ON o.oid = ao.amopopr
  LEFT JOIN pg_catalog.pg_namespace AS o_n ON o_n.oid = o.oprnamespace
 WHERE a.attrelid = {relation} AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
"""
)
# Unique over plain columns of all rows, by the equality that the columns themselves have.
_KEYS = SQL(
    """
SELECT ARRAY(SELECT a.attname::text FROM pg_catalog.generate_series(0, {keys} - 1) AS n
               JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n] ORDER BY n),
       i.indimmediate, i.indisprimary
  FROM pg_catalog.pg_index AS i
 WHERE i.indrelid = {relation} AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
   AND NOT EXISTS (
       SELECT 1 FROM pg_catalog.generate_series(0, {keys} - 1) AS n
         JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n]
         JOIN pg_catalog.pg_opclass AS oc ON oc.oid = i.indclass[n]
        WHERE NOT oc.opcdefault OR i.indcollation[n] <> a.attcollation)
 ORDER BY i.indisprimary DESC, i.indexrelid
"""
)
_RELATION = SQL(
    """
SELECT c.relkind::text, EXISTS (SELECT 1 FROM pg_catalog.pg_inherits AS h WHERE h.inhparent = c.oid),
       EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite AS w WHERE w.ev_class = c.oid AND w.ev_type <> '1'),
       EXISTS (SELECT 1 FROM pg_catalog.pg_trigger AS g
                WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled <> 'D'),
       {hidden}, pg_catalog.has_table_privilege(c.oid, 'SELECT'), pg_catalog.has_table_privilege(c.oid, 'INSERT'),
       pg_catalog.has_table_privilege(c.oid, 'UPDATE'), pg_catalog.has_table_privilege(c.oid, 'DELETE'),
       pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE'),
       coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::pg_catalog.int8
  FROM pg_catalog.pg_class AS c WHERE c.oid = {relation}
"""
)
_OID = SQL(
    "(SELECT r.oid FROM pg_catalog.pg_class AS r JOIN pg_catalog.pg_namespace AS rn ON rn.oid = r.relnamespace"
    " WHERE rn.nspname = {schema} AND r.relname = {name})"
)
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "USAGE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`declared` is its type with modifier and collation; `equal` the operator of its equality, qualified."""

    name: str
    type: str
    declared: str
    base: str
    not_null: bool
    generated: bool
    identity: str  # a: GENERATED ALWAYS, d: BY DEFAULT, or empty
    equal: tuple[str, str]
    exact: bool  # equal values are the same bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class UniqueKey:
    columns: tuple[str, ...]
    immediate: bool
    primary: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`children`: of partitioning or inheritance. `rules`: other than those of a view. `triggers`: of users, not those
    of foreign keys. `hidden`: row security. `filenode`: 0 where it has no file of its own.
    """

    name: Name
    kind: str
    children: bool
    rules: bool
    triggers: bool
    hidden: bool
    privileges: frozenset[str]
    filenode: int
    columns: tuple[Column, ...]
    keys: tuple[UniqueKey, ...]

    @property
    def inherited(self) -> bool:
        """Other tables inherit from it: no index spans them all."""
        return self.kind == "r" and self.children

    def column(self, name: str) -> Column:
        """StopIteration where there is none: that has been looked at before."""
        return next(c for c in self.columns if c.name == name)

    def unique(self, key: Iterable[str], *, immediate: bool = True) -> bool:
        """Whether an index keeps exactly this key unique."""
        wanted = frozenset(key)
        return any(frozenset(k.columns) == wanted and (k.immediate or not immediate) for k in self.keys)


def look(session: Session, name: Name) -> Target | None:
    """None where there is no such relation."""
    can = session.server.capabilities
    relation = _oid(name)
    hidden = SQL("pg_catalog.row_security_active(c.oid)") if can.row_security else SQL("false")
    found = session.rows(_RELATION.format(relation=relation, hidden=hidden))
    if not found:
        return None
    kind, children, rules, triggers, policies, *may, filenode = found[0]
    keys = SQL("i.indnkeyatts") if can.index_include else SQL("i.indnatts")
    return Target(
        name=name,
        kind=kind,
        children=children,
        rules=rules,
        triggers=triggers,
        hidden=policies,
        privileges=frozenset(word for word, has in zip(PRIVILEGES, may, strict=True) if has),
        filenode=filenode,
        columns=columns(session, name),
        keys=tuple(
            UniqueKey(columns=tuple(names), immediate=immediate, primary=primary)
            for names, immediate, primary in session.rows(_KEYS.format(relation=relation, keys=keys))
        ),
    )


def columns(session: Session, name: Name) -> tuple[Column, ...]:
    """Of any relation; none where it is not there."""
    rows = session.rows(_columns_sql(session.server.capabilities, name))
    return tuple(
        Column(
            name=column,
            type=kind,
            declared=kind + (f" COLLATE {Identifier(schema, collation).as_string(None)}" if schema else ""),
            base=base,
            not_null=not_null,
            generated=generated,
            identity=identity,
            equal=(operators, equal),
            exact=builtin and deterministic and base in EXACT,
        )
        for column, kind, schema, collation, not_null, generated, identity, base, builtin, operators, equal,
        deterministic in rows
    )  # fmt: skip


def equals(column: Column, left: Composable, right: Composable) -> Composable:
    """By the equality of its type, which our empty search_path does not find by itself."""
    schema, operator = column.equal
    return SQL("{} OPERATOR({}.{}) {}").format(left, Identifier(schema), SQL(operator), right)


def no_column(target: Name, names: Iterable[str]) -> MergeError:
    """Of the target, that the merge needs."""
    return MergeError(
        say("the target's {table} has no column {columns}", table=str(target), columns=listed(names)),
        where=str(target),
        advice=say("add it to the target's table, or leave it out with `columns`"),
        code=6602,
    )


def _columns_sql(can: Capabilities, name: Name) -> Composable:
    return _COLUMNS.format(
        relation=_oid(name),
        generated=SQL("a.attgenerated <> ''") if can.generated_columns else SQL("false"),
        identity=SQL("a.attidentity") if can.identity else SQL("''"),
        # As old as generated columns: nondeterministic collations.
        deterministic=SQL("coalesce(co.collisdeterministic, true)") if can.generated_columns else SQL("true"),
    )


def _oid(name: Name) -> Composable:
    return _OID.format(schema=Literal(name.schema), name=Literal(name.name))


def quoted(name: Name) -> Composable:
    """For use in SQL."""
    return Identifier(name.schema, name.name)
