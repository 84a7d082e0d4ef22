"""Rows that a unique index will not have twice: how all of them are found by one query, and set aside by another.

The index says what is equal: its expressions, its collations, its predicate, and whether NULL equals NULL. Which row of
several with one key stays is the plan's rule; equal ones among those are told apart by their places in the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from psycopg.sql import SQL, Composable, Identifier
from psycopg.sql import Literal as Value

from pghaul.engine.job import Duplicates
from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.plan import Options
from pghaul.model.rejects import allowance
from pghaul.model.table import Column, Index, Name, Table
from pghaul.model.text import say

NAMED = 5
MANY = 10**18  # rows: a share that allows none of them allows none at all
Rule = Literal["fail", "first", "last", "none"]

LOCK = SQL("LOCK TABLE ONLY {table} IN SHARE ROW EXCLUSIVE MODE")  # two indexes of one table would wait for each other
COUNT = SQL("SELECT pg_catalog.count(*) FROM ONLY {table}")
RANKED = SQL("(SELECT ctid AS place, {shown} AS shown, {loses} AS loses FROM ONLY {table} WHERE {within}) AS ranked")
# IS NULL would be true of a row whose fields are all NULL, too.
NOT_NULL = SQL("({}) IS DISTINCT FROM NULL")
FIRST = SQL("pg_catalog.row_number() OVER (PARTITION BY {keys} ORDER BY {order}) > 1")
NONE = SQL("pg_catalog.count(*) OVER (PARTITION BY {keys}) > 1")
LOOK = SQL("SELECT pg_catalog.count(*) OVER () AS rows, shown FROM {ranked} WHERE loses LIMIT {named}")
MOVE = SQL("""
WITH gone AS (
    DELETE FROM ONLY {table} WHERE ctid = ANY (ARRAY(SELECT place FROM {ranked} WHERE loses)) RETURNING *)
INSERT INTO pghaul.quarantine (run_id, relation, chunk, source_key, columns, row_data, encoding, sqlstate, message,
                               constraint_name)
SELECT $1, $2, $3, {key}, {columns}, pg_catalog.convert_to({line}, pg_catalog.getdatabaseencoding()),
       pg_catalog.getdatabaseencoding()::text, '23505', {message} || {shown}, {index}
FROM gone
""")
# format() writes what the type's own output function does; a cast to text may be another, of the type or of a user.
WRITTEN = SQL("pg_catalog.format('%s', {})")
MESSAGE = "duplicate key, seen as the unique index was built: "


def duplicates(
    table: Name,
    columns: Sequence[Column],
    index: Index,
    *,
    rule: Rule,
    by: str | None,
    limit: int | str,
    primary: Sequence[str] = (),
) -> Duplicates | None:
    """None where the index is not unique, or nobody has told its keys. `columns` are those that were copied."""
    if not index.unique or not index.keys:
        return None
    if by is not None and by not in {c.name for c in columns}:
        rule, by = "fail", None  # nobody can say which is the first
    names = {
        "table": Identifier(table.schema, table.name),
        "ranked": _ranked(table, index, rule, by),
        "shown": _shown(index),
        "named": Value(NAMED),
        "key": json_key(primary),
        "columns": SQL("ARRAY[{}]::text[]").format(SQL(", ").join(Value(c.name) for c in columns)),
        "line": line([c.name for c in columns]),
        "message": Value(MESSAGE),
        "index": Value(index.constraint or index.name),
    }

    def composed(template: SQL) -> str:
        return template.format(**names).as_string(None)

    return Duplicates(
        index=index.constraint or index.name,
        rule=rule,
        limit=str(limit),
        lock=composed(LOCK),
        look=composed(LOOK),
        move=composed(MOVE),
        count=composed(COUNT),
    )


def findings(options: Options, created: Sequence[Table]) -> Iterator[Finding]:
    """What the plan says of duplicates, and cannot mean. `created`: only their indexes are built after their rows."""
    rule, by = options.duplicates.value, options.duplicates_by
    if rule != "fail" and allowance(options.max_rejects, MANY) == 0:
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.REJECTS,
            object="duplicates",
            what=say("duplicates = {rule} sets rows aside, and max_rejects allows none", rule=rule),
            advice=say("say how many: --max-rejects"),
            code=6849,
        )
    unique = [t for t in created if any(i.unique for i in t.indexes)]
    without = [t for t in unique if by is not None and by not in {c.name for c in t.copied_columns}]
    if without:
        yield Finding(
            severity=Severity.ERROR if len(without) == len(unique) else Severity.WARNING,
            kind=Kind.REJECTS,
            object=str(without[0].name),
            what=say(
                "tables without the column {column}, by which duplicates are to be told: {n}, e.g. {table}",
                column=str(by),
                n=len(without),
                table=str(without[0].name),
            ),
            advice=say("name a column that the tables have: --duplicates-by; those without it fail at duplicates"),
            code=6850,
        )


def line(columns: Sequence[str], row: Composable | None = None) -> Composable:
    """A row of a query as COPY's text has it, of the query's columns, or of those of `row`."""
    if not columns:
        return Value("")
    return SQL(r" || E'\t' || ").join(_field(_column(c, row)) for c in columns)


def _column(name: str, row: Composable | None) -> Composable:
    return SQL("{}.{}").format(row, Identifier(name)) if row else Identifier(name)


def _field(column: Composable) -> Composable:
    text: Composable = WRITTEN.format(column)
    for special, escape in ((r"\\", r"\\\\"), *((rf"\{c}", rf"\\{c}") for c in "bfnrt"), (r"\x0b", r"\\v")):
        text = SQL("pg_catalog.replace({}, E'{}', E'{}')").format(text, SQL(special), SQL(escape))
    return SQL(r"CASE WHEN {} THEN {} ELSE E'\\N' END").format(NOT_NULL.format(column), text)


def _ranked(table: Name, index: Index, rule: Rule, by: str | None) -> Composable:
    keys = [SQL(k) for k in index.keys]
    within: list[Composable] = [SQL("({})").format(SQL(index.predicate))] if index.predicate else []
    within += [NOT_NULL.format(k) for k in keys] if index.nulls_distinct else []
    ranking = NONE if rule == "none" else FIRST
    return RANKED.format(
        shown=_shown(index),
        loses=ranking.format(keys=SQL(", ").join(keys), order=_order(rule, by)),
        table=Identifier(table.schema, table.name),
        within=SQL(" AND ").join(within) if within else SQL("true"),
    )


def _order(rule: Rule, by: str | None) -> Composable:
    """A row without a value is never the one that stays while another has one."""
    way = SQL("DESC" if rule == "last" else "ASC")
    places = SQL("ctid {}").format(way)
    return SQL("{} {} NULLS LAST, {}").format(Identifier(by), way, places) if by else places


def _shown(index: Index) -> Composable:
    values = SQL(", ").join(SQL("coalesce({}, 'NULL')").format(_or_null(SQL(k))) for k in index.keys)
    plain = ", ".join(k.removeprefix("(").removesuffix(")") if k.endswith(")") else k for k in index.keys)
    return SQL("{} || pg_catalog.concat_ws(', ', {}) || ')'").format(Value(f"({plain})=("), values)


def _or_null(key: Composable) -> Composable:
    return SQL("CASE WHEN {} THEN {} END").format(NOT_NULL.format(key), WRITTEN.format(key))


def json_key(primary: Sequence[str]) -> Composable:
    """As JSON, all values as text."""
    if not primary:
        return SQL("NULL")
    fields = SQL(", ").join(SQL("{} AS {}").format(WRITTEN.format(Identifier(c)), Identifier(c)) for c in primary)
    return SQL("(SELECT pg_catalog.row_to_json(k)::text FROM (SELECT {}) AS k)").format(fields)
