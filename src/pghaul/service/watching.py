"""A run in another process, followed through the store: its events as they come, and its last word on progress."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pghaul.model.errors import AccessError, StateError, TransientError
from pghaul.model.event import Event, EventKind
from pghaul.model.run import LIVING
from pghaul.service.migration import Look, MigrationService

EVERY = 0.5  # seconds between two looks; the run itself writes once a second
PATIENCE = 60.0  # seconds for which a store that was there may be away: its server restarts, its disk is full


def follow(service: MigrationService, run_id: str, last: int) -> Iterator[Event]:
    """All events after number `last`, and progress twice a second, until the run has ended.

    The last look is taken after its end, for the last event is written after the last state.
    """
    ended = False
    while True:
        look = _look(service, run_id, last)
        last = look.last
        yield from look.events
        if look.progress:
            yield Event(kind=EventKind.PROGRESS, run=run_id, data=look.progress)
        if ended:
            return
        ended = look.run.state not in LIVING
        time.sleep(EVERY)


def _look(service: MigrationService, run_id: str, last: int) -> Look:
    """A watcher outlives the connections of the store, as the run does that it watches."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return service.look(run_id, last)
        except (AccessError, StateError, TransientError):
            if time.monotonic() > deadline:
                raise
        time.sleep(EVERY)
