"""The endpoint of tests/tds: two clients that know nothing of each other read the same from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pymssql
import pytds
import pytest
from tests.tds import types as t
from tests.tds.endpoint import Endpoint
from tests.tds.tokens import Answer, Message, Result

COLUMNS = (
    ("bit", t.BIT), ("tinyint", t.TINYINT), ("int", t.INT), ("bigint", t.BIGINT), ("real", t.REAL), ("float", t.FLOAT),
    ("money", t.MONEY), ("smallmoney", t.SMALLMONEY), ("decimal", t.decimal(38, 10)), ("nvarchar", t.nvarchar(50)),
    ("nvarchar(max)", t.nvarchar(None)), ("varchar", t.varchar(50)), ("korean", t.varchar(50, t.KOREAN, "cp949")),
    ("varchar(max)", t.varchar(None)), ("varbinary", t.varbinary(50)), ("varbinary(max)", t.varbinary(None)),
    ("guid", t.GUID), ("date", t.DATE), ("datetime", t.DATETIME), ("smalldatetime", t.SMALLDATETIME),
    ("time", t.time(6)), ("datetime2", t.datetime2(6)), ("datetimeoffset", t.datetimeoffset(6)), ("xml", t.XML),
    ("text", t.TEXT), ("ntext", t.NTEXT), ("image", t.IMAGE), ("nchar", t.nchar(4)), ("char", t.char(4)),
    ("binary", t.binary(4)), ("fixed", t.FIXED_INT),
)  # fmt: skip
ROWS: tuple[tuple[Any, ...], ...] = (
    (
        1, 255, -(2**31), 2**63 - 1, 1.5, 1.7976931348623157e308, Decimal("-922337203685477.5808"),
        Decimal("-214748.3648"), Decimal("1234567890123456789012345678.0123456789"), "a😀한\0x", "x😀" * 9_000, "é€",
        "한글", "y" * 20_000, b"\0\1", b"z" * 30_000, "6f9619ff-8b86-d011-b42d-00c04fc964ff", 3_652_058,
        (2_958_463, 25_919_999), (65_535, 1_439), 86_399_999_999, (86_399_999_999, 3_652_058), (0, 738_000, 330),
        "<a/>", "téxt", "n😀", b"\0img", "ab  ", "ab  ", b"\1\2\0\0", 7,
    ),
    (*(None for _ in COLUMNS[:-1]), 8),
    (
        0, 0, 0, 0, 0.0, -0.0, Decimal(0), Decimal(0), Decimal("-0.0000000001"), "", "", "", "", "", b"", b"",
        "00000000-0000-0000-0000-000000000000", 0, (-53_690, 0), (0, 0), 0, (0, 0), (0, 0, 0), "", "", "", b"",
        "    ", "    ", bytes(4), 9,
    ),
)  # fmt: skip


def answers(text: str) -> list[Answer]:
    """By the first word."""
    known: dict[str, list[Answer]] = {
        "rows": [Result(columns=COLUMNS, rows=ROWS)],
        "compressed": [Result(columns=COLUMNS, rows=ROWS, compressed=True)],
        "fails": [Message(number=208, text="Invalid object name 'x'.")],
        "late": [Result(columns=COLUMNS[:1], rows=[(1,)]), Message(number=1205, text="deadlock victim", severity=13)],
        "cut": [Result(columns=COLUMNS, rows=ROWS * 9, cut_after=5)],
        "hangs": [Result(columns=[("x", t.nvarchar(4000))], rows=[("x" * 4000,)] * 1000, hang_after=500)],
        "many": [Result(columns=(("n", t.INT),), rows=((i,) for i in range(100_000)))],
    }
    return known.get(text.partition(" ")[0], [])


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    """One for all."""
    with Endpoint(answers) as opened:
        yield opened


def by_freetds(endpoint: Endpoint, password: str = "Secret-7") -> Any:  # noqa: S107
    """FreeTDS's protocol."""
    return closing(
        pymssql.connect(
            server="127.0.0.1",
            port=str(endpoint.port),
            user="sa",
            password=password,
            database="x",
            autocommit=True,
            tds_version="7.4",
            encryption="off",
        )
    )


def by_pytds(endpoint: Endpoint, password: str = "Secret-7") -> Any:  # noqa: S107
    """Another implementation of it."""
    return closing(
        pytds.connect("127.0.0.1", "x", "sa", password, port=endpoint.port, autocommit=True, tds_version=0x74000004)
    )


ERRORS = (pymssql.Error, pytds.Error)
CLIENTS = pytest.mark.parametrize("client", [by_freetds, by_pytds])


def plain(row: Any) -> list[Any]:
    """The same for both clients."""
    return [v.utctimetuple() if getattr(v, "tzinfo", None) else v for v in row]


@pytest.mark.parametrize("how", ["rows", "compressed"])
def test_two_clients_read_the_same_of_every_type(endpoint: Endpoint, how: str) -> None:
    found = []
    for client in (by_freetds, by_pytds):
        with client(endpoint) as connection, connection.cursor() as cursor:
            cursor.execute(how)
            found.append([plain(row) for row in cursor.fetchall()])
    assert found[0] == found[1]
    first, nulls, _ = found[0]
    assert nulls[:-1] == [None] * (len(COLUMNS) - 1)
    assert first[8] == Decimal("1234567890123456789012345678.0123456789")
    assert (first[9], len(first[10]), first[12], first[26]) == ("a😀한\0x", 18_000, "한글", b"\0img")


@CLIENTS
def test_a_wrong_password_is_refused_by_its_number(endpoint: Endpoint, client: Any) -> None:
    with pytest.raises(ERRORS, match=r"Login failed|18456") as refused:
        client(endpoint, "wrong-one")
    assert "wrong-one" not in str(refused.value)


@CLIENTS
@pytest.mark.parametrize(("how", "words"), [("fails", "Invalid object"), ("late", "deadlock"), ("cut", "EOF|closed")])
def test_an_error_and_a_cut_are_met_where_they_happen(endpoint: Endpoint, client: Any, how: str, words: str) -> None:
    def read() -> object:
        cursor.execute(how)
        return cursor.fetchall()

    with client(endpoint) as connection, connection.cursor() as cursor, pytest.raises(ERRORS, match=words):
        read()


def test_statements_with_values_come_through_sp_executesql(endpoint: Endpoint) -> None:
    with by_pytds(endpoint) as connection, connection.cursor() as cursor:
        cursor.execute("many %s", ("x",))
        assert len(cursor.fetchmany(1000)) == 1000


def test_a_statement_is_ended_by_attention(endpoint: Endpoint) -> None:
    before = endpoint.attentions
    with by_pytds(endpoint) as connection, connection.cursor() as cursor:
        cursor.execute("hangs")
        assert cursor.fetchone() == ("x" * 4000,)
        cursor.cancel()
        cursor.execute("many")
        assert cursor.fetchone() == (0,)
    assert endpoint.attentions > before


@CLIENTS
def test_a_hundred_thousand_rows_arrive(endpoint: Endpoint, client: Any) -> None:
    with client(endpoint) as connection, connection.cursor() as cursor:
        cursor.execute("many")
        assert sum(n for (n,) in cursor.fetchall()) == sum(range(100_000))
