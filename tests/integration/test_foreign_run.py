"""A real database of another kind, whole: rows, keys, sequences, views, and what is said of the rest."""

from __future__ import annotations

import re

import pytest
from tests.components import SHARED_DATA, missing
from tests.looking import value
from tests.mariadb import MariaDatabase
from tests.moving import rows

from pghaul.model.event import Event
from pghaul.model.plan import Mapping, Options, Plan, Verify
from pghaul.model.run import RunState
from pghaul.service.migration import MigrationService

OWN_DATABASE = re.compile(rb"(?im)^\s*(?:(?:drop|create)\s+(?:schema|database)\b|use\s)[^;]*;|\bsakila\.")
COUNTS = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"


@pytest.mark.parametrize("db_source", ["pg18"], indirect=True)
def test_sakila_arrives_whole(mariadb: MariaDatabase, db_source: str, state: str) -> None:
    for script in ("sakila-mv-schema.sql", "sakila-mv-data.sql"):
        path = SHARED_DATA / "mysql" / "sakila" / script
        if not path.is_file():
            missing(f"{script} is not in {SHARED_DATA} (PGHAUL_TEST_DATA names another folder)")
        mariadb.load(OWN_DATABASE.sub(b"", path.read_bytes()), path.parent)
    heard: list[Event] = []
    options = Options(workers=1, verify=Verify.CHECKSUM)
    plan = Plan(source=mariadb.url, target=db_source, whole=True, mapping=Mapping(), options=options)
    run = MigrationService().run(plan, listener=heard.append)
    assert run.state is RunState.DONE
    tables = [name for (name,) in rows(db_source, COUNTS)]
    assert len(tables) == 16
    assert [int(value(db_source, f'SELECT count(*) FROM "{t}"')) for t in tables] == [
        int(mariadb.run(f"SELECT count(*) FROM `{t}`")[0][0]) for t in tables
    ]
    shown = "SELECT rating::text, special_features FROM film WHERE film_id = 1"
    assert rows(db_source, shown) == [("PG", ["Deleted Scenes", "Behind the Scenes"])]
    assert rows(db_source, 'SELECT * FROM customer_list WHERE "ID" = 1') == mariadb.run(
        "SELECT * FROM customer_list WHERE ID = 1"
    )
    assert value(db_source, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated") == 22
    assert value(db_source, "INSERT INTO actor (first_name, last_name) VALUES ('a', 'b') RETURNING actor_id") == 201
