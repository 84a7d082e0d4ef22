"""Names and types that a database of another kind gets on the target."""

from __future__ import annotations

import pytest

from pghaul.model.errors import NotFoundError
from pghaul.model.finding import Severity
from pghaul.model.foreign import ForeignColumn, ForeignDatabase, ForeignIndex, ForeignTable
from pghaul.model.mapped import MappedDatabase
from pghaul.model.plan import Mapping, Names, Plan, Selection
from pghaul.model.table import Name
from pghaul.target.foreign import names, types
from pghaul.target.foreign.mapping import map_database
from pghaul.target.foreign.selection import chosen


def column(name: str, native: str = "int", pg_type: str = "integer", **more: object) -> ForeignColumn:
    return ForeignColumn(name=name, native=native, pg_type=pg_type, **more)  # type: ignore[arg-type]


def database(*tables: ForeignTable) -> ForeignDatabase:
    return ForeignDatabase(engine="mysql", product="x", identity="x", dialect="mysql", tables=tables)


def mapped(*tables: ForeignTable, rule: str = "as-is", **plan: object) -> MappedDatabase:
    said = {"mapping": Mapping(names=Names(rule)), "whole": True} | plan
    found = database(*tables)
    asked = Plan(source="mysql://x", target="postgresql://x", **said)  # type: ignore[arg-type]
    return map_database(found, chosen(asked, [t.name for t in found.tables]), asked)


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("OrderDetails", "order_details"),
        ("Order Details", "order_details"),
        ("HTTPServer2Name", "http_server2_name"),
        ("_id", "_id"),
        ("Preis (€)", "preis"),
        ("주문Id", "주문id"),
        ("ÄrztinName", "ärztin_name"),
        ("already_snake__case", "already_snake_case"),
    ],
)
def test_snake_case_parts_words(name: str, snake: str) -> None:
    assert names.snake_case(name) == snake


def test_a_name_that_is_too_long_is_cut_between_characters_and_stays_unique() -> None:
    one, other = names.cut("가" * 30), names.cut("가" * 29 + "나")
    assert one != other
    assert max(len(n.encode()) for n in (one, other)) <= names.LIMIT
    assert one.startswith("가" * 17)
    assert names.cut("a" * 63) == "a" * 63


def test_a_name_that_is_taken_gets_a_number_and_stays_short_enough() -> None:
    assert names.free("a", {"a", "a_1"}) == "a_2"
    assert len(names.free("x" * 63, {"x" * 63})) <= names.LIMIT


@pytest.mark.parametrize(
    ("said", "type_"),
    [
        ("INT", "integer"),
        ("varchar ( 20 )", "character varying(20)"),
        ("timestamp(3)", "timestamp(3) without time zone"),
        ("timestamptz", "timestamp with time zone"),
        ("Timestamp(3) With Time Zone", "timestamp(3) with time zone"),
        ("decimal(10, 2)", "numeric(10,2)"),
        ("bool", "boolean"),
        ("char", "character(1)"),
        ("int8[]", "bigint[]"),
        ("public.vector(3)", "public.vector(3)"),
        ('"My".mood', '"My".mood'),
        ("TEXT", "text"),
    ],
)
def test_a_type_is_spelled_as_the_server_spells_it(said: str, type_: str) -> None:
    assert types.spelled(said) == type_


def test_the_plan_s_word_for_a_column_wins_over_that_for_its_type_and_that_over_the_source_s() -> None:
    decimal = column("a", "DECIMAL( 10,2 )", "numeric(10,2)")
    assert types.decide(decimal, {}, {}).type == "numeric(10,2)"
    assert types.decide(decimal, {}, {"decimal": "float8"}).type == "double precision"
    assert types.decide(decimal, {}, {"decimal": "float8", "decimal(10,2)": "money"}).type == "money"
    assert types.decide(decimal, {"A": "text"}, {"decimal": "float8"}).type == "text"


def test_several_schemas_keep_theirs_and_the_usual_one_becomes_the_plan_s() -> None:
    tables = [ForeignTable(name=Name(s, "T"), columns=(column("Id"),)) for s in ("dbo", "Sales")]
    assert [str(t.name) for t in mapped(*tables, rule="lower").tables] == ["public.t", "sales.t"]
    assert [str(t.name) for t in mapped(tables[1], rule="lower").tables] == ["public.t"]


def test_two_tables_and_two_columns_that_become_one_are_errors_with_both_names() -> None:
    found = mapped(
        ForeignTable(name=Name("", "Users"), columns=(column("Id"), column("ID"))),
        ForeignTable(name=Name("", "users"), columns=(column("id"),)),
        rule="lower",
    )
    errors = [f for f in found.findings if f.severity is Severity.ERROR]
    assert [f.object for f in errors] == ["public.users", "public.users.id"]
    assert "Users, users would all be public.users" in errors[0].what
    assert errors[1].what == "Id, ID would all be public.users.id"  # and not the other table's


def test_a_table_goes_where_into_says() -> None:
    tables = [ForeignTable(name=Name("", n), columns=(column("Id"),)) for n in ("A", "B", "C")]
    plan = [Selection(name="A", into="x.other"), Selection(name="B", into="y.*"), Selection(name="C")]
    found = mapped(*tables, rule="lower", tables=plan, whole=False)
    assert [str(t.name) for t in found.tables] == ["x.other", "y.b", "public.c"]


def test_a_pattern_without_dot_is_about_names_in_any_schema() -> None:
    known = [Name("", "customer"), Name("sales", "customer"), Name("sales", "order.line"), Name("hr", "staff")]

    def select(*patterns: str, exclude: tuple[str, ...] = ()) -> list[Name]:
        selections = [Selection(name=p) for p in patterns]
        return chosen(Plan(source="a", target="b", tables=selections, exclude=list(exclude)), known)

    assert select("customer") == known[:2]
    assert select("sales.*", exclude=("customer",)) == [known[2]]
    assert select("order.line", "/hr\\..*/") == known[2:]
    with pytest.raises(NotFoundError, match="nothing_like_it"):
        select("nothing_like_it")


def test_a_primary_key_comes_after_the_rows() -> None:
    key = ForeignIndex(name="PRIMARY", columns=("Id",), unique=True, primary=True)
    found = mapped(
        ForeignTable(name=Name("db", "T"), columns=(column("Id", identity=True), column("N")), indexes=(key,))
    )
    assert [m.kind for m in found.before] == ["schema", "table"]
    assert '"Id" integer GENERATED BY DEFAULT AS IDENTITY NOT NULL' in found.before[1].sql
    assert [m.sql for m in found.after if m.kind == "primary"] == [
        'ALTER TABLE "public"."T" ADD CONSTRAINT "T_pkey" PRIMARY KEY ("Id")'
    ]


def test_an_enum_has_a_type_of_its_own_unless_the_plan_says_a_text() -> None:
    long = ForeignColumn(name="Long", native="enum('…')", pg_type="text", values=("x" * 64,))
    kind = ForeignColumn(name="Kind", native="enum('a','b')", pg_type="text", values=("a", "b"))
    table = ForeignTable(name=Name("", "Item"), columns=(kind, long))
    found = mapped(table, rule="lower")
    assert [c.type for c in found.tables[0].columns] == ["public.item_kind", "text"]
    assert [m.sql for m in found.before if m.kind == "type"] == [
        """CREATE TYPE "public"."item_kind" AS ENUM ('a', 'b')"""
    ]
    assert [m.name for m in found.after] == ["check:public.item.item_long_check"]
    texts = mapped(table, mapping=Mapping(types={"ENUM": "text"}))
    assert [c.type for c in texts.tables[0].columns] == ["text", "text"]
    assert [m.kind for m in texts.after] == ["check", "check"]


def test_unique_texts_that_saw_no_case_are_told_of() -> None:
    name = column("Name", "varchar(9)", "character varying(9)", collation="utf8mb4_general_ci")
    key = ForeignIndex(name="by_name", columns=("Name",), unique=True)
    found = mapped(ForeignTable(name=Name("", "T"), columns=(name,), indexes=(key,)))
    assert [f.what for f in found.findings] == [
        "1 unique keys see no case on the source, and see it here: public.T (Name)"
    ]


def test_slips_in_the_plan_s_types_are_told_of() -> None:
    table = ForeignTable(name=Name("", "T"), columns=(column("a"), column("b", "geometry", "")))
    said = [Selection(name="T", types={"gone": "text", "a": "integer; drop table x"})]
    found = mapped(table, tables=said, mapping=Mapping(types={"decimal": "text"}))
    assert [(f.severity.value, f.code) for f in found.findings] == [
        ("error", 7031),
        ("error", 7032),
        ("warning", 7035),
        ("warning", 7034),
    ]
