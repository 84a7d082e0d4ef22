"""The runbook as the tool can run it: what is looked at before, on and after the day, and what only a person knows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

from pghaul.model.text import Text


class Phase(StrEnum):
    BEFORE = "before"  # the week before: time to mend what is found
    DAY = "day"  # hours before the cutover: nothing is changed any more
    AFTER = "after"  # from the cutover on: is all of it there, and does nobody write to the old one


class Outcome(Enum):
    FINE = "fine"
    LOOK = "look"  # it goes on, and somebody should look
    BAD = "bad"  # mend it first
    BY_HAND = "by hand"  # no program can know: a person ticks it


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of the list. `id` is stable, for programs; `about` the question, `found` the answer."""

    id: str
    side: str  # source | target | here
    outcome: Outcome
    about: Text
    found: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checklist:
    """`source`, `target` without passwords."""

    phase: Phase
    source: str
    target: str
    items: tuple[Item, ...]

    @property
    def ok(self) -> bool:
        """Nothing has to be mended first."""
        return all(i.outcome is not Outcome.BAD for i in self.items)
