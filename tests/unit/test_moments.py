"""Dates of people as values of keys: time zones, days that are not 24 hours long, and what is no date."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pghaul.model.errors import PlanError
from pghaul.model.plan import Period, Unit
from pghaul.postgres.moments import Scale, find_scale, instant, resolve, shown

SEOUL = ZoneInfo("Asia/Seoul")
HOUR = 3_600_000


def keys(since: str | None, until: str | None, zone: str, scale: Scale = Scale.MILLISECONDS) -> tuple[Any, Any]:
    return resolve(Period(since=since, until=until, timezone=zone)).keys(scale)


def test_a_day_in_seoul_is_the_issues_own_example() -> None:
    assert keys("2024-09-20", "2024-09-21", "Asia/Seoul") == (1726758000000, 1726844400000)


@pytest.mark.parametrize(
    ("scale", "low", "high"),
    [
        (Scale.SECONDS, 1726758000, 1726844400),
        (Scale.MICROSECONDS, 1726758000000000, 1726844400000000),
        (Scale.DAY_NUMBER, 20240920, 20240921),
        (Scale.DAY_TEXT, "20240920", "20240921"),
        (Scale.DATE_TEXT, "2024-09-20", "2024-09-21"),
        (Scale.DATE, date(2024, 9, 20), date(2024, 9, 21)),
        (Scale.TIMESTAMP, datetime(2024, 9, 20), datetime(2024, 9, 21)),
        (Scale.TIMESTAMPTZ, datetime(2024, 9, 19, 15, tzinfo=UTC), datetime(2024, 9, 20, 15, tzinfo=UTC)),
    ],
)
def test_the_same_day_in_every_scale(scale: Scale, low: object, high: object) -> None:
    assert keys("2024-09-20", "2024-09-21", "Asia/Seoul", scale) == (low, high)


@pytest.mark.parametrize(
    ("zone", "day", "following", "hours"),
    [
        ("Europe/Berlin", "2024-03-31", "2024-04-01", 23),
        ("Europe/Berlin", "2024-10-27", "2024-10-28", 25),
        ("Asia/Beirut", "2022-03-27", "2022-03-28", 23),  # clocks go from 24:00 to 01:00
        ("America/Havana", "2024-11-03", "2024-11-04", 25),  # the hour from midnight on comes twice
        ("Australia/Lord_Howe", "2024-04-07", "2024-04-08", 24.5),
        ("Asia/Seoul", "2024-02-29", "2024-03-01", 24),
    ],
)
def test_days_are_as_long_as_the_clocks_make_them(zone: str, day: str, following: str, hours: float) -> None:
    low, high = keys(day, following, zone)
    assert high - low == hours * HOUR
    before, _ = keys(day, None, zone)
    assert before == low


@pytest.mark.parametrize(("month", "following", "days"), [("02", "03", 28), ("04", "05", 30), ("12", None, 31)])
def test_months_have_the_days_they_have(month: str, following: str | None, days: int) -> None:
    until = f"2025-{following}-01" if following else "2026-01-01"
    low, high = keys(f"2025-{month}-01", until, "Asia/Seoul")
    assert high - low == days * 24 * HOUR


def test_a_time_may_name_its_own_offset() -> None:
    assert keys("2024-09-20T00:00+09:00", None, "UTC") == (1726758000000, None)
    assert keys("2024-09-20T00:00+09:00", None, "UTC", Scale.TIMESTAMP) == (datetime(2024, 9, 19, 15), None)
    assert keys(None, "2024-10-27T02:30+01:00", "Europe/Berlin") == (None, 1729992600000)


def test_fractions_are_rounded_up_so_that_no_earlier_key_is_taken() -> None:
    assert keys("2024-09-20T00:00:00.000001", "2024-09-20T00:00:00.9", "UTC", Scale.SECONDS) == (1726790401, 1726790401)


@pytest.mark.parametrize(
    ("since", "until", "zone", "words"),
    [
        ("2024-03-31T02:30", None, "Europe/Berlin", "never show"),
        ("2024-10-27T02:30", None, "Europe/Berlin", "twice"),
        ("2024-02-30", None, "UTC", "is no date"),
        ("yesterday", None, "UTC", "is no date"),
        ("20.9.2024", None, "UTC", "is no date"),
        ("2024-09-20", "2024-09-20", "UTC", "is empty"),
        ("2024-09-21", "2024-09-20", "UTC", "ends before it begins"),
        ("2024-09-20", None, "Asia/Soul", "no time zone 'Asia/Soul'"),
        ("2024-09-20", None, "../etc/passwd", "no time zone"),
        ("2024-09-20", None, "", "no time zone"),
    ],
)
def test_what_is_no_period_is_refused(since: str, until: str | None, zone: str, words: str) -> None:
    with pytest.raises(PlanError, match=words) as refused:
        keys(since, until, zone)
    assert refused.value.advice


@pytest.mark.parametrize("scale", [Scale.DATE, Scale.DAY_NUMBER, Scale.DAY_TEXT, Scale.DATE_TEXT])
def test_a_key_of_days_is_not_cut_within_one(scale: Scale) -> None:
    with pytest.raises(PlanError, match="within a day"):
        keys("2024-09-20T06:00", None, "Asia/Seoul", scale)


@pytest.mark.parametrize(
    ("type_name", "values", "unit", "scale"),
    [
        ("bigint", [1726758000000, 1726844399999], Unit.AUTO, Scale.MILLISECONDS),
        ("bigint", [1726758000], Unit.AUTO, Scale.SECONDS),
        ("numeric", [1726758000000000], Unit.AUTO, Scale.MICROSECONDS),
        ("integer", [20240901, 20241001, 20240932], Unit.AUTO, Scale.DAY_NUMBER),
        ("integer", [1, 5000], Unit.AUTO, None),
        ("integer", [], Unit.AUTO, None),
        ("integer", [], Unit.SECONDS, Scale.SECONDS),
        ("bigint", [1726758000, 1726758000000], Unit.AUTO, None),
        ("bigint", [1726758000], Unit.MILLISECONDS, Scale.MILLISECONDS),
        ("text", ["20240901", "2024100112"], Unit.AUTO, Scale.DAY_TEXT),
        ("character varying(10)", ["2024-09-01"], Unit.AUTO, Scale.DATE_TEXT),
        ("text", ["north"], Unit.AUTO, None),
        ("date", [], Unit.AUTO, Scale.DATE),
        ("timestamp(3) without time zone", [], Unit.AUTO, Scale.TIMESTAMP),
        ("timestamp with time zone", [], Unit.MILLISECONDS, Scale.TIMESTAMPTZ),
        ("uuid", [], Unit.AUTO, None),
    ],
)
def test_how_a_key_tells_time_is_seen_by_type_and_magnitude(
    type_name: str, values: list[Any], unit: Unit, scale: Scale | None
) -> None:
    assert find_scale(type_name, values, unit) is scale


def test_keys_are_shown_as_local_dates() -> None:
    assert shown(1726758000000, Scale.MILLISECONDS, SEOUL) == "2024-09-20"
    assert shown(1726844399999, Scale.MILLISECONDS, SEOUL) == "2024-09-20 23:59:59.999"
    assert shown(1726758000000, Scale.MILLISECONDS, ZoneInfo("UTC")) == "2024-09-19 15:00:00"
    assert shown("20240920", Scale.DAY_TEXT, SEOUL) == "2024-09-20"
    assert shown(5, None, SEOUL) == "5"
    assert shown("20240932", Scale.DAY_TEXT, SEOUL) == "20240932"
    assert instant(10**30, Scale.SECONDS, SEOUL) is None
