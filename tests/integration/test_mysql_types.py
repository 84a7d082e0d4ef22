"""What is proposed for types of MySQL and MariaDB, and why they are read as they are; tests/contract has the matrix."""

from __future__ import annotations

from decimal import Decimal

from tests.mariadb import MariaDatabase
from tests.mysql_reading import opened, read, table_of

from pghaul.model.foreign import ReadColumn, Reading
from pghaul.model.table import Name
from pghaul.sources import mysql
from pghaul.sources._mysql_batches import RawBatches
from pghaul.sources._mysql_reader import Link


def test_each_type_s_table_says_what_the_description_says() -> None:
    said = {native: pg_type for native, pg_type, _ in mysql.types()}
    assert said["bigint unsigned"] == "bigint"
    assert said["tinyint(1)"] == "boolean"
    assert all(pg_type for pg_type in said.values())


def test_booleans_and_times_are_proposed_where_all_values_are(mariadb: MariaDatabase) -> None:
    mariadb.run(
        "CREATE TABLE b (id int, yes tinyint(1), no tinyint(1), day time, longer time)",
        "INSERT INTO b VALUES (1, 1, 2, '10:00', '24:00:00'), (2, NULL, 0, NULL, NULL)",
    )
    with opened(mariadb.url) as source:
        columns = {c.name: c for c in table_of(source, "b").columns}
    types = {n: columns[n].pg_type for n in ("yes", "no", "day", "longer")}
    assert types == {"yes": "boolean", "no": "smallint", "day": "time(0) without time zone", "longer": "interval"}
    assert columns["no"].note == "1 values are neither 0 nor 1"


def test_sql_of_the_source_stands_for_a_column(mariadb: MariaDatabase) -> None:
    mariadb.run("CREATE TABLE x (id int PRIMARY KEY, a int, b date)", "INSERT INTO x VALUES (1, 5, '0000-00-00')")
    with opened(mariadb.url) as source:
        columns = (
            ReadColumn(name="a", native="int", pg_type="integer", expression="a * 2 -- twice"),
            ReadColumn(name="b", native="date", pg_type="date", expression="NULLIF(b, 0)"),
            ReadColumn(name="new", native="", pg_type="text", expression="CONCAT(id, '!')"),
        )
        found = read(source, Reading(table=Name("", "x"), columns=columns))
    assert found.to_pylist() == [{"a": "10", "b": None, "new": "1!"}]


def test_connectorx_by_itself_would_cut_decimals(mariadb: MariaDatabase) -> None:
    """Why they are read as text. Should this fail one day, connectorx has become better."""
    link = Link(mysql.endpoint(mariadb.url, {}, None))
    try:
        query = "SELECT CAST('0.123456789012' AS DECIMAL(20,12)) AS d"
        (batch,) = RawBatches(link, query, rows=256, size=1 << 20)
        assert batch.column(0).to_pylist() == [Decimal("0.1234567890")]
    finally:
        link.close()
