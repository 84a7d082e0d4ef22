"""What hangs on tables and what it needs: the queries of scope.py. Relations go in as oids of the source."""

from __future__ import annotations

from pghaul.postgres.versions import Capabilities

# Views over the relations, and views over those. A view's query is a rule of its own.
VIEWS = """
WITH RECURSIVE seen(oid) AS (
    SELECT pg_catalog.unnest(%s::oid[])
  UNION
    SELECT r.ev_class
      FROM seen AS s
      JOIN pg_catalog.pg_depend AS d ON d.refclassid = 1259 AND d.refobjid = s.oid AND d.classid = 2618
      JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid AND r.rulename = '_RETURN'
)
SELECT v.oid::int8, n.nspname::text, v.relname::text, v.relkind::text
  FROM seen AS s
  JOIN pg_catalog.pg_class AS v ON v.oid = s.oid AND v.relkind IN ('v', 'm')
  JOIN pg_catalog.pg_namespace AS n ON n.oid = v.relnamespace
 WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pghaul')
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 1259 AND e.objid = v.oid AND e.deptype = 'e')
"""

_TRIGGERS = """
SELECT 2620 AS classid, t.oid AS objid, t.tgrelid AS relid, 'TRIGGER' AS kind, t.tgname::text AS name
  FROM pg_catalog.pg_trigger AS t JOIN chosen AS c ON c.oid = t.tgrelid
 WHERE NOT t.tgisinternal {clones}
"""
# A partition's share of its root's trigger comes with it; only one that is switched otherwise is an entry of its own.
_CLONES = """
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                     JOIN pg_catalog.pg_trigger AS r ON r.oid = d.refobjid AND r.tgenabled = t.tgenabled
                    WHERE d.classid = 2620 AND d.objid = t.oid AND d.refclassid = 2620)
"""
_RULES = """
SELECT 2618, r.oid, r.ev_class, 'RULE', r.rulename::text
  FROM pg_catalog.pg_rewrite AS r JOIN chosen AS c ON c.oid = r.ev_class
 WHERE r.rulename <> '_RETURN'
"""
_POLICIES = """
SELECT 3256, p.oid, p.polrelid, 'POLICY', p.polname::text
  FROM pg_catalog.pg_policy AS p JOIN chosen AS c ON c.oid = p.polrelid
UNION ALL
SELECT 0, r.oid, r.oid, 'ROW SECURITY', ''
  FROM pg_catalog.pg_class AS r JOIN chosen AS c ON c.oid = r.oid
 WHERE r.relrowsecurity
"""
_STATISTICS = """
SELECT 3381, s.oid, s.stxrelid, 'STATISTICS', s.stxname::text
  FROM pg_catalog.pg_statistic_ext AS s JOIN chosen AS c ON c.oid = s.stxrelid
"""
_WITH_RELATION = """
SELECT b.classid::int8, b.objid::int8, b.relid::int8, b.kind, n.nspname::text, r.relname::text, b.name, {identity}
  FROM belongings AS b
  JOIN pg_catalog.pg_class AS r ON r.oid = b.relid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
 ORDER BY b.kind, n.nspname, r.relname, b.name
"""
_IDENTITY = "CASE WHEN b.classid <> 0 THEN (pg_catalog.pg_identify_object(b.classid::oid, b.objid, 0)).identity END"

# Edges from these objects down to relations, whose own needs are their own affair; views are looked through.
# Parameters: the seeds' catalogues and oids.
EDGES = """
WITH RECURSIVE edge(from_class, from_oid, to_class, to_oid) AS (
    SELECT 0::oid, 0::oid, s.c, s.o
      FROM (SELECT pg_catalog.unnest(%s::oid[]) AS c, pg_catalog.unnest(%s::oid[]) AS o) AS s
  UNION
    SELECT n.to_class, n.to_oid, x.c, x.o
      FROM edge AS n
      LEFT JOIN pg_catalog.pg_class AS k ON n.to_class = 1259 AND k.oid = n.to_oid
     CROSS JOIN LATERAL (
        SELECT d.refclassid AS c, d.refobjid AS o
          FROM pg_catalog.pg_depend AS d
         WHERE d.classid = n.to_class AND d.objid = n.to_oid AND d.refobjid >= 16384
        UNION ALL
        SELECT d.classid, d.objid
          FROM pg_catalog.pg_depend AS d
         WHERE d.refclassid = n.to_class AND d.refobjid = n.to_oid AND d.classid = 2618 AND d.deptype = 'i'
     ) AS x
     WHERE k.oid IS NULL OR k.relkind IN ('v', 'm')
)
SELECT e.from_class::int8, e.from_oid::int8, e.to_class::int8, e.to_oid::int8,
       k.relkind::text, n.nspname::text, k.relname::text, x.extname::text
  FROM edge AS e
  LEFT JOIN pg_catalog.pg_class AS k ON e.to_class = 1259 AND k.oid = e.to_oid
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = k.relnamespace
  LEFT JOIN pg_catalog.pg_depend AS m
    ON m.classid = e.to_class AND m.objid = e.to_oid AND m.refclassid = 3079 AND m.deptype = 'e'
  LEFT JOIN pg_catalog.pg_extension AS x ON x.oid = CASE WHEN e.to_class = 3079 THEN e.to_oid ELSE m.refobjid END
"""

POLICY_ROLES = """
SELECT p.oid::int8, r.rolname::text
  FROM pg_catalog.pg_policy AS p JOIN pg_catalog.pg_roles AS r ON r.oid = ANY (p.polroles)
 WHERE p.oid = ANY (%s::oid[])
"""
ROLES = "SELECT r.rolname::text FROM pg_catalog.pg_roles AS r"
OFFERED = "SELECT e.name::text FROM pg_catalog.pg_available_extensions AS e"


def belongings(can: Capabilities) -> str:
    """(catalogue, oid, relation, kind, its schema and name, own name, identity) of all that hangs on relations."""
    parts = [_TRIGGERS.format(clones=_CLONES if can.partitioned_indexes else ""), _RULES]
    parts += [_POLICIES] if can.row_security else []
    parts += [_STATISTICS] if can.extended_statistics else []
    return (
        "WITH chosen AS (SELECT pg_catalog.unnest(%s::oid[]) AS oid), belongings AS ("
        + " UNION ALL ".join(parts)
        + ")"
        + _WITH_RELATION.format(identity=_IDENTITY)
    )
