"""Real dumps of MySQL, loaded into MariaDB: they migrate whole and are verified, and hold what another driver reads.

`pytest -s` shows the table: database, tables, rows, and what was not carried and why.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from tests.components import SHARED_DATA, missing
from tests.looking import value
from tests.mariadb import MariaDatabase
from tests.moving import assert_done
from tests.moving import rows as rows_of
from tests.mysql_reading import carried, opened, read

from pghaul.model.foreign import ForeignTable, ReadColumn, Reading
from pghaul.model.plan import Verify
from pghaul.service.migration import MigrationService

OWN_DATABASE = re.compile(rb"(?im)^\s*(?:(?:drop|create)\s+(?:schema|database)\b|use\s)[^;]*;|\bsakila\.")
SAKILA = {"TRIGGER", "PROCEDURE", "FUNCTION", "ON UPDATE"}
COUNTS = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
LOOKED_AT = 1_000  # rows of each table, by both drivers
APART = ("text[]",)  # types whose text is made for PostgreSQL


def _load(mariadb: MariaDatabase, *scripts: str) -> None:
    for script in scripts:
        path = SHARED_DATA / "mysql" / script
        if not path.is_file():
            missing(f"mysql/{script} is not in {SHARED_DATA} (PGHAUL_TEST_DATA names another folder)")
        mariadb.load(OWN_DATABASE.sub(b"", path.read_bytes()), path.parent)


@pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
@pytest.mark.parametrize(
    ("scripts", "tables", "rows", "views", "others"),
    [
        (("sakila/sakila-mv-schema.sql", "sakila/sakila-mv-data.sql"), 16, 47_273, 7, SAKILA),
        (("employees_small/employee.sql", "employees_small/object.sql"), 6, 13_086, 4, {"FUNCTION", "PROCEDURE"}),
        (("world/world.sql",), 4, 5_759, 0, set()),
    ],
    ids=["sakila", "employees", "world"],
)
def test_a_real_database_migrates_whole(
    mariadb: MariaDatabase,
    db_source: str,
    state: str,
    scripts: tuple[str, ...],
    tables: int,
    rows: int,
    views: int,
    others: set[str],
) -> None:
    _load(mariadb, *scripts)
    moved = carried(mariadb, db_source, verify=Verify.CHECKSUM)
    assert_done(moved)
    assert moved.run.rows == rows
    assert set(moved.proofs().values()) == {"stream"}
    with opened(mariadb.url) as source:
        database = source.database()
        for table in database.tables:
            columns = tuple(ReadColumn(name=c.name, native=c.native, pg_type=c.pg_type) for c in table.columns)
            key = table.primary.columns if table.primary else ()
            wanted = Reading(table=table.name, columns=columns, ordered=key, limit=LOOKED_AT)
            arrived = read(source, wanted).to_pylist()
            assert _comparable(table, arrived) == _by_pymysql(mariadb, table, key)
    said = (len(database.tables), len(database.views), {o.kind for o in database.others})
    assert said == (tables, views, others)
    there = [name for (name,) in rows_of(db_source, COUNTS)]
    assert len(there) == tables
    assert [int(value(db_source, f'SELECT count(*) FROM "{t}"')) for t in there] == [
        int(mariadb.run(f"SELECT count(*) FROM `{t}`")[0][0]) for t in there
    ]
    if others == SAKILA:
        _assert_sakila_works(mariadb, db_source)
    left = MigrationService().show(moved.run.id).not_carried
    assert others <= {o.kind for o in left} <= others | {"VIEW", "INDEX"}
    print(f"\n{scripts[0]}: {tables} tables, {moved.run.rows} rows; not carried: {len(left)}")  # noqa: T201
    print(*(f"    {o.kind} {o.name}: {o.reason}" for o in left), sep="\n")  # noqa: T201


def _assert_sakila_works(mariadb: MariaDatabase, target: str) -> None:
    """Types, a view, keys and a sequence."""
    shown = "SELECT rating::text, special_features FROM film WHERE film_id = 1"
    assert rows_of(target, shown) == [("PG", ["Deleted Scenes", "Behind the Scenes"])]
    assert rows_of(target, 'SELECT * FROM customer_list WHERE "ID" = 1') == mariadb.run(
        "SELECT * FROM customer_list WHERE ID = 1"
    )
    assert value(target, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated") == 22
    assert value(target, "INSERT INTO actor (first_name, last_name) VALUES ('a', 'b') RETURNING actor_id") == 201


def _comparable(table: ForeignTable, rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    taken = _taken(table)
    return [tuple(_plain(row[c]) for c in taken) for row in rows]


def _by_pymysql(mariadb: MariaDatabase, table: ForeignTable, key: tuple[str, ...]) -> list[tuple[Any, ...]]:
    names = ", ".join(f"ST_AsText(`{c}`)" if c in _shapes(table) else f"`{c}`" for c in _taken(table))
    order = f" ORDER BY {', '.join(f'`{k}`' for k in key)}" if key else ""
    return [
        tuple(_plain(v) for v in r)
        for r in mariadb.run(f"SELECT {names} FROM `{table.name.name}`{order} LIMIT {LOOKED_AT}")
    ]


def _taken(table: ForeignTable) -> list[str]:
    return [c.name for c in table.columns if c.pg_type not in APART]


def _shapes(table: ForeignTable) -> set[str]:
    return {c.name for c in table.columns if c.native.startswith(("geometry", "point"))}


def _plain(value: Any) -> Any:
    """PyMySQL knows no time zones, and no booleans."""
    if isinstance(value, bool):
        return int(value)
    if hasattr(value, "tzinfo"):
        return value.replace(tzinfo=None)
    return Decimal(repr(value)) if isinstance(value, float) else value
