"""Oracle: everything that can be decided without a server. No server can be had here; see docs/connectors.md."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from decimal import Decimal
from typing import Any

import oracledb
import pyarrow as pa
import pytest
from tests.components import SHARED_DATA, missing
from tests.oracle.server import Server, complaint
from tests.oracle.stand_in import StandIn
from tests.oracle.tables import Table, number

from pghaul.model.errors import (
    AccessError,
    ConnectionLostError,
    NotFoundError,
    PghaulError,
    ServerBusyError,
    ShapeChangedError,
    SnapshotLostError,
    SourceError,
    StoppedError,
    TransientError,
    UsageError,
)
from pghaul.model.foreign import (
    Consistency,
    ForeignColumn,
    ForeignDatabase,
    ForeignReference,
    ForeignTable,
    KeyRange,
    ReadColumn,
    Reading,
)
from pghaul.model.table import Name
from pghaul.sources import _oracle_connection, _oracle_sql, oracle
from pghaul.sources._oracle_catalog import query_of
from pghaul.sources._oracle_forms import form
from pghaul.sources._oracle_types import native, propose, resolved
from pghaul.target.foreign.orphans import searches

URL = "oracle://scott:Tiger-77-x@db:1522/shop"
ITEM = Name("HR", "ITEM")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(_oracle_connection, "_driver", lambda: made)
    return made


def opened(url: str = URL) -> oracle.Oracle:
    return oracle.open(oracle.endpoint(url, {}, None))


def asked_for(name: str, pg_type: str, **more: Any) -> ReadColumn:
    return ReadColumn(name=name, native="", pg_type=pg_type, **more)


def test_a_url_says_where_and_how() -> None:
    it = oracle.endpoint("oracle://a%40b:s3cret-zz@h/svc?schema=HR&tls=yes&mode=sysdba&wallet=/w", {}, None)
    made = _oracle_connection.arguments(it, oracledb, {"ORACLE_WALLET_PASSWORD": "wallet-pw-9"})
    assert (it.get("user"), it.get("port"), it.password) == ("a@b", "1521", "s3cret-zz")
    assert "s3cret" not in it.display
    assert made["service_name"] == "svc"
    assert "sid" not in made
    assert (made["protocol"], made["mode"], made["wallet_location"]) == ("tcps", oracledb.AuthMode.SYSDBA, "/w")
    assert made["wallet_password"] == "wallet-pw-9"
    old = oracle.endpoint("oracle://h?sid=ORCL", {"ORACLE_USER": "u", "ORACLE_PASSWORD": "p-from-env"}, None)
    assert (old.get("user"), old.password) == ("u", "p-from-env")
    assert _oracle_connection.arguments(old, oracledb, {})["sid"] == "ORCL"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("oracle://h", 1056),
        ("oracle:///svc", 1056),
        ("oracle://h:x/svc", 1056),
        ("oracle://h/svc?mode=root", 1057),
        ("oracle://h/svc?encrypt=yes", 1057),
        ("oracle://h/svc?timeout=soon", 1057),
    ],
)
def test_a_url_that_makes_no_sense_is_refused(url: str, code: int) -> None:
    with pytest.raises(UsageError) as refused:
        oracle.endpoint(url, {}, None)
    assert refused.value.number == code


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("ORA-01017", AccessError), ("ORA-12514", AccessError), ("DPY-6001", AccessError), ("ORA-01031", AccessError),
        ("ORA-12541", ConnectionLostError), ("DPY-6005", ConnectionLostError), ("ORA-03113", ConnectionLostError),
        ("ORA-03135", ConnectionLostError), ("DPY-4011", ConnectionLostError), ("ORA-00942", NotFoundError),
        ("ORA-01555", SnapshotLostError), ("ORA-01466", ShapeChangedError), ("ORA-01013", TransientError),
        ("ORA-00060", ServerBusyError), ("ORA-06502", SourceError),
    ],
)  # fmt: skip
def test_errors_are_told_apart_by_their_number(number: str, kind: type[PghaulError]) -> None:
    made = _oracle_connection.error(complaint(number), "oracle://h/svc")
    assert type(made) is kind
    assert number in made.message


def test_a_refused_login_shows_no_password(server: Server) -> None:
    server.answers["login"] = complaint("ORA-01017", "invalid credential Tiger-77-x or not authorized")
    with pytest.raises(AccessError) as refused:
        opened()
    assert "Tiger-77-x" not in f"{refused.value.message} {refused.value.where} {refused.value!r}"
    assert server.logins[0]["password"] == "Tiger-77-x"


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "oracledb", None)
    with pytest.raises(NotFoundError) as lacking:
        opened()
    assert "pghaul[oracle]" in lacking.value.advice


def test_a_session_depends_on_no_setting_of_the_server(server: Server) -> None:
    opened().close()
    settings = " ".join(sql for sql, _ in server.asked if sql.startswith("ALTER SESSION"))
    assert "TIME_ZONE = '+00:00'" in settings
    assert "NLS_NUMERIC_CHARACTERS = '.,'" in settings


@pytest.mark.parametrize(
    ("type_", "pg_type"),
    [
        ("NUMBER", "numeric"), ("NUMBER(1)", "smallint"), ("NUMBER(4,0)", "smallint"), ("NUMBER(5)", "integer"),
        ("NUMBER(9,0)", "integer"), ("NUMBER(10)", "bigint"), ("NUMBER(18)", "bigint"), ("NUMBER(19)", "numeric(19,0)"),
        ("NUMBER(*,0)", "numeric(38,0)"), ("INTEGER", "numeric(38,0)"), ("NUMBER(10,2)", "numeric(10,2)"),
        ("NUMBER(5,-2)", "integer"), ("NUMBER(38,-84)", "numeric(122,0)"), ("NUMBER(2,5)", "numeric(5,5)"),
        ("FLOAT(126)", "numeric"), ("BINARY_FLOAT", "real"), ("BINARY_DOUBLE", "double precision"),
        ("DATE", "timestamp(0) without time zone"), ("TIMESTAMP(3)", "timestamp(3) without time zone"),
        ("TIMESTAMP(9)", "timestamp without time zone"), ("TIMESTAMP(6) WITH TIME ZONE", "timestamp with time zone"),
        ("TIMESTAMP(0) WITH LOCAL TIME ZONE", "timestamp(0) with time zone"),
        ("INTERVAL YEAR(2) TO MONTH", "interval"), ("INTERVAL DAY(2) TO SECOND(6)", "interval"),
        ("CHAR(3)", "character(3)"), ("VARCHAR2(20 CHAR)", "character varying(20)"),
        ("NVARCHAR2(20)", "character varying(20)"), ("CLOB", "text"), ("LONG", "text"), ("RAW(16)", "bytea"),
        ("LONG RAW", "bytea"), ("ROWID", "text"), ("UROWID(4000)", "text"), ("SYS.XMLTYPE", "xml"), ("JSON", "jsonb"),
        ("BOOLEAN", "boolean"), ("VECTOR", "text"), ("MDSYS.SDO_GEOMETRY", "text"), ("BFILE", "text"),
    ],
)  # fmt: skip
def test_types_have_a_proposal(type_: str, pg_type: str) -> None:
    assert propose(type_)[0] == pg_type


def test_types_are_spelled_as_a_create_table_has_them() -> None:
    assert native("VARCHAR2", None, 80, 20, "C", None, None) == "VARCHAR2(20 CHAR)"
    assert native("VARCHAR2", None, 20, 20, "B", None, None) == "VARCHAR2(20)"
    assert native("NVARCHAR2", None, 40, 20, "C", None, None) == "NVARCHAR2(20)"
    assert native("NUMBER", None, 22, 0, None, None, 0) == "NUMBER(38,0)"
    assert native("NUMBER", None, 22, 0, None, None, None) == "NUMBER"
    assert native("XMLTYPE", "SYS", 2000, 0, None, None, None) == "XMLTYPE"
    assert native("SHAPE", "HR", 1, 0, None, None, None) == "HR.SHAPE"


TEXTS = pa.large_string()
WHAT = [  # native, PostgreSQL's type, what the driver hands over, what becomes of it (or None: refused)
    ("NUMBER(9)", "integer", pa.array([1, None], pa.int64()), [1, None]),
    ("NUMBER(9)", "integer", pa.array([Decimal(7)], pa.decimal128(9, 0)), [7]),
    ("NUMBER(9)", "integer", pa.array([1.0]), None),
    ("NUMBER(9)", "smallint", pa.array([40_000], pa.int64()), None),
    ("NUMBER(18)", "numeric(20,2)", pa.array([5], pa.int64()), [Decimal("5.00")]),
    ("NUMBER(10,2)", "numeric(10,2)", pa.array([Decimal("1.25")], pa.decimal128(10, 2)), [Decimal("1.25")]),
    ("NUMBER(10,2)", "numeric(10,1)", pa.array([Decimal("1.25")], pa.decimal128(10, 2)), None),
    ("NUMBER", "numeric", pa.array(["-.5", "1E+100", None], TEXTS), ["-.5", "1E+100", None]),
    ("NUMBER", "numeric(10,2)", pa.array([".5"], TEXTS), [Decimal("0.50")]),
    ("NUMBER", "numeric(10,2)", pa.array(["1.005"], TEXTS), None),
    ("NUMBER", "numeric(50,2)", pa.array(["1.005"], TEXTS), None),
    ("NUMBER", "numeric(50,3)", pa.array(["1.005"], TEXTS), ["1.005"]),
    ("NUMBER", "bigint", pa.array(["1.5"], TEXTS), None),
    ("NUMBER", "bigint", pa.array(["9223372036854775807"], TEXTS), [2**63 - 1]),
    ("NUMBER(1)", "boolean", pa.array(["1", "0", None], TEXTS), [True, False, None]),
    ("NUMBER(1)", "boolean", pa.array(["2"], TEXTS), None),
    ("FLOAT(126)", "double precision", pa.array([".1"], TEXTS), [0.1]),
    ("BINARY_DOUBLE", "double precision", pa.array([0.1]), [0.1]),
    ("BINARY_DOUBLE", "real", pa.array([0.1]), None),
    ("BINARY_DOUBLE", "real", pa.array([0.5]), [0.5]),
    ("BINARY_FLOAT", "text", pa.array([0.1], pa.float32()), ["0.1"]),
    ("DATE", "date", pa.array(["2024-02-29 00:00:00"], TEXTS), ["2024-02-29"]),
    ("DATE", "date", pa.array(["2024-02-29 00:00:01"], TEXTS), None),
    ("DATE", "timestamp(0)", pa.array(["9999-12-31 23:59:59"], TEXTS), ["9999-12-31 23:59:59"]),
    ("DATE", "timestamp(0)", pa.array(["-0044-03-15 00:00:00"], TEXTS), None),
    ("DATE", "text", pa.array(["-0044-03-15 00:00:00"], TEXTS), ["-0044-03-15 00:00:00"]),
    ("TIMESTAMP(9)", "timestamp", pa.array(["2024-01-01 00:00:00.123456000"], TEXTS), ["2024-01-01 00:00:00.123456"]),
    ("TIMESTAMP(9)", "timestamp", pa.array(["2024-01-01 00:00:00.123456789"], TEXTS), None),
    ("TIMESTAMP(9)", "timestamp(3)", pa.array(["2024-01-01 00:00:00.123400000"], TEXTS), None),
    ("TIMESTAMP(9)", "date", pa.array(["2024-01-01 00:00:00.000000000"], TEXTS), ["2024-01-01"]),
    ("TIMESTAMP(9) WITH TIME ZONE", "timestamptz", pa.array(["2024-01-01 05:00:00.000000000"], TEXTS),
     ["2024-01-01 05:00:00+00:00"]),
    ("INTERVAL DAY(2) TO SECOND(9)", "interval", pa.array(["-1 days -2 hours 0 mins -.5 secs"], TEXTS),
     ["-1 days -2 hours 0 mins -.5 secs"]),
    ("INTERVAL DAY(2) TO SECOND(9)", "interval", pa.array(["0 days 0 hours 0 mins .1234567 secs"], TEXTS), None),
    ("VARCHAR2(9)", "text", pa.array(["가"], pa.string()), ["가"]),
    ("BOOLEAN", "boolean", pa.array([True, None]), [True, None]),
    ("BOOLEAN", "smallint", pa.array([True]), [1]),
    ("RAW(4)", "bytea", pa.array([b"\x00\xff"]), [b"\x00\xff"]),
    ("BLOB", "text", pa.array([b"\x00\xff"]), ["00ff"]),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "pg_type", "given", "becomes"), WHAT)
def test_a_value_arrives_exactly_or_is_refused(type_: str, pg_type: str, given: Any, becomes: list[Any] | None) -> None:
    made = form(asked_for("A", pg_type), 't."A"', type_)
    if becomes is None:
        with pytest.raises(ValueError):  # noqa: PT011 -- Arrow's and ours: the batch says the rest
            made.array(given)
        return
    array = made.array(given)
    temporal = pa.types.is_temporal(array.type)
    assert array.type == made.type
    assert ([str(v) for v in array.to_pylist()] if temporal else array.to_pylist()) == becomes


def test_what_the_driver_would_lose_is_spelled_by_the_server() -> None:
    spelled = {t: form(asked_for("A", p), 't."A"', t).expression for t, p in (
        ("NUMBER", "numeric"), ("NUMBER(9)", "integer"), ("RAW(16)", "uuid"), ("XMLTYPE", "xml"),
        ("TIMESTAMP(6) WITH TIME ZONE", "timestamptz"), ("UROWID", "text"), ("INTERVAL YEAR(2) TO MONTH", "interval"),
    )}  # fmt: skip
    assert spelled["NUMBER"] == """TO_CHAR(t."A", 'TM9', 'NLS_NUMERIC_CHARACTERS=''.,''')"""
    assert spelled["NUMBER(9)"] == 't."A"'
    assert "RAWTOHEX" in spelled["RAW(16)"]
    assert "XMLSERIALIZE" in spelled["XMLTYPE"]
    assert "SYS_EXTRACT_UTC" in spelled["TIMESTAMP(6) WITH TIME ZONE"]
    assert "EXTRACT(MONTH" in spelled["INTERVAL YEAR(2) TO MONTH"]


def test_stored_bytes_are_read_where_an_encoding_is_given() -> None:
    raw = form(asked_for("A", "text", encoding="cp949"), 't."A"', "VARCHAR2(20)")
    assert raw.expression == 'UTL_RAW.CAST_TO_RAW(t."A")'
    assert raw.array(pa.array([b"\xb0\xa1"])).to_pylist() == [b"\xb0\xa1"]
    with pytest.raises(SourceError) as refused:
        form(asked_for("A", "text", encoding="cp949"), 't."A"', "CLOB")
    assert refused.value.number == 6962


def test_characters_that_a_server_has_replaced_are_refused() -> None:
    it = form(asked_for("A", "text"), 't."A"', "VARCHAR2(20)")
    assert it.array(pa.array(["�"])).to_pylist() == ["�"]  # of a Unicode database it is what was stored
    with pytest.raises(ValueError, match="encoding"):
        it.array(pa.array(["a", "�"]), unicode=False)
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    with pytest.raises(ValueError, match="UTF8"):
        it.array(broken)


@pytest.mark.parametrize("type_", ["BFILE", "HR.SHAPE", "REF", "SYS.ANYDATA"])
def test_types_that_are_not_read_are_refused_by_name(type_: str) -> None:
    with pytest.raises(SourceError, match="column A") as refused:
        form(asked_for("A", "text"), 't."A"', type_)
    assert refused.value.number == 6961


@pytest.fixture
def described(server: Server) -> ForeignDatabase:
    with opened() as source:
        return source.database()


def test_tables_are_described(described: ForeignDatabase) -> None:
    item, part = described.tables
    of = {c.name: c for c in item.columns}
    assert (item.name, item.rows, item.bytes, item.comment) == (ITEM, 1000, 40_000, "what is sold")
    assert list(of) == ["ID", "NAME", "PRICE", "MADE", "TWICE", "NOTE", "LATER", "WHERE"]
    assert (of["ID"].identity, of["ID"].identity_next, of["ID"].default, of["ID"].not_null) == (True, 41, None, True)
    assert (of["NAME"].native, of["NAME"].default, of["NAME"].comment) == ("VARCHAR2(20 CHAR)", "'x'", "as printed")
    assert (of["TWICE"].generated, of["TWICE"].default) == ('"PRICE"*2', None)
    assert of["WHERE"].native == "HR.SHAPE"
    assert of["WHERE"].note
    assert [(r.table, r.columns, r.referenced, r.on_delete) for r in part.references] == [
        (ITEM, ("GROUP_ID",), ("ID",), "SET NULL")
    ]
    assert [(c.name, c.expression) for c in item.checks] == [("CK_ITEM", "PRICE > 0")]


def test_indexes_are_described(described: ForeignDatabase) -> None:
    of = {i.name: i for i in described.tables[0].indexes}
    assert list(of) == ["PK_ITEM", "IX_BITS", "IX_DOWN", "IX_UPPER"]
    assert of["PK_ITEM"].primary
    assert of["PK_ITEM"].constraint
    assert of["IX_BITS"].kind == "bitmap"
    assert (of["IX_DOWN"].columns, of["IX_DOWN"].descending) == (("NAME", "MADE"), (False, True))
    assert (of["IX_UPPER"].columns, of["IX_UPPER"].expression, of["IX_UPPER"].unique) == ((), 'UPPER("NAME")', True)


def test_what_is_left_behind_is_named(described: ForeignDatabase) -> None:
    left = {(o.kind, o.name) for o in described.others}
    assert left == {
        ("TABLE", "HR.MINE"), ("TABLE", "HR.OUTSIDE"), ("CHECK", "HR.ITEM.CK_OFF"), ("INDEX", "HR.IX_OFF"),
        ("VIEW", "HR.W"), ("PACKAGE", "HR.PAY"), ("MATERIALIZED VIEW", "HR.SUMS"), ("SEQUENCE", "HR.S"),
        ("TABLE", "HR.SHAPES"),
    }  # fmt: skip
    assert all(o.why for o in described.others)
    assert [(v.name, v.definition) for v in described.views] == [(Name("HR", "V"), "SELECT Name FROM item")]
    assert (described.dialect, described.encoding, described.timezone) == ("oracle", "utf-8", "+09:00")
    assert described.identity == "oracle://db:1522/shop"


def test_the_names_of_a_views_columns_are_kept() -> None:
    assert query_of("SELECT a, b FROM t", ["A", "B"]) == "SELECT a, b FROM t"
    assert query_of("SELECT t.* FROM t", ["X"]) == "SELECT t.* FROM t"
    assert query_of("SELECT a FROM t", ["X"]) == 'WITH v ("X") AS (\nSELECT a FROM t\n) SELECT * FROM v'


def reading(*columns: ReadColumn, **more: Any) -> Reading:
    return Reading(table=ITEM, columns=columns or (asked_for("ID", "integer"),), **more)


def test_a_reading_is_one_query_as_of_one_moment(server: Server) -> None:
    server.frames = [pa.table({"C0": pa.array([1, 2], pa.int64())}), pa.table({"C0": pa.array([3], pa.int64())})]
    with opened() as source:
        assert source.guarantees.consistency is Consistency.SNAPSHOT
        assert source.hold() == "5000"
        asked = reading(
            where="PRICE > 1 -- dear", range=KeyRange(column="ID", low=None, high=9), ordered=("ID",), limit=7
        )
        batches = list(source.read(asked))
    assert [b.to_pydict() for b in batches] == [{"ID": [1, 2, 3]}]
    sql, values, options = server.read[0]
    assert sql == (
        'SELECT t."ID" AS C0 FROM "HR"."ITEM" AS OF SCN :scn t WHERE (\nPRICE > 1 -- dear\n)'
        ' AND (t."ID" < 9 OR t."ID" IS NULL) ORDER BY t."ID" FETCH FIRST 7 ROWS ONLY'
    )
    assert values == {"scn": 5000}
    assert options["fetch_decimals"] is True


def test_a_moment_is_shared_with_who_joins(server: Server) -> None:
    with opened() as source:
        source.join("4000")
        list(source.read(reading()))
        with pytest.raises(SnapshotLostError):
            source.join("6000")
    assert server.read[0][1] == {"scn": 4000}


@pytest.mark.parametrize(
    ("url", "may", "seen"),
    [
        (URL, 0, Consistency.STATEMENT),
        (f"{URL}?schema=HR", 0, Consistency.SNAPSHOT),
        (f"{URL}?consistency=statement", 1, Consistency.STATEMENT),
        (f"{URL}?consistency=snapshot", 0, Consistency.SNAPSHOT),
    ],
)
def test_one_moment_is_promised_where_one_may_look_back(server: Server, url: str, may: int, seen: Consistency) -> None:
    server.answers[_oracle_sql.FLASHBACK] = [(may,)]
    with opened(url) as source:
        assert source.guarantees.consistency is seen
        assert bool(source.hold()) is (seen is Consistency.SNAPSHOT)


def test_without_a_number_of_the_moment_none_is_promised(server: Server) -> None:
    for asked in _oracle_sql.SCN:
        server.answers[asked] = complaint("ORA-00904")
    with opened() as source:
        assert source.guarantees.consistency is Consistency.STATEMENT
    with pytest.raises(AccessError, match="SCN"):
        opened(f"{URL}?consistency=snapshot")


def test_ends_and_numbers_are_exact(server: Server) -> None:
    end = _oracle_sql.ENDS.format(column='"ID"', table='"HR"."ITEM"', moment="", where="")
    server.answers[end] = [("-5", "99999999999999999999")]
    server.answers[_oracle_sql.COUNT.format(table='"HR"."ITEM"', moment="", where="")] = [("12",)]
    with opened() as source:
        assert source.bounds(ITEM, "ID") == (-5, 99999999999999999999)
        assert source.count(ITEM) == 12
        server.answers[end] = [(".5", "9")]
        with pytest.raises(SourceError, match="no integer key"):
            source.bounds(ITEM, "ID")
        server.answers[end] = [(None, None)]
        assert source.bounds(ITEM, "ID") is None


def test_orphans_are_counted_among_both_tables_of_one_moment(server: Server) -> None:
    key = ForeignReference(name="K", columns=("UP",), table=ITEM, referenced=("ID",))
    columns = tuple(ForeignColumn(name=n, native="NUMBER") for n in ("ID", "UP"))
    table = ForeignTable(name=ITEM, columns=columns, references=(key,))
    whole = ForeignDatabase(engine="oracle", product="Oracle", identity="", dialect="oracle", tables=(table,))
    with opened() as source:
        source.hold()
        (search,) = searches(whole, source.guarantees.moment)
        where = (
            ' WHERE (\nt."UP" IS NOT NULL AND NOT EXISTS (SELECT 1 FROM "HR"."ITEM" AS OF SCN 5000 pghaul_parent'
            ' WHERE pghaul_parent."ID" = t."UP")\n)'
        )
        asked = _oracle_sql.COUNT.format(table='"HR"."ITEM"', moment=_oracle_sql.MOMENT, where=where)
        server.answers[asked] = [("3",)]
        assert source.count(ITEM, search.where) == 3


def test_what_is_not_there_is_said_before_anything_is_read(server: Server) -> None:
    with opened() as source:
        with pytest.raises(NotFoundError):
            source.read(replace(reading(), table=Name("HR", "NONE")))
        with pytest.raises(ShapeChangedError, match="GONE"):
            source.read(reading(asked_for("GONE", "text")))
    assert server.read == []


def test_a_fetch_is_as_large_as_its_widest_rows_allow(server: Server) -> None:
    widest = _oracle_sql.WIDEST.format(
        sizes=_oracle_sql.SIZE.format(c='t."NOTE"'), table='"HR"."ITEM"', moment="", where=""
    )
    server.answers[widest] = [(1 << 20,)]
    with opened() as source:
        list(source.read(reading(asked_for("NOTE", "text"))))
        list(source.read(reading(batch_rows=100)))
    assert [options["size"] for _, _, options in server.read] == [1, 100]
    assert widest in [sql for sql, _ in server.asked]


def test_a_value_that_does_not_fit_is_named(server: Server) -> None:
    server.frames = [pa.table({"C0": pa.array([*("1" for _ in range(9)), "1.5"])})]
    with opened() as source, pytest.raises(SourceError, match=r"PRICE holds 1\.5, which is no bigint"):
        list(source.read(reading(asked_for("PRICE", "bigint"))))


def test_an_expression_is_read_by_the_type_that_the_server_says(server: Server) -> None:
    server.described = ["DB_TYPE_NUMBER"]
    server.frames = [pa.table({"C0": pa.array(["2.5"])})]
    with opened() as source:
        (batch,) = source.read(reading(asked_for("HALF", "numeric", expression='"PRICE" / 2')))
    assert batch.to_pydict() == {"HALF": ["2.5"]}
    assert server.read[0][0].startswith("""SELECT TO_CHAR(("PRICE" / 2), 'TM9'""")


def test_who_cancels_ends_the_query_on_the_server(server: Server) -> None:
    source = opened()

    def ended() -> Any:
        source.cancel()
        raise complaint("ORA-01013")

    server.frames = [pa.table({"C0": pa.array([1], pa.int64())}), ended]
    with source, pytest.raises(StoppedError):
        list(source.read(reading()))
    assert server.cancelled == 1


def test_a_moment_that_is_gone_asks_for_a_new_one(server: Server) -> None:
    server.frames = [complaint("ORA-01555", "snapshot too old")]
    with opened() as source, pytest.raises(SnapshotLostError, match="undo"):
        list(source.read(reading()))


def test_every_type_of_a_real_script_has_a_mapping() -> None:
    script = SHARED_DATA / "oracle" / "Chinook_Oracle.sql"
    if not script.is_file():
        missing(f"{script} is not there (PGHAUL_TEST_DATA names another folder)")
    tables = re.findall(r"CREATE TABLE \w+\s*\((.*?)\n\);", script.read_text(encoding="utf-8-sig"), re.DOTALL)
    found = {
        m[1]
        for table in tables
        for m in re.finditer(r"^\s+(?!CONSTRAINT)\w+ ([A-Z]\w+(?:\([^)]*\))?)", table, re.MULTILINE)
    }
    assert len(tables) == 11
    assert {"NUMBER", "DATE", "VARCHAR2(160)", "NUMBER(10,2)"} <= found
    assert {f for f in found if resolved(f).base not in {"NUMBER", "DATE", "VARCHAR2"}} == set()
    assert propose("NUMBER(10,2)")[0] == "numeric(10,2)"


def test_texts_that_the_server_makes_are_measured_before(server: Server) -> None:
    made = form(asked_for("A", "jsonb"), 't."A"', "JSON")
    assert (made.expression, made.sized) == ('JSON_SERIALIZE(t."A" RETURNING CLOB)', True)
    unknown = form(asked_for("A", "text"), 't."A"', "LONG")
    assert (unknown.width, unknown.sized) == (None, False)
    assert server.asked == []


def test_a_connection_that_is_lost_in_the_middle_is_a_passing_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(name="N", columns=(number("ID", 9),), rows=[(i,) for i in range(500)])
    stand = StandIn(tables=[table], breaks_after=200)
    monkeypatch.setattr(oracledb, "connect", stand.connect)
    read = Reading(table=Name("SHOP", "N"), columns=(asked_for("ID", "integer"),), batch_rows=100)
    with opened(URL.replace(":1522", "")) as source, pytest.raises(ConnectionLostError):
        list(source.read(read))
    stand.breaks_after = None
    with opened(URL.replace(":1522", "")) as source:
        assert sum(b.num_rows for b in source.read(read)) == 500


def test_a_statement_that_was_not_recorded_is_not_answered() -> None:
    with pytest.raises(AssertionError, match="not recorded"):
        StandIn(tables=[]).answer(f"{_oracle_sql.TABLES} ", {"owner": None})
