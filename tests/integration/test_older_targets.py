"""What an older target cannot hold is named before anything is made there; what it says otherwise is written so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.compare import assert_same_content
from tests.databases import DatabasePair
from tests.looking import select, state_of
from tests.moving import assert_done, move

from pghaul.engine import older_target
from pghaul.model.errors import NotSupportedError
from pghaul.model.finding import Severity
from pghaul.postgres.catalog import describe
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import Session, connect

NEW = """
CREATE TABLE nulls (id int4 UNIQUE NULLS NOT DISTINCT);
CREATE TABLE virtual (a int4, b int4 GENERATED ALWAYS AS (a + 1) VIRTUAL);
CREATE TABLE spans (id int4range, at tsrange, PRIMARY KEY (id, at WITHOUT OVERLAPS));
CREATE TABLE loose (b int4 CONSTRAINT b_small CHECK (b < 100) NOT ENFORCED);
CREATE TABLE late (a int4); ALTER TABLE late ADD CONSTRAINT a_there NOT NULL a NOT VALID;
CREATE DOMAIN many AS int4multirange;
CREATE TABLE ranges (a many[], x xid8);
CREATE TABLE blocks (v int4); CREATE INDEX ON blocks USING brin (v int4_minmax_multi_ops);
CREATE TABLE pressed (t text COMPRESSION pglz);
CREATE TABLE plain (id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text NOT NULL UNIQUE);
"""
NAMED = {
    "public.nulls": {"unique indexes where NULLS are NOT DISTINCT"},
    "public.virtual": {"virtual generated columns"},
    "public.spans": {"keys WITHOUT OVERLAPS or of a PERIOD"},
    "public.loose": {"constraints that are NOT ENFORCED"},
    "public.late": {"NOT NULL constraints that are NOT VALID"},
    "public.ranges": {"the type int4multirange", "the type xid8"},
    "public.blocks": {"an index with int4_minmax_multi_ops of brin"},
}
FOR_10 = """
CREATE TABLE hashed (id int4 PRIMARY KEY) PARTITION BY HASH (id);
CREATE TABLE rest (id int4) PARTITION BY RANGE (id);
CREATE TABLE rest_0 PARTITION OF rest DEFAULT;
CREATE TABLE wide (id int4, v text, UNIQUE (id) INCLUDE (v));
CREATE TABLE refers (id int4 REFERENCES hashed);
"""


@contextmanager
def sessions(pair: DatabasePair) -> Iterator[tuple[Session, Session]]:
    source = connect(resolve(pair.source), application_name="test", role="source")
    target = connect(resolve(pair.target), application_name="test", role="target")
    with source, target:
        yield source, target


def found(pair: DatabasePair) -> dict[str, set[str]]:
    with sessions(pair) as (source, target):
        tables = [*describe(source, select(source, ["public.*"])).values()]
        named: dict[str, set[str]] = {}
        for finding in older_target.findings(source, target, tables):
            if finding.severity is Severity.ERROR:
                what = finding.what.removeprefix(f"{finding.object} has ").partition(", which PostgreSQL ")[0]
                named.setdefault(finding.object, set()).add(what)
        return named


@pytest.mark.template(source=NEW)
@pytest.mark.parametrize("db_pair", [("pg18", "pg12")], indirect=True)
def test_everything_that_12_does_not_know_is_named_and_nothing_else(db_pair: DatabasePair, state: str) -> None:
    assert found(db_pair) == NAMED
    before = state_of(db_pair.target)
    with pytest.raises(NotSupportedError, match="which PostgreSQL 12") as caught:
        move(db_pair, "public.*")
    assert len(getattr(caught.value, "__notes__", [])) >= 3
    assert state_of(db_pair.target) == before
    assert_done(move(db_pair, "plain", "pressed"))
    assert_same_content(db_pair.source, db_pair.target, ["public.plain", "public.pressed"])


@pytest.mark.template(source=FOR_10)
def test_what_10_does_not_know_is_asked_for_by_its_capabilities(
    db_pair: DatabasePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", "target=10")
    assert found(db_pair) == {
        "public.hashed": {"partitions by hash", "indexes or keys of a partitioned table"},
        "public.rest": {"a default partition"},
        "public.wide": {"indexes that INCLUDE columns"},
        "public.refers": {"foreign keys to a partitioned table"},
    }


@pytest.mark.template(source=NEW)
@pytest.mark.parametrize("db_pair", [("pg18", "pg18")], indirect=True)
def test_a_server_of_the_same_version_is_not_asked(db_pair: DatabasePair) -> None:
    assert found(db_pair) == {}
