"""SQL Server: what a stand-in can prove of the source. The contract of all sources is tests/contract."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.components import SHARED_DATA, missing
from tests.tds.endpoint import Endpoint
from tests.tds.stand_in import Column, Index, Reference, Stand, Table
from tests.tds.tokens import Message

from pghaul.model.errors import (
    AccessError,
    ConnectionLostError,
    PghaulError,
    ServerBusyError,
    SnapshotLostError,
    SourceError,
    UsageError,
)
from pghaul.model.foreign import Consistency, ForeignDatabase, ReadColumn, Reading
from pghaul.model.table import Name
from pghaul.sources import sqlserver
from pghaul.sources._sqlserver_types import propose, resolved
from pghaul.sources._sqlserver_views import query_of

SCRIPTS = SHARED_DATA / "sqlserver"
KEY = Index(name="PK_Orders", columns=("Id",), type=1, unique=True, primary=True)
ORDERS = Table(
    name="Orders",
    schema="sales",
    comment="what was ordered",
    temporal=2,
    columns=(
        Column(name="Id", native="int", not_null=True, next=42),
        Column(name="Code", native="varchar(11)", not_null=True, page="cp949", alias="dbo.code", comment="as printed"),
        Column(name="Total", native="money", default="((0))"),
        Column(name="Twice", native="money", computed="([Total]*(2))"),
        Column(name="Made", native="datetime2(7)", default="(sysutcdatetime())"),
        Column(name="Rough", native="datetime2(7)", always=1),
        Column(name="Sparse", native="xml", column_set=True),
    ),
    rows=[(1, "가", None, None, (1, 738_000), (10, 738_000), None)] * 3,
    indexes=(
        KEY,
        Index(name="UQ_Code", columns=("Code",), unique=True, constraint=True),
        Index(
            name="IX_Total",
            columns=("Total", "Code"),
            descending=("Total",),
            include=("Made",),
            predicate="([Total]>(0))",
        ),
        Index(name="CS", columns=(), include=("Id", "Total"), type=6),
        Index(name="IX_Off", columns=("Made",), disabled=True),
    ),
    references=(
        Reference(name="FK_a", columns=("Id", "Code"), table="Codes", referenced=("A", "B"), on_delete="SET_NULL"),
        Reference(name="FK_off", columns=("Id",), table="Codes", referenced=("A",), disabled=True),
    ),
    checks=(("CK_Total", "([Total]>=(0))", 0), ("CK_Off", "([Id]>(0))", 1)),
)  # fmt: skip
BIG = "CREATE VIEW sales.Big (a, b) WITH SCHEMABINDING AS SELECT Id, Total FROM sales.Orders"
VIEWS = [("sales", "Big", BIG, "large ones", 0), ("sales", "Secret", None, None, 0)]
OTHERS = [
    ("P", "sales", "Close", None),
    ("TR", "sales", "Stamp", "Orders"),
    ("SO", "sales", "Numbers", None),
    ("TABLE TYPE", "sales", "Ids"),
]


@contextmanager
def opened(words: str = "", **options: Any) -> Iterator[tuple[sqlserver.SQLServer, Endpoint]]:
    """A source over a stand-in."""
    stand = Stand([ORDERS], **options)
    with Endpoint(stand.answers) as endpoint:
        url = f"sqlserver://sa:Secret-7@127.0.0.1:{endpoint.port}/shop?encrypt=no{words}"
        with sqlserver.open(sqlserver.endpoint(url, {}, None)) as source:
            yield source, endpoint


@pytest.fixture(scope="module")
def described() -> ForeignDatabase:
    """One description."""
    with opened(views=VIEWS, others=OTHERS) as (source, _):
        return source.database()


def test_a_table_is_described_whole(described: ForeignDatabase) -> None:
    (table,) = described.tables
    assert (table.name, table.comment, table.rows) == (Name("sales", "Orders"), "what was ordered", 3)
    id_, code, total, twice, made, rough = table.columns
    assert (id_.identity, id_.identity_next, id_.not_null) == (True, 42, True)
    assert (code.native, code.charset, code.comment, code.note) == (
        "varchar(11)",
        "cp949",
        "as printed",
        "declared as dbo.code",
    )
    assert (total.default, twice.generated) == ("((0))", "([Total]*(2))")
    assert "3 of the first" in made.observed
    assert (rough.observed, rough.note) == (
        "",
        "an end of the row's period, as a plain value: nothing goes on writing it",
    )


def test_keys_indexes_and_checks_are_described(described: ForeignDatabase) -> None:
    (table,) = described.tables
    primary, unique, index, columnstore = table.indexes
    assert (primary.primary, primary.columns) == (True, ("Id",))
    assert (unique.constraint, unique.unique) == (True, True)
    assert (index.columns, index.descending, index.include) == (("Total", "Code"), (True, False), ("Made",))
    assert (index.predicate, columnstore.kind) == ("([Total]>(0))", "columnstore")
    (reference,) = table.references
    assert (reference.columns, reference.referenced, reference.on_delete) == (("Id", "Code"), ("A", "B"), "SET NULL")
    assert [c.name for c in table.checks] == ["CK_Total"]


def test_what_cannot_be_carried_is_named(described: ForeignDatabase) -> None:
    found = {(o.kind, o.name) for o in described.others}
    assert found == {
        ("PROCEDURE", "sales.Close"), ("TRIGGER", "sales.Orders.Stamp"), ("SEQUENCE", "sales.Numbers"),
        ("TABLE TYPE", "sales.Ids"), ("VIEW", "sales.Secret"), ("SYSTEM VERSIONING", "sales.Orders"),
        ("COLUMN", "sales.Orders.Sparse"), ("INDEX", "sales.Orders.IX_Off"), ("FOREIGN KEY", "sales.Orders.FK_off"),
        ("CHECK", "sales.Orders.CK_Off"),
    }  # fmt: skip
    (view,) = described.views
    assert view.definition == "SELECT * FROM (SELECT Id, Total FROM sales.Orders\n) AS v (a, b)"


def test_a_schema_that_is_asked_for_is_all_there_is() -> None:
    with opened("&schema=other", views=VIEWS, others=OTHERS) as (source, _):
        database = source.database()
        assert (database.tables, database.views, database.others) == ((), (), ())


@pytest.mark.parametrize(
    ("words", "options", "consistency", "ranges", "level"),
    [
        ("", {"snapshot": 1}, Consistency.STATEMENT, True, "SNAPSHOT"),
        ("", {"snapshot": 0}, Consistency.STATEMENT, True, "READ COMMITTED"),
        ("&consistency=table", {"snapshot": 1}, Consistency.TABLE, False, "SNAPSHOT"),
        ("&consistency=table", {"snapshot": 0}, Consistency.STATEMENT, True, "READ COMMITTED"),
        ("", {"read_only": 1}, Consistency.SNAPSHOT, True, "READ COMMITTED"),
    ],
)
def test_no_more_is_promised_than_the_database_can_do(
    words: str, options: dict[str, int], consistency: Consistency, ranges: bool, level: str
) -> None:
    with opened(words, **options) as (source, endpoint):
        assert (source.guarantees.consistency, source.guarantees.ranges) == (consistency, ranges)
        assert endpoint.statements[-1].endswith(f"ISOLATION LEVEL {level}")
        assert endpoint.statements[-1].startswith("SET TEXTSIZE 2147483647;")
        assert "NOLOCK" not in " ".join(endpoint.statements).upper()


def test_a_read_only_database_is_one_moment_until_somebody_may_write_to_it() -> None:
    stand = Stand([ORDERS], read_only=1)
    with Endpoint(stand.answers) as endpoint:
        url = f"sqlserver://sa:Secret-7@127.0.0.1:{endpoint.port}/shop?encrypt=no"
        with sqlserver.open(sqlserver.endpoint(url, {}, None)) as source:
            token = source.hold()
            source.check()
            stand.read_only = 0
            with pytest.raises(SnapshotLostError):
                source.check()
            with sqlserver.open(sqlserver.endpoint(url, {}, None)) as late, pytest.raises(SnapshotLostError):
                late.join(token)


def test_an_expression_that_the_server_does_not_understand_is_refused_at_once() -> None:
    reading = Reading(
        table=Name("sales", "Orders"), columns=(ReadColumn(name="x", native="", pg_type="text", expression="nonsense"),)
    )
    with opened() as (source, _), pytest.raises(SourceError, match="nonsense"):
        source.read(reading)


def whole() -> Reading:
    """Some columns of the table."""
    columns = (
        ReadColumn(name="Id", native="int", pg_type="integer"),
        ReadColumn(name="Code", native="x", pg_type="text"),
    )
    return Reading(table=Name("sales", "Orders"), columns=columns)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"cut_after": 1}, ConnectionLostError),
        ({"fails": Message(number=1222, text="Lock request time out period exceeded.")}, ServerBusyError),
        ({"fails": Message(number=229, text="The SELECT permission was denied.", severity=14)}, AccessError),
        ({"fails": Message(number=245, text="Conversion failed.")}, SourceError),
    ],
)
def test_an_error_on_the_way_is_told_apart(options: dict[str, Any], error: type[PghaulError]) -> None:
    with opened(**options) as (source, _), pytest.raises(error):
        list(source.read(whole()))


def test_a_wrong_password_is_not_shown() -> None:
    with Endpoint(Stand([ORDERS]).answers) as endpoint:
        url = f"sqlserver://sa@127.0.0.1:{endpoint.port}/shop?encrypt=no"
        with pytest.raises(AccessError) as refused:
            sqlserver.open(sqlserver.endpoint(url, {"SQLCMDPASSWORD": "Wrong-Passphrase-9"}, None))
        assert "18456" in refused.value.message
        assert "Wrong-Passphrase-9" not in f"{refused.value!r} {refused.value} {refused.value.__cause__!r}"


def test_nobody_there_is_a_passing_fault() -> None:
    with Endpoint(Stand([ORDERS]).answers) as endpoint:
        url = f"sqlserver://sa:x@127.0.0.1:{endpoint.port}/shop?encrypt=no&timeout=3"
    with pytest.raises(ConnectionLostError):
        sqlserver.open(sqlserver.endpoint(url, {}, None))


def test_a_server_that_does_not_encrypt_is_refused() -> None:
    """The password would travel so that anybody can read it."""
    with Endpoint(Stand([ORDERS]).answers) as endpoint:
        url = f"mssql://sa:Secret-7@127.0.0.1:{endpoint.port}/shop?timeout=3"
        with pytest.raises(PghaulError):
            sqlserver.open(sqlserver.endpoint(url, {}, None))
        assert endpoint.versions == []  # no login was sent


@pytest.mark.parametrize(
    "url",
    ["sqlserver:", "sqlserver://host", "sqlserver://host/db?x=1", "mssql://h:p:1/db", "mssql://h/d?trust=no"],
)
def test_a_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        sqlserver.endpoint(url, {}, None)


def test_a_password_comes_from_the_argument_the_url_or_the_environment() -> None:
    environ = {"SQLCMDPASSWORD": "third", "SQLCMDUSER": "who"}
    assert sqlserver.endpoint("mssql://u:second@h/d", environ, "first").password == "first"
    assert sqlserver.endpoint("mssql://u:second@h/d", environ, None).password == "second"
    found = sqlserver.endpoint("mssql://h/d?instance=X", environ, None)
    assert (found.password, found.get("user"), found.get("port"), found.get("instance")) == ("third", "who", "", "X")


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("CREATE VIEW v AS SELECT 1 AS a", "SELECT 1 AS a"),
        ("/* VIEW x AS */ create  view [dbo].[as]\nas -- AS\nselect 'as' ;", "-- AS\nselect 'as'"),
        ("CREATE VIEW v AS SELECT a FROM t WITH CHECK OPTION", "SELECT a FROM t"),
        ("CREATE OR ALTER VIEW v([a b]) AS SELECT 1", "SELECT * FROM (SELECT 1\n) AS v ([a b])"),
        ("nothing of the kind", None),
    ],
)
def test_the_query_of_a_view_stands_alone(text: str, query: str | None) -> None:
    assert query_of(text) == query


TABLE = re.compile(r"CREATE TABLE\s+[^(]+\((.*?)\n\)", re.DOTALL | re.IGNORECASE)
COLUMN = re.compile(
    r'^\s*(?:\[[^\]]+\]|"[^"]+"|\w+)\s+[\["]?([a-z]+)[\]"]?\s*(\([\d, max]+\))?(?=[\s,]|$)', re.IGNORECASE
)
WORDS = {
    "primary",
    "foreign",
    "check",
    "like",
    "default",
    "references",
    "unique",
    "not",
    "null",
    "clustered",
    "nonclustered",
}


def test_every_type_of_real_scripts_has_a_mapping() -> None:
    if not SCRIPTS.is_dir():
        missing(f"{SCRIPTS} is not there (PGHAUL_TEST_DATA names another folder)")
    found: set[str] = set()
    aliases: dict[str, str] = {}
    for script in sorted(SCRIPTS.glob("*.sql")):
        text = script.read_bytes().decode("utf-8-sig", "replace")
        aliases |= {m[0]: m[1] for m in re.findall(r"sp_addtype\s+(\w+)\s*,\s*'([^']+)'", text)}
        lines = [line for table in TABLE.findall(text) for line in table.splitlines()]
        types = [m for m in map(COLUMN.match, lines) if m and not line_is_none(m)]
        found |= {f"{m[1].lower()}{m[2] or ''}" for m in types}
    assert len(found) > 25
    natives = {aliases.get(f, f) for f in found}
    unknown = {
        n
        for n in natives
        if propose(n)[0] == "bytea" and resolved(n).base not in {"binary", "varbinary", "image", "timestamp"}
    }
    assert unknown == set()
    assert {"money", "ntext", "image", "varchar(11)"} <= natives


def line_is_none(match: re.Match[str]) -> bool:
    """A constraint, or the rest of a column."""
    return match[1].lower() in WORDS or match[0].split()[0].lower() in {"constraint", *WORDS}
