"""Whether a run may move now: a wish from anywhere, its hours, and the load of both servers decide.

While it may not, workers hold between two buffers, with snapshot and connections open. After `pause_hold` all of that
is let go; the process waits on, and its next attempt is a new epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from pghaul.engine import window
from pghaul.engine.window import Window
from pghaul.model.errors import PausedError
from pghaul.model.event import EventKind
from pghaul.model.plan import Plan
from pghaul.model.run import RunState, Wish
from pghaul.model.text import say, saying

ASKED = saying("as asked; go on with: pghaul resume {run}")
OFF_HOURS = saying("outside the hours {hours}; goes on at {until}")
UNDER_LOAD = saying("{why}; goes on by itself when that is over")
HELD = saying("paused: {why}")
FREED = say("snapshot and connections are let go; what was in flight is rolled back")
GOES_ON = saying("goes on after {seconds:.0f} s")


class Cause(Enum):
    """Why a run is paused."""

    ASKED = "asked"  # by a person: until it is resumed or stopped
    HOURS = "hours"  # by the plan: goes on by itself
    LOAD = "load"  # by a server under load: goes on by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    cause: Cause
    why: str
    until: datetime | None = None
    at_once: bool = False  # let everything go now


class Care(Protocol):
    """Looks at the servers' load."""

    def why(self) -> str | None:
        """What is over its bound, in words; None where all is well."""
        ...

    def readings(self) -> dict[str, float]:
        """By the plan's key, what was measured last."""
        ...

    def close(self) -> None:
        """Give its connections back."""
        ...


class Tell(Protocol):
    def __call__(self, kind: EventKind, *, message: str, data: dict[str, Any]) -> None: ...


class Steering:
    """One per run, over all its attempts. `changed` hears of every change of state, with its reason."""

    def __init__(
        self, run: str, plan: Plan, care: Care, *, tell: Tell, changed: Callable[[RunState, str | None], None]
    ) -> None:
        options = plan.options
        self._run = run
        self._pause_hold = options.pause_hold
        self._hours = options.only_between
        self._window = Window.parse(options.only_between, zone_of(plan)) if options.only_between else None
        self._care = care
        self._tell = tell
        self._changed = changed
        self._hold: Hold | None = None
        self._since = 0.0
        self._freed = False

    @property
    def held(self) -> bool:
        """Nothing may move now."""
        return self._hold is not None

    @property
    def load(self) -> dict[str, float]:
        """What was measured on the servers last, by the plan's key."""
        return self._care.readings()

    def update(self, wish: Wish) -> bool:
        """Look again; True when a pause has just ended."""
        before, self._hold = self._hold, self._decide(wish)
        if self._hold is None:
            return before is not None and self._go_on(before)
        if before is None:
            self._since, self._freed = time.monotonic(), False
        if before is None or before.cause is not self._hold.cause:
            self._paused(self._hold)
        return False

    def check(self) -> None:
        """Raise PausedError when a pause has lasted for pause_hold."""
        if self._hold and (self._hold.at_once or time.monotonic() - self._since >= self._pause_hold):
            self.let_go()

    def let_go(self) -> None:
        """Raise PausedError if the run is held at all: there is nothing that would be worth keeping open."""
        if self._hold:
            raise PausedError(HELD.format(why=self._hold.why), code=4130)

    def freed(self) -> None:
        """Everything has been let go."""
        self._care.close()
        if self._hold and not self._freed:
            self._freed = True
            self._tell(EventKind.PAUSED, message=FREED, data=_facts(self._hold) | {"freed": True})

    def close(self) -> None:
        """The run has ended."""
        self._care.close()

    def _decide(self, wish: Wish) -> Hold | None:
        if wish in {Wish.PAUSE, Wish.FREE}:
            return Hold(cause=Cause.ASKED, why=ASKED.format(run=self._run), at_once=wish is Wish.FREE)
        now = window.now()
        if self._window is not None and not self._window.is_open(now):
            until = self._window.opens(now)
            why_not = OFF_HOURS.format(hours=self._hours or "", until=f"{until:%Y-%m-%d %H:%M}")
            return Hold(cause=Cause.HOURS, why=why_not, until=until)
        why = self._care.why()
        return Hold(cause=Cause.LOAD, why=UNDER_LOAD.format(why=why)) if why else None

    def _paused(self, hold: Hold) -> None:
        self._changed(RunState.PAUSED, hold.why)
        self._tell(EventKind.PAUSED, message=HELD.format(why=hold.why), data=_facts(hold))

    def _go_on(self, hold: Hold) -> bool:
        seconds = time.monotonic() - self._since
        self._changed(RunState.RUNNING, None)
        self._tell(
            EventKind.RESUMED,
            message=GOES_ON.format(seconds=seconds),
            data={"cause": hold.cause.value, "seconds": round(seconds, 1)},
        )
        return True


def zone_of(plan: Plan) -> str | None:
    """The plan's, where it names one; else that of this machine."""
    period = plan.period
    return period.timezone if period is not None and "timezone" in period.model_fields_set else None


def _facts(hold: Hold) -> dict[str, Any]:
    return {"cause": hold.cause.value} | ({"until": hold.until.isoformat()} if hold.until else {})
