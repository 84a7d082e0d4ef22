"""What a partition holds, said twice: as its bound on the target, and as the condition that reads it from the source.

Both come from one value here, so that they cannot drift apart: the slices of a key are disjoint, and what none of them
takes (rows without a key among it) is the rest. Literals are written without a cast: the server reads them as the
column's own type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise

from psycopg import sql

from pghaul.model.bounds import Value

NOWHERE = -1  # what `place` says of a row that no slice takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A range (`low` inclusive, `high` exclusive, None where it is open) or a list of values."""

    low: Value | None = None
    high: Value | None = None
    values: tuple[Value, ...] = ()

    def bound(self) -> str:
        """FOR VALUES …"""
        if self.values:
            return f"FOR VALUES IN ({', '.join(_literal(v) for v in self.values)})"
        low = "MINVALUE" if self.low is None else _literal(self.low)
        high = "MAXVALUE" if self.high is None else _literal(self.high)
        return f"FOR VALUES FROM ({low}) TO ({high})"

    def condition(self, column: str) -> str:
        """True for its rows, false or unknown for all others."""
        key = _key(column)
        if self.values:
            return f"{key} IN ({', '.join(_literal(v) for v in self.values)})"
        ends = [f"{key} >= {_literal(self.low)}"] if self.low is not None else []
        ends += [f"{key} < {_literal(self.high)}"] if self.high is not None else []
        return " AND ".join(ends) or f"{key} IS NOT NULL"


def rest(column: str, slices: Sequence[Slice]) -> str:
    """True for the rows that none of these takes: rows without a key, in gaps, and beyond both ends."""
    key = _key(column)
    if not slices:
        return ""
    taken = " OR ".join(f"({s.condition(column)})" for s in _merged(slices))
    return f"{key} IS NULL OR NOT ({taken})"


def both(one: str, other: str) -> str:
    """One condition of two. A line for each: a person's own may end with a comment."""
    return f"(\n{one}\n) AND ({other})" if one and other else one or other


def place(column: str, slices: Sequence[Slice]) -> str:
    """An expression for the number of the slice that takes a row, or NOWHERE. Ranges are to be in order.

    Halving, so that four hundred partitions take nine comparisons a row.
    """
    key = _key(column)
    if all(not s.values for s in slices) and all(_in_order(a, b) for a, b in pairwise(slices)):
        return f"CASE WHEN {key} IS NULL THEN {NOWHERE} ELSE {_halved(key, column, slices, 0)} END"
    tests = " ".join(f"WHEN {s.condition(column)} THEN {i}" for i, s in enumerate(slices))
    return f"CASE {tests} ELSE {NOWHERE} END"


def _halved(key: str, column: str, slices: Sequence[Slice], first: int) -> str:
    if len(slices) == 1:
        return f"CASE WHEN {slices[0].condition(column)} THEN {first} ELSE {NOWHERE} END"
    middle = len(slices) // 2
    low = slices[middle].low
    if low is None:
        raise ValueError("an open end in the middle")
    left = _halved(key, column, slices[:middle], first)
    right = _halved(key, column, slices[middle:], first + middle)
    return f"CASE WHEN {key} < {_literal(low)} THEN {left} ELSE {right} END"


def _in_order(one: Slice, following: Slice) -> bool:
    """Text is ordered by collations that only the server knows."""
    if one.high is None or following.low is None or isinstance(one.high, str):
        return False
    return bool(one.high <= following.low)  # type: ignore[operator]


def _merged(slices: Sequence[Slice]) -> list[Slice]:
    """Ranges that touch, as one: mostly all of them."""
    merged: list[Slice] = []
    for piece in slices:
        last = merged[-1] if merged else None
        if last and not (last.values or piece.values) and last.high is not None and last.high == piece.low:
            merged[-1] = Slice(low=last.low, high=piece.high)
        else:
            merged.append(piece)
    return merged


def _key(column: str) -> str:
    return sql.Identifier(column).as_string(None)


def _literal(value: Value) -> str:
    text = value.isoformat() if isinstance(value, (date, datetime)) else str(value)
    return sql.Literal(text).as_string(None).strip()
