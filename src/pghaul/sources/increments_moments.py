"""Watermarks that tell time: what a moment of the source's clock is in a column's own terms, and back.

Inside, every watermark is a naive `datetime`: UTC of a timestamptz or a uuid, local time of all others.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import Final

from pghaul.model.errors import WatermarkError
from pghaul.model.merging import WatermarkKind
from pghaul.model.plan import Merge
from pghaul.model.text import say
from pghaul.postgres.moments import find_zone

FAR: Final = datetime.max  # of years that Python cannot count, and infinity
LONG_AGO: Final = datetime.min
FIRST_ZONE, LAST_ZONE = timedelta(hours=-12), timedelta(hours=14)  # local times of the world, against UTC
QUARTER = timedelta(minutes=15)  # clocks are put back at a full quarter of an hour …
LONGEST_REPEAT = timedelta(hours=25)  # … and never by more than a day: Kwajalein, Samoa
EPOCH = datetime(1970, 1, 1)

FORMATS: dict[str, str] = {  # the regular expression of what is a value at all
    "YYYYMMDD": "^[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])$",
    "YYYY-MM-DD": "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$",
    "YYYYMMDDHH24MISS": "^[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])([01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]$",
}
_DAYS = ("YYYYMMDD", "YYYY-MM-DD")
_TEXT = re.compile(r"(\d{4,})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?(?:[+-][\d:]+)?( BC)?")
_SPAN = re.compile(r"(?:\d+[smhd])+")
_PART = re.compile(r"(\d+)([smhd])")
_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LOCAL = frozenset({WatermarkKind.TIMESTAMP, WatermarkKind.DATE, WatermarkKind.TEXT})
TIMES = LOCAL | {WatermarkKind.TIMESTAMPTZ, WatermarkKind.UUID}


def span(text: str) -> timedelta:
    """ "10m", "1d12h"; WatermarkError for what is no span."""
    if not _SPAN.fullmatch(text):
        raise WatermarkError(
            say("lookback {text!r} is no span of time", text=text),
            advice=say("write it like 30s, 10m, 2h or 1d"),
            code=6701,
        )
    seconds = sum(int(number) * _UNIT[unit] for number, unit in _PART.findall(text))
    return timedelta(seconds=min(seconds, 10**9 * 86400 // 2))


def read(text: str, kind: WatermarkKind) -> datetime:
    """A value as PostgreSQL wrote it, under our settings. What Python cannot count is FAR or LONG_AGO."""
    if kind is WatermarkKind.UUID:
        return _counted(int(text.replace("-", "")[:12], 16))
    if kind is WatermarkKind.TEXT:
        digits = text.replace("-", "")
        return _civil(digits[:4], digits[4:6], digits[6:8], digits[8:10], digits[10:12], digits[12:14])
    if text in {"infinity", "-infinity"}:
        return FAR if text == "infinity" else LONG_AGO
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    *civil, fraction, bc = found.groups(default="")
    if bc:
        return LONG_AGO
    return FAR if len(civil[0]) > 4 else _civil(*civil, fraction=fraction)


def _civil(year: str, month: str, day: str, *clock: str, fraction: str = "") -> datetime:
    """A text may name the 31st of any month: its last day then."""
    if int(year) == 0:
        return LONG_AGO
    last = monthrange(int(year), int(month))[1]
    hour, minute, second = (int(c or 0) for c in clock)
    micro = int(fraction.ljust(6, "0")) if fraction else 0
    return datetime(int(year), int(month), min(int(day), last), hour, minute, second, micro)


def _counted(milliseconds: int) -> datetime:
    try:
        return EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return FAR


def write(moment: datetime, kind: WatermarkKind, form: str | None) -> str:
    """The least value of the column that is not before this moment's day, second or microsecond begins."""
    if kind is WatermarkKind.UUID:
        count = max(0, (moment - EPOCH) // timedelta(milliseconds=1))
        return f"{count >> 16:08x}-{count & 0xFFFF:04x}-0000-0000-000000000000"
    day = moment.date().isoformat()
    if kind is WatermarkKind.DATE or (kind is WatermarkKind.TEXT and form in _DAYS):
        return day.replace("-", "") if form == "YYYYMMDD" else day
    if kind is WatermarkKind.TEXT:
        return day.replace("-", "") + moment.strftime("%H%M%S")
    return moment.isoformat(sep=" ") + ("+00" if kind is WatermarkKind.TIMESTAMPTZ else "")


def before(moment: datetime, length: timedelta) -> datetime:
    """`length` earlier, or LONG_AGO."""
    try:
        return moment - length
    except OverflowError:
        return LONG_AGO


def plain(moment: datetime) -> datetime:
    """UTC, naive."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def lowest(moment: datetime, kind: WatermarkKind, merge: Merge) -> datetime:
    """What no clock shows less than from this moment on, in the column's terms.

    In a time zone: clocks may be put back soon, and show less than now once more. Without one: anywhere on earth.
    """
    if kind not in LOCAL:
        return plain(moment)
    if merge.watermark_zone is None:
        return plain(moment) + FIRST_ZONE
    zone = find_zone(merge.watermark_zone)
    utc = moment.astimezone(UTC)
    first = utc.replace(minute=utc.minute // 15 * 15, second=0, microsecond=0) + QUARTER
    later = [first + n * QUARTER for n in range(LONGEST_REPEAT // QUARTER)]
    return min(m.astimezone(zone).replace(tzinfo=None) for m in [utc, *later])
