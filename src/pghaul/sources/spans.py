"""Days and months as the key of a table counts them, each with the slice of the key that it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pghaul.model.bounds import Value
from pghaul.model.plan import Layout
from pghaul.model.text import say
from pghaul.postgres.moments import Scale, Span, instant
from pghaul.sources.slices import Slice

LABELS = {Layout.DAY: ("%Y%m%d", 8), Layout.MONTH: ("%Y%m", 6)}


def spans(layout: Layout, first: Value, last: Value, scale: Scale, zone: ZoneInfo) -> Iterator[tuple[str, Slice]]:
    """Every day (or month) from the first key's to the last one's, with what its partition is called after.

    ValueError for keys that are no moments.
    """
    since, until = instant(first, scale, zone), instant(last, scale, zone)
    if since is None or until is None:
        raise ValueError(say("{value} is no moment", value=str(first if since is None else last)))
    day = since.date() if layout is Layout.DAY else since.date().replace(day=1)
    pattern, width = LABELS[layout]
    while day <= until.date():
        following = _next(day, layout)
        low, high = Span(since=_midnight(day, zone), until=_midnight(following, zone), zone=zone).keys(scale)
        yield day.strftime(pattern).zfill(width), Slice(low=low, high=high)
        day = following


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone)


def _next(day: date, layout: Layout) -> date:
    if layout is Layout.DAY:
        return day + timedelta(days=1)
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)
