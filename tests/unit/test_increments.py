"""How far a mark moves, by arithmetic alone: clocks, zones, lookbacks, numbers, and transaction numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pghaul.model.errors import WatermarkError
from pghaul.model.merging import Guarantee, Mark, Reading, WatermarkKind
from pghaul.model.plan import Merge
from pghaul.sources.increments import advance
from pghaul.sources.increments_advance import HALF, MARGIN, Horizon, changed_since, start
from pghaul.sources.increments_moments import FAR, FORMATS, LONG_AGO, lowest, read, span, write

NOON = datetime(2025, 6, 15, 12, tzinfo=UTC)
KIND = WatermarkKind


def look(*, clock: datetime = NOON, **said: Any) -> Horizon:
    return Horizon(clock=clock, **{"oldest": None, "sees_all": True, "xmin": 700, "xmax": 710} | said)


def reading(
    kind: WatermarkKind, *, mark: Mark | None = None, back: str | None = None, exact: bool = True, **said: Any
) -> Reading:
    return Reading(
        query="",
        kind=kind,
        guarantee=Guarantee.EXACT if exact else Guarantee.LOOKBACK,
        merge=Merge(watermark="w", lookback=back, **said),
        origin="o",
        moment=NOON.isoformat(),
        next=mark or Mark(kind=kind),
    )


def low(kind: WatermarkKind, seen: str | None, horizon: Horizon, **said: Any) -> str | None:
    return advance(reading(kind, **said), horizon, seen).low


TZ = KIND.TIMESTAMPTZ
OPEN_SINCE = NOON - timedelta(minutes=3)


@pytest.mark.parametrize(
    ("seen", "horizon", "expected"),
    [
        ("2025-06-15 09:00:00.000001+00", look(), "2025-06-15 09:00:00.000001+00"),
        ("2025-06-15 11:59:59+00", look(), "2025-06-15 11:59:55+00"),
        ("2025-06-15 11:59:59+00", look(oldest=OPEN_SINCE), "2025-06-15 11:56:55+00"),
        ("2025-06-15 11:00:00+00", look(oldest=OPEN_SINCE), "2025-06-15 11:00:00+00"),
        ("infinity", look(), "2025-06-15 11:59:55+00"),
        ("2099-12-31 00:00:00+00", look(oldest=OPEN_SINCE), "2025-06-15 11:56:55+00"),
        ("12345-12-31 00:00:00+00", look(), "2025-06-15 11:59:55+00"),
        ("0044-03-15 00:00:00+00 BC", look(), None),
        (None, look(), None),
    ],
)
def test_a_moment_is_passed_that_no_open_transaction_can_have_written(
    seen: str | None, horizon: Horizon, expected: str | None
) -> None:
    """The margin of five seconds is the backend's, between its clock and what it tells of itself."""
    assert timedelta(seconds=5) == MARGIN
    assert low(TZ, seen, horizon) == expected


def test_prepared_transactions_hold_the_low_where_it_was() -> None:
    mark = Mark(kind=TZ, low="2025-06-15 08:00:00+00", seen="2025-06-15 08:00:00+00")
    moved = advance(reading(TZ, mark=mark), look(prepared=("p1",)), "2025-06-15 11:00:00+00")
    assert (moved.low, moved.seen) == ("2025-06-15 08:00:00+00", "2025-06-15 11:00:00+00")
    assert low(TZ, "2025-06-15 11:00:00+00", look(prepared=("p1",))) is None


def test_an_increment_without_rows_leaves_a_moment_where_it_was() -> None:
    mark = Mark(kind=TZ, low="2025-06-15 08:00:00+00", seen="2025-06-15 08:00:00+00")
    assert advance(reading(TZ, mark=mark), look(), None) == mark


@pytest.mark.parametrize(
    ("kind", "seen", "said", "expected"),
    [
        (TZ, "2025-06-15 10:00:00.5+00", {}, "2025-06-15 09:50:00.500000+00"),
        (TZ, "2099-01-01 00:00:00+00", {}, "2025-06-15 11:49:55+00"),
        (KIND.TIMESTAMP, "2025-06-15 19:00:00", {}, "2025-06-15 18:50:00"),
        (KIND.TIMESTAMP, "2099-06-15 19:00:00", {}, "2025-06-14 23:50:00"),  # in the future all over the world
        (KIND.TIMESTAMP, "2025-06-15 21:00:00", {"watermark_zone": "Asia/Seoul"}, "2025-06-15 20:49:55"),
        (KIND.DATE, "2025-06-15", {}, "2025-06-14"),
        (KIND.TEXT, "20250601", {"watermark_format": "YYYYMMDD"}, "20250531"),
        (KIND.TEXT, "2025-03-01", {"watermark_format": "YYYY-MM-DD"}, "2025-02-28"),
        (KIND.TEXT, "20250601000000", {"watermark_format": "YYYYMMDDHH24MISS"}, "20250531235000"),
        (KIND.UUID, "01977342-7d80-7abc-8def-0123456789ab", {}, "01977339-55c0-0000-0000-000000000000"),
    ],
)
def test_a_lookback_goes_back_behind_what_was_seen(
    kind: WatermarkKind, seen: str, said: dict[str, str], expected: str
) -> None:
    within = reading(kind, exact=False, back="10m", **said)
    assert advance(within, look(sees_all=False), seen).low == expected


def test_a_longer_lookback_takes_effect_at_once() -> None:
    mark = Mark(kind=TZ, low="2025-06-15 11:00:00+00", seen="2025-06-15 11:00:00+00")
    assert start(mark, Merge(watermark="w", lookback="2h")) == "2025-06-15 09:00:00+00"
    assert start(replace(mark, low="2025-06-15 08:00:00+00"), Merge(watermark="w", lookback="2h")) is not None
    numbers = Mark(kind=KIND.INTEGER, low="900", seen="1000")
    assert start(numbers, Merge(watermark="w", lookback="500")) == "500"
    assert start(numbers, Merge(watermark="w", lookback="50")) == "900"


# --- local times ----------------------------------------------------------------------------------------------------


def local(moment: str, zone: str | None) -> str:
    merge = Merge(watermark="w", watermark_zone=zone)
    return write(lowest(datetime.fromisoformat(moment), KIND.TIMESTAMP, merge), KIND.TIMESTAMP, None)


@pytest.mark.parametrize(
    ("moment", "zone", "expected"),
    [
        ("2025-06-15T12:00:00+00:00", "Asia/Seoul", "2025-06-15 21:00:00"),
        ("2025-06-15T12:00:00+00:00", "Europe/Berlin", "2025-06-15 14:00:00"),
        ("2025-10-26T00:30:00+00:00", "Europe/Berlin", "2025-10-26 02:00:00"),  # 02:30, and 02:00 comes once more
        ("2025-10-26T01:00:00+00:00", "Europe/Berlin", "2025-10-26 02:00:00"),
        ("2025-10-26T01:30:00+00:00", "Europe/Berlin", "2025-10-26 02:30:00"),
        ("2025-10-25T23:30:00+00:00", "Europe/Berlin", "2025-10-26 01:30:00"),
        ("2025-03-30T00:59:59+00:00", "Europe/Berlin", "2025-03-30 01:59:59"),
        ("2025-04-05T14:50:00+00:00", "Australia/Lord_Howe", "2025-04-06 01:30:00"),  # half an hour back at 15:00
        ("2025-06-15T12:00:00+00:00", None, "2025-06-15 00:00:00"),
    ],
)
def test_a_local_time_is_passed_that_no_clock_will_show_again(moment: str, zone: str | None, expected: str) -> None:
    assert local(moment, zone) == expected


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca"])
def test_no_later_moment_has_a_lesser_local_time(zone: str) -> None:
    """Every seven minutes of a year: what was the least stays the least."""
    merge = Merge(watermark="w", watermark_zone=zone)
    moments = [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=397 * n) for n in range(1300)]
    least = [lowest(m, KIND.TIMESTAMP, merge) for m in moments]
    assert least == sorted(least)


def test_dates_and_texts_are_of_the_local_day() -> None:
    early = look(clock=datetime(2025, 6, 15, 20, tzinfo=UTC))
    seoul = {"watermark_zone": "Asia/Seoul"}
    assert low(KIND.DATE, "2025-06-30", early, **seoul) == "2025-06-16"
    assert low(KIND.TEXT, "20250630", early, watermark_format="YYYYMMDD", **seoul) == "20250616"
    assert low(KIND.DATE, "2025-06-30", early) == "2025-06-15"
    assert low(KIND.DATE, "2025-06-30", look()) == "2025-06-14"  # 23:59:55 of the day before, at 12 hours west
    assert low(KIND.DATE, "infinity", early, **seoul) == "2025-06-16"


# --- values ---------------------------------------------------------------------------------------------------------


def test_values_are_read_and_written_exactly() -> None:
    assert read("2025-06-15 12:00:00.000001+00", TZ) == datetime(2025, 6, 15, 12, 0, 0, 1)
    assert (read("infinity", TZ), read("-infinity", KIND.DATE)) == (FAR, LONG_AGO)
    assert read("20250231", KIND.TEXT) == datetime(2025, 2, 28)
    assert read("019772f9-f400-7abc-8def-0123456789ab", KIND.UUID) == datetime(2025, 6, 15, 9, 44, 33, 24000)
    assert read("ffffffff-ffff-7fff-8fff-ffffffffffff", KIND.UUID) == FAR
    for form in FORMATS:
        text = write(datetime(812, 6, 5, 4, 3, 2), KIND.TEXT, form)
        assert write(read(text, KIND.TEXT), KIND.TEXT, form) == text


def test_a_uuid_of_the_very_millisecond_is_not_passed() -> None:
    """Its bits below the milliseconds may lie before or behind the moment."""
    top = write((NOON - MARGIN).replace(tzinfo=None), KIND.UUID, None)
    seen = top[:14] + "7fff-bfff-ffffffffffff"
    assert low(KIND.UUID, seen, look()) == top
    assert low(KIND.UUID, "00000000-0001-7000-8000-000000000000", look()) == "00000000-0001-7000-8000-000000000000"


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("10m", 600), ("1d12h", 129600), ("0s", 0)])
def test_a_span_has_units(text: str, seconds: int) -> None:
    assert span(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["10", "m", "-5m", "5 m", "1.5h", "5w", ""])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(WatermarkError, match="no span of time"):
        span(text)


# --- numbers --------------------------------------------------------------------------------------------------------

INT = KIND.INTEGER


def test_a_number_is_passed_once_all_that_were_open_then_have_ended() -> None:
    open_then = look(oldest=NOON - timedelta(seconds=1))
    first = advance(reading(INT), open_then, "100")
    assert (first.low, first.held) == (None, (NOON.isoformat(), "100"))
    still = advance(reading(INT, mark=first), look(oldest=NOON - timedelta(seconds=1)), "200")
    assert (still.low, still.held) == (None, first.held)
    others = look(oldest=NOON + timedelta(minutes=1))
    passed = advance(reading(INT, mark=first), others, "300")
    assert (passed.low, passed.held) == ("100", (NOON.isoformat(), "300"))
    assert advance(reading(INT, mark=first), replace(others, prepared=("p",)), "300").low is None


def test_where_nobody_is_at_work_a_number_is_passed_at_once() -> None:
    alone = look(tops={"o": (NOON, "100")})
    assert advance(reading(INT), alone, "105").low == "100"
    assert advance(reading(INT), replace(alone, oldest=NOON - timedelta(hours=1)), "105").low is None
    assert advance(reading(INT), replace(alone, prepared=("p",)), "105").low is None


def test_numbers_are_compared_as_numbers_with_all_their_digits() -> None:
    mark = Mark(kind=KIND.NUMERIC, low="9", seen="9", held=(datetime(2025, 1, 1, tzinfo=UTC).isoformat(), "10.5"))
    assert advance(reading(KIND.NUMERIC, mark=mark), look(), "11").low == "10.5"
    digits = "1" * 200 + "." + "3" * 50
    held = replace(mark, held=(datetime(2025, 1, 1, tzinfo=UTC).isoformat(), digits))
    moved = advance(reading(KIND.NUMERIC, mark=held), look(), digits)
    assert moved.low == digits
    less = advance(reading(KIND.NUMERIC, mark=held, back="1"), look(), digits).low
    assert less == "1" * 199 + "0." + "3" * 50


def test_a_sequence_that_begins_anew_is_read_from_the_beginning() -> None:
    """What stood at the low is gone: whether the next number is greater, nobody can say."""
    mark = Mark(kind=INT, low="100", seen="100", held=(NOON.isoformat(), "100"))
    assert advance(reading(INT, mark=mark), look(), None) == replace(mark, low=None, held=None)


def test_with_a_lookback_numbers_do_not_wait() -> None:
    within = reading(INT, exact=False, back="1000")
    assert advance(within, look(oldest=NOON, sees_all=False), "5000").low == "4000"


# --- xmin -----------------------------------------------------------------------------------------------------------


def test_transaction_numbers_go_round() -> None:
    assert changed_since(700, 710) == (700, 10)
    assert changed_since((7 << 32) - 5, (7 << 32) + 5) == ((1 << 32) - 5, 10)
    assert changed_since(700, 700) == (700, 0)
    assert changed_since(700, 700 + HALF - 1) == (700, HALF - 1)
    assert changed_since(700, 700 + HALF) is None


def test_the_next_low_is_the_oldest_transaction_of_the_look() -> None:
    assert low(KIND.XMIN, None, look()) == "700"
    assert low(KIND.NONE, None, look()) is None
