"""Waiting that cannot hang: a wish to stop, a dead peer and a silent connection all end it. A pause does not.

TCP's keepalives find a dead host, not a path that swallows packets behind a proxy or a firewall that still answers.
So after `stall_timeout` of silence the servers are asked, over fresh connections, whether the backends we wait for are
at work. A long index build goes on for hours; a backend that waits for us while we wait for it is a stall.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeAlias, TypeVar

from pghaul.engine.control import Control
from pghaul.model.errors import StalledError, StoppedError
from pghaul.model.text import say

T = TypeVar("T")
Probe: TypeAlias = Callable[[], Awaitable[bool]]

TICK = 0.2  # seconds between looks at the wish to stop: a stop takes effect well within one second


class Pulse:
    """When something last moved."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def beat(self) -> None:
        """Something moved."""
        self._at = time.monotonic()

    @property
    def silence(self) -> float:
        """Seconds since the last beat."""
        return time.monotonic() - self._at


async def watched(
    work: Coroutine[Any, Any, T],
    *,
    pulse: Pulse,
    probes: Sequence[Probe],
    control: Control,
    stall_timeout: float,
) -> T:
    """Await `work`; raise StoppedError on a wish to stop, StalledError when nothing moves and no backend works.

    While the run is paused it is not begun; begun work is awaited, and its silence means nothing.
    """
    try:
        await _until_it_may_begin(control)
    except BaseException:
        work.close()
        raise
    pulse.beat()
    task = asyncio.ensure_future(work)
    try:
        while True:
            done, _ = await asyncio.wait((task,), timeout=TICK)
            if done:
                return task.result()
            control.tick()
            if control.stopping:
                raise StoppedError(say("stopped while a chunk was in flight"), code=4032)
            if control.holding:
                pulse.beat()
            elif pulse.silence > stall_timeout:
                await _ask(probes, stall_timeout)
                pulse.beat()
    finally:
        if not task.done():
            task.cancel()
            # The driver's own cancel may hang on the same dead path: it is given a moment, not awaited for ever.
            await asyncio.wait((task,), timeout=1.0)


async def _until_it_may_begin(control: Control) -> None:
    while control.holding:
        control.tick()
        if control.stopping:
            raise StoppedError(say("stopped while the run was paused"), code=4033)
        await asyncio.sleep(TICK)


async def _ask(probes: Sequence[Probe], stall_timeout: float) -> None:
    answers = await asyncio.gather(*(asyncio.wait_for(p(), 10.0) for p in probes), return_exceptions=True)
    if not any(a is True for a in answers):
        raise StalledError(
            say("nothing has moved for {seconds:g} s, and no server is at work on it", seconds=stall_timeout), code=2230
        )
