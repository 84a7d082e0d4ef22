"""Made-up names, addresses, phones, dates: the same for the same value in every table, and back from none of them.

A keyed hash of the value chooses from lists of ours. Different values may get the same name, as people do, unless
`unique` adds digits of the hash.
"""

from __future__ import annotations

import base64
import datetime
import hmac
from collections.abc import Callable, Mapping
from functools import partial

import pyarrow as pa

from pghaul.model.masking_key import key_of
from pghaul.model.text import say
from pghaul.model.transforming import Fake, Tongue, Transform
from pghaul.transforms import words
from pghaul.transforms.masking import as_text
from pghaul.transforms.steps import ColumnStep, Work, column_step, per_distinct, unfit

FIRST_DAY = datetime.date(1940, 1, 1).toordinal()
DAYS = 365 * 65
TAIL = 13  # characters of base 32: 65 bits


class Dice:
    """What a hash has decided, number by number."""

    def __init__(self, key: bytes, value: str) -> None:
        self._rest = int.from_bytes(hmac.digest(key, b"fake:" + value.encode(), "sha512"), "big")

    def below(self, n: int) -> int:
        """From 0 up to it."""
        self._rest, number = divmod(self._rest, n)
        return number

    def of(self, choices: tuple[str, ...]) -> str:
        """One of them."""
        return choices[self.below(len(choices))]


def _name(dice: Dice, tongue: Tongue) -> str:
    first, last = dice.of(words.FIRST[tongue]), dice.of(words.LAST[tongue])
    return f"{last}{first}" if tongue is Tongue.KO else f"{first} {last}"


def _email(dice: Dice, _tongue: Tongue) -> str:
    first, last = dice.of(words.FIRST[Tongue.EN]).lower(), dice.of(words.LAST[Tongue.EN]).lower()
    return f"{first}.{last}@example.{dice.of(('com', 'org', 'net'))}"


def _phone(dice: Dice, tongue: Tongue) -> str:
    if tongue is Tongue.KO:
        return f"010-{dice.below(10_000):04}-{dice.below(10_000):04}"
    return f"+1-555-{dice.below(1000):03}-{dice.below(10_000):04}"


def _address(dice: Dice, tongue: Tongue) -> str:
    street, city, number = dice.of(words.STREETS[tongue]), dice.of(words.CITIES[tongue]), 1 + dice.below(300)
    return f"{city} {street} {number}" if tongue is Tongue.KO else f"{number} {street}, {city}"


def _company(dice: Dice, tongue: Tongue) -> str:
    made = dice.of(words.COMPANIES[tongue])
    return (
        f"{made}{dice.of(words.TRADES[tongue])}" if tongue is Tongue.KO else f"{made} {dice.of(words.TRADES[tongue])}"
    )


def _date(dice: Dice, _tongue: Tongue) -> str:
    return datetime.date.fromordinal(FIRST_DAY + dice.below(DAYS)).isoformat()


MAKERS: Mapping[Fake, Callable[[Dice, Tongue], str]] = {
    Fake.NAME: _name,
    Fake.FIRST_NAME: lambda dice, tongue: dice.of(words.FIRST[tongue]),
    Fake.LAST_NAME: lambda dice, tongue: dice.of(words.LAST[tongue]),
    Fake.EMAIL: _email,
    Fake.PHONE: _phone,
    Fake.ADDRESS: _address,
    Fake.COMPANY: _company,
    Fake.DATE: _date,
}


def fake(transform: Transform, schema: pa.Schema) -> ColumnStep:
    """By a keyed hash of each value."""
    key, kind = key_of(transform), transform.fake or Fake.NAME
    make_one = partial(_unique if transform.unique else _plain, key, kind, transform.language)

    def make(field: pa.Field) -> Work:
        if kind is Fake.DATE and transform.unique:
            raise unfit(transform, field, say("a date cannot be made unique"))
        text, dated = as_text(transform, field), pa.types.is_date(field.type) or pa.types.is_timestamp(field.type)

        def work(array: pa.Array) -> pa.Array:
            made = per_distinct(text(array), lambda values: [make_one(v) for v in values], pa.string())
            return made.cast(pa.date32()) if kind is Fake.DATE and dated else made

        return work

    return column_step(transform, schema, make)


def _plain(key: bytes, kind: Fake, tongue: Tongue, value: str) -> str:
    return MAKERS[kind](Dice(key, value), tongue)


def _unique(key: bytes, kind: Fake, tongue: Tongue, value: str) -> str:
    """With 65 bits of the hash: of ten million values, two have the same once in 700,000 tables."""
    made = _plain(key, kind, tongue, value)
    tail = base64.b32encode(hmac.digest(key, b"tail:" + value.encode(), "sha256")).decode().lower()[:TAIL]
    if kind is Fake.EMAIL:
        name, _, host = made.partition("@")
        return f"{name}.{tail}@{host}"
    return f"{made} {tail}"
