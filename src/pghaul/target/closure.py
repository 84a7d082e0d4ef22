"""What a table needs before it can be created: types, domains, sequences, functions, schemas, parents …

Computed on the source from pg_depend in one recursive query, so that the answer is pg_dump's own idea of
dependency, and in (tableoid, oid), so that it can be matched with the entries of an archive.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pghaul.model.table import Name
from pghaul.postgres.session import Session

# Oids of the catalogues themselves: the same in every version, and what `pg_restore --list` prints first.
PG_TYPE = 1247
PG_CLASS = 1259
PG_ATTRDEF = 2604
PG_CONSTRAINT = 2606
PARTS = (PG_ATTRDEF, PG_CONSTRAINT, 2602, 2603)  # of other objects (the last two: pg_amop, pg_amproc)

# Downwards: what an object refers to; not from a sequence to the table that owns it. Upwards, and only along
# "a part of": defaults, constraints, owned sequences, indexes (for their functions and operator classes), a
# composite's columns. Objects below 16384 came with initdb and are everywhere, schemas apart.
CLOSURE_SQL = """
WITH RECURSIVE needed(classid, objid) AS (
    SELECT 1259::oid, t FROM pg_catalog.unnest(%s::oid[]) AS t
  UNION
    SELECT e.classid, e.objid
      FROM needed AS n
     CROSS JOIN LATERAL (
        SELECT d.refclassid AS classid, d.refobjid AS objid
          FROM pg_catalog.pg_depend AS d
         WHERE d.classid = n.classid AND d.objid = n.objid
           AND (d.refobjid >= 16384 OR d.refclassid = 2615)
           AND NOT (d.classid = 1259 AND d.refclassid = 1259
                    AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0)
        UNION ALL
        SELECT d.classid, d.objid
          FROM pg_catalog.pg_depend AS d
          LEFT JOIN pg_catalog.pg_class AS c ON d.classid = 1259 AND c.oid = d.objid
          LEFT JOIN pg_catalog.pg_constraint AS k ON d.classid = 2606 AND k.oid = d.objid
         WHERE d.refclassid = n.classid AND d.refobjid = n.objid AND d.deptype IN ('a', 'i')
           AND (d.classid IN (2604, 2602, 2603) OR c.relkind IN ('S', 'i', 'I', 'c') OR k.contype <> 'f')
     ) AS e
)
SELECT n.classid::int8, n.objid::int8,
       coalesce(c.relkind::text, CASE WHEN t.typelem <> 0 AND t.typlen = -1 THEN 'A' END),
       x.extname::text, xn.nspname::text,
       coalesce(a.adrelid, k.conrelid, (
           SELECT o.refobjid FROM pg_catalog.pg_depend AS o
            WHERE c.relkind = 'S' AND o.classid = 1259 AND o.objid = c.oid AND o.refclassid = 1259
              AND o.deptype IN ('a', 'i') AND o.refobjsubid > 0 LIMIT 1))::int8,
       coalesce(c.relname, t.typname)::text, coalesce(cn.nspname, tn.nspname)::text,
       i.type, i.schema, i.identity
  FROM needed AS n
  LEFT JOIN pg_catalog.pg_class AS c ON n.classid = 1259 AND c.oid = n.objid
  LEFT JOIN pg_catalog.pg_namespace AS cn ON cn.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_type AS t ON n.classid = 1247 AND t.oid = n.objid
  LEFT JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_attrdef AS a ON n.classid = 2604 AND a.oid = n.objid
  LEFT JOIN pg_catalog.pg_constraint AS k ON n.classid = 2606 AND k.oid = n.objid
  LEFT JOIN pg_catalog.pg_depend AS e
    ON e.classid = n.classid AND e.objid = n.objid AND e.refclassid = 3079 AND e.deptype = 'e'
  LEFT JOIN pg_catalog.pg_extension AS x
    ON x.oid = CASE WHEN n.classid = 3079 THEN n.objid ELSE e.refobjid END
  LEFT JOIN pg_catalog.pg_namespace AS xn ON xn.oid = x.extnamespace
  LEFT JOIN LATERAL pg_catalog.pg_identify_object(n.classid, n.objid, 0) AS i
    ON n.classid NOT IN (1259, 1247, 2604, 2606, 2602, 2603)
"""

# On servers with JIT (11+) compiling the query above takes 0.7 s where running it takes 0.05 s.
JIT_OFF_SQL = """
SELECT pg_catalog.set_config(s.name, 'off', true) FROM pg_catalog.pg_settings AS s WHERE s.name = 'jit'
"""

RELATIONS_SQL = """
SELECT n.nspname::text, c.relname::text
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relname::text IN (SELECT pg_catalog.unnest(%s::text[]))
"""

TYPES_SQL = """
SELECT n.nspname::text, t.typname::text
  FROM pg_catalog.pg_type AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
 WHERE t.typname::text IN (SELECT pg_catalog.unnest(%s::text[]))
"""

# All other kinds: few on any target, so each is asked for its identity.
OTHERS_SQL = """
SELECT o.classid::int8, i.identity
  FROM (SELECT 2615::oid AS classid, oid AS objid FROM pg_catalog.pg_namespace
        UNION ALL SELECT 1255, oid FROM pg_catalog.pg_proc WHERE oid >= 16384
        UNION ALL SELECT 3456, oid FROM pg_catalog.pg_collation WHERE oid >= 16384
        UNION ALL SELECT 2617, oid FROM pg_catalog.pg_operator WHERE oid >= 16384
        UNION ALL SELECT 2616, oid FROM pg_catalog.pg_opclass WHERE oid >= 16384
        UNION ALL SELECT 2753, oid FROM pg_catalog.pg_opfamily WHERE oid >= 16384
        UNION ALL SELECT 3602, oid FROM pg_catalog.pg_ts_config WHERE oid >= 16384
        UNION ALL SELECT 3600, oid FROM pg_catalog.pg_ts_dict WHERE oid >= 16384
        UNION ALL SELECT 2612, oid FROM pg_catalog.pg_language) AS o
 CROSS JOIN LATERAL pg_catalog.pg_identify_object(o.classid, o.objid, 0) AS i
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One object of the source. `owner` is the table that a default, constraint or sequence belongs to."""

    tableoid: int
    oid: int
    relkind: str | None = None  # and A for array types, which come with their elements'
    extension: str | None = None  # it is this extension, or a member of it
    extension_schema: str | None = None
    owner: int | None = None
    name: Name | None = None  # of relations and types
    type: str = ""
    schema: str | None = None
    identity: str = ""

    @property
    def key(self) -> tuple[int, Name | str]:
        """The same on two servers; keywords, and so quotes, differ between versions."""
        return (self.tableoid, self.name or self.identity.replace('"', ""))

    @property
    def description(self) -> str:
        """For a person."""
        kinds = {"S": "sequence", "v": "view", "m": "materialized view", "f": "foreign table"}
        kind = "type" if self.tableoid == PG_TYPE else kinds.get(self.relkind or "", "table")
        return f"{kind} {self.name}" if self.name else f"{self.type} {self.identity}"


def needed_by(source: Session, oids: Collection[int]) -> list[Thing]:
    """These tables (oids on the source) and all that they need."""
    if not oids:
        return []
    with source.transaction():
        source.rows(JIT_OFF_SQL)
        return [_thing(row) for row in source.rows(CLOSURE_SQL, (list(oids),))]


def _thing(row: Sequence[object]) -> Thing:
    classid, objid, relkind, extension, home, owner, name, schema, kind, identity_schema, identity = row
    return Thing(
        tableoid=int(str(classid)),
        oid=int(str(objid)),
        relkind=None if relkind is None else str(relkind),
        extension=None if extension is None else str(extension),
        extension_schema=None if home is None else str(home),
        owner=None if owner is None else int(str(owner)),
        name=None if name is None else Name(str(schema), str(name)),
        type=str(kind or ""),
        schema=str(schema or identity_schema) if schema or identity_schema else None,
        identity=str(identity or ""),
    )


def schemas_of(things: Iterable[Thing]) -> list[str]:
    """The schemas that pg_dump must look into for them."""
    return sorted({t.schema for t in things if t.schema and not t.extension})


def present(target: Session, things: Sequence[Thing]) -> set[tuple[int, Name | str]]:
    """The keys of those that the target has, by name (Thing.key)."""
    relations = [t.name.name for t in things if t.name and t.tableoid == PG_CLASS]
    types = [t.name.name for t in things if t.name and t.tableoid == PG_TYPE]
    found: set[tuple[int, Name | str]] = {
        (PG_CLASS, Name(str(s), str(n))) for s, n in target.rows(RELATIONS_SQL, (relations,))
    }
    found |= {(PG_TYPE, Name(str(s), str(n))) for s, n in target.rows(TYPES_SQL, (types,))}
    return found | {(int(c), str(i).replace('"', "")) for c, i in target.rows(OTHERS_SQL)}
