"""Tells people of a run: when it ends, fails or is paused, in their language; programs get the same in English.

The end is told last of all, when the outlets are closed: until then a cutover may still find a difference.
"""

from __future__ import annotations

import queue
import socket
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from pghaul import __version__
from pghaul.model.event import Event, EventKind
from pghaul.model.figures import amount, count, duration
from pghaul.model.plan import NotifyOn
from pghaul.model.run import Run, RunState
from pghaul.model.text import Text, joined, saying
from pghaul.service.delivery import CLOSING, Channel, Courier, Note, Outcome

DEFAULT = (NotifyOn.FINISHED, NotifyOn.FAILED, NotifyOn.PAUSED)
SELDOM = 600.0  # seconds between two notes of pauses that come and go by themselves: load has waves
OF_ITSELF = "load"

TITLES = {
    "started": saying("Run {run} has begun"),
    "paused": saying("Run {run} is paused"),
    "resumed": saying("Run {run} goes on"),
    RunState.DONE.value: saying("Run {run} is done"),
    RunState.DIFFERENT.value: saying("Run {run} is done, with differences"),
    RunState.FAILED.value: saying("Run {run} has failed"),
    RunState.STOPPED.value: saying("Run {run} was stopped"),
}
SERIES_TITLES = {
    "started": saying("Series {run} has begun"),
    "paused": saying("Series {run} is paused"),
    "resumed": saying("Series {run} goes on"),
    "round failed": saying("A round of series {run} has failed"),
    "round different": saying("A round of series {run} has set rows aside"),
    RunState.DONE.value: saying("Series {run} is done"),
    RunState.DIFFERENT.value: saying("Series {run} is done; rows were set aside"),
    RunState.FAILED.value: saying("Series {run} has failed"),
    RunState.STOPPED.value: saying("Series {run} was stopped"),
}
WAY = saying("From {source} to {target}, on {host}.")
MOVED = saying("{rows} rows, {size}, in {time}.")
NEXT = {
    "round failed": saying("It is tried again by itself; see: pghaul status {run}"),
    "round different": saying("It goes on; see: pghaul quarantine list"),
    RunState.DIFFERENT.value: saying("Look into it: pghaul show {run}"),
    RunState.FAILED.value: saying("When its cause is mended, go on with: pghaul resume {run}"),
    RunState.STOPPED.value: saying("Go on with: pghaul resume {run}"),
}
TOLD_FOR = {  # by the state that a run ended in
    RunState.DONE: {NotifyOn.FINISHED},
    RunState.DIFFERENT: {NotifyOn.FINISHED, NotifyOn.FAILED},
    RunState.FAILED: {NotifyOn.FAILED},
    RunState.STOPPED: {NotifyOn.STOPPED},
}


class Notifications:
    """Implements `Outlet`. `speak` puts a Text into the language of who reads it."""

    name = "notifications"

    def __init__(
        self, run: Run, wanted: Collection[NotifyOn], channels: Sequence[Channel], speak: Callable[[str], str]
    ) -> None:
        self._run = run
        self._wanted = frozenset(wanted)
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._couriers = [Courier(channel, self._outcomes) for channel in channels]
        self._speak = speak
        self._host = socket.gethostname()
        self._titles = TITLES
        self._begun = False
        self._end: Event | None = None
        self._different = False
        self._seldom_said = -SELDOM

    def __call__(self, event: Event) -> None:
        """Most events are nobody's business elsewhere."""
        if event.kind is EventKind.RUN_FINISHED:
            self._end = event
        elif event.kind is EventKind.CUTOVER:
            self._different |= event.data.get("step") == RunState.DIFFERENT.value
        elif event.kind is EventKind.RUN_STARTED and "every" in event.data:
            self._titles = SERIES_TITLES
            self._has_begun(event)
        elif event.kind is EventKind.ROUND:
            self._round(event)
        elif event.kind is EventKind.ATTEMPT:
            self._has_begun(event)
        elif event.kind is EventKind.PAUSED and not event.data.get("freed"):
            self._paused(event)
        elif event.kind is EventKind.RESUMED and NotifyOn.RESUMED in self._wanted:
            self._send("resumed", RunState.RUNNING, event)

    def news(self) -> list[tuple[EventKind, Text]]:
        """How deliveries went."""
        said = []
        while not self._outcomes.empty():
            outcome = self._outcomes.get()
            said.append((EventKind.NOTICE if outcome.arrived else EventKind.WARNING, outcome.words))
        return said

    def close(self) -> None:
        """The end is told, and all channels get some seconds together."""
        if self._end is not None:
            self._tell_end(self._end)
        for courier in self._couriers:
            courier.end()
        until = time.monotonic() + CLOSING
        for courier in self._couriers:
            courier.wait(until)

    def _has_begun(self, event: Event) -> None:
        begun, self._begun = self._begun, True
        if not begun and NotifyOn.STARTED in self._wanted:
            self._send("started", RunState.RUNNING, event)

    def _paused(self, event: Event) -> None:
        if NotifyOn.PAUSED not in self._wanted:
            return
        if event.data.get("cause") == OF_ITSELF and not self._may_repeat():
            return
        self._send("paused", RunState.PAUSED, event)

    def _round(self, event: Event) -> None:
        """Of the rounds of a series only what somebody should look at, and that it is over."""
        state, data = event.data.get("state"), event.data
        if state == RunState.FAILED.value and "wait" in data and not data.get("again"):
            if NotifyOn.FAILED in self._wanted:
                self._send("failed", RunState.RUNNING, event, "round failed")
        elif state == RunState.DIFFERENT.value and TOLD_FOR[RunState.DIFFERENT] & self._wanted and self._may_repeat():
            self._send("finished", RunState.RUNNING, event, "round different")
        elif data.get("failed_before") and NotifyOn.RESUMED in self._wanted:
            self._send("resumed", RunState.RUNNING, event)

    def _may_repeat(self) -> bool:
        now, last = time.monotonic(), self._seldom_said
        if now - last >= SELDOM:
            self._seldom_said = now
        return now - last >= SELDOM

    def _tell_end(self, event: Event) -> None:
        state = RunState(event.data["state"])
        if self._different and state is RunState.DONE:
            state = RunState.DIFFERENT
        if TOLD_FOR[state] & self._wanted:
            name = NotifyOn.FINISHED if state in {RunState.DONE, RunState.DIFFERENT} else NotifyOn(state.value)
            self._send(name.value, state, event)

    def _send(self, name: str, state: RunState, event: Event, title: str | None = None) -> None:
        key = title or (state.value if name == NotifyOn.FINISHED.value else name)
        note = Note(
            event=name,
            title=self._speak(self._titles[key].format(run=self._run.id)),
            message=self._speak(self._words(key, event)),
            urgent=title is not None or state in {RunState.FAILED, RunState.DIFFERENT},
            facts=self._facts(state, event),
        )
        for courier in self._couriers:
            courier.send(note)

    def _words(self, key: str, event: Event) -> Text:
        data, run = event.data, self._run
        parts: list[str] = [event.message] if event.message else []
        parts.append(WAY.format(source=run.source, target=run.target, host=self._host))
        if "rows" in data:
            size, took = amount(data.get("bytes", 0)), duration(data.get("seconds", 0))
            parts.append(MOVED.format(rows=count(data["rows"]), size=size, time=took))
        if key in NEXT:
            parts.append(NEXT[key].format(run=run.id))
        return joined("\n", parts)

    def _facts(self, state: RunState, event: Event) -> dict[str, Any]:
        """For programs: stable names, English words."""
        run, words = self._run, event.message
        facts: dict[str, Any] = {
            "run": run.id,
            "state": state.value,
            "at": event.at.isoformat(),
            "started": run.started.isoformat(),
            "source": run.source,
            "target": run.target,
            "host": self._host,
            "version": __version__,
        }
        facts |= {
            k: event.data[k]
            for k in ("rows", "bytes", "seconds", "cause", "until", "code", "round", "wait")
            if k in event.data
        }
        if words and (state in {RunState.FAILED, RunState.STOPPED} or "wait" in event.data):
            facts["error"] = str(words)
            if isinstance(words, Text) and "code" in words.values:
                facts["code"] = str(words.values["code"])
        return facts
