"""Buckets: every row is in one, and the condition of a bucket finds exactly its rows, wherever keys lie."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg.sql import SQL
from tests.databases import DatabasePair

from pghaul.engine.verify_cut import EMPTY, Cut, digest, ranges
from pghaul.engine.verify_sql import Part, Rows
from pghaul.model.table import Name
from pghaul.postgres.catalog import describe
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import Session, connect

NAME = Name("public", "t")
VALUES = """
CREATE TABLE t (a bigint, b int, v text);
INSERT INTO t SELECT g, g % 7, 'v' FROM generate_series(-50, 300) g;
INSERT INTO t SELECT a, b, 'edge' FROM unnest('{-9223372036854775808,9223372036854775807,0,-1,NULL}'::bigint[]) a,
    unnest('{-2147483648,2147483647,3,NULL}'::int[]) b;
CREATE INDEX ON t (a, b)
"""
SPANS = [
    [("a", 1, 300, 300.0)],
    [("a", -50, -1, 50.0)],
    [("a", 7, 7, 1.0), ("b", 0, 6, 7.0)],
    [("a", 1, 3, 3.0), ("b", -3, 500, 500.0)],
    [("a", -(2**63), 2**63 - 1, 1000.0)],
    [("a", 2**62, 2**63 - 1, 1000.0)],
    [("a", 0, 1, 2.0), ("b", -(2**31), 2**31 - 1, 500.0)],
]


@pytest.fixture
def session(db_pair: DatabasePair) -> Iterator[Session]:
    with connect(resolve(db_pair.source), application_name="test", role="source") as found:
        yield found


def rows_of(session: Session, *, extended: bool = True) -> Rows:
    columns = describe(session, [NAME])[NAME].columns
    return Rows(
        parts=(Part(table=NAME),),
        columns=columns,
        changes={},
        extended=extended,
        float_binary=False,
        types={c.name: c.type for c in columns},
    )


def assert_each_finds_its_own(session: Session, side: Rows, cut: Cut) -> int:
    """How many buckets there are."""
    buckets = {EMPTY if n is None else n: (rows, total) for n, rows, total in session.rows(cut.group(side))}
    assert sum(rows for rows, _ in buckets.values()) == session.value("SELECT count(*) FROM public.t")
    one = SQL("SELECT count(*)::int8, sum({}) ::text FROM ({}) AS r WHERE {}")
    for number, expected in buckets.items():
        assert session.rows(one.format(side.hash(), side.query, cut.within(side, [number])))[0] == expected
    half = list(buckets)[::2]
    found = session.rows(one.format(side.hash(), side.query, cut.within(side, half)))[0]
    assert found[0] == sum(buckets[n][0] for n in half)
    return len(buckets)


@pytest.mark.parametrize("spans", SPANS, ids=str)
@pytest.mark.template(source=VALUES)
def test_a_range_finds_its_rows_and_no_others(
    session: Session, monkeypatch: pytest.MonkeyPatch, spans: list[tuple[str, int, int, float]]
) -> None:
    monkeypatch.setattr("pghaul.engine.verify_cut.ROWS_PER_BUCKET", 10)
    monkeypatch.setattr("pghaul.engine.verify_cut.FEW", 2)
    cut = ranges(spans, 300)
    assert cut is not None
    assert assert_each_finds_its_own(session, rows_of(session), cut) > 1


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize("key", [("a", "b"), ()])
@pytest.mark.template(source=VALUES)
def test_so_does_a_hash(
    session: Session, monkeypatch: pytest.MonkeyPatch, extended: bool, key: tuple[str, ...]
) -> None:
    monkeypatch.setattr("pghaul.engine.verify_cut.ROWS_PER_BUCKET", 10)
    side = rows_of(session, extended=extended)
    cut = digest([c for c in side.columns if c.name in key], 300)
    assert assert_each_finds_its_own(session, side, cut) > 10


@pytest.mark.template(source=VALUES)
def test_ranges_of_a_key_are_found_by_its_index(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pghaul.engine.verify_cut.ROWS_PER_BUCKET", 10)
    session.execute("INSERT INTO public.t SELECT g, 1, 'v' FROM generate_series(301, 20000) g")
    session.execute("ANALYZE public.t")
    cut, side = ranges([("a", 1, 20000, 20000.0)], 20000), rows_of(session)
    assert cut is not None
    query = SQL("EXPLAIN SELECT 1 FROM ({}) AS r WHERE {}").format(side.query, cut.within(side, [3, 40]))
    plan = "\n".join(line for (line,) in session.rows(query))
    assert "Seq Scan" not in plan


def test_what_has_too_few_values_is_not_cut_by_them() -> None:
    assert ranges([], 10**6) is None
    assert ranges([("a", 1, 3, 3.0)], 10**6) is None
    assert ranges([("a", 1, 3, 3.0), ("b", 1, 2, 2.0)], 10**6) is None
    assert ranges([("a", 1, 3, 3.0), ("b", 1, 10**6, 10.0**6)], 10**6) is not None
