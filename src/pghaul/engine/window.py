"""The hours in which a run may move: `22:00-06:00`, across midnight too, in a time zone's own wall time."""

from __future__ import annotations

import functools
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

from pghaul.model.errors import PlanError
from pghaul.model.text import say, saying

SAME = say("only_between begins and ends at the same minute: that is no time at all, or all of it")
UNKNOWN_ZONE = saying("there is no time zone {name!r} here")
ZONE_ADVICE = say("name it as the IANA does, e.g. Asia/Seoul")


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """`begin` belongs to it, `end` does not. `zone` None: the one of this machine."""

    begin: time
    end: time
    zone: tzinfo | None = None

    @classmethod
    def parse(cls, text: str, zone: str | None = None) -> Window:
        """`HH:MM-HH:MM [ZONE]`; `zone` is for a text without one. Raises PlanError."""
        hours, _, named = text.partition(" ")
        begin, _, end = hours.partition("-")
        if begin == end:
            raise PlanError(SAME, where="only_between", code=1145)
        return cls(begin=time.fromisoformat(begin), end=time.fromisoformat(end), zone=_zone(named or zone))

    def is_open(self, moment: datetime) -> bool:
        """Whether a run may move at this moment."""
        at = moment.astimezone(self.zone).time()
        if self.begin < self.end:
            return self.begin <= at < self.end
        return at >= self.begin or at < self.end

    def opens(self, moment: datetime) -> datetime:
        """When it opens next, in its own zone."""
        local = moment.astimezone(self.zone)
        today = local.replace(hour=self.begin.hour, minute=self.begin.minute, second=0, microsecond=0)
        if today > local:
            return today
        return today + timedelta(days=1)


@functools.cache
def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise PlanError(UNKNOWN_ZONE.format(name=name), advice=ZONE_ADVICE, code=1146) from None
