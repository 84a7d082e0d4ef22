"""Which keys may lie in a relation: what partition bounds, CHECK constraints and registries of partitions all say.

One vocabulary for the three, so that a tree of inheritance as on 9.3 and a declarative one are looked at, cut by date
and laid out anew by the same code. Values are Python's own: int, Decimal, str, date, and datetime (without zone for
`timestamp`, in UTC for `timestamptz`), so that they can be compared and counted on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias

Value: TypeAlias = int | Decimal | str | date | datetime


class Strategy(Enum):
    RANGE = "range"
    LIST = "list"
    HASH = "hash"  # says nothing about any value
    DEFAULT = "default"  # whatever the others do not take


class Authority(Enum):
    """Who says so, and what that is worth."""

    DECLARED = "partition"  # a partition's bounds: the server itself holds to them
    CHECK = "check"  # a CHECK constraint: held to, if it was validated
    REGISTRY = "registry"  # a table of the application's: nobody holds to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One end of a range."""

    value: Value
    inclusive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What holds for the keys of a relation's own rows. They may be narrower than this, never wider, if `trusted`.

    `low` or `high` is None where that side is open. `column` is empty where the key is an expression. With several key
    columns the bounds are those of the first one, and not `exact`.
    """

    strategy: Strategy
    column: str = ""
    low: Edge | None = None
    high: Edge | None = None
    values: tuple[Value, ...] = ()  # of a list
    modulus: int = 0  # of a hash
    remainder: int = 0
    authority: Authority = Authority.DECLARED
    trusted: bool = True  # False: NOT VALID, NOT ENFORCED or a registry: a claim, no fact
    exact: bool = True  # False: more is said than this vocabulary can hold
    nulls: bool = False  # a row without a key may lie here

    @property
    def is_range(self) -> bool:
        """Whether there is a range with at least one end."""
        return self.strategy is Strategy.RANGE and (self.low is not None or self.high is not None)

    @property
    def named(self) -> tuple[Value, ...]:
        """Every value that is said."""
        return tuple(e.value for e in (self.low, self.high) if e is not None) or self.values

    @property
    def empty(self) -> bool:
        """No value satisfies both ends."""
        if self.low is None or self.high is None:
            return False
        return _before(self.high, self.low)

    def half_open(self) -> tuple[Value | None, Value | None]:
        """The same range as FROM (inclusive) TO (exclusive). ValueError for numeric and text: no value is next."""
        low = None if self.low is None else self.low.value if self.low.inclusive else after(self.low.value)
        high = None if self.high is None else after(self.high.value) if self.high.inclusive else self.high.value
        return low, high

    @property
    def ends(self) -> tuple[Value | None, Value | None]:
        """As half_open(), or as it stands where values have no next one: for people."""
        try:
            return self.half_open()
        except ValueError:
            low, high = (None if e is None else e.value for e in (self.low, self.high))
            return low, high

    def overlaps(self, other: Bounds) -> bool:
        """Whether a key could lie in both. Only ranges and lists of one column are compared."""
        if Strategy.LIST in {self.strategy, other.strategy}:
            return self._shares(other)
        met = self.intersect(other)
        return not met.empty

    def _shares(self, other: Bounds) -> bool:
        if self.strategy is other.strategy:
            return bool(set(self.values) & set(other.values)) or (self.nulls and other.nulls)
        listed, ranged = (self, other) if self.strategy is Strategy.LIST else (other, self)
        return any(ranged.holds(v) for v in listed.values)

    def holds(self, value: Value) -> bool:
        """Whether this key may lie here."""
        if self.strategy is Strategy.LIST:
            return value in self.values
        point = Edge(value=value, inclusive=True)
        return not (self.low and _before(point, self.low)) and not (self.high and _before(self.high, point))

    def intersect(self, other: Bounds) -> Bounds:
        """What both of two ranges over the same column say; trusted only if both are."""
        return replace(
            self,
            low=_tighter(self.low, other.low, highest=True),
            high=_tighter(self.high, other.high, highest=False),
            trusted=self.trusted and other.trusted,
            exact=self.exact and other.exact,
            nulls=self.nulls and other.nulls,
        )

    def within(self, other: Bounds) -> bool:
        """Whether every key that may lie here lies in that range. False where it is not sure."""
        if self.strategy is Strategy.LIST:
            return all(other.holds(v) for v in self.values)
        met = self.intersect(other)
        return (met.low, met.high) == (self.low, self.high)

    def adjoins(self, following: Bounds) -> bool:
        """Whether `following` begins exactly where this range ends: neither gap nor overlap."""
        if self.high is None or following.low is None:
            return False
        try:
            return self.half_open()[1] == following.half_open()[0]
        except ValueError:
            same = self.high.value == following.low.value
            return same and self.high.inclusive is not following.low.inclusive


def after(value: Value) -> Value:
    """The next value of its type: timestamps count microseconds. ValueError where there is none."""
    match value:
        case datetime():
            return value + timedelta(microseconds=1)
        case date():
            return value + timedelta(days=1)
        case int():
            return value + 1
        case _:
            raise ValueError(f"nothing comes directly after {value!r}")


def low_order(bounds: Bounds) -> tuple[bool, Any]:
    """A key to sort ranges by where they begin: open ones first."""
    if bounds.low is None:
        return (False, 0)
    try:
        return (True, bounds.half_open()[0])
    except ValueError:
        return (True, bounds.low.value)


def _before(high: Edge, low: Edge) -> bool:
    """Whether a range ends before another one begins."""
    a: Any = high.value
    b: Any = low.value
    return bool(a < b) or (a == b and not (high.inclusive and low.inclusive)) or _hollow(high, low)


def _hollow(high: Edge, low: Edge) -> bool:
    """(5, 6) holds no integer."""
    if high.inclusive or low.inclusive or isinstance(high.value, (str, Decimal)):
        return False
    following: Any = after(low.value)
    return bool(following >= high.value)


def _tighter(one: Edge | None, other: Edge | None, *, highest: bool) -> Edge | None:
    if one is None or other is None:
        return one or other
    a: Any = one.value
    b: Any = other.value
    if a == b:
        return one if not one.inclusive else other
    return one if (a > b) is highest else other
