"""What databases of other kinds become, on a real server: scripts of real ones, and all that can go wrong in one.

`pytest -s` shows what was left behind, and why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests import foreign_scripts
from tests.components import SHARED_DATA, missing
from tests.mariadb import MariaDatabase
from tests.mysql_reading import opened

from pghaul.model.finding import Severity
from pghaul.model.foreign import (
    ForeignCheck,
    ForeignColumn,
    ForeignDatabase,
    ForeignIndex,
    ForeignReference,
    ForeignTable,
    ForeignView,
)
from pghaul.model.mapped import MappedDatabase
from pghaul.model.plan import Mapping, Names, Plan
from pghaul.model.table import Name
from pghaul.postgres.catalog import describe
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import Session, connect
from pghaul.sources import sqlite
from pghaul.target.foreign.trial import map_on

OWN_DATABASE = re.compile(rb"(?im)^\s*(?:(?:drop|create)\s+(?:schema|database)\b|use\s)[^;]*;|\bsakila\.")
SCRIPTS = {
    "sqlserver/Chinook_SqlServer.sql": ("tsql", 0),
    "sqlserver/instnwnd.sql": ("tsql", 16),
    "sqlserver/instpubs.sql": ("tsql", 1),
    "oracle/Chinook_Oracle.sql": ("oracle", 0),
}


@pytest.fixture
def target(db_source: str) -> Iterator[Session]:
    with connect(resolve(db_source), application_name="test", role="target") as session:
        yield session


def mapped_on(target: Session, database: ForeignDatabase, **said: Any) -> MappedDatabase:
    """Of the whole database, in a schema of its own."""
    mapping = Mapping(**({"names": Names.SNAKE} | said))
    plan = Plan(source="x", target="y", whole=True, mapping=mapping)
    return map_on(target, database, [t.name for t in database.tables], plan)


def make(target: Session, mapped: MappedDatabase) -> None:
    """All of it; a second time nothing is left to do, but for what may be said twice."""
    for made in (*mapped.before, *mapped.after):
        if not (made.exists and target.value(made.exists)):
            target.execute(made.sql)
    assert [m.name for m in (*mapped.before, *mapped.after) if m.exists and not target.value(m.exists)] == []
    for made in mapped.after:
        if made.exists is None:
            target.execute(made.sql)


@pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
def test_scripts_of_real_databases_are_made_whole(target: Session) -> None:
    for number, (file, (dialect, views)) in enumerate(SCRIPTS.items()):
        path = SHARED_DATA / file
        if not path.exists():
            missing(f"{file} is not in {SHARED_DATA} (PGHAUL_TEST_DATA names another folder)")
        database = foreign_scripts.read(path, dialect)
        mapped = mapped_on(target, database, target_schema=f"s{number}")
        show(file, mapped)
        make(target, mapped)
        there = describe(target, [t.name for t in mapped.tables])
        assert {n: tuple(c.name for c in t.columns) for n, t in there.items()} == {
            t.name: tuple(c.name for c in t.columns) for t in mapped.tables
        }
        assert types_of(there[mapped.tables[0].name].columns) == types_of(mapped.tables[0].columns)
        assert mapped.left == ()
        assert len([m for m in mapped.after if m.kind == "view"]) == views
        assert [f for f in mapped.findings if f.severity is not Severity.NOTE] == []


def types_of(columns: Sequence[Any]) -> list[str]:
    return [c.type for c in columns]


def column(name: str, native: str, pg_type: str, **more: Any) -> ForeignColumn:
    return ForeignColumn(name=name, native=native, pg_type=pg_type, **more)


def table(name: str, *columns: ForeignColumn, **more: Any) -> ForeignTable:
    return ForeignTable(name=Name("shop", name), columns=columns, **more)


def key(*columns: str, **more: Any) -> ForeignIndex:
    return ForeignIndex(**({"name": "PRIMARY", "columns": columns, "unique": True, "primary": True} | more))


def refers(name: str, column_: str, other: str, **more: Any) -> ForeignReference:
    said = {"name": name, "columns": (column_,), "table": Name("shop", other), "referenced": ("Id",)}
    return ForeignReference(**(said | more))


ID = column("Id", "int unsigned", "bigint", identity=True, not_null=True, identity_next=12)
EVERYTHING = (
    table(
        "Item",
        ID,
        column("Kind", "enum('a','it''s','')", "", values=("a", "it's", ""), default="'it''s'", not_null=True),
        column("Tags", "set('x','y')", "text[]", values=("x", "y"), default="'x,y'"),
        column("Made", "datetime(3)", "timestamp(3) without time zone", default="current_timestamp(3)"),
        column("Flag", "bit(3)", "bit(3)", default="b'1'"),
        column("Price", "decimal(10,2)", "numeric(10,2)", default="'0.00'", comment="in won"),
        column("Twice", "decimal(11,2)", "numeric(11,2)", generated="`Price` * 2"),
        column("Stamp", "varchar(40)", "character varying(40)", generated="concat(`Price`,'!')"),
        column("Doc", "longtext", "json"),
        column("Bad", "date", "date", default="'2021-02-30'"),
        column("Group", "varchar(50)", "character varying(50)"),
        column("Boss", "bigint unsigned", "numeric(20,0)"),
        comment="what is sold: 100 %",
        checks=(
            ForeignCheck(name="positive", expression="`Price` >= 0"),
            ForeignCheck(name="Doc", expression="json_valid(`Doc`)"),
            ForeignCheck(name="odd", expression="`Group` > 5"),
            ForeignCheck(name="far", expression="find_in_set('a',`Group`)"),
        ),
        indexes=(
            key("Id"),
            ForeignIndex(name="by_group", columns=("Group", "Price"), prefix=(10, None), descending=(False, True)),
            ForeignIndex(name="words", columns=("Group",), kind="fulltext"),
            ForeignIndex(name="whole", columns=("Doc",)),
            ForeignIndex(name="some", columns=("Made",), predicate="`Price` > 5", unique=True, include=("Flag",)),
            ForeignIndex(name="lower", columns=(), expression="lower(`Group`), `Price` DESC"),
        ),
        references=(refers("boss", "Boss", "Box"), refers("gone", "Id", "Elsewhere")),
    ),
    table(
        "Box",
        column("Id", "bigint unsigned", "numeric(20,0)", identity=True, not_null=True, identity_next=7),
        column("Item", "int unsigned", "bigint"),
        indexes=(key("Id"), ForeignIndex(name="by_group", columns=("Item",))),
        references=(
            refers("item", "Item", "Item", on_delete="CASCADE"),
            refers("no_key", "Id", "Item", referenced=("Group",)),
        ),
    ),
)
VIEWS = (
    ForeignView(name=Name("shop", "Second"), definition="select `f`.`Id`, count(*) from `First` `f` group by `f`.`id`"),
    ForeignView(name=Name("shop", "First"), definition="select * from shop.Item where Kind <> 'a'", comment="some"),
    ForeignView(name=Name("shop", "Third"), definition="select found_rows() AS n from Box"),
    ForeignView(name=Name("shop", "Fourth"), definition="select n from Third"),
    ForeignView(name=Name("shop", "Fifth"), definition="select `Group`, `Price` from Item group by `Group`"),
)


@pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
def test_what_cannot_be_made_is_listed_and_the_rest_is_made(target: Session) -> None:
    database = ForeignDatabase(
        engine="mysql", product="x", identity="x", dialect="mysql", tables=EVERYTHING, views=VIEWS
    )
    mapped = mapped_on(target, database)
    left = {(u.kind, u.name): str(u.why) for u in mapped.left}
    assert {k: w.partition(". Its text: ")[0] for k, w in left.items()} == {
        ("DEFAULT", "public.item.bad"): 'the target refuses it: date/time field value out of range: "2021-02-30"',
        ("INDEX", "public.item.words"): "an index of the kind fulltext has no equal",
        ("INDEX", "public.item.whole"): "the target refuses it: data type json has no default operator class"
        ' for access method "btree"',
        ("CHECK", "public.item.odd"): "the target refuses it: operator does not exist: character varying > integer",
        ("CHECK", "public.item.far"): "nothing equal is known for find_in_set",
        ("FOREIGN KEY", "public.item.gone"): "shop.Elsewhere, to which it refers, is not carried",
        ("FOREIGN KEY", "public.box.no_key"): "public.item has no unique key of these columns",
        ("VIEW", "shop.Third"): "nothing equal is known for found_rows",
        ("VIEW", "shop.Fourth"): "it reads shop.Third, which is not carried",
        ("VIEW", "public.fifth"): 'the target refuses it: column "item.price" must appear in the GROUP BY clause'
        " or be used in an aggregate function",
    }
    assert [f.object for f in mapped.findings] == ["public.item.stamp", "public.item.by_group"]
    roomy = target.server
    target.server = replace(roomy, max_locks=1)
    assert mapped_on(target, database) == mapped, "tables that are tried one by one, and what needs several of them"
    target.server = roomy
    make(target, mapped)
    assert target.rows("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname LIKE 'pghaul_trial%'") == []
    target.execute("INSERT INTO public.item (price, id) VALUES (2.50, 40)")
    for made in mapped.after:
        if made.kind == "sequence" and made.exists is None:
            target.execute(made.sql)
    target.execute("INSERT INTO public.item (price) VALUES (1)")
    target.execute("INSERT INTO public.box (item) VALUES (41)")
    shown = "SELECT id, kind::text, tags, flag::text, twice, stamp, bad, made IS NULL FROM public.item ORDER BY id"
    assert [tuple(map(str, r)) for r in target.rows(shown)] == [
        ("40", "it's", "['x', 'y']", "001", "5.00", "None", "None", "False"),
        ("41", "it's", "['x', 'y']", "001", "2.00", "None", "None", "False"),
    ]
    assert [tuple(map(str, r)) for r in target.rows("SELECT id, item FROM public.box")] == [("7", "41")]
    assert target.rows("SELECT * FROM public.second ORDER BY 1") == [(40, 1), (41, 1)]
    assert target.value("SELECT pg_catalog.obj_description('public.item'::regclass)") == "what is sold: 100 %"


@pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
@pytest.mark.parametrize(
    ("sample", "left"),
    [
        ("world/world.sql", []),
        ("employees_small/employee.sql", []),
        (
            "sakila/sakila-mv-schema.sql",
            ["INDEX public.film_text.idx_title_description", "VIEW public.actor_info", "VIEW public.sales_by_store"],
        ),
    ],
)
def test_mysql_s_own_samples_are_made_whole(
    target: Session, mariadb: MariaDatabase, sample: str, left: list[str]
) -> None:
    """actor_info orders by what it does not select, sales_by_store selects what it does not group by."""
    path = SHARED_DATA / "mysql" / sample
    if not path.exists():
        missing(f"{sample} is not in {SHARED_DATA} (PGHAUL_TEST_DATA names another folder)")
    mariadb.load(OWN_DATABASE.sub(b"", path.read_bytes()), path.parent)
    with opened(mariadb.url) as source:
        database = source.database()
    mapped = mapped_on(target, database, names=Names.AS_IS)
    show(sample, mapped)
    make(target, mapped)
    assert [f"{u.kind} {u.name}" for u in mapped.left[len(database.others) :]] == left
    assert [f for f in mapped.findings if f.severity is Severity.ERROR] == []


def show(file: str, mapped: MappedDatabase) -> None:
    """For a person, by pytest -s."""
    print(f"{file}: {len(mapped.tables)} tables, {len(mapped.after)} statements after the rows")  # noqa: T201
    for one in mapped.left:
        print(f"    {one.kind} {one.name}: {one.why}")  # noqa: T201


@pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
@pytest.mark.parametrize(("file", "views", "left"), [("Chinook_Sqlite.sqlite", 0, 0), ("northwind.db", 6, 10)])
def test_real_sqlite_databases_are_made_whole(target: Session, file: str, views: int, left: int) -> None:
    """Ten views of northwind divide, which there may cut a fraction off, or stand on one that does."""
    path = SHARED_DATA / "sqlite" / file
    if not path.exists():
        missing(f"{file} is not in {SHARED_DATA} (PGHAUL_TEST_DATA names another folder)")
    with sqlite.open(sqlite.endpoint(f"sqlite://{path.as_posix()}", {}, None)) as source:
        mapped = mapped_on(target, source.database())
    show(file, mapped)
    make(target, mapped)
    assert len([m for m in mapped.after if m.kind == "view"]) == views
    assert [u.kind for u in mapped.left] == ["VIEW"] * left
    assert [f for f in mapped.findings if f.severity is Severity.ERROR] == []


@pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
def test_a_role_that_may_not_try_is_told_so(target: Session) -> None:
    database = ForeignDatabase(engine="x", product="x", identity="here", dialect="mysql", tables=EVERYTHING)
    target.execute("CREATE ROLE somebody; SET ROLE somebody")
    try:
        mapped = mapped_on(target, database)
    finally:
        target.execute("RESET ROLE; DROP ROLE somebody")
    told = [f for f in mapped.findings if f.object == "here"]
    assert [f.severity for f in told] == [Severity.WARNING]
    assert "permission denied for database" in told[0].what
    assert len(mapped.tables) == 2
