"""Care for the servers: gauges of their load, each with a bound, and a run that holds while one is over it.

The gauges have connections of their own, open only while something is measured: what fails here may not cost the run
its snapshot. A bound that cannot be measured is refused before the run, or said once and then left alone.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from pghaul.engine.steering import zone_of
from pghaul.engine.window import Window
from pghaul.model.errors import PghaulError, PlanError, TransientError
from pghaul.model.finding import Finding, Kind, of_error
from pghaul.model.plan import Options, Plan
from pghaul.model.profile import Endpoint
from pghaul.model.text import Template, joined, say, saying
from pghaul.postgres import pressure
from pghaul.postgres.session import Session, connect
from pghaul.postgres.settings import Role

LOOK_EVERY = 2.0  # seconds between two looks at the servers
CALM_LOOKS = 2  # in a row, before a run goes on: one alone may be a pause between two waves
MINUTE = 60.0
ANSWER_SECONDS = 10.0

LAG = saying("a replica of the source is {value:.1f} s behind, more than {bound:g} s")
SESSIONS = saying("sessions at work on the source: {value:.0f}, more than {bound:g}")
CHECKPOINTS = saying("checkpoints that the target was forced into within a minute: {value:.0f}, more than {bound:g}")
UNMEASURED = saying("{name} cannot be measured, and does not hold the run back: {why}")
HIDDEN = saying("role {role} may not see what others do on the source, which {name} needs")
GRANT = saying("GRANT pg_read_all_stats TO {role}; before PostgreSQL 10, use a superuser")
NO_LAG = saying("PostgreSQL {version} as a primary does not say by how many seconds its replicas are behind")
NO_LAG_ADVICE = say("leave max_source_lag out, or read from a standby")


@dataclass(kw_only=True)
class Gauge:
    """One thing to look at. `read` gets a session on its side."""

    name: str  # the plan's key
    side: Role
    bound: float
    read: Callable[[Session], float]
    words: Template
    over: bool = False
    calm: int = 0
    value: float = 0.0
    broken: bool = False
    looked: bool = False

    def take(self, value: float) -> None:
        """Over at once, and within again only after some calm looks."""
        self.looked = True
        self.value = value
        self.calm = 0 if value > self.bound else self.calm + 1
        self.over = value > self.bound or (self.over and self.calm < CALM_LOOKS)


@dataclass(kw_only=True)
class PerMinute:
    """A counter that only rises, as its increase within the last minute."""

    read: Callable[[Session], int]
    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def __call__(self, session: Session) -> float:
        """A counter that was reset begins anew."""
        now, count = time.monotonic(), self.read(session)
        if self.seen and count < self.seen[-1][1]:
            self.seen.clear()
        self.seen.append((now, count))
        while len(self.seen) > 2 and now - self.seen[1][0] > MINUTE:
            self.seen.popleft()
        return float(count - self.seen[0][1])


def gauges(options: Options) -> list[Gauge]:
    """One for each bound of the plan."""
    wanted: list[tuple[str, Role, float | None, Callable[[Session], float], Template]] = [
        ("max_source_lag", "source", options.max_source_lag, pressure.replication_lag, LAG),
        ("max_source_sessions", "source", options.max_source_sessions, pressure.active_sessions, SESSIONS),
        (
            "max_checkpoint_pressure",
            "target",
            options.max_checkpoint_pressure,
            PerMinute(read=pressure.requested_checkpoints),
            CHECKPOINTS,
        ),
    ]
    return [
        Gauge(name=name, side=side, bound=bound, read=read, words=words)
        for name, side, bound, read, words in wanted
        if bound is not None
    ]


def findings(plan: Plan, source: Session) -> list[Finding]:
    """Before the run: do its hours mean something, and can the source be measured at all?"""
    options, server, found = plan.options, source.server, []
    if options.only_between:
        try:
            Window.parse(options.only_between, zone_of(plan))
        except PlanError as exc:
            found.append(of_error(exc, "only_between"))
    if options.max_source_lag is not None and not server.in_recovery and not server.capabilities.replay_lag:
        found.append(
            Finding(
                kind=Kind.VERSION,
                object="max_source_lag",
                what=NO_LAG.format(version=server.version),
                where=say("source"),
                advice=NO_LAG_ADVICE,
                code=5349,
            )
        )
    of_others = {"max_source_sessions": options.max_source_sessions, "max_source_lag": options.max_source_lag}
    if server.in_recovery:  # a standby's own lag is no secret
        del of_others["max_source_lag"]
    hidden = [name for name, bound in of_others.items() if bound is not None]
    if hidden and not pressure.sees_all(source):
        found += [
            Finding(
                kind=Kind.PRIVILEGE,
                object=name,
                what=HIDDEN.format(role=server.user, name=name),
                where=server.database,
                advice=GRANT.format(role=server.user),
                code=5131,
            )
            for name in hidden
        ]
    return found


class CareTaker:
    """Looks at the gauges every two seconds, over sessions of its own."""

    def __init__(
        self, options: Options, ends: dict[Role, Endpoint], application_name: str, warn: Callable[[str], None]
    ) -> None:
        self._gauges = gauges(options)
        self._ends = ends
        self._name = application_name
        self._warn = warn
        self._sessions: dict[Role, Session] = {}
        self._looked = -LOOK_EVERY

    def why(self) -> str | None:
        """What is over its bound, in words; None where all is well."""
        if self._gauges and time.monotonic() - self._looked >= LOOK_EVERY:
            self._looked = time.monotonic()
            for gauge in self._gauges:
                self._measure(gauge)
        over = [g for g in self._gauges if g.over]
        return joined("; ", (g.words.format(value=g.value, bound=g.bound) for g in over)) if over else None

    def readings(self) -> dict[str, float]:
        """By the plan's key, what was measured last; what cannot be measured is absent."""
        return {g.name: g.value for g in self._gauges if g.looked and not g.broken}

    def close(self) -> None:
        """Give the connections back; the next look opens them anew."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    def _measure(self, gauge: Gauge) -> None:
        """A connection that is gone is made anew at once: it says nothing about what is measured."""
        was_there = gauge.side in self._sessions
        try:
            gauge.take(gauge.read(self._session(gauge.side)))
            gauge.broken = False
        except PghaulError as exc:
            with contextlib.suppress(KeyError):
                self._sessions.pop(gauge.side).close()
            if was_there and isinstance(exc, TransientError):
                self._measure(gauge)
                return
            gauge.over = False  # what cannot be measured must not hold a run for ever
            if not gauge.broken:
                gauge.broken = True
                self._warn(UNMEASURED.format(name=gauge.name, why=exc.message))

    def _session(self, side: Role) -> Session:
        found = self._sessions.get(side)
        if found is None or found.closed:
            found = self._sessions[side] = connect(
                self._ends[side], application_name=self._name, role=side, stall_timeout=ANSWER_SECONDS
            )
        return found
