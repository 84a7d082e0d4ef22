"""Databases that people know, moved whole: what pg_dump says of both sides is the same, and so is every row.

PGHAUL_TEST_DATA names the folder that holds them, by default ../shared/data beside the repository. `pytest -s` shows
the table.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
from tests.compare import assert_same_content
from tests.components import SHARED_DATA, missing
from tests.databases import DatabasePair
from tests.integration.test_pagila import SAMPLES, Sample, load
from tests.moving import rows

from pghaul.model.plan import Options, Plan, Verify
from pghaul.model.table import Unsupported
from pghaul.service.migration import MigrationService
from pghaul.target.programs import find_programs

EVERY_FOLDER = {s.folder.split("/")[0] for s in SAMPLES.values()}

# What stands between two dumps of the same: times and versions, psql's own words, the settings of pg_dump.
NOISE = re.compile(r"^(--.*|\\(un)?restrict .*|SET .*|SELECT pg_catalog\.set_config.*)$", re.MULTILINE)

TABLES = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_|^information_schema|^pghaul' ORDER BY 1
"""
MATERIALIZED = "SELECT schemaname || '.' || matviewname FROM pg_matviews WHERE ispopulated ORDER BY 1"
SEQUENCES = "SELECT schemaname, sequencename, last_value FROM pg_sequences WHERE schemaname <> 'pghaul' ORDER BY 1, 2"
COUNTED = """
SELECT 'trigger' FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'rule' FROM pg_rewrite WHERE oid >= 16384 AND rulename <> '_RETURN'
UNION ALL SELECT 'policy' FROM pg_policy
UNION ALL SELECT 'function' FROM pg_proc p WHERE oid >= 16384
   AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE classid = 1255 AND objid = p.oid AND deptype = 'e')
UNION ALL SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'matview'
                      WHEN 'S' THEN 'sequence' WHEN 'i' THEN 'index' ELSE 'other' END
   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'pghaul' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'i')
UNION ALL SELECT 'foreign key' FROM pg_constraint WHERE contype = 'f'
UNION ALL SELECT 'comment' FROM pg_description WHERE objoid >= 16384
UNION ALL SELECT 'type' FROM pg_type WHERE oid >= 16384 AND typtype IN ('e', 'd')
"""


@dataclass(frozen=True, kw_only=True)
class Line:
    """Of the table that the last test prints."""

    database: str
    objects: Counter[str]
    rows: int
    left: list[Unsupported] = field(default_factory=list)


LINES: dict[str, Line] = {}


@cache
def newest_pg_dump() -> Path:
    return find_programs(180000).pg_dump


def schema_of(url: str) -> list[str]:
    """Every statement that pg_dump writes, without what says when, by whom and for which version."""
    words = [str(newest_pg_dump()), "--schema-only", "--exclude-schema=pghaul", "--no-owner", "--no-acl", url]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return sorted(s for s in re.split(r"\n{2,}", NOISE.sub("", text)) if s.strip())


@pytest.fixture(params=SAMPLES)
def sample(request: pytest.FixtureRequest, db_pair: DatabasePair) -> Iterator[Sample]:
    found = SAMPLES[request.param]
    folder = SHARED_DATA / "postgres" / found.folder
    if not folder.is_dir():
        missing(f"the sample database {found.folder} is not in {SHARED_DATA} (PGHAUL_TEST_DATA names another folder)")
    for script in found.scripts:
        load(db_pair.source_server, db_pair.source, folder / script)
    return found


def test_a_real_database_arrives_whole(sample: Sample, db_pair: DatabasePair, state: str) -> None:
    service = MigrationService()
    options = Options(workers=2, verify=Verify.CHECKSUM)
    run = service.run(
        Plan(source=db_pair.source, target=db_pair.target, whole=True, options=options), listener=lambda _: None
    )
    report = service.show(run.id)
    assert run.state.value == "done", report.events
    assert schema_of(db_pair.target) == schema_of(db_pair.source)
    tables = [name for (name,) in rows(db_pair.source, TABLES)]
    assert_same_content(db_pair.source, db_pair.target, tables)
    views = [name for (name,) in rows(db_pair.source, MATERIALIZED)]
    assert views == [name for (name,) in rows(db_pair.target, MATERIALIZED)]
    for view in views:
        query = f"SELECT v::text FROM {view} v ORDER BY 1"
        assert rows(db_pair.target, query) == rows(db_pair.source, query)
    assert rows(db_pair.target, SEQUENCES) == rows(db_pair.source, SEQUENCES)
    LINES[sample.folder] = Line(
        database=sample.folder,
        objects=Counter(kind for (kind,) in rows(db_pair.source, COUNTED)),
        rows=run.rows,
        left=list(report.not_carried),
    )


def test_no_folder_of_real_databases_is_forgotten() -> None:
    folder = SHARED_DATA / "postgres"
    if not folder.is_dir():
        missing(f"there are no sample databases in {SHARED_DATA}")
    assert {f.name for f in folder.iterdir() if f.is_dir()} == EVERY_FOLDER


def table(lines: dict[str, Line]) -> str:
    """As it is printed: database, objects by kind, rows, what was not carried and why."""
    out = []
    for line in lines.values():
        kinds = ", ".join(f"{n} {k}" for k, n in sorted(line.objects.items()))
        left = "; ".join(f"{u.kind} {u.name}: {u.why}" for u in line.left) or "everything was carried"
        out.append(f"{line.database:20} {line.rows:>7,} rows | {kinds} | {left}")
    return "\n".join(out)


@pytest.fixture(scope="module", autouse=True)
def printed() -> Iterator[None]:
    """After the last of them, in whatever order they ran."""
    yield
    if LINES:
        print("\n" + table(LINES))  # noqa: T201
