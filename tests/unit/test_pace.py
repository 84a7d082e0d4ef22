"""Between two buffers: a stream holds while the run is paused, and pays for its bytes with time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from pghaul.engine import pace
from pghaul.engine.control import Control
from pghaul.engine.pace import Pace
from pghaul.engine.watch import Pulse


class Time:
    """Sleeping takes no time, and is counted."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.naps = 0
        self.wake = lambda: None

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.naps += 1
        self.wake()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(pace.time, "monotonic", clock.monotonic)
    monkeypatch.setattr(pace.asyncio, "sleep", clock.sleep)
    return clock


def done(work: Coroutine[Any, Any, None]) -> None:
    """Run it without an event loop: nothing in it waits for anything but our own sleep."""
    with pytest.raises(StopIteration):
        work.send(None)


def test_without_a_wish_nothing_waits(clock: Time) -> None:
    with Pace(Control(1), Pulse()) as held:
        for total in range(0, 10**9, 10**7):
            done(held.between(total))
    assert clock.naps == 0


def test_a_stream_takes_as_long_as_its_share_says(clock: Time) -> None:
    control = Control(1)
    control.set_share(1_000_000)
    started = clock.now
    with Pace(control, Pulse()) as held:
        for total in range(250_000, 5_000_001, 250_000):
            done(held.between(total))
    assert clock.now - started == pytest.approx(5.0, rel=0.01)


def test_a_stream_that_was_slow_may_not_make_up_for_it(clock: Time) -> None:
    control = Control(1)
    control.set_share(1_000_000)
    held = Pace(control, Pulse())
    clock.now += 3600
    started = clock.now
    done(held.between(1_000_000))
    assert clock.now - started == pytest.approx(1.0 - pace.CREDIT, rel=0.01)


def test_a_new_share_counts_at_once_and_without_one_nothing_is_owed(clock: Time) -> None:
    control = Control(1)
    control.set_share(1_000)
    clock.wake = lambda: control.set_share(0.0)
    started = clock.now
    done(Pace(control, Pulse()).between(10**9))
    assert clock.now - started <= pace.SLICE


def test_a_paused_stream_waits_until_it_may_go_on_and_its_pulse_beats(clock: Time) -> None:
    control, pulse = Control(1), Pulse()
    control.hold(True)
    clock.wake = lambda: control.hold(clock.naps < 50)
    done(Pace(control, pulse).between(1))
    assert clock.naps == 50
    assert pulse.silence <= pace.SLICE


def test_a_stream_is_counted_as_moving_while_it_is_open() -> None:
    control = Control(2)
    control.take(1)
    with Pace(control, Pulse()):
        assert (control.moving(0), control.moving(1)) == (False, True)
    assert not control.moving(1)


def test_the_relay_waits_between_two_buffers() -> None:
    """While it waits nothing is read: the source's socket is the queue."""
    from pghaul.engine.relay import relay  # noqa: PLC0415

    seen: list[int] = []

    async def between(total: int) -> None:
        seen.append(total)

    async def read(sink: Any) -> str:
        for _ in range(3):
            await sink(b"ab")
        return "COPY 3"

    async def write(rows: Any) -> str:
        return f"COPY {len([r async for r in rows])}"

    asyncio.run(relay(read, write, on_bytes=lambda _: None, between=between))
    assert seen == [2, 4, 6]
