"""Columns whose type on the target is another, wider one: what of a value is the same on both sides.

COPY hands over a value's text, so most of them (int4 to int8, varchar to text, an enum to text) read the same there,
and are compared so. A few are written otherwise by the wider type; for these, and only where nothing can get lost,
both sides are compared as the target's type. Everything else that reads otherwise *is* a difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pghaul.model.table import Column

LOSSLESS = {
    ("date", "timestamp without time zone"),
    ("date", "timestamp with time zone"),
    ("timestamp without time zone", "timestamp with time zone"),
    ("time without time zone", "time with time zone"),
    ("json", "jsonb"),  # blanks, order and repeated keys are what jsonb is there to drop
}
MODIFIER = re.compile(r"\((\d+)(?:,(-?\d+))?\)")


def type_changes(source: Iterable[Column], target: Iterable[Column]) -> dict[str, str | None]:
    """By column, where the types differ: the type to compare as, or None to compare what both write."""
    there = {c.name: c.type for c in target}
    return {
        c.name: there[c.name] if _is_lossless(c.type, there[c.name]) else None
        for c in source
        if there.get(c.name, c.type) != c.type
    }


def _is_lossless(narrow: str, wide: str) -> bool:
    bases = MODIFIER.sub("", narrow), MODIFIER.sub("", wide)
    if bases in LOSSLESS:
        return not MODIFIER.search(wide)
    small, large = MODIFIER.search(narrow), MODIFIER.search(wide)
    if not (bases[0] == bases[1] and small and large):
        return False
    if bases[0] == "numeric":  # more digits after the point, and none fewer before it
        (p1, s1), (p2, s2) = _numbers(small), _numbers(large)
        return s2 >= s1 and p2 - s2 >= p1 - s1
    return bases[0] == "character" and _numbers(large) >= _numbers(small)


def _numbers(modifier: re.Match[str]) -> tuple[int, int]:
    return int(modifier[1]), int(modifier[2] or 0)


# Each holds every value of those before it, in its own row.
LADDERS = (
    ("smallint", "integer", "bigint", "numeric"),
    ("character varying", "text"),
    ("real", "double precision"),
    ("date", "timestamp without time zone"),
)
DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}  # before the point, at most
PARSED = re.compile(r"^(.*?)(?:\((\d+)(?:,(-?\d+))?\))?( with(?:out)? time zone)?$")


def holds(narrow: str, wide: str) -> bool:
    """Does a column of the one type hold every value of the other, unchanged? Types as format_type() writes them."""
    (small, s1, s2), (large, l1, l2) = _parsed(narrow), _parsed(wide)
    if small == large:
        if small == "numeric":
            return l1 is None or (s1 is not None and l2 >= s2 and l1 - l2 >= s1 - s2)
        return l1 is None or (s1 is not None and (l1 == s1 if small == "bit" else l1 >= s1))
    ladder = next((x for x in LADDERS if small in x and large in x), ())
    if not ladder or ladder.index(small) > ladder.index(large):
        return False
    if large == "numeric":
        return l1 is None or l1 - l2 >= DIGITS[small]
    return l1 is None


def _parsed(name: str) -> tuple[str, int | None, int]:
    found = PARSED.match(name)
    if found is None:
        return name, None, 0
    base, first, second, zone = found.groups()
    return f"{base}{zone or ''}", None if first is None else int(first), int(second or 0)
