"""What is asked of SQL Server: its catalogue, as sys.* has it since 2008, and its tables.

What later versions have in columns of their own (temporal tables, hidden columns) is asked by functions, which answer
NULL where they know nothing of it. Statements are filled by str.format: {table} and {column} are quoted identifiers,
{t} is a string literal.
"""

# ruff: noqa: S608 -- put together of constants of this module

from __future__ import annotations

DATABASE = """
SELECT CONVERT(nvarchar(128), SERVERPROPERTY('ProductVersion')), CONVERT(nvarchar(128), SERVERPROPERTY('Edition')),
       d.name, d.collation_name, CONVERT(int, COLLATIONPROPERTY(d.collation_name, 'CodePage')),
       d.snapshot_isolation_state, CONVERT(int, d.is_read_only)
FROM sys.databases AS d WHERE d.database_id = DB_ID()
"""
FROZEN = "SELECT CONVERT(int, is_read_only) FROM sys.databases WHERE database_id = DB_ID()"
# For `pghaul profile test`. SYSUTCDATETIME since 2008; DATEDIFF in seconds fits an int until 2068.
ABOUT_US = """
SELECT CONVERT(nvarchar(128), ORIGINAL_LOGIN()), CONVERT(nvarchar(128), USER_NAME()),
       DATENAME(TZOFFSET, SYSDATETIMEOFFSET()), HAS_PERMS_BY_NAME(DB_NAME(), N'DATABASE', N'SELECT'),
       HAS_PERMS_BY_NAME(DB_NAME(), N'DATABASE', N'VIEW DEFINITION')
"""
SEEN = """
SELECT s.name, o.name,
       HAS_PERMS_BY_NAME(QUOTENAME(s.name) + N'.' + QUOTENAME(o.name), N'OBJECT', N'SELECT')
FROM sys.tables AS o JOIN sys.schemas AS s ON s.schema_id = o.schema_id WHERE o.is_ms_shipped = 0
ORDER BY s.name, o.name
"""
CLOCK = """
SELECT DATEDIFF(second, '20000101', x.t), DATEPART(microsecond, x.t) FROM (SELECT SYSUTCDATETIME() AS t) AS x
"""

# An alias type is told by the type that it stands for; a CLR type has none but itself.
_TYPE = """
CASE WHEN ut.is_assembly_type = 1 OR bt.name IS NULL THEN ut.name ELSE bt.name END,
CONVERT(int, c.max_length), CONVERT(int, c.precision), CONVERT(int, c.scale)"""
_TYPES = """
JOIN sys.types AS ut ON ut.user_type_id = c.user_type_id
LEFT JOIN sys.types AS bt ON bt.user_type_id = c.system_type_id"""
_OURS = "o.is_ms_shipped = 0"
_COMMENT = """
LEFT JOIN sys.extended_properties AS ep
ON ep.class = 1 AND ep.major_id = {id} AND ep.minor_id = {minor} AND ep.name = N'MS_Description'"""

COLUMNS_OF = f"SELECT c.name, {_TYPE} FROM sys.columns AS c {_TYPES} WHERE c.object_id = OBJECT_ID({{t}})"

TABLES = f"""
SELECT o.object_id, s.name, o.name, CONVERT(int, OBJECTPROPERTYEX(o.object_id, 'TableTemporalType')),
       CONVERT(nvarchar(4000), ep.value)
FROM sys.tables AS o JOIN sys.schemas AS s ON s.schema_id = o.schema_id {_COMMENT.format(id="o.object_id", minor=0)}
WHERE {_OURS} ORDER BY s.name, o.name
"""
ROWS = "SELECT object_id, SUM(rows) FROM sys.partitions WHERE index_id IN (0, 1) GROUP BY object_id"
SIZES = """
SELECT p.object_id, SUM(a.used_pages) * 8192
FROM sys.partitions AS p
JOIN sys.allocation_units AS a ON a.container_id = CASE WHEN a.type = 2 THEN p.partition_id ELSE p.hobt_id END
WHERE p.index_id IN (0, 1) GROUP BY p.object_id
"""
COLUMNS = f"""
SELECT c.object_id, c.name, {_TYPE},
       CASE WHEN ut.is_user_defined = 1 THEN SCHEMA_NAME(ut.schema_id) + N'.' + ut.name END,
       CONVERT(int, c.is_nullable), c.collation_name, CONVERT(int, COLLATIONPROPERTY(c.collation_name, 'CodePage')),
       dc.definition, cc.definition,
       CASE WHEN ic.column_id IS NULL THEN NULL
            ELSE CONVERT(nvarchar(40), COALESCE(CONVERT(decimal(38, 0), ic.last_value)
                 + CONVERT(decimal(38, 0), ic.increment_value), CONVERT(decimal(38, 0), ic.seed_value))) END,
       CONVERT(int, c.is_rowguidcol), CONVERT(int, c.is_sparse), CONVERT(int, c.is_column_set),
       CONVERT(int, COLUMNPROPERTY(c.object_id, c.name, 'GeneratedAlwaysType')), CONVERT(nvarchar(4000), ep.value)
FROM sys.columns AS c JOIN sys.tables AS o ON o.object_id = c.object_id {_TYPES}
LEFT JOIN sys.default_constraints AS dc ON dc.object_id = c.default_object_id
LEFT JOIN sys.computed_columns AS cc ON cc.object_id = c.object_id AND cc.column_id = c.column_id
LEFT JOIN sys.identity_columns AS ic ON ic.object_id = c.object_id AND ic.column_id = c.column_id
{_COMMENT.format(id="c.object_id", minor="c.column_id")}
WHERE {_OURS} ORDER BY c.object_id, c.column_id
"""
# A partitioning column that nobody asked for stands in an index with neither a place in the key nor included.
INDEXES = f"""
SELECT i.object_id, i.index_id, i.name, CONVERT(int, i.type), CONVERT(int, i.is_unique),
       CONVERT(int, i.is_primary_key), CONVERT(int, i.is_unique_constraint), CONVERT(int, i.is_disabled),
       i.filter_definition, c.name, CONVERT(int, ic.is_descending_key), CONVERT(int, ic.is_included_column)
FROM sys.indexes AS i JOIN sys.tables AS o ON o.object_id = i.object_id
LEFT JOIN sys.index_columns AS ic ON ic.object_id = i.object_id AND ic.index_id = i.index_id
     AND (ic.key_ordinal > 0 OR ic.is_included_column = 1 OR i.type > 2)
LEFT JOIN sys.columns AS c ON c.object_id = ic.object_id AND c.column_id = ic.column_id
WHERE {_OURS} AND i.index_id > 0 AND i.is_hypothetical = 0
ORDER BY i.object_id, i.index_id, ic.key_ordinal, ic.index_column_id
"""
REFERENCES = f"""
SELECT f.parent_object_id, f.name, s.name, r.name, CONVERT(int, f.is_disabled),
       f.delete_referential_action_desc, f.update_referential_action_desc, pc.name, rc.name
FROM sys.foreign_keys AS f JOIN sys.tables AS o ON o.object_id = f.parent_object_id
JOIN sys.foreign_key_columns AS k ON k.constraint_object_id = f.object_id
JOIN sys.tables AS r ON r.object_id = f.referenced_object_id JOIN sys.schemas AS s ON s.schema_id = r.schema_id
JOIN sys.columns AS pc ON pc.object_id = k.parent_object_id AND pc.column_id = k.parent_column_id
JOIN sys.columns AS rc ON rc.object_id = k.referenced_object_id AND rc.column_id = k.referenced_column_id
WHERE {_OURS} ORDER BY f.parent_object_id, f.name, f.object_id, k.constraint_column_id
"""
CHECKS = f"""
SELECT k.parent_object_id, k.name, k.definition, CONVERT(int, k.is_disabled)
FROM sys.check_constraints AS k JOIN sys.tables AS o ON o.object_id = k.parent_object_id
WHERE {_OURS} ORDER BY k.parent_object_id, k.name
"""
VIEWS = f"""
SELECT s.name, o.name, m.definition, CONVERT(nvarchar(4000), ep.value),
       CONVERT(int, OBJECTPROPERTY(o.object_id, 'IsIndexed'))
FROM sys.views AS o JOIN sys.schemas AS s ON s.schema_id = o.schema_id
LEFT JOIN sys.sql_modules AS m ON m.object_id = o.object_id {_COMMENT.format(id="o.object_id", minor=0)}
WHERE {_OURS} ORDER BY s.name, o.name
"""
OTHERS = f"""
SELECT RTRIM(o.type), s.name, o.name, p.name
FROM sys.objects AS o JOIN sys.schemas AS s ON s.schema_id = o.schema_id
LEFT JOIN sys.objects AS p ON p.object_id = o.parent_object_id
WHERE {_OURS} AND o.type IN ('P', 'PC', 'X', 'FN', 'IF', 'TF', 'FS', 'FT', 'AF', 'TR', 'TA', 'SN', 'SO', 'SQ', 'R')
ORDER BY o.type, s.name, o.name
"""
MORE_OTHERS = """
SELECT N'TABLE TYPE', SCHEMA_NAME(schema_id), name FROM sys.table_types WHERE is_user_defined = 1
UNION ALL SELECT N'DATABASE TRIGGER', NULL, name FROM sys.triggers WHERE parent_class = 0 AND is_ms_shipped = 0
UNION ALL SELECT N'FULLTEXT INDEX', OBJECT_SCHEMA_NAME(object_id), OBJECT_NAME(object_id) FROM sys.fulltext_indexes
"""

# The first rows only: whether a column of 100 ns holds any.
FINE = "SELECT {counts} FROM (SELECT TOP ({rows}) {columns} FROM {table}) AS x"
FINE_COUNT = "COUNT_BIG(CASE WHEN DATEPART(nanosecond, {column}) % 1000 <> 0 THEN 1 END)"

ENDS = "SELECT MIN({column}), MAX({column}) FROM {table}{where}"
COUNT = "SELECT COUNT_BIG(*) FROM {table}{where}"
READ = "SELECT {top}{columns} FROM {table}{where}{order}"
TYPES_OF = """
SELECT system_type_name, error_message FROM sys.dm_exec_describe_first_result_set({statement}, NULL, 0)
ORDER BY column_ordinal
"""
