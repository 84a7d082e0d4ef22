"""SQL of other dialects: what is translated means the same, and what is not known to is refused by name."""

from __future__ import annotations

import pytest

from pghaul.model.foreign import ForeignColumn
from pghaul.model.mapped import MappedColumn
from pghaul.target.foreign import defaults, translate
from pghaul.target.foreign.grammar import NotTranslatedError, Purpose
from pghaul.target.foreign.translate import Dialect


def column(name: str, type_: str, collation: str | None = None) -> MappedColumn:
    return MappedColumn(source=ForeignColumn(name=name, native="", collation=collation), name=name.lower(), type=type_)


COLUMNS = {
    c.source.name: c
    for c in (
        column("A", "text"),
        column("B", "integer"),
        column("Active", "boolean"),
        column("D", "timestamp without time zone"),
        column("Phone", "character varying(20)"),
        column("Code", "text", collation="utf8mb4_bin"),
    )
}


def said(dialect: str, text: str, purpose: Purpose = Purpose.CHECK) -> str:
    """The translation, or why there is none."""
    try:
        return translate.expression(text, Dialect(name=dialect, columns=COLUMNS), purpose)
    except NotTranslatedError as exc:
        return f"-- {exc.args[0]}"


@pytest.mark.parametrize(
    ("dialect", "text", "expected"),
    [
        ("mysql", "`a` regexp '^x' and active = 1", '"a" ~* \'^x\' AND "active" = TRUE'),
        ("mysql", "`b`", '"b" <> 0'),
        ("mysql", "case when b then 1 else 2 end = 1", 'CASE WHEN "b" <> 0 THEN 1 ELSE 2 END = 1'),
        ("mysql", "length(a) > char_length(a)", 'OCTET_LENGTH("a") > LENGTH("a")'),
        ("mysql", "_utf8mb4'x' = `a`", "'x' = \"a\""),
        ("mysql", "b'1' = active", 'TRUE = "active"'),
        ("tsql", "([phone] like '[0-9][^A]%.')", "(\"phone\" ~* '^[0-9][^A].*\\.$')"),
        ("tsql", "(len([a]) > (2))", '(LENGTH(RTRIM(CAST("a" AS TEXT))) > (2))'),
        ("tsql", "([d]<=getdate())", '("d" <= LOCALTIMESTAMP)'),
        ("tsql", "([a] = N'x')", "(\"a\" = 'x')"),
        ("sqlite", '"A" = "zz" OR A LIKE \'x%\'', "\"a\" = 'zz' OR \"a\" ILIKE 'x%'"),
        (
            "oracle",
            "NVL(A,'x') IN ('x') AND B BETWEEN 1 AND 2",
            "COALESCE(\"a\", 'x') IN ('x') AND \"b\" BETWEEN 1 AND 2",
        ),
        ("oracle", "decode(b,1,2,3)=3", 'CASE WHEN "b" = 1 THEN 2 ELSE 3 END = 3'),
        ("mysql", "code like 'x%' and a like 'y'", "\"code\" LIKE 'x%' AND \"a\" ILIKE 'y'"),
        # What looks alike and is not:
        ("mysql", "d + 1 > 5", "-- arithmetic with dates"),
        ("oracle", "A <> ''", "-- an empty text, which is NULL in Oracle"),
        ("mysql", "json_valid(`a`)", "-- nothing equal is known for json_valid"),
        ("mysql", "a/b > 1", "-- nothing equal is known for div"),
        ("sqlite", "A GLOB 'x'", "-- nothing equal is known for glob"),
        ("sqlite", "length(B) > 1", "-- the length of what is no text"),
        ("sqlite", "random() > 0", "-- nothing equal is known for RAND"),
        ("oracle", "ROWNUM < 2", "-- there is no column ROWNUM"),
        ("tsql", "(dbo.f([a]) = 1)", "-- nothing equal is known for dot"),
        ("tsql", "(cast([b] as money) > (1))", '(CAST("b" AS DECIMAL(19, 4)) > (1))'),
        ("tsql", "(cast([d] as int) > (1))", "-- a cast that rounds in another way"),
        ("tsql", "1; drop table x", "-- it is not one expression"),
        ("mysql", "((", "-- it cannot be read"),
        ("", "1", "-- nothing is known of this dialect of SQL"),
    ],
)
def test_a_check(dialect: str, text: str, expected: str) -> None:
    assert said(dialect, text) == expected


@pytest.mark.parametrize(
    ("dialect", "text", "expected"),
    [
        ("tsql", "([a]+' '+[phone])", '("a" || \' \' || "phone")'),
        ("mysql", "`b` * 2 + 1", '"b" * 2 + 1'),
        ("mysql", "concat(`a`,`phone`)", '"a" || "phone"'),
        # The target would compute another value, and no row of the source is there to say so:
        ("mysql", "concat(`a`,`b`)", "-- what is no text is written in another way there"),
        ("mysql", "if(`a` = 'x', 1, 2)", "-- texts are compared there by a collation of their own"),
        ("oracle", "A || Phone", "-- what is no text is written in another way there"),
        ("tsql", "(getdate())", "-- nothing equal is known for CURRENT_TIMESTAMP"),
    ],
)
def test_a_generated_column_is_translated_only_where_its_values_are_the_same(
    dialect: str, text: str, expected: str
) -> None:
    assert said(dialect, text, Purpose.GENERATED) == expected


def default(dialect: str, text: str, type_: str) -> str | None:
    try:
        return defaults.translated(text, column("x", type_), dialect)
    except NotTranslatedError as exc:
        return f"-- {exc.args[0]}"


UTC = "pg_catalog.timezone('UTC', CURRENT_TIMESTAMP)"


@pytest.mark.parametrize(
    ("dialect", "text", "type_", "expected"),
    [
        ("mysql", "current_timestamp()", "timestamp(0) without time zone", "LOCALTIMESTAMP"),
        ("mysql", "'0000-00-00'", "date", "-- there is no such day"),
        ("mysql", "b'101'", "bit(8)", "B'00000101'"),
        ("mysql", "b'1'", "boolean", "true"),
        ("mysql", "'a,b'", "text[]", '\'{"a","b"}\'::text[]'),
        ("mysql", "uuid()", "character varying(36)", "pg_catalog.gen_random_uuid()::text"),
        ("mysql", "NULL", "text", None),
        ("mysql", "'5'", "integer", "5"),
        ("mysql", "'five'", "integer", "-- not a number"),
        ("mysql", "(1 + 2)", "integer", "(1 + 2)"),
        ("mysql", "0x41", "text", "'A'"),
        ("tsql", "(getdate())", "timestamp(3) without time zone", "LOCALTIMESTAMP"),
        ("tsql", "(getutcdate())", "timestamp without time zone", UTC),
        ("tsql", "((0))", "boolean", "false"),
        ("tsql", "(N'x''y')", "text", "'x''y'"),
        ("tsql", "(newid())", "uuid", "pg_catalog.gen_random_uuid()"),
        ("tsql", "(CONVERT([bit],(1)))", "boolean", "true"),
        ("tsql", "((-1.5))", "numeric(10,2)", "-1.5"),
        ("tsql", "(next value for [dbo].[s])", "bigint", "-- nothing equal is known for NEXT_VALUE_FOR"),
        ("sqlite", "CURRENT_TIMESTAMP", "text", f"pg_catalog.to_char({UTC}, 'YYYY-MM-DD HH24:MI:SS')"),
        ("sqlite", "CURRENT_DATE", "date", f"{UTC}::date"),
        ("sqlite", "datetime('now')", "timestamp without time zone", UTC),
        ("sqlite", "datetime('now','localtime')", "text", "-- nothing equal is known for DATETIME"),
        ("sqlite", "X'00ff'", "bytea", r"E'\\x00ff'"),
        ("sqlite", '"abc"', "text", "'abc'"),
        ("sqlite", "abc", "text", "-- there is no column abc"),
        ("oracle", "sysdate", "timestamp(0) without time zone", "LOCALTIMESTAMP"),
        ("oracle", "user", "text", "CURRENT_USER"),
        ("oracle", "''", "text", None),
        ("oracle", '"ISEQ$$_1".nextval', "bigint", "-- there is no column nextval"),
    ],
)
def test_a_default_is_one_of_the_column_s_type(dialect: str, text: str, type_: str, expected: str | None) -> None:
    assert default(dialect, text, type_) == expected
