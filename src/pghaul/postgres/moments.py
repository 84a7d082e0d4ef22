"""Moments as keys: how a column of bounds tells time, a person's dates as its values, and its values as dates.

Days are local. A day begins at the first moment that bears its date in the time zone, also where clocks are put
forward or back at midnight.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from difflib import get_close_matches
from enum import Enum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pghaul.model.bounds import Value
from pghaul.model.errors import PlanError
from pghaul.model.plan import Period, Unit
from pghaul.model.text import Text, say
from pghaul.postgres.bound_values import Family, family

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
NEXT_DAY = say("`until` does not belong to the period: for one day, say the next")
WITH_OFFSET = say("give it with its offset from UTC: …+01:00")


class Scale(Enum):
    """How a key tells time."""

    SECONDS = say("seconds since 1970")
    MILLISECONDS = say("milliseconds since 1970")
    MICROSECONDS = say("microseconds since 1970")
    DAY_NUMBER = say("a number YYYYMMDD")
    DAY_TEXT = say("a text YYYYMMDD")
    DATE_TEXT = say("a text YYYY-MM-DD")
    DATE = say("a date")
    TIMESTAMP = say("a timestamp without time zone: local time, as it is stored")
    TIMESTAMPTZ = say("a timestamp with time zone")


_MICROSECONDS = {Scale.SECONDS: 1_000_000, Scale.MILLISECONDS: 1_000, Scale.MICROSECONDS: 1}
_OF_UNIT = {
    Unit.SECONDS: Scale.SECONDS,
    Unit.MILLISECONDS: Scale.MILLISECONDS,
    Unit.MICROSECONDS: Scale.MICROSECONDS,
}
# Each unit's integers for the years 1973 to 5138: they do not meet.
_MAGNITUDES = (
    (Scale.SECONDS, 10**8, 10**11),
    (Scale.MILLISECONDS, 10**11, 10**14),
    (Scale.MICROSECONDS, 10**14, 10**17),
)
_DAY_NUMBER = re.compile(r"(19|20|21)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[0-2])")  # 20240932: after September's last
_DAY_TEXT = re.compile(r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[0-2])\d*")
_DATE_TEXT = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[0-2])([ T].*)?")
_BY_FAMILY = {Family.DATE: Scale.DATE, Family.TIMESTAMP: Scale.TIMESTAMP, Family.TIMESTAMPTZ: Scale.TIMESTAMPTZ}


def find_scale(type_name: str, values: Iterable[Value], unit: Unit = Unit.AUTO) -> Scale | None:
    """By the column's type and, of integers and texts, by values that it holds. None where they are no moments."""
    kind = family(type_name)
    if kind in _BY_FAMILY:
        return _BY_FAMILY[kind]
    known = list(values)
    if kind in {Family.INTEGER, Family.NUMERIC}:
        return _OF_UNIT[unit] if unit is not Unit.AUTO else _of_numbers([v for v in known if isinstance(v, int)])
    texts = [v for v in known if isinstance(v, str)]
    for scale, pattern in ((Scale.DAY_TEXT, _DAY_TEXT), (Scale.DATE_TEXT, _DATE_TEXT)):
        if texts and all(pattern.fullmatch(t) for t in texts):
            return scale
    return None


def _of_numbers(numbers: list[int]) -> Scale | None:
    if numbers and all(_DAY_NUMBER.fullmatch(str(n)) for n in numbers):
        return Scale.DAY_NUMBER
    for scale, least, most in _MAGNITUDES:
        if numbers and all(least <= n < most for n in numbers):
            return scale
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A period, resolved: `since` belongs to it, `until` does not; None is open. Both are in `zone`."""

    since: datetime | None
    until: datetime | None
    zone: ZoneInfo

    def keys(self, scale: Scale) -> tuple[Value | None, Value | None]:
        """From (inclusive) and to (exclusive), as values of a key. PlanError where a day would have to be cut."""
        return _key(self.since, scale, self.zone), _key(self.until, scale, self.zone)

    def __str__(self) -> str:
        """As a person reads it."""
        return str(self.words)

    @property
    def words(self) -> Text:
        """As a person reads it, in any language."""
        since, until = (_plain(m) if m else "…" for m in (self.since, self.until))
        return say("{since} to {until} ({zone})", since=since, until=until, zone=self.zone.key)


def resolve(period: Period) -> Span:
    """PlanError for what is no date, no time zone, a local time that is there never or twice, an empty period."""
    zone = find_zone(period.timezone)
    since, until = (None if text is None else _moment(text, zone) for text in (period.since, period.until))
    if since is not None and until is not None and since.astimezone(UTC) >= until.astimezone(UTC):
        named = {"since": period.since or "", "until": period.until or ""}
        if since == until:
            raise PlanError(say("the period from {since} until {until} is empty", **named), advice=NEXT_DAY, code=1103)
        raise PlanError(
            say("the period from {since} until {until} ends before it begins", **named), advice=NEXT_DAY, code=1104
        )
    return Span(since=since, until=until, zone=zone)


def find_zone(name: str) -> ZoneInfo:
    """PlanError with the nearest name for one that is not known."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = get_close_matches(name, available_timezones(), n=1, cutoff=0.5)
        advice = (
            say("did you mean {near}?", near=near[0]) if near else say("write an IANA name, e.g. Asia/Seoul or UTC")
        )
        raise PlanError(say("there is no time zone {name!r}", name=name), advice=advice, code=1105) from None


def _moment(text: str, zone: ZoneInfo) -> datetime:
    try:
        if len(text.strip()) <= len("2024-09-20"):
            return datetime.combine(date.fromisoformat(text.strip()), time(), tzinfo=zone)
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise PlanError(
            say("{text!r} is no date", text=text),
            advice=say("write 2025-09-01, 2025-09-01T06:00 or 2025-09-01T06:00+09:00"),
            code=1106,
        ) from None
    if moment.tzinfo is not None:
        return moment.astimezone(zone)
    return _local(moment.replace(tzinfo=zone), text, zone)


def _local(moment: datetime, text: str, zone: ZoneInfo) -> datetime:
    """A wall clock's time, unless clocks show it never or twice. Midnight means the day's first moment."""
    if moment.astimezone(UTC).astimezone(zone).replace(fold=0) != moment.replace(fold=0) and moment.time() != time():
        raise PlanError(
            say("clocks in {zone} never show {text}", zone=zone.key, text=text), advice=WITH_OFFSET, code=1107
        )
    if moment.utcoffset() != moment.replace(fold=1).utcoffset() and moment.time() != time():
        raise PlanError(
            say("clocks in {zone} show {text} twice", zone=zone.key, text=text), advice=WITH_OFFSET, code=1108
        )
    return moment


def _key(moment: datetime | None, scale: Scale, zone: ZoneInfo) -> Value | None:
    if moment is None:
        return None
    if scale in _MICROSECONDS:
        return -(-((moment.astimezone(UTC) - EPOCH) // MICROSECOND) // _MICROSECONDS[scale])
    if scale is Scale.TIMESTAMPTZ:
        return moment.astimezone(UTC)
    if scale is Scale.TIMESTAMP:
        return moment.replace(tzinfo=None, fold=0)
    return _day(moment, scale, zone)


def _day(moment: datetime, scale: Scale, zone: ZoneInfo) -> Value:
    if moment.time() != time():
        raise PlanError(
            say(
                "{moment} is within a day of {zone}, and the key is {scale}",
                moment=_plain(moment),
                zone=zone.key,
                scale=scale.value,
            ),
            advice=say("begin and end the period at midnight: leave the time of day out"),
            code=1109,
        )
    match scale:
        case Scale.DATE:
            return moment.date()
        case Scale.DAY_NUMBER:
            return int(f"{moment:%Y%m%d}")
        case Scale.DAY_TEXT:
            return f"{moment:%Y%m%d}"
        case _:
            return f"{moment:%Y-%m-%d}"


def instant(value: Value, scale: Scale, zone: ZoneInfo) -> datetime | None:
    """The moment that a key stands for, in the zone; None for what is none."""
    try:
        match value:
            case datetime():
                return value.replace(tzinfo=zone) if value.tzinfo is None else value.astimezone(zone)
            case date():
                return datetime.combine(value, time(), tzinfo=zone)
            case int() | Decimal() if scale in _MICROSECONDS:
                return (EPOCH + timedelta(microseconds=int(value * _MICROSECONDS[scale]))).astimezone(zone)
            case _:
                digits = re.sub(r"\D", "", str(value))[:8]
                return datetime.strptime(digits, "%Y%m%d").replace(tzinfo=zone)
    except (ValueError, OverflowError):
        return None


def shown(value: Value, scale: Scale | None, zone: ZoneInfo) -> str:
    """A key as a local date, or as it is where it is no moment."""
    moment = None if scale is None else instant(value, scale, zone)
    return str(value) if moment is None else _plain(moment)


def from_to(since: str, until: str) -> Text:
    """A span, for people."""
    return say("{since} to {until}", since=since, until=until)


def _plain(moment: datetime) -> str:
    """A day without its midnight, and no more digits than there are."""
    if moment.time() == time():
        return f"{moment:%Y-%m-%d}"
    return moment.replace(tzinfo=None).isoformat(sep=" ", timespec="auto").removesuffix("000")
