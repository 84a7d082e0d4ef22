"""How far a mark moves, once a reading has been merged: arithmetic without a server.

Every rule here rests on one sentence: what a later reading has to find, because it was not visible yet, lies at or
above `low`. docs/increments.md says why that is so, for each kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Context, Decimal, InvalidOperation

from pghaul.model.errors import WatermarkError
from pghaul.model.merging import Guarantee, Mark, Reading, WatermarkKind
from pghaul.model.plan import Merge
from pghaul.model.text import Text, say
from pghaul.sources.increments_moments import (
    FAR,
    LAST_ZONE,
    LOCAL,
    LONG_AGO,
    TIMES,
    before,
    lowest,
    plain,
    read,
    span,
    write,
)

# A backend takes the time of its transaction a few instructions before it tells it to pg_stat_activity. Only a process
# that the system holds up between the two for longer than this could slip through; and clocks may be put back by so
# little without harm, and columns round to seconds.
MARGIN = timedelta(seconds=5)
FINER = timedelta(microseconds=999)
WIDE = Context(prec=150_000)  # numeric has 131,072 digits before the point, and 16,383 after it
HALF = 1 << 31  # transaction numbers of 32 bits: half of them lie before any of them
WHOLE = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizon:
    """What was going on at the source right before its snapshot was taken.

    A transaction that this look could have seen, and that the snapshot does not, had begun at `oldest` or later; one
    that it could not have seen, at `clock` or later.
    """

    clock: datetime  # read before the transactions were looked at
    oldest: datetime | None  # when the oldest open transaction of others began; None: there is none
    oldest_session: Text | str = ""
    sees_all: bool  # whether others' transactions are shown to our role at all
    hidden: int = 0  # sessions of this database whose transactions are not shown
    prepared: tuple[str, ...] = ()  # names of prepared transactions of this database
    xmin: int  # txid_current_snapshot(), 64 bits
    xmax: int
    in_recovery: bool = False
    tops: Mapping[str, tuple[datetime, str]] = field(default_factory=dict)  # by origin: greatest value right before

    @property
    def exact(self) -> bool:
        """Whether open transactions are known: all of them, and of the server that is written to."""
        return self.sees_all and not self.hidden and not self.in_recovery


def advance(reading: Reading, horizon: Horizon, seen: str | None) -> Mark:
    """The mark to commit with the rows; `seen` is the greatest watermark among them, None where there was none."""
    if reading.kind is WatermarkKind.NONE:
        return reading.next
    if reading.kind is WatermarkKind.XMIN:
        return replace(reading.next, low=str(horizon.xmin))
    greatest = reading.next.seen if seen is None else seen
    if reading.kind in TIMES:
        return replace(reading.next, seen=greatest, low=_next_moment(reading, horizon, seen))
    return _next_number(replace(reading.next, seen=greatest), reading, horizon, seen)


def _next_moment(reading: Reading, horizon: Horizon, seen: str | None) -> str | None:
    """A prepared transaction's beginning is not shown. But it was open at an earlier look, or began after it: the low
    of then still is below all that it has written.
    """
    if horizon.prepared or seen is None:
        return reading.next.low
    kind, merge = reading.kind, reading.merge
    top = _latest(seen, kind)
    bound = min(top, _ceiling(reading, horizon, top))
    if merge.lookback is not None:
        bound = before(bound, span(merge.lookback))
    if bound == LONG_AGO:
        return None
    return seen if bound == top else write(bound, kind, merge.watermark_format)


def _latest(value: str, kind: WatermarkKind) -> datetime:
    """A uuid has bits below its milliseconds: the last moment that it may mean."""
    moment = read(value, kind)
    return moment if kind is not WatermarkKind.UUID or moment == FAR else moment + FINER


def _ceiling(reading: Reading, horizon: Horizon, top: datetime) -> datetime:
    """What the low may not exceed, whatever was seen: infinity, a date of next year, the row of a clock that is ahead.

    With a lookback, a local time of no known zone is believed unless it is in the future everywhere on earth.
    """
    kind, merge = reading.kind, reading.merge
    if reading.guarantee is Guarantee.LOOKBACK and kind in LOCAL and merge.watermark_zone is None:
        believed = top <= plain(horizon.clock) + LAST_ZONE
        return top if believed else lowest(horizon.clock, kind, merge)
    known = [horizon.clock, *([horizon.oldest] if horizon.oldest else [])]
    return lowest(min(known) - MARGIN, kind, merge)


def _next_number(mark: Mark, reading: Reading, horizon: Horizon, seen: str | None) -> Mark:
    """A number may have been taken by a transaction that is still open while a greater one is visible. So a number is
    passed once all transactions have ended that were open when it was the greatest.
    """
    if seen is None:  # there was a row at `low`, and it is gone: a sequence may have begun anew
        return replace(mark, low=None, held=None)
    if reading.guarantee is Guarantee.LOOKBACK:
        return replace(mark, low=_less(seen, reading.merge), held=None)
    held = mark.held and (datetime.fromisoformat(mark.held[0]), mark.held[1])
    passed = [v for m, v in filter(None, (held, horizon.tops.get(reading.origin))) if _ended(horizon, m)]
    lows = [_less(v, reading.merge) for v in passed] + ([mark.low] if mark.low is not None else [])
    waiting = mark.held if held and not _ended(horizon, held[0]) else (reading.moment, seen)
    return replace(mark, low=max(lows, key=Decimal, default=None), held=waiting)


def _ended(horizon: Horizon, moment: datetime) -> bool:
    """Whether all transactions that were open at `moment` are known to have ended before this look."""
    return not horizon.prepared and (horizon.oldest is None or horizon.oldest > moment + MARGIN)


def _less(value: str, merge: Merge) -> str:
    """`value` less the lookback, with all its digits."""
    return value if merge.lookback is None else format(WIDE.subtract(Decimal(value), number(merge.lookback)), "f")


def number(text: str) -> Decimal:
    """A lookback that counts; WatermarkError for what is no number."""
    try:
        found = Decimal(text)
        if found.is_finite() and found >= 0:
            return found
    except InvalidOperation:
        pass
    raise WatermarkError(
        say("lookback {text!r} is no number, as its watermark is", text=text),
        advice=say("write it like 1000"),
        code=6702,
    )


def start(mark: Mark, merge: Merge) -> str | None:
    """Where the next reading begins. A lookback that is longer than it was takes effect at once."""
    if mark.low is None or merge.lookback is None or mark.seen is None:
        return mark.low
    if mark.kind not in TIMES:
        return min(mark.low, _less(mark.seen, merge), key=Decimal)
    top, low = read(mark.seen, mark.kind), read(mark.low, mark.kind)
    back = before(top, span(merge.lookback))
    return mark.low if low <= back else write(back, mark.kind, merge.watermark_format)


def changed_since(low: int, xmax: int) -> tuple[int, int] | None:
    """The transaction numbers, modulo 2^32, from `low` to `xmax`: the first of them and how many; None if they are so
    many that a row's 32 bits could be read as either side.
    """
    count = xmax - low
    return None if count >= HALF else (low % WHOLE, count)
