"""Bounds as Python values, and the servers' texts that become bounds."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from pghaul.model.bounds import Authority, Bounds, Edge, Strategy, after, low_order
from pghaul.postgres.expressions import parse_check
from pghaul.postgres.partition_bounds import parse_partition_bound

TYPES = {
    "issued_date": "bigint",
    "n": "numeric(10,2)",
    "t": "timestamp without time zone",
    "z": "timestamp(3) with time zone",
    "d": "date",
    "day": "character varying(8)",
    "mood": "public.mood",
    "k": "text",
    "date": "date",
    "range": "integer",
    "Odd \"name's 5": "integer",
}


def rng(low: Any = None, high: Any = None, *, ends: str = "[)", **facts: Any) -> Bounds:
    """A range by its values; `ends` says which belong to it."""
    return Bounds(
        strategy=Strategy.RANGE,
        low=None if low is None else Edge(value=low, inclusive=ends[0] == "["),
        high=None if high is None else Edge(value=high, inclusive=ends[1] == "]"),
        **facts,
    )


@pytest.mark.parametrize(
    ("text", "low", "high", "ends"),
    [
        (
            "((issued_date >= '1726758000000'::bigint) AND (issued_date <= '1726844399999'::bigint))",
            1726758000000,
            1726844399999,
            "[]",
        ),
        ("(('5'::bigint <= issued_date) AND (7 > issued_date))", 5, 7, "[)"),
        ("(issued_date BETWEEN 1 AND 5)", 1, 5, "[]"),
        ("((issued_date > '-5'::integer) AND (issued_date < (-1)))", -5, -1, "()"),
        ("(((issued_date)::numeric >= 3.5) AND (issued_date <= (9)::numeric))", Decimal("3.5"), 9, "[]"),
        ("((n >= 0.25) AND (n < '1e3'::numeric(10,2)))", Decimal("0.25"), 1000, "[)"),
        (
            "((t >= '2024-09-20 00:00:00'::timestamp without time zone) AND (t < '2024-09-21'::date))",
            datetime(2024, 9, 20),
            datetime(2024, 9, 21),
            "[)",
        ),
        (
            "((z >= '2024-09-19 15:00:00+00'::timestamp with time zone)"
            " AND (z < '2024-09-21 00:00:00+09'::timestamp with time zone))",
            datetime(2024, 9, 19, 15, tzinfo=UTC),
            datetime(2024, 9, 20, 15, tzinfo=UTC),
            "[)",
        ),
        ("((d >= '2024-09-01'::date) AND (d <= '2024-09-30'::date))", date(2024, 9, 1), date(2024, 9, 30), "[]"),
        ("((date >= '2024-09-01'::date) AND (date <= '2024-09-30'::date))", date(2024, 9, 1), date(2024, 9, 30), "[]"),
        ("(((day)::text >= '20240901'::text) AND ((day)::text < '2024''10'::text))", "20240901", "2024'10", "[)"),
        ("((k >= 'a'::text COLLATE \"C\") AND (k < E'b\\\\n'::text))", "a", "b\\n", "[)"),
        ('(("Odd ""name\'s 5" >= 4) AND ("Odd ""name\'s 5" < 8))', 4, 8, "[)"),
        ("((range >= 4) AND (8 > range))", 4, 8, "[)"),
        ("(t >= '-infinity'::timestamp without time zone)", None, None, "[)"),
    ],
)
def test_a_check_between_constants_is_a_range(text: str, low: Any, high: Any, ends: str) -> None:
    checked = parse_check(text, TYPES)
    (bounds,) = checked.bounds
    assert checked.plain
    assert (bounds.low, bounds.high) == (rng(low, high, ends=ends).low, rng(low, high, ends=ends).high)
    assert (bounds.authority, bounds.trusted, bounds.nulls) == (Authority.CHECK, True, True)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("(k = ANY (ARRAY['a'::text, 'b'::text]))", ("a", "b")),
        ("((day)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))", ("a", "b")),
        ("(issued_date = 5)", (5,)),
        ("(issued_date IN (5, 6))", (5, 6)),
        ("(mood = 'good'::public.mood)", ("good",)),
    ],
)
def test_a_check_against_values_is_a_list(text: str, values: tuple[Any, ...]) -> None:
    (bounds,) = parse_check(text, TYPES).bounds
    assert (bounds.strategy, bounds.values) == (Strategy.LIST, values)


@pytest.mark.parametrize(
    "text",
    [
        "(date_part('year'::text, t) = (2024)::double precision)",
        "(EXTRACT(year FROM t) = (2024)::numeric)",
        "((issued_date = 1) OR (issued_date = 2))",
        "(NOT (issued_date < 5))",
        "(k ~ 'x'::text)",
        "(issued_date <> 4)",
        "(issued_date >= n)",
        "((issued_date % (2)::bigint) = 0)",
        "((k)::date >= '2024-01-01'::date)",
        "(z >= '2024-01-01 00:00:00'::timestamp without time zone)",  # the session's time zone decides
        "(z >= '2024-01-01'::date)",
        "(t >= '2024-01-01 00:00:00+00'::timestamp with time zone)",
        "(t >= '2024-01-01 00:00:00 BC'::timestamp without time zone)",  # Python has no such year
        "(n < 'NaN'::numeric)",
        "(mood >= 'good'::public.mood)",  # an enum's order is not that of its texts
        "(abs(issued_date) < 5)",
        "public.is_fine(issued_date, 5)",
        "this is (no SQL",
    ],
)
def test_what_is_no_plain_bound_is_handed_back(text: str) -> None:
    checked = parse_check(text, TYPES)
    assert (checked.bounds, checked.plain) == ((), False)


def test_the_plain_parts_of_a_condition_hold_whatever_else_it_says() -> None:
    checked = parse_check("((issued_date >= 5) AND (k ~ 'x'::text) AND (d IS NOT NULL) AND (d < '2024-01-01'))", TYPES)
    assert not checked.plain
    by_column = {b.column: b for b in checked.bounds}
    assert by_column["issued_date"].low == Edge(value=5, inclusive=True)
    assert by_column["issued_date"].nulls
    assert by_column["d"].high == Edge(value=date(2024, 1, 1), inclusive=False)
    assert not by_column["d"].nulls


def test_a_check_that_was_not_validated_is_a_claim() -> None:
    (bounds,) = parse_check("(issued_date >= 5)", TYPES, trusted=False).bounds
    assert not bounds.trusted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "FOR VALUES FROM ('1726758000000') TO ('1726844400000')",
            rng(1726758000000, 1726844400000, column="issued_date"),
        ),
        ("FOR VALUES FROM (MINVALUE) TO (5)", rng(None, 5, column="issued_date")),
        ("FOR VALUES FROM ('-5') TO (MAXVALUE)", rng(-5, None, column="issued_date")),
        ("DEFAULT", Bounds(strategy=Strategy.DEFAULT, column="issued_date", nulls=True)),
        (
            "FOR VALUES WITH (modulus 4, remainder 3)",
            Bounds(strategy=Strategy.HASH, modulus=4, remainder=3, nulls=True),
        ),
        (
            "FOR VALUES IN ('1', NULL, 3)",
            Bounds(strategy=Strategy.LIST, column="issued_date", values=(1, 3), nulls=True),
        ),
    ],
)
def test_partition_bounds_are_read(text: str, expected: Bounds) -> None:
    assert parse_partition_bound(text, ["issued_date"], ["bigint"]) == expected


def test_texts_in_partition_bounds_are_unquoted_and_no_keywords() -> None:
    found = parse_partition_bound("FOR VALUES IN ('it''s', E'a\\\\b', 'x), (y', 'NULL', 'MINVALUE')", ["k"], ["text"])
    assert found.values == ("it's", "a\\b", "x), (y", "NULL", "MINVALUE")
    assert parse_partition_bound("FOR VALUES FROM ('MINVALUE') TO ('b')", ["k"], ["text"]).low is not None


def test_of_several_key_columns_the_first_is_bounded_and_its_last_value_may_occur() -> None:
    kinds = (["d", "n"], ["date", "integer"])
    found = parse_partition_bound("FOR VALUES FROM ('2024-01-01', 1) TO ('2024-02-01', 5)", *kinds)
    assert found == rng(date(2024, 1, 1), date(2024, 2, 1), ends="[]", column="d", exact=False)
    found = parse_partition_bound("FOR VALUES FROM ('2024-01-01', MINVALUE) TO ('2024-02-01', MINVALUE)", *kinds)
    assert found == rng(date(2024, 1, 1), date(2024, 2, 1), column="d", exact=False)


def test_what_is_no_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="not a partition's bounds"):
        parse_partition_bound("FOR VALUES AROUND (5)", ["k"], ["text"])


def test_inclusive_bounds_become_half_open_by_the_next_value_of_their_type() -> None:
    assert rng(1, 5, ends="[]").half_open() == (1, 6)
    assert rng(1, 5, ends="()").half_open() == (2, 5)
    assert rng(date(2024, 2, 1), date(2024, 2, 29), ends="[]").half_open() == (date(2024, 2, 1), date(2024, 3, 1))
    with pytest.raises(ValueError, match="nothing comes directly after"):
        rng(Decimal("1.5"), Decimal("2.5"), ends="[]").half_open()
    assert rng(None, 5).half_open() == (None, 5)
    assert after(datetime(2024, 1, 1, tzinfo=UTC)) == datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)


def test_overlaps_and_gaps_are_seen_for_inclusive_and_exclusive_ends() -> None:
    day, following = rng(0, 99, ends="[]"), rng(100, 199, ends="[]")
    assert day.adjoins(following)
    assert not day.overlaps(following)
    assert day.overlaps(rng(99, 199, ends="[]"))
    assert not day.overlaps(rng(99, 199, ends="(]"))
    assert not day.adjoins(rng(101, 199, ends="[]"))
    assert rng(Decimal("0.5"), Decimal("1.5")).adjoins(rng(Decimal("1.5"), Decimal("2.5")))
    assert not rng("a", "b", ends="[]").adjoins(rng("b", "c"))
    assert rng(5, 6, ends="()").empty
    assert rng(6, 5, ends="[]").empty
    assert not rng(None, 5).adjoins(rng(None, 6))


def test_lists_overlap_where_they_share_a_value_or_null() -> None:
    def listed(*values: Any, nulls: bool = False) -> Bounds:
        return Bounds(strategy=Strategy.LIST, values=values, nulls=nulls)

    assert listed(1, 2).overlaps(listed(2, 3))
    assert not listed(1).overlaps(listed(2))
    assert listed(1, nulls=True).overlaps(listed(2, nulls=True))
    assert rng(1, 5).overlaps(listed(4))
    assert not rng(1, 5).overlaps(listed(5))


def test_ranges_are_sorted_by_where_they_begin() -> None:
    ranges = [rng(5, 9), rng(None, 2), rng(2, 5)]
    assert [b.high.value for b in sorted(ranges, key=low_order) if b.high] == [2, 5, 9]
