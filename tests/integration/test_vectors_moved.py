"""Vectors of other databases as pgvector's, to be searched by an index: from a run to the advice."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tests.looking import value
from tests.mariadb import MariaDatabase
from tests.moving import assert_done, rows, run_sql
from tests.mysql_reading import carried as carried_from
from tests.sqlite_files import carried, made

from pghaul.model.plan import Mapping
from pghaul.model.run import RunState
from pghaul.service.migration import MigrationService

A, B, BAD = (struct.pack(f"<{len(n)}f", *n).hex() for n in ((0.25, 2, 3), (4, 5, 6), (1, 2)))
HELD = "SELECT id, v::text FROM {table} ORDER BY id"

pytestmark = pytest.mark.parametrize("db_source", ["pg18"], indirect=True)


def test_blobs_and_texts_of_sqlite_are_searched_by_an_index(db_source: str, state: str, tmp_path: Path) -> None:
    path = made(
        tmp_path / "v.db",
        f"""CREATE TABLE blobs (id INTEGER PRIMARY KEY, v BLOB);
        INSERT INTO blobs VALUES (1, x'{A}'), (2, NULL), (3, x'{B}');
        CREATE TABLE texts (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO texts VALUES (1, '[0.25, 2, 3]'), (2, NULL);
        CREATE TABLE mixed (id INTEGER PRIMARY KEY, v BLOB);
        INSERT INTO mixed VALUES (1, x'{A}'), (2, '[4,5,6]'), (3, x'{BAD}');""",
    )
    run_sql(db_source, "CREATE EXTENSION vector")
    mapping = Mapping(types={"blob": "vector(3)", "text": "halfvec(3)"})
    moved = carried(path, db_source, mapping=mapping, max_rejects=1)
    assert moved.run.state is RunState.DIFFERENT
    assert rows(db_source, HELD.format(table="blobs")) == [(1, "[0.25,2,3]"), (2, None), (3, "[4,5,6]")]
    assert rows(db_source, HELD.format(table="texts")) == [(1, "[0.25,2,3]"), (2, None)]
    assert rows(db_source, HELD.format(table="mixed")) == [(1, "[0.25,2,3]"), (2, "[4,5,6]")]
    assert "dimensions" in value(db_source, "SELECT message FROM pghaul.quarantine")
    assert value(db_source, "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attname = 'v' "
                            "AND attrelid = 'blobs'::regclass") == "vector(3)"  # fmt: skip
    MigrationService().target.advise(db_source, create_vector_indexes=True)
    assert value(db_source, "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%USING hnsw%'") == 3


def test_texts_documents_and_blobs_of_mariadb(mariadb: MariaDatabase, db_source: str, state: str) -> None:
    mariadb.run(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(99))",
        "CREATE TABLE d (id int PRIMARY KEY, v json)",
        "CREATE TABLE b (id int PRIMARY KEY, v blob)",
        "INSERT INTO t VALUES (1, '[0.25,2,3]')",
        "INSERT INTO d VALUES (1, '[0.25, 2, 3]')",
        f"INSERT INTO b VALUES (1, x'{A}'), (2, NULL)",
    )
    run_sql(db_source, "CREATE EXTENSION vector")
    types = dict.fromkeys(("varchar", "json", "blob"), "vector(3)")
    assert_done(carried_from(mariadb, db_source, mapping=Mapping(types=types)))
    assert [rows(db_source, HELD.format(table=t))[0] for t in "tdb"] == [(1, "[0.25,2,3]")] * 3
