"""The dependency queries of closure.py and scope.py, and the one description that all their objects get."""

from __future__ import annotations

from pghaul.postgres.versions import Capabilities

# Downwards: what an object refers to; not from a sequence to the table that owns it. Upwards, and only along
# "a part of": defaults, constraints, owned sequences, indexes (for their functions and operator classes), a
# composite's columns, a view's query. Objects below 16384 came with initdb and are everywhere, schemas apart.
# Parameters: the seeds' catalogues, their oids, and relations to stop at.
NEEDED = """
WITH RECURSIVE needed(classid, objid) AS (
    SELECT pg_catalog.unnest(%s::oid[]), pg_catalog.unnest(%s::oid[])
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
           AND (d.classid IN (2604, 2602, 2603) OR d.classid = 2618 AND d.deptype = 'i'
                OR c.relkind IN ('S', 'i', 'I', 'c') OR k.contype <> 'f')
     ) AS e
     WHERE NOT (n.classid = 1259 AND n.objid = ANY (%s::oid[]))
)
"""

# Every object of the database that initdb did not make. Sequences, constraints, indexes: with their tables.
_ALL = """
WITH needed(classid, objid) AS (
    SELECT 1259::oid, c.oid FROM pg_catalog.pg_class AS c
     WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
    UNION ALL SELECT 1247, t.oid FROM pg_catalog.pg_type AS t
      LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.typrelid
     WHERE t.oid >= 16384 AND NOT (t.typelem <> 0 AND t.typlen = -1) AND (c.oid IS NULL OR c.relkind = 'c')
    UNION ALL SELECT 2604, a.oid FROM pg_catalog.pg_attrdef AS a
    UNION ALL SELECT 2606, k.oid FROM pg_catalog.pg_constraint AS k WHERE k.conrelid = 0
    UNION ALL SELECT 2615, s.oid FROM pg_catalog.pg_namespace AS s
               WHERE s.nspname !~ '^pg_' AND s.nspname <> 'information_schema'
    UNION ALL SELECT 2618, r.oid FROM pg_catalog.pg_rewrite AS r WHERE r.oid >= 16384
    UNION ALL SELECT 2620, g.oid FROM pg_catalog.pg_trigger AS g WHERE g.oid >= 16384 {triggers}
    UNION ALL SELECT 3079, x.oid FROM pg_catalog.pg_extension AS x WHERE x.oid >= 16384
    {others}
)
"""
# Kinds that are few, by the oid of their catalogue: each of their objects is asked for its identity.
FEW = {
    1255: "pg_proc",
    1417: "pg_foreign_server",
    2328: "pg_foreign_data_wrapper",
    2605: "pg_cast",
    2607: "pg_conversion",
    2612: "pg_language",
    2616: "pg_opclass",
    2617: "pg_operator",
    2753: "pg_opfamily",
    3456: "pg_collation",
    3466: "pg_event_trigger",
    3600: "pg_ts_dict",
    3601: "pg_ts_parser",
    3602: "pg_ts_config",
    3764: "pg_ts_template",
}
FEW_95 = {3256: "pg_policy", 3576: "pg_transform"}
FEW_96 = {2601: "pg_am"}
STATISTICS = {3381: "pg_statistic_ext"}
PUBLICATIONS = {6104: "pg_publication", 6106: "pg_publication_rel"}
FEW_15 = {6237: "pg_publication_namespace"}

DESCRIBED = """
SELECT n.classid::int8, n.objid::int8,
       coalesce(c.relkind::text, CASE WHEN t.typelem <> 0 AND t.typlen = -1 THEN 'A' END),
       x.extname::text, xn.nspname::text,
       coalesce(a.adrelid, nullif(k.conrelid, 0), g.tgrelid, r.ev_class, (
           SELECT o.refobjid FROM pg_catalog.pg_depend AS o
            WHERE c.relkind = 'S' AND o.classid = 1259 AND o.objid = c.oid AND o.refclassid = 1259
              AND o.deptype IN ('a', 'i') AND o.refobjsubid > 0 LIMIT 1))::int8,
       coalesce(c.relname, t.typname)::text, coalesce(cn.nspname, tn.nspname)::text,
       i.type, i.schema, i.identity
  FROM needed AS n
  LEFT JOIN pg_catalog.pg_class AS c ON n.classid IN (0, 1259) AND c.oid = n.objid
  LEFT JOIN pg_catalog.pg_namespace AS cn ON cn.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_type AS t ON n.classid = 1247 AND t.oid = n.objid
  LEFT JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_attrdef AS a ON n.classid = 2604 AND a.oid = n.objid
  LEFT JOIN pg_catalog.pg_constraint AS k ON n.classid = 2606 AND k.oid = n.objid
  LEFT JOIN pg_catalog.pg_trigger AS g ON n.classid = 2620 AND g.oid = n.objid
  LEFT JOIN pg_catalog.pg_rewrite AS r ON n.classid = 2618 AND r.oid = n.objid
  LEFT JOIN pg_catalog.pg_depend AS e
    ON e.classid = n.classid AND e.objid = n.objid AND e.refclassid = 3079 AND e.deptype = 'e'
  LEFT JOIN pg_catalog.pg_extension AS x
    ON x.oid = CASE WHEN n.classid = 3079 THEN n.objid ELSE e.refobjid END
  LEFT JOIN pg_catalog.pg_namespace AS xn ON xn.oid = x.extnamespace
  LEFT JOIN LATERAL pg_catalog.pg_identify_object(
      CASE WHEN n.classid NOT IN (0, 1259, 1247, 2604, 2606, 2602, 2603) OR k.conrelid = 0 THEN n.classid END,
      n.objid, 0) AS i ON true
 WHERE coalesce(cn.nspname, tn.nspname, '') <> 'pghaul' AND coalesce(cn.nspname, tn.nspname, '') !~ '^pg_t'
   AND coalesce(i.schema, '') <> 'pghaul' AND coalesce(i.identity, '') <> 'pghaul'
"""

# On servers with JIT (11+) compiling the queries above takes 0.7 s where running them takes 0.05 s.
JIT_OFF = """
SELECT pg_catalog.set_config(s.name, 'off', true) FROM pg_catalog.pg_settings AS s WHERE s.name = 'jit'
"""

RELATIONS = """
SELECT n.nspname::text, c.relname::text
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relname::text IN (SELECT pg_catalog.unnest(%s::text[]))
"""

TYPES = """
SELECT n.nspname::text, t.typname::text
  FROM pg_catalog.pg_type AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
 WHERE t.typname::text IN (SELECT pg_catalog.unnest(%s::text[]))
"""

ROW_SECURITY = """
SELECT n.nspname::text, c.relname::text
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relrowsecurity
"""

# A view that needs a table's key is first made hollow (SELECT NULL::… without FROM) and filled in after the key:
# until then its query counts as missing.
_PRESENT = {
    2615: "SELECT 2615::oid AS classid, oid AS objid FROM pg_catalog.pg_namespace",
    2606: "SELECT 2606, oid FROM pg_catalog.pg_constraint WHERE conrelid = 0 AND oid >= 16384",
    2618: "SELECT 2618, r.oid FROM pg_catalog.pg_rewrite AS r WHERE r.oid >= 16384 AND (r.rulename <> '_RETURN' "
    "OR pg_catalog.pg_get_viewdef(r.ev_class) !~ '^\\s*SELECT NULL::' "
    "OR pg_catalog.pg_get_viewdef(r.ev_class) ~ 'FROM ')",
    2620: "SELECT 2620, oid FROM pg_catalog.pg_trigger WHERE NOT tgisinternal",
}


def _few(can: Capabilities) -> dict[int, str]:
    found = dict(FEW)
    by_version = [
        (can.row_security, FEW_95),
        (can.access_methods, FEW_96),
        (can.extended_statistics, STATISTICS),
        (can.publications, PUBLICATIONS),
        (can.published_schemas, FEW_15),
    ]
    for known, kinds in by_version:
        found |= kinds if known else {}
    return found


def everything(can: Capabilities) -> str:
    """All of the source's objects, described."""
    others = "".join(
        f"UNION ALL SELECT {c}, oid FROM pg_catalog.{table} WHERE oid >= 16384\n    "  # noqa: S608
        for c, table in _few(can).items()
    )
    if can.row_security:
        others += "UNION ALL SELECT 0, oid FROM pg_catalog.pg_class WHERE relrowsecurity AND oid >= 16384"
    return _ALL.format(others=others, triggers="AND NOT g.tgisinternal") + DESCRIBED


def identities(can: Capabilities, classes: set[int]) -> str:
    """(catalogue, identity) of what a server has of these kinds: relations and types apart."""
    parts = [_PRESENT[2615]]
    parts += [sql for c, sql in _PRESENT.items() if c in classes and c != 2615]
    parts += [
        f"SELECT {c}, oid FROM pg_catalog.{table}" + ("" if c == 2612 else " WHERE oid >= 16384")  # noqa: S608
        for c, table in _few(can).items()
        if c in classes
    ]
    return (
        "SELECT o.classid::int8, i.identity FROM (" + " UNION ALL ".join(parts) + ") AS o "  # noqa: S608
        "CROSS JOIN LATERAL pg_catalog.pg_identify_object(o.classid, o.objid, 0) AS i"
    )
