"""Databases that people know, moved whole from 16 to 18: pagila in three partition styles, and three more.

PGHAUL_TEST_DATA names the folder that holds them, by default ../shared/data beside the repository.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from tests.compare import assert_same_content
from tests.components import SHARED_DATA, missing
from tests.databases import DatabasePair
from tests.moving import Moved, assert_done, move, rows

from pghaul.model.plan import OnExisting
from pghaul.model.table import Name
from pghaul.service.embedded import Cluster

TABLES_SQL = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pghaul') ORDER BY 1, 2
"""
INDEXES_SQL = """
SELECT indexdef FROM pg_indexes JOIN pg_tables USING (schemaname, tablename)
WHERE schemaname NOT IN ('pg_catalog', 'pghaul') ORDER BY 1
"""
CONSTRAINTS_SQL = """
SELECT k.conrelid::regclass::text, k.conname, k.convalidated, pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
WHERE k.contype IN ('p', 'u', 'f', 'c', 'x') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pghaul')
ORDER BY 1, 2
"""
PARTITIONS_SQL = """
SELECT inhrelid::regclass::text, inhparent::regclass::text, pg_get_expr(c.relpartbound, c.oid)
FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid ORDER BY 1, 2
"""
SEQUENCES_SQL = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname <> 'pghaul' ORDER BY 1"
DEFAULTS_SQL = """
SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid AND c.relkind IN ('r', 'p')
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped AND relnamespace::regnamespace::text !~ '^pg_|^information_schema|^pghaul'
ORDER BY 1, attnum
"""
FACTS = (TABLES_SQL, INDEXES_SQL, CONSTRAINTS_SQL, PARTITIONS_SQL, SEQUENCES_SQL, DEFAULTS_SQL)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Scripts of psql."""

    folder: str
    scripts: tuple[str, ...]
    tables: int


PAGILA = ("pagila-schema.sql", "pagila-data.sql")
SAMPLES = {
    s.folder: s
    for s in (
        Sample(folder="pagila-declarative", scripts=PAGILA, tables=22),
        Sample(folder="pagila-trigger", scripts=PAGILA, tables=21),
        Sample(folder="pagila-rules-2007", scripts=PAGILA, tables=21),
        Sample(folder="northwind", scripts=("northwind.sql",), tables=14),
        Sample(folder="chinook", scripts=("Chinook_PostgreSql_SerialPKs.sql",), tables=11),
        Sample(folder="employees/small", scripts=("employee.sql",), tables=7),
    )
}
OWN_DATABASE = re.compile(r"\A.*^\\c \w+;$", re.DOTALL | re.MULTILINE)


@pytest.fixture(params=SAMPLES)
def sample(request: pytest.FixtureRequest, db_pair: DatabasePair) -> Iterator[Sample]:
    """A sample, loaded into the source."""
    found = SAMPLES[request.param]
    folder = SHARED_DATA / "postgres" / found.folder
    absent = [s for s in found.scripts if not (folder / s).is_file()]
    if absent:
        missing(f"the sample database {found.folder} is not in {SHARED_DATA} (PGHAUL_TEST_DATA names another folder)")
    for script in found.scripts:
        load(db_pair.source_server, db_pair.source, folder / script)
    return found


def load(server: Cluster, url: str, script: Path) -> None:
    """As its makers mean it, by psql; without the lines that make a database of their own."""
    text = OWN_DATABASE.sub("", script.read_text(encoding="utf-8"))
    words = [str(server.programs / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url]
    subprocess.run(
        words,
        input=text.encode(),
        cwd=script.parent,
        env=os.environ | {"PGCLIENTENCODING": "UTF8"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=True,
    )


def test_a_known_database_arrives_whole_and_once_more_over_itself(
    sample: Sample, db_pair: DatabasePair, state: str
) -> None:
    with psycopg.connect(db_pair.source) as source:
        tables = [Name(*row) for row in source.execute(TABLES_SQL)]
    assert len(tables) == sample.tables
    moved = move(db_pair, "*.*", workers=2)
    assert_arrived(moved, db_pair, tables)
    again = move(db_pair, "*.*", on_existing=OnExisting.TRUNCATE)
    assert_arrived(again, db_pair, tables)


def assert_arrived(moved: Moved, pair: DatabasePair, tables: list[Name]) -> None:
    """All rows, and with them indexes, constraints, partitions, sequences, columns and defaults."""
    assert_done(moved)
    assert_same_content(pair.source, pair.target, tables)
    for query in FACTS:
        assert rows(pair.target, query) == rows(pair.source, query)
