"""Literals of bounds as Python values: what a server prints under our session's settings (ISO dates, UTC)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum

from pghaul.model.bounds import Value
from pghaul.model.text import say


class Family(Enum):
    """Types whose values compare with each other."""

    INTEGER = "integer"
    NUMERIC = "numeric"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    TEXT = "text"
    OTHER = "other"  # no order that we know: good for lists only


_FAMILIES = {
    "smallint": Family.INTEGER,
    "integer": Family.INTEGER,
    "bigint": Family.INTEGER,
    "numeric": Family.NUMERIC,
    "real": Family.NUMERIC,
    "double precision": Family.NUMERIC,
    "date": Family.DATE,
    "timestamp without time zone": Family.TIMESTAMP,
    "timestamp with time zone": Family.TIMESTAMPTZ,
    "text": Family.TEXT,
    "character varying": Family.TEXT,
    "character": Family.TEXT,
}
_MODIFIER = re.compile(r"\(\d+(,-?\d+)?\)")
INFINITE = {"infinity": 1, "-infinity": -1}


class Unbounded(Exception):  # noqa: N818 -- a value, not a fault
    """A literal that stands for an open end; `sign` says which."""

    def __init__(self, sign: int) -> None:
        super().__init__(sign)
        self.sign = sign


def family(type_name: str) -> Family:
    """Of a type as format_type() writes it."""
    return _FAMILIES.get(_MODIFIER.sub("", type_name), Family.OTHER)


def read_value(text: str, kind: Family) -> Value:
    """ValueError for what Python cannot hold (years before 1 or after 9999, NaN); Unbounded for ±infinity."""
    if text.lower() in INFINITE and kind not in {Family.TEXT, Family.OTHER}:
        raise Unbounded(INFINITE[text.lower()])
    match kind:
        case Family.INTEGER | Family.NUMERIC:
            return _number(text)
        case Family.DATE:
            return date.fromisoformat(text)
        case Family.TIMESTAMP:
            return datetime.fromisoformat(text).replace(tzinfo=None)
        case Family.TIMESTAMPTZ:
            return _aware(text)
        case _:
            return text


def _number(text: str) -> Value:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(say("{text} is no number", text=text)) from None
    if not number.is_finite():
        raise ValueError(say("{text} has no place in an order", text=text))
    return int(number) if number == number.to_integral_value() else number


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(say("{text} means another moment in every time zone", text=text))
    return moment.astimezone(UTC)
