"""Whether a run may move: wishes, hours and load, and what is said when that changes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pghaul.engine import care, steering, window
from pghaul.engine.care import Gauge, PerMinute
from pghaul.engine.steering import Steering
from pghaul.engine.window import Window
from pghaul.model.errors import PausedError, PlanError
from pghaul.model.event import EventKind
from pghaul.model.plan import Options, Period, Plan, Selection
from pghaul.model.run import RunState, Wish


class World:
    """Everything that steering looks at, and everything that it says."""

    def __init__(self) -> None:
        self.load: str | None = None
        self.now = 1000.0
        self.states: list[tuple[RunState, str | None]] = []
        self.told: list[tuple[EventKind, dict[str, Any]]] = []
        self.closed = 0

    def why(self) -> str | None:
        return self.load

    def readings(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        self.closed += 1

    def tell(self, kind: EventKind, *, message: str, data: dict[str, Any]) -> None:
        assert message
        self.told.append((kind, data))

    def steering(self, **options: Any) -> Steering:
        plan = Plan(source="a", target="b", tables=[Selection(name="t")], options=Options(**options))
        return Steering("r", plan, self, tell=self.tell, changed=lambda *change: self.states.append(change))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(steering.time, "monotonic", lambda: world.now)
    monkeypatch.setattr(window, "now", lambda: datetime(2026, 3, 1, 12, tzinfo=UTC))
    return world


def test_a_pause_and_its_end_are_told_once(world: World) -> None:
    steered = world.steering()
    assert not steered.update(Wish.NONE)
    for _ in range(3):
        assert not steered.update(Wish.PAUSE)
    world.now += 12
    assert steered.held
    assert steered.update(Wish.NONE)
    assert not steered.update(Wish.NONE)
    assert [kind for kind, _ in world.told] == [EventKind.PAUSED, EventKind.RESUMED]
    assert world.told[1][1] == {"cause": "asked", "seconds": 12.0}
    assert [state for state, _ in world.states] == [RunState.PAUSED, RunState.RUNNING]


def test_after_pause_hold_everything_is_to_be_let_go(world: World) -> None:
    steered = world.steering(pause_hold=60)
    steered.update(Wish.PAUSE)
    world.now += 59
    steered.check()
    world.now += 1
    with pytest.raises(PausedError):
        steered.check()
    steered.freed()
    steered.freed()
    assert [data.get("freed") for _, data in world.told] == [None, True]
    assert world.closed == 2


def test_a_pause_may_let_everything_go_at_once(world: World) -> None:
    steered = world.steering()
    steered.update(Wish.FREE)
    with pytest.raises(PausedError):
        steered.check()


def test_a_pause_that_changes_its_cause_goes_on_and_says_so(world: World) -> None:
    steered = world.steering(pause_hold=60)
    world.load = "slow"
    steered.update(Wish.NONE)
    world.now += 50
    steered.update(Wish.PAUSE)
    world.now += 10
    with pytest.raises(PausedError):  # counted from its beginning
        steered.check()
    steered.update(Wish.NONE)
    assert [data["cause"] for _, data in world.told] == ["load", "asked", "load"]


def test_outside_its_hours_it_says_until_when(world: World) -> None:
    steered = world.steering(only_between="22:00-06:00 UTC")
    steered.update(Wish.NONE)
    assert world.told == [(EventKind.PAUSED, {"cause": "hours", "until": "2026-03-01T22:00:00+00:00"})]


def test_the_period_s_zone_is_the_plan_s_where_the_hours_name_none(world: World) -> None:
    def plan(hours: str, zone: str | None) -> Plan:
        period = Period(since="2026-01-01", **({"timezone": zone} if zone else {}))
        options = Options(only_between=hours)
        return Plan(source="a", target="b", tables=[Selection(name="t")], period=period, options=options)

    assert [steering.zone_of(plan("01:00-02:00", z)) for z in ("Asia/Seoul", None)] == ["Asia/Seoul", None]
    assert str(Window.parse("01:00-02:00 UTC", "Asia/Seoul").zone) == "UTC"


@pytest.mark.parametrize(
    ("hours", "moment", "is_open", "opens"),
    [
        ("22:00-06:00 UTC", "2026-03-01T21:59:59", False, "2026-03-01T22:00:00"),
        ("22:00-06:00 UTC", "2026-03-01T22:00:00", True, None),
        ("22:00-06:00 UTC", "2026-03-02T05:59:59", True, None),
        ("22:00-06:00 UTC", "2026-03-02T06:00:00", False, "2026-03-02T22:00:00"),
        ("12:30-13:00 UTC", "2026-03-01T13:00:00", False, "2026-03-02T12:30:00"),
        ("22:00-06:00 Asia/Seoul", "2026-03-01T13:00:00", True, None),  # 22:00 there
        ("22:00-06:00 Asia/Seoul", "2026-03-01T12:59:00", False, "2026-03-01T13:00:00"),
    ],
)
def test_hours_are_wall_time_of_their_zone_and_may_span_midnight(
    hours: str, moment: str, is_open: bool, opens: str | None
) -> None:
    at, parsed = datetime.fromisoformat(moment).replace(tzinfo=UTC), Window.parse(hours)
    assert parsed.is_open(at) is is_open
    if opens is not None:
        assert parsed.opens(at) == datetime.fromisoformat(opens).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["10:00-10:00", "10:00-11:00 Moon/Base", "10:00-11:00 ../etc/passwd"])
def test_hours_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(PlanError):
        Window.parse(text)


@pytest.mark.parametrize("text", ["22-06", "24:00-06:00", "22:00-06:60", "22:00", "always"])
def test_hours_that_are_none_are_refused_by_the_plan(text: str) -> None:
    with pytest.raises(ValueError, match="only_between"):
        Options(only_between=text)


def test_a_gauge_is_over_at_once_and_calm_only_after_two_looks() -> None:
    gauge = Gauge(name="g", side="source", bound=5, read=lambda _: 0.0, words="")
    seen = []
    for value in (5, 6, 5, 6, 5, 5, 5):
        gauge.take(value)
        seen.append(gauge.over)
    assert seen == [False, True, True, True, True, False, False]


def test_a_counter_is_read_as_its_rise_within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now, count = [0.0], [0]
    monkeypatch.setattr(care.time, "monotonic", lambda: now[0])
    rise = PerMinute(read=lambda _: count[0])
    seen = []
    for second, value in ((0, 10), (30, 12), (61, 12), (89, 13), (95, 13), (180, 13), (182, 0), (184, 1)):
        now[0], count[0] = float(second), value
        seen.append(rise(None))  # type: ignore[arg-type]
    assert seen == [0, 2, 2, 3, 1, 0, 0, 1]
