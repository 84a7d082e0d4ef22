"""What is told of a run beside the face that shows it: logs, metrics, notifications.

A run is never lost to its reporting: an outlet that fails is said once and let go, and the run goes on. What can be
known before (a port in use, a URL that is none) is an OutletError, and the run does not begin.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from pghaul.model.errors import PghaulError, StoppedError
from pghaul.model.event import Event, EventKind, Listener
from pghaul.model.plan import Plan
from pghaul.model.run import Run, RunState
from pghaul.model.text import Text, say
from pghaul.service import logs


class Outlet(Protocol):
    """Made before a run begins; called from the runner's thread with every event, so it must not wait."""

    name: str

    def __call__(self, event: Event) -> None:
        """One event."""
        ...

    def close(self) -> None:
        """The run has ended: give back what is held, within seconds."""
        ...


@runtime_checkable
class Outspoken(Protocol):
    """An outlet that works in a thread of its own, and has something to say of how that goes."""

    def news(self) -> Sequence[tuple[EventKind, Text]]:
        """What has happened since it was asked last; asked after every event, and after `close`."""
        ...


@runtime_checkable
class Chronicler(Protocol):
    """An outlet that keeps the error which ended a run, with all that belongs to it."""

    def ended_by(self, exc: BaseException) -> None:
        """Called before the outlet is told that the run has ended, where nobody else has said so."""
        ...


class _Telling:
    """The face first, then the outlets. What the outlets have to say is told to the face, and kept with the run."""

    def __init__(self, face: Listener, outlets: Sequence[Outlet], run: Run, keep: Listener) -> None:
        self._face = face
        self._outlets = list(outlets)
        self._run = run
        self._keep = keep
        self._outspoken = [(o, o.news) for o in outlets if isinstance(o, Outspoken)]
        self._ended: str | None = None  # the state that was told

    def __call__(self, event: Event) -> None:
        self._tell_face(event)
        self._tell_outlets(event)
        self._pass_on_news()

    def _tell_face(self, event: Event) -> None:
        """A terminal that has gone, or a full disk under its output, is no reason to lose a run."""
        try:
            self._face(event)
        except OSError as exc:
            self._face = _nowhere
            words = say("what the run says of itself can be shown no more: {error}", error=exc.strerror or str(exc))
            self._say(None, EventKind.WARNING, words)

    def _tell_outlets(self, event: Event) -> None:
        if event.kind is EventKind.RUN_FINISHED:
            self._ended = event.data.get("state")
        for outlet in list(self._outlets):
            try:
                outlet(event)
            except Exception as exc:  # noqa: BLE001 -- whatever it is, the run is worth more
                self._outlets.remove(outlet)
                self._say_lost(outlet, exc)

    def _say_lost(self, outlet: Outlet, exc: Exception) -> None:
        words = say("{outlet} failed, and is told no more: {error}", outlet=outlet.name, error=_why(exc))
        with contextlib.suppress(Exception):
            outlet.close()
        self._say(outlet, EventKind.WARNING, words)

    def _pass_on_news(self) -> None:
        for outlet, news in self._outspoken:
            for kind, words in news():
                self._say(outlet, kind, words)

    def _say(self, outlet: Outlet | None, kind: EventKind, words: Text) -> None:
        data = {"kind": "OUTLET", "name": outlet.name, "why": words} if outlet and kind is EventKind.NOTICE else {}
        event = Event(kind=kind, run=self._run.id, message=words, data=data)
        with contextlib.suppress(PghaulError):
            self._keep(event)
        self._tell_face(event)
        self._tell_outlets(event)

    def failed(self, exc: BaseException) -> None:
        """What ended before it was planned, or after its rows were done, says nothing of it: the outlets hear of it."""
        for outlet in self._outlets:
            if isinstance(outlet, Chronicler):
                with contextlib.suppress(Exception):
                    outlet.ended_by(exc)
        if self._ended not in {RunState.FAILED.value, RunState.STOPPED.value}:
            stopped = isinstance(exc, StoppedError | KeyboardInterrupt)
            state = RunState.STOPPED if stopped else RunState.FAILED
            words = exc.said if isinstance(exc, PghaulError) else type(exc).__name__
            data = {"state": state.value}
            self._tell_outlets(Event(kind=EventKind.RUN_FINISHED, run=self._run.id, message=words, data=data))

    def close(self) -> None:
        """Those that keep what the others have to say of their end go last."""
        keeping = [o for o in self._outlets if isinstance(o, Chronicler)]
        self._close(o for o in self._outlets if o not in keeping)
        with contextlib.suppress(Exception):
            self._pass_on_news()
        self._close(keeping)

    @staticmethod
    def _close(outlets: Iterable[Outlet]) -> None:
        for outlet in outlets:
            with contextlib.suppress(Exception):
                outlet.close()


def _why(exc: Exception) -> str:
    """Of the system's errors what happened to which file, without their numbers."""
    if isinstance(exc, OSError) and exc.strerror:
        return f"{exc.strerror}: {exc.filename}" if exc.filename else exc.strerror
    return str(exc) or repr(exc)


def open_outlets(run: Run, plan: Plan) -> list[Outlet]:
    """Those that the plan and the settings ask for. OutletError, and then none is left open."""
    opened: list[Outlet] = []
    try:
        for make in MAKERS:
            for outlet in make(run, plan):
                opened.append(outlet)  # noqa: PERF402 -- one by one: the next may raise
    except BaseException:
        for outlet in opened:
            with contextlib.suppress(Exception):
                outlet.close()
        raise
    return opened


def _log(run: Run, plan: Plan) -> Iterable[Outlet]:
    return logs.of_run(run, plan)


def _metrics(run: Run, plan: Plan) -> Iterator[Outlet]:
    options = plan.options
    if not (options.metrics_port or options.metrics_file):
        return
    from pghaul.service.metrics import LOOPBACK, MetricsFile, MetricsPort  # noqa: PLC0415 -- only where asked for

    if options.metrics_port:
        yield MetricsPort(run, options.metrics_host or LOOPBACK, options.metrics_port)
    if options.metrics_file:
        yield MetricsFile(run, Path(options.metrics_file).expanduser())


def _notifications(run: Run, plan: Plan) -> Iterator[Outlet]:
    options = plan.options
    if not options.notify:
        return
    from pghaul.service.language import chosen, speaking  # noqa: PLC0415
    from pghaul.service.notification import DEFAULT, Notifications  # noqa: PLC0415
    from pghaul.service.notify_targets import channels  # noqa: PLC0415

    wanted = DEFAULT if options.notify_on is None else options.notify_on
    yield Notifications(run, wanted, channels(options.notify, os.environ), speaking(chosen(os.environ)).say)


MAKERS: tuple[Callable[[Run, Plan], Iterable[Outlet]], ...] = (_log, _metrics, _notifications)


def _nowhere(_event: Event) -> None:
    pass


@contextlib.contextmanager
def telling(face: Listener, run: Run, plan: Plan, keep: Listener = _nowhere) -> Iterator[Listener]:
    """A listener for the engine that tells the face and all outlets; they are closed at the end.

    `keep` stores what the outlets have to say, so that it can be read later.
    """
    told = _Telling(face, open_outlets(run, plan), run, keep)
    try:
        yield told
    except BaseException as exc:
        told.failed(exc)
        raise
    finally:
        told.close()
