"""What is asked of a SQLite database. Each row of an answer comes as one JSON array, or is one integer.

Statements are filled by str.format: {t} is a string literal, {table} and {column} are quoted identifiers.
"""

from __future__ import annotations

VERSION = "SELECT json_quote(sqlite_version())"
ENCODING = "SELECT json_quote(encoding) FROM pragma_encoding"
TABLES = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
PAGES = "SELECT json_array((SELECT page_count FROM pragma_page_count), (SELECT page_size FROM pragma_page_size))"

# hidden of table_list does not exist; shadow tables and virtual ones are told apart by its type.
OBJECTS = """
SELECT json_array(l.type, l.name, l.wr, m.sql)
FROM pragma_table_list AS l LEFT JOIN sqlite_master AS m ON m.name = l.name AND m.type IN ('table', 'view')
WHERE l.schema = 'main' AND l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
ORDER BY m.rowid
"""
TRIGGERS = "SELECT json_array(name, tbl_name) FROM sqlite_master WHERE type = 'trigger' ORDER BY rowid"
# Of all tables at once: thousands of them would take thousands of questions. First comes whose it is.
COLUMNS = """
SELECT json_array(l.name, x.name, x.type, x."notnull", x.dflt_value, x.pk, x.hidden)
FROM pragma_table_list AS l JOIN pragma_table_xinfo(l.name) AS x
WHERE l.schema = 'main' AND l.type = 'table' ORDER BY l.name, x.cid
"""
INDEXES = """
SELECT json_array(t.name, l.name, l."unique", l.origin, l.partial, m.sql,
                  (SELECT json_group_array(json_array(x.name, x."desc", x.coll, x.cid))
                   FROM (SELECT * FROM pragma_index_xinfo(l.name) WHERE key ORDER BY seqno) AS x))
FROM pragma_table_list AS t JOIN pragma_index_list(t.name) AS l
     LEFT JOIN sqlite_master AS m ON m.type = 'index' AND m.name = l.name
WHERE t.schema = 'main' AND t.type = 'table' ORDER BY t.name, l.seq DESC
"""
REFERENCES = """
SELECT json_array(l.name, r.id, r."table", r."from", r."to", r.on_update, r.on_delete)
FROM pragma_table_list AS l JOIN pragma_foreign_key_list(l.name) AS r
WHERE l.schema = 'main' AND l.type = 'table' ORDER BY l.name, r.id, r.seq
"""
HAS_SEQUENCES = "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'"
SEQUENCES = "SELECT json_array(name, max(seq)) FROM sqlite_sequence GROUP BY name"
WITHOUT_ROWID = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = {t}"
NAMES = "SELECT json_quote(name) FROM pragma_table_xinfo({t})"
HIGHEST = "SELECT max({column}) FROM {table}"
# An index gives each of them at once; for both in one it would be read from end to end.
ENDS = "SELECT json_array((SELECT min({column}) FROM {table}{where}), (SELECT max({column}) FROM {table}{where}))"
COUNT = "SELECT count(*) FROM {table}{where}"
ANY = "SELECT count(*) FROM sqlite_master"  # a transaction begins with the first read
OFFENDING = "SELECT json_quote(typeof({column})) FROM {table}{where} LIMIT 1"

# The largest row of a table, from the headers of its pages; and of a part of it, from those of its rows.
LARGEST = "SELECT mx_payload FROM dbstat WHERE name = {t} AND aggregate = 1"
LARGEST_OF_PART = "SELECT max({columns}) FROM {table}{where}"

# {columns} are expressions, named c0, c1 …; {measures} are arrays of aggregates over them.
LOOK = "SELECT json_array(count(*), {measures}) FROM (SELECT {columns} FROM {table}{limit})"

ROWS = "SELECT {columns} FROM {table}{where}{order}"
# LIMIT keeps an order inside a part of a UNION.
LIMITED = "SELECT * FROM ({rows} LIMIT {limit})"
# The first row says what the columns are.
TYPED = "SELECT {first} UNION ALL {rows}"
