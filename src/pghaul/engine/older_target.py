"""What the tables to be created have and an older target has not: found by name before anything is made.

Asked of the source's catalogues, and only where the target lacks what the source may have. What has another form that
means the same is no finding: target/older.py writes it so. What stands in expressions (functions of defaults, checks
and indexes) no catalogue tells; there the target refuses, in the one transaction that creates the tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from psycopg.sql import SQL, Composed

from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.table import Table
from pghaul.model.text import say
from pghaul.postgres.catalog_sql import TYPES
from pghaul.postgres.session import Session
from pghaul.postgres.versions import Capabilities

KNOWN_FORM = say("create the table on the target in a form that it knows, then run again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """`capability` knows it; `sql` finds the oids of the relations that have it, `what` says what that is."""

    capability: str
    what: str
    sql: str
    advice: str = KNOWN_FORM
    severity: Severity = Severity.ERROR


FEATURES = (
    Feature(
        capability="hash_partitions",
        what=say("partitions by hash"),
        sql="SELECT p.partrelid AS oid FROM pg_catalog.pg_partitioned_table p WHERE p.partstrat = 'h'",
    ),
    Feature(
        capability="default_partitions",
        what=say("a default partition"),
        sql="SELECT p.partrelid FROM pg_catalog.pg_partitioned_table p WHERE p.partdefid <> 0",
    ),
    Feature(
        capability="partitioned_indexes",
        what=say("indexes or keys of a partitioned table"),
        sql="SELECT i.indrelid FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid "
        "WHERE x.relkind = 'I' UNION ALL SELECT k.conrelid FROM pg_catalog.pg_constraint k "
        "JOIN pg_catalog.pg_class c ON c.oid = k.conrelid WHERE k.contype = 'f' AND c.relkind = 'p'",
        advice=say("create the tables on the target, with indexes on each partition, then run again"),
    ),
    Feature(
        capability="index_include",
        what=say("indexes that INCLUDE columns"),
        sql="SELECT i.indrelid FROM pg_catalog.pg_index i WHERE i.indnkeyatts < i.indnatts",
    ),
    Feature(
        capability="partitioned_references",
        what=say("foreign keys to a partitioned table"),
        sql="SELECT k.conrelid FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class r ON r.oid = k.confrelid "
        "WHERE k.contype = 'f' AND r.relkind = 'p'",
    ),
    Feature(
        capability="compression",
        what=say("columns with a compression method of their own"),
        sql="SELECT a.attrelid FROM pg_catalog.pg_attribute a WHERE a.attcompression <> '' AND a.attnum > 0",
        advice=say("they are compressed by the target's default; the values are the same"),
        severity=Severity.NOTE,
    ),
    Feature(
        capability="nulls_not_distinct",
        what=say("unique indexes where NULLS are NOT DISTINCT"),
        sql="SELECT i.indrelid FROM pg_catalog.pg_index i WHERE i.indnullsnotdistinct",
    ),
    Feature(
        capability="virtual_columns",
        what=say("virtual generated columns"),
        sql="SELECT a.attrelid FROM pg_catalog.pg_attribute a WHERE a.attgenerated = 'v' AND a.attnum > 0",
    ),
    Feature(
        capability="temporal_keys",
        what=say("keys WITHOUT OVERLAPS or of a PERIOD"),
        sql="SELECT k.conrelid FROM pg_catalog.pg_constraint k WHERE k.conperiod",
    ),
    Feature(
        capability="unenforced_constraints",
        what=say("constraints that are NOT ENFORCED"),
        sql="SELECT k.conrelid FROM pg_catalog.pg_constraint k WHERE NOT k.conenforced",
    ),
    Feature(
        capability="not_null_constraints",
        what=say("NOT NULL constraints that are NOT VALID"),
        sql="SELECT k.conrelid FROM pg_catalog.pg_constraint k WHERE k.contype = 'n' AND NOT k.convalidated",
    ),
)

FIND = SQL("SELECT DISTINCT x.oid::int8 FROM ({}) AS x WHERE x.oid = ANY (%s::oid[])")
# The built-in operator classes of the relations' indexes, and those that there are: BRIN got some with 14.
OPERATOR_CLASSES = """
SELECT i.indrelid::int8, o.opcname::text || ' of ' || m.amname::text
FROM (SELECT indrelid, pg_catalog.unnest(indclass::oid[]) AS class FROM pg_catalog.pg_index) i
JOIN pg_catalog.pg_opclass o ON o.oid = i.class AND o.oid::int8 < 16384  -- came with initdb
JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod
WHERE i.indrelid = ANY (%s::oid[])
"""
THEIR_CLASSES = """
SELECT o.opcname::text || ' of ' || m.amname::text
FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod
"""
THEIR_TYPES = """
SELECT t.typname::text FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname = 'pg_catalog'
"""


def findings(source: Session, target: Session, missing: Sequence[Table]) -> Iterator[Finding]:
    """Of the tables that are to be created as they are on the source."""
    if not missing or target.server.capabilities.version_num >= source.server.capabilities.version_num:
        return
    by_oid = {t.oid: t for t in missing}
    for feature in FEATURES:
        if _may_have(feature, source.server.capabilities) and not _may_have(feature, target.server.capabilities):
            found = source.rows(FIND.format(_query(feature)), (list(by_oid),))
            yield from (_finding(by_oid[oid], feature, target) for (oid,) in sorted(found))
    yield from _types(source, target, missing)
    yield from _operator_classes(source, target, by_oid)


def _may_have(feature: Feature, can: Capabilities) -> bool:
    return bool(getattr(can, feature.capability))


def _query(feature: Feature) -> Composed:
    return SQL("SELECT f.* FROM ({}) AS f (oid)").format(SQL(feature.sql))


def _finding(table: Table, feature: Feature, target: Session) -> Finding:
    return Finding(
        severity=feature.severity,
        kind=Kind.VERSION,
        object=str(table.name),
        what=say(
            "{table} has {feature}, which PostgreSQL {version} does not know",
            table=str(table.name),
            feature=feature.what,
            version=target.server.version,
        ),
        where=say("target"),
        advice=feature.advice,
        code=5339,
    )


def _types(source: Session, target: Session, missing: Sequence[Table]) -> Iterator[Finding]:
    """Built-in types, wherever in a column's type they stand; an array is told by its element."""
    there = {name for (name,) in target.rows(THEIR_TYPES)}
    oids = sorted({c.type_oid for t in missing for c in t.columns})
    rows = source.rows(TYPES, (oids,))
    named = {oid: name for oid, schema, name, *_ in rows if schema == "pg_catalog" and not name.startswith("_")}
    parts = {oid: refs for oid, _, _, _, _, refs, *_ in rows}
    for table in missing:
        used = _reached((c.type_oid for c in table.columns), parts)
        for name in sorted({named[oid] for oid in used & named.keys()} - there):
            yield _finding(table, Feature(capability="", what=say("the type {type}", type=name), sql=""), target)


def _reached(types: Iterable[int], parts: Mapping[int, Sequence[int]]) -> set[int]:
    """These types and all that they are made of."""
    todo, found = [*types], set[int]()
    while todo:
        oid = todo.pop()
        if oid not in found:
            found.add(oid)
            todo += parts.get(oid, ())
    return found


def _operator_classes(source: Session, target: Session, tables: dict[int, Table]) -> Iterator[Finding]:
    there = {name for (name,) in target.rows(THEIR_CLASSES)}
    for oid, name in sorted(set(source.rows(OPERATOR_CLASSES, (list(tables),)))):
        if name not in there:
            yield _finding(
                tables[oid],
                Feature(capability="", what=say("an index with {operators}", operators=name), sql=""),
                target,
            )
