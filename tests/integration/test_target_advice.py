"""`pghaul target advise`: what is wrong on purpose is found, what it says mends it, and nothing else is done."""

from __future__ import annotations

import json

import pytest
from tests.looking import execute, state_of, value

from pghaul.cli.app import run
from pghaul.model.finding import Severity
from pghaul.model.upkeep import Advice
from pghaul.service.migration import MigrationService
from pghaul.target.advising_vectors import lists

Told = pytest.CaptureFixture[str]
WRONG = """
CREATE EXTENSION vector;
CREATE TABLE parent (id int PRIMARY KEY, note text);
CREATE TABLE child (id int PRIMARY KEY, a int, parent_id int NOT NULL REFERENCES parent);
CREATE TABLE good (id serial PRIMARY KEY, parent_id int REFERENCES parent, note text);
CREATE INDEX ON good (parent_id, note);
CREATE TABLE "no Key" (code int NOT NULL);
CREATE UNIQUE INDEX the_key ON "no Key" (code);
CREATE TABLE single (id int, code int NOT NULL UNIQUE);
CREATE TABLE keyless (x int);
INSERT INTO keyless SELECT generate_series(1, 20000);
CREATE INDEX never_read ON keyless (x);
CREATE INDEX twin_a ON parent (note);
CREATE INDEX twin_b ON parent (note);
CREATE INDEX no_twin ON parent (note DESC);
CREATE TABLE docs (id int PRIMARY KEY, small vector(3), large vector(3072), free vector);
SELECT setval('good_id_seq', 2000000000);
CREATE VIEW pg_stat_statements AS
    SELECT 'SELECT slow()'::text AS query, 5::int8 AS calls, 5000::float8 AS total_exec_time,
           1000::float8 AS mean_exec_time;
"""
EXPECTED = {
    ("foreign-key-index", "public.child"),
    ("no-primary-key", "public.no Key"),
    ("no-primary-key", "public.single"),
    ("no-primary-key", "public.keyless"),
    ("unused-index", "public.never_read"),
    ("duplicate-index", "public.twin_b"),
    ("never-analyzed", "public.keyless"),
    ("sequence-end", "public.good_id_seq"),
    ("slow-query", "SELECT slow()"),
    ("vector-index", "public.docs.small"),
    ("vector-index", "public.docs.large"),
    ("vector-dimensions", "public.docs.free"),
    ("setting", "random_page_cost"),
}


def advised(url: str, **said: object) -> list[Advice]:
    return MigrationService("sqlite://").target.advise(url, **said)[0]  # type: ignore[arg-type]


def found(advice: list[Advice]) -> set[tuple[str, str]]:
    return {(a.kind, a.object) for a in advice}


@pytest.mark.parametrize("db_source", ["pg16", "pg18"], indirect=True)
@pytest.mark.template(source=WRONG)
def test_what_is_wrong_is_found_and_nothing_is_changed(db_source: str) -> None:
    before = state_of(db_source)
    advice = advised(db_source)
    # Of the settings only what no other test of this server has a part in.
    assert {(k, o) for k, o in found(advice) if k != "setting" or o == "random_page_cost"} == EXPECTED
    assert state_of(db_source) == before
    assert [a.severity for a in advice] == sorted((a.severity for a in advice), key=list(Severity).index)
    assert all(a.sql for a in advice if a.kind not in {"slow-query", "vector-dimensions"})


@pytest.mark.template(source=WRONG)
def test_what_it_says_mends_it(db_source: str) -> None:
    for each in advised(db_source):
        for statement in each.sql.split(";") if each.kind != "setting" else []:
            if statement.strip():
                execute(db_source, statement)
    left = {kind for kind, _ in found(advised(db_source))}
    assert left <= {"setting", "slow-query", "vector-dimensions", "unused-index"}


@pytest.mark.template(source=WRONG)
def test_vector_indexes_are_made_where_it_is_asked_for(db_source: str, capsys: Told, state: str) -> None:
    words = ["target", "advise", db_source, "--create-vector-indexes", "--vector-distance", "l2", "--json"]
    assert run(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert [a["object"] for a in told["made"]] == ["public.docs.small", "public.docs.large"]
    assert (
        value(db_source, "SELECT count(*) FROM pg_indexes WHERE indexdef ~ 'hnsw .*vec_l2_ops|hnsw .*vector_l2_ops'")
        == 2
    )
    assert "vector-index" not in {a.kind for a in advised(db_source)}


@pytest.mark.template(source=WRONG)
def test_a_server_of_9_3_is_asked_nothing_that_it_does_not_know(
    db_source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", "9.3")
    advice = advised(db_source, memory=64 << 30)
    assert ("foreign-key-index", "public.child") in found(advice)
    assert not any("ALTER SYSTEM" in a.sql or "GENERATED" in a.sql for a in advice)
    assert ("setting", "effective_cache_size") in found(advice)


def test_memory_that_is_said_is_kept_in_proportion(db_source: str) -> None:
    better = {a.object: a.figures["better"] for a in advised(db_source, memory=128 << 20) if a.kind == "setting"}
    assert better["shared_buffers"] == "32MB"
    assert better["work_mem"] == "4MB"


def test_a_role_without_rights_gets_what_it_may_see(db_source: str, capsys: Told, state: str) -> None:
    name = db_source.rpartition("/")[2]
    role = f"sees_little_{name}"
    execute(db_source, "CREATE TABLE keyless (x int)", f"CREATE ROLE {role} LOGIN")
    try:
        assert run(["target", "advise", db_source.replace("postgres@", f"{role}@")]) == 0
        assert "public.keyless: no primary key" in capsys.readouterr().out
    finally:
        execute(db_source, f"DROP ROLE {role}")


@pytest.mark.parametrize(("rows", "n"), [(0, 10), (50_000, 50), (1_000_000, 1000), (4_000_000, 2000)])
def test_ivfflat_s_lists_grow_with_the_rows(rows: int, n: int) -> None:
    assert lists(rows) == n
