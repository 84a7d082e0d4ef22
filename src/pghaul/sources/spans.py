"""Days and months as the key of a table counts them: dates, timestamps, or integers since 1970."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from pghaul.model.bounds import Value
from pghaul.model.plan import Layout, Unit
from pghaul.sources.slices import Slice

PER_SECOND = {Unit.SECONDS: 1, Unit.MILLISECONDS: 1_000, Unit.MICROSECONDS: 1_000_000}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def calendar_day(value: Value, zone: ZoneInfo, unit: Unit) -> date:
    """The local day that a key lies in. OverflowError beyond the years 1 to 9999."""
    match value:
        case datetime():
            return (value if value.tzinfo is None else value.astimezone(zone)).date()
        case date():
            return value
        case int():
            return (EPOCH + timedelta(seconds=value // PER_SECOND[unit])).astimezone(zone).date()
        case _:
            raise TypeError(f"{value!r} is no moment")


def moment(day: date, like: Value, zone: ZoneInfo, unit: Unit) -> Value:
    """Where a local day begins, in the terms of a key."""
    if isinstance(like, datetime) and like.tzinfo is None:
        return datetime(day.year, day.month, day.day)
    if isinstance(like, date) and not isinstance(like, datetime):
        return day
    begins = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    if isinstance(like, int):
        return (begins - EPOCH) // SECOND * PER_SECOND[unit]
    return begins


def spans(layout: Layout, first: Value, last: Value, zone: ZoneInfo, unit: Unit) -> Iterator[tuple[str, Slice]]:
    """Every day (or month) from the first key's to the last one's, with what its partition is called after."""
    day, end = calendar_day(first, zone, unit), calendar_day(last, zone, unit)
    day = day if layout is Layout.DAY else day.replace(day=1)
    while day <= end:
        following = _next(day, layout)
        label = day.strftime("%Y%m%d" if layout is Layout.DAY else "%Y%m").zfill(8 if layout is Layout.DAY else 6)
        yield label, Slice(low=moment(day, first, zone, unit), high=moment(following, first, zone, unit))
        day = following


def _next(day: date, layout: Layout) -> date:
    if layout is Layout.DAY:
        return day + timedelta(days=1)
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def likely_unit(largest: int) -> Unit:
    """By magnitude: seconds until the year 5138, milliseconds since 1973, microseconds since then."""
    if abs(largest) < 100_000_000_000:
        return Unit.SECONDS
    return Unit.MILLISECONDS if abs(largest) < 100_000_000_000_000 else Unit.MICROSECONDS
