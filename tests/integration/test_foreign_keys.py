"""Foreign keys of the target: found from both sides, dropped, put back, checked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.databases import DatabasePair

from pghaul.model.errors import PghaulError
from pghaul.model.table import Name
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import Session, connect
from pghaul.target import foreign_keys

TABLES = """
CREATE SCHEMA "S ""q"" z";
CREATE TABLE city (id int PRIMARY KEY);
CREATE TABLE "S ""q"" z"."거리" (id int PRIMARY KEY,
  city int CONSTRAINT "F k" REFERENCES city ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE h (id int, city int REFERENCES city, day int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE h_1 PARTITION OF h FOR VALUES FROM (0) TO (10);
CREATE TABLE outsider (id int, day int, CONSTRAINT to_h FOREIGN KEY (id, day) REFERENCES h);
CREATE TABLE doubtful (city int);
ALTER TABLE doubtful ADD CONSTRAINT never_checked FOREIGN KEY (city) REFERENCES city NOT VALID;
"""
ALL_SQL = """
SELECT conrelid::regclass::text, confrelid::regclass::text, pg_get_constraintdef(oid), convalidated
  FROM pg_constraint WHERE contype = 'f' ORDER BY 1, 2, 3
"""
SERVERS = [("pg16", "pg15"), ("pg16", "pg18")]


@pytest.fixture
def target(db_pair: DatabasePair) -> Iterator[Session]:
    with connect(resolve(db_pair.target), application_name="pghaul/test/1/leader", role="target") as session:
        yield session


def found(session: Session, *names: str) -> list[str]:
    tables = [Name("public", n) for n in names]
    return [fk.constraint for fk in foreign_keys.find(session, tables)]


@pytest.mark.template(target=TABLES)
@pytest.mark.parametrize("db_pair", SERVERS, indirect=True)
def test_incoming_and_outgoing_keys_are_found(target: Session) -> None:
    assert sorted(found(target, "city")) == ["F k", "h_city_fkey", "never_checked"]
    assert found(target, "outsider") == ["to_h"]


@pytest.mark.template(target=TABLES)
@pytest.mark.parametrize("db_pair", SERVERS, indirect=True)
def test_a_partitions_share_is_found_as_its_roots_key(target: Session) -> None:
    keys = foreign_keys.find(target, [Name("public", "h_1")])
    assert [(k.table.name, k.constraint) for k in keys] == [("h", "h_city_fkey"), ("outsider", "to_h")]


@pytest.mark.template(target=TABLES)
@pytest.mark.parametrize("db_pair", SERVERS, indirect=True)
def test_dropped_and_put_back_they_are_what_they_were(target: Session) -> None:
    before = target.rows(ALL_SQL)
    keys = foreign_keys.find(target, [Name("public", "city"), Name("public", "h_1")])
    for key in keys:
        target.execute(foreign_keys.drop_sql(key))
        target.execute(foreign_keys.drop_sql(key))  # a resume may come twice
    assert target.rows(ALL_SQL) == []
    for key in keys:
        target.execute(foreign_keys.add_sql(key))
    for statement in filter(None, map(foreign_keys.validate_sql, keys)):
        target.execute(statement)
    assert target.rows(ALL_SQL) == before


@pytest.mark.template(target=TABLES)
def test_rows_that_break_a_key_are_found_by_its_validation(target: Session) -> None:
    (key,) = foreign_keys.find(target, [Name('S "q" z', "거리")])
    target.execute(foreign_keys.drop_sql(key))
    target.execute('INSERT INTO "S ""q"" z"."거리" VALUES (1, 404)')
    target.execute(foreign_keys.add_sql(key))
    with pytest.raises(PghaulError, match="F k"):
        target.execute(foreign_keys.validate_sql(key))
