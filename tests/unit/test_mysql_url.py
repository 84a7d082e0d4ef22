"""mysql:// URLs, types as they are spelled, and errors as they are understood."""

from __future__ import annotations

import socket
import sys

import pytest

from pghaul.model.errors import (
    AccessError,
    ConnectionLostError,
    NotFoundError,
    ServerBusyError,
    SourceError,
    TransientError,
    UsageError,
)
from pghaul.sources import mysql
from pghaul.sources._mysql_catalog import default_of
from pghaul.sources._mysql_session import kind_of, number_and_words
from pghaul.sources._mysql_types import parse, proposed
from pghaul.sources._mysql_url import endpoint


def test_a_url_says_everything() -> None:
    url = "mariadb://me%40home:p%40ss%2Fw0rd@db.example:3307/my%20db?ssl-mode=verify-ca&ssl_ca=/ca.pem&zero-dates=null"
    found = endpoint(url, {"MYSQL_PWD": "other", "MYSQL_HOST": "elsewhere"}, None)
    assert dict(found.params) == {
        "host": "db.example",
        "port": "3307",
        "user": "me@home",
        "database": "my db",
        "ssl-mode": "verify-ca",
        "ssl-ca": "/ca.pem",
        "zero-dates": "null",
    }
    assert found.password == "p@ss/w0rd"
    assert "w0rd" not in f"{found!r} {found.display}"
    assert endpoint(found.display, {}, "p@ss/w0rd") == found


def test_what_a_url_does_not_say_comes_from_the_environment() -> None:
    environ = {"MYSQL_PWD": "from env", "MYSQL_HOST": "h", "MYSQL_TCP_PORT": "99", "USER": "me"}
    found = endpoint("mysql:///db", environ, None)
    assert [found.get(k) for k in ("host", "port", "user", "database")] == ["h", "99", "me", "db"]
    assert found.password == "from env"
    assert endpoint("mysql://h/db", environ, "given").password == "given"
    assert endpoint("mysql://u:said1@h/db", environ, None).password == "said1"
    assert endpoint("mysql:///db", {"MYSQL_UNIX_PORT": "/run/s"}, None).get("socket") == "/run/s"
    assert endpoint("mysql://u@%2Frun%2Fs/db", {}, None).get("socket") == "/run/s"


@pytest.mark.parametrize(
    "url", ["mysql:", "mysql:db", "mysql://h:port/db", "mysql://h/db?ssl-mode=maybe", "mysql://h/db?colour=red"]
)
def test_a_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        endpoint(url, {}, None)
    assert refused.value.advice


@pytest.mark.parametrize(
    ("native", "pg_type"),
    [
        ("INT(11)", "integer"),
        ("integer unsigned", "bigint"),
        ("decimal(5,2) unsigned zerofill", "numeric(5,2)"),
        ("DECIMAL(5)", "numeric(5,0)"),
        ("bit", "boolean"),
        ("varchar(65535)", "character varying(65535)"),
        ("datetime", "timestamp(0) without time zone"),
        ("geomcollection", "text"),
        ("vector(3)", "vector(3)"),
        ("what is this", "text"),
    ],
)
def test_types_are_proposed_however_they_are_spelled(native: str, pg_type: str) -> None:
    assert proposed(parse(native)) == pg_type


def test_labels_are_taken_apart() -> None:
    assert parse(r"enum('a','it''s','b\\c',',')").labels == ("a", "it's", "b\\c", ",")
    assert parse("set('x')").labels == ("x",)
    assert parse("int(11)").labels == ()


@pytest.mark.parametrize(
    ("default", "extra", "kind", "mariadb", "sql"),
    [
        ("it's", "", "varchar", False, "'it''s'"),
        ("0", "", "int", False, "'0'"),
        ("CURRENT_TIMESTAMP", "", "timestamp", False, "CURRENT_TIMESTAMP"),
        ("uuid()", "DEFAULT_GENERATED", "varchar", False, "uuid()"),
        ("b'1'", "", "bit", False, "b'1'"),
        (None, "", "int", False, None),
        ("NULL", "", "int", True, None),
        ("'it''s'", "", "varchar", True, "'it''s'"),
        ("current_timestamp()", "", "timestamp", True, "current_timestamp()"),
    ],
)
def test_defaults_are_sql_on_both_kinds_of_server(
    default: str | None, extra: str, kind: str, mariadb: bool, sql: str | None
) -> None:
    row = {"COLUMN_DEFAULT": default, "EXTRA": extra, "DATA_TYPE": kind}
    assert default_of(row, mariadb=mariadb) == sql


def test_errors_are_of_the_class_that_says_what_to_do() -> None:
    wanted = {
        1045: AccessError,
        2013: ConnectionLostError,
        1040: ServerBusyError,
        1146: NotFoundError,
        1064: SourceError,
    }
    assert {n: kind_of(n) for n in wanted} == wanted
    assert issubclass(kind_of(1317), TransientError)
    unknown = OSError(2003, "no such host")
    unknown.original_exception = socket.gaierror()  # type: ignore[attr-defined]
    assert kind_of(number_and_words(unknown)[0]) is AccessError
    assert number_and_words(OSError("gone")) == (2013, "gone")
    assert number_and_words(ValueError("odd")) == (0, "ValueError: odd")


def test_a_missing_driver_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(NotFoundError, match="PyMySQL") as missing:
        mysql.open(mysql.endpoint("mysql://me@127.0.0.1:1/x", {}, None))
    assert missing.value.advice == "pip install 'pghaul[mysql]'"
