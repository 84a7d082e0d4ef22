"""What is told of a run beside the face that shows it: logs, metrics, notifications.

A run is never lost to its reporting: an outlet that fails is said once and let go, and the run goes on. What can be
known before (a port in use, a URL that is none) is an OutletError, and the run does not begin.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Protocol

from pghaul.model.event import Event, EventKind, Listener
from pghaul.model.plan import Plan
from pghaul.model.run import Run
from pghaul.model.text import say


class Outlet(Protocol):
    """Made before a run begins; called from the runner's thread with every event, so it must not wait."""

    name: str

    def __call__(self, event: Event) -> None:
        """One event."""
        ...

    def close(self) -> None:
        """The run has ended: give back what is held, within seconds."""
        ...


class _Telling:
    """The face first, then the outlets."""

    def __init__(self, face: Listener, outlets: Sequence[Outlet]) -> None:
        self._face = face
        self._outlets = list(outlets)

    def __call__(self, event: Event) -> None:
        self._face(event)
        for outlet in list(self._outlets):
            try:
                outlet(event)
            except Exception as exc:  # noqa: BLE001 -- whatever it is, the run is worth more
                self._outlets.remove(outlet)
                self._say_lost(outlet, event.run, exc)

    def _say_lost(self, outlet: Outlet, run: str, exc: Exception) -> None:
        words = say("{outlet} failed, and is told no more: {error}", outlet=outlet.name, error=str(exc) or repr(exc))
        self(Event(kind=EventKind.WARNING, run=run, message=words))

    def close(self) -> None:
        for outlet in self._outlets:
            with contextlib.suppress(Exception):
                outlet.close()


def open_outlets(run: Run, plan: Plan) -> list[Outlet]:  # noqa: ARG001 -- none yet
    """Those that the plan and the settings ask for. OutletError."""
    return []


@contextlib.contextmanager
def telling(face: Listener, run: Run, plan: Plan) -> Iterator[Listener]:
    """A listener for the engine that tells the face and all outlets; they are closed at the end."""
    told = _Telling(face, open_outlets(run, plan))
    try:
        yield told
    finally:
        told.close()
