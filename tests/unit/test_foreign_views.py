"""Views of other dialects: names by the rule wherever they stand, what they read, and the order in which they come."""

from __future__ import annotations

import pytest

from pghaul.model.foreign import ForeignColumn, ForeignDatabase, ForeignTable, ForeignView
from pghaul.model.mapped import MappedDatabase
from pghaul.model.plan import Mapping, Names, Plan, Selection
from pghaul.model.table import Name
from pghaul.target.foreign.mapping import map_database

ITEM = ForeignTable(
    name=Name("Shop", "Item"),
    columns=tuple(
        ForeignColumn(name=n, native=t, pg_type=t)
        for n, t in (("ItemId", "integer"), ("Price", "numeric"), ("Full Name", "text"), ("Active", "boolean"))
    ),
)
BOX = ForeignTable(
    name=Name("Shop", "Box"), columns=(ForeignColumn(name="ItemId", native="integer", pg_type="integer"),)
)


def mapped(
    dialect: str, *definitions: str, only: str = "", tables: tuple[ForeignTable, ...] = (ITEM, BOX)
) -> MappedDatabase:
    views = tuple(ForeignView(name=Name("Shop", f"V{i}"), definition=d) for i, d in enumerate(definitions))
    database = ForeignDatabase(engine="x", product="x", identity="x", dialect=dialect, tables=tables, views=views)
    chosen = {"tables": [Selection(name=only)]} if only else {"whole": True}
    plan = Plan(source="x", target="y", mapping=Mapping(names=Names.SNAKE), **chosen)  # type: ignore[arg-type]
    return map_database(database, [t.name for t in tables if only in {"", t.name.name}], plan)


def query(dialect: str, definition: str) -> str:
    """What it becomes, or why it does not."""
    found = mapped(dialect, definition)
    made = [m.sql.partition(" AS ")[2] for m in found.after if m.kind == "view"]
    return made[0] if made else str(found.left[0].why).partition(". Its text: ")[0]


@pytest.mark.parametrize(
    ("dialect", "definition", "expected"),
    [
        (
            "tsql",
            "SELECT i.[Full Name] + ':' + i.[Full Name] AS Twice, COUNT(*) AS N FROM Item AS I GROUP BY i.[Full Name]",
            'SELECT "i"."full_name" || \':\' || "i"."full_name" AS "twice", COUNT(*) AS "n" FROM "public"."item" AS "i"'
            ' GROUP BY "i"."full_name"',
        ),
        (
            "mysql",
            "SELECT x.Total FROM (SELECT sum(Price) AS Total FROM Item) x ORDER BY x.total",
            'SELECT "x"."total" FROM (SELECT SUM("price") AS "total" FROM "public"."item" AS "item") AS "x"'
            ' ORDER BY "x"."total" NULLS FIRST',
        ),
        (
            "sqlite",
            'WITH Dear AS (SELECT ItemId FROM Item WHERE Price > 5) SELECT count(*), "ItemId" FROM Dear GROUP BY 2',
            'WITH "dear" AS (SELECT "item_id" FROM "public"."item" AS "item" WHERE "price" > 5)'
            ' SELECT COUNT(*) AS "count", "item_id" FROM "dear" GROUP BY 2',
        ),
        (
            "oracle",
            "SELECT ITEM.* FROM SHOP.ITEM WHERE EXISTS (SELECT 1 FROM BOX B WHERE B.ITEMID = ITEM.ITEMID)",
            'SELECT "item".* FROM "public"."item" AS "item" WHERE EXISTS(SELECT 1 FROM "public"."box" AS "b"'
            ' WHERE "b"."item_id" = "item"."item_id")',
        ),
        (
            "mysql",
            "SELECT ItemId FROM Item UNION ALL SELECT 0",
            'SELECT "item_id" FROM "public"."item" AS "item" UNION ALL SELECT 0',
        ),
        ("mysql", "SELECT ItemId FROM Item GROUP BY ItemId WITH ROLLUP", "nothing equal is known for group … rollup"),
        (
            "tsql",
            "SELECT TOP 3 WITH TIES ItemId FROM Item ORDER BY Price",
            "nothing equal is known for limit … limit_options",
        ),
        ("tsql", "SELECT ItemId FROM other.Shop.Item", "it reads another database"),
        (
            "oracle",
            "SELECT ItemId FROM Item CONNECT BY PRIOR ItemId = ItemId",
            "nothing equal is known for select … connect",
        ),
        ("mysql", "SELECT ItemId FROM Item, Gone", "it reads Shop.Gone, which is not carried"),
        ("mysql", "DELETE FROM Item", "it is no query"),
        ("oracle", "SELECT LEVEL FROM Item", "there is no column LEVEL"),
    ],
)
def test_a_query(dialect: str, definition: str, expected: str) -> None:
    assert query(dialect, definition) == expected


def test_views_come_in_the_order_in_which_they_stand_on_one_another() -> None:
    found = mapped(
        "mysql",
        "SELECT Total FROM V1",
        "SELECT Price AS Total FROM V2",
        "SELECT * FROM Item",
        "SELECT 1 AS a FROM V4",
        "SELECT 1 AS b FROM V3",
    )
    assert [m.name for m in found.after] == ["view:public.v2", "view:public.v1", "view:public.v0"]
    assert '"price" AS "total" FROM "public"."v2"' in found.after[1].sql
    assert [(u.name, str(u.why).partition(". Its")[0]) for u in found.left] == [
        ("Shop.V3", "it reads Shop.V4, which is not carried"),
        ("Shop.V4", "it reads Shop.V3, which is not carried"),
    ]


def test_of_a_part_of_a_database_only_views_that_read_it_are_told() -> None:
    found = mapped(
        "mysql", "SELECT ItemId FROM Box", "SELECT ItemId FROM Item", "SELECT 1 AS a FROM Item, Box", only="Item"
    )
    assert [m.name for m in found.after] == ["view:public.v1"]
    assert [u.name for u in found.left] == ["Shop.V2"]


def test_views_that_compare_texts_without_case_are_told_of() -> None:
    name = ForeignColumn(
        name="Name", native="varchar(9)", pg_type="character varying(9)", collation="utf8mb4_general_ci"
    )
    table = ForeignTable(name=Name("Shop", "Item"), columns=(name,))
    compared = ("SELECT Name FROM Item WHERE Name = 'a'", "SELECT DISTINCT Name FROM Item")
    found = mapped("mysql", *compared, "SELECT Name FROM Item", tables=(table,))
    (told,) = [f for f in found.findings if f.code == 5391]
    assert told.what.endswith("see it here: public.v0, public.v1")
