"""Waiting that cannot hang: what ends it, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from pghaul.engine import watch
from pghaul.engine.control import Control
from pghaul.engine.watch import Probe, Pulse, watched
from pghaul.model.errors import ConnectionLostError, StalledError, StoppedError


@pytest.fixture(autouse=True)
def short_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "TICK", 0.005)


def waiting(
    work: Coroutine[Any, Any, Any],
    *probes: Probe,
    control: Control | None = None,
    pulse: Pulse | None = None,
    stall_timeout: float = 0.02,
) -> Any:
    async def go() -> Any:
        return await watched(
            work,
            pulse=pulse or Pulse(),
            probes=probes,
            control=control or Control(1),
            stall_timeout=stall_timeout,
        )

    return asyncio.run(asyncio.wait_for(go(), 60))


async def idle() -> bool:
    return False


async def working() -> bool:
    return True


async def broken() -> bool:
    raise ConnectionLostError("no answer")


class Endless:
    """Work that never ends, and knows whether it was cancelled."""

    def __init__(self) -> None:
        self.cancelled = False

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


def test_a_result_and_an_error_pass_through() -> None:
    async def answer() -> int:
        return 42

    async def fail() -> None:
        raise ConnectionLostError("gone")

    assert waiting(answer()) == 42
    with pytest.raises(ConnectionLostError, match="gone"):
        waiting(fail())


def test_a_wish_to_stop_cancels_the_work() -> None:
    control, work = Control(1), Endless()
    control.stop()
    with pytest.raises(StoppedError):
        waiting(work.run(), control=control, stall_timeout=60)
    assert work.cancelled


@pytest.mark.parametrize("probes", [(), (idle,), (idle, idle), (broken,), (idle, broken)])
def test_silence_is_a_stall_where_no_server_is_at_work(probes: tuple[Probe, ...]) -> None:
    work = Endless()
    with pytest.raises(StalledError, match="nothing has moved"):
        waiting(work.run(), *probes)
    assert work.cancelled


@pytest.mark.parametrize("probes", [(working,), (idle, working), (broken, working)])
def test_silence_is_no_stall_while_a_server_works(probes: tuple[Probe, ...]) -> None:
    """A long index build says nothing for hours."""
    asked: list[int] = []
    done = asyncio.Event()

    async def counted() -> bool:
        asked.append(1)
        if len(asked) == 3:
            done.set()
        return False

    async def build() -> str:
        await done.wait()
        return "built"

    assert waiting(build(), counted, *probes) == "built"
    assert len(asked) == 3


def test_nobody_is_asked_while_something_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes in all."""
    clock = [0.0]
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    pulse = Pulse()
    asked: list[int] = []

    async def probe() -> bool:
        asked.append(1)
        return True

    async def move() -> None:
        for _ in range(5):
            clock[0] += 0.4
            await asyncio.sleep(2 * watch.TICK)  # it is looked at meanwhile
            pulse.beat()

    waiting(move(), probe, pulse=pulse, stall_timeout=0.5)
    assert asked == []


def test_work_that_does_not_heed_its_cancel_is_left_after_a_moment() -> None:
    """The driver's own cancel may hang on the same dead path."""
    control = Control(1)
    control.stop()

    heeded = asyncio.Event()
    left: list[bool] = []

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await heeded.wait()
            left.append(True)

    async def go() -> None:
        with pytest.raises(StoppedError):
            await watched(stubborn(), pulse=Pulse(), probes=(), control=control, stall_timeout=60)
        assert left == []
        heeded.set()

    asyncio.run(asyncio.wait_for(go(), 60))


def test_every_look_is_a_sign_of_life() -> None:
    control = Control(2)
    control.take(1)
    before = control.ticks(1)

    async def short() -> None:
        await asyncio.sleep(0.05)

    waiting(short(), control=control, stall_timeout=60)
    assert control.ticks(1) > before
    assert control.ticks(0) == 0
