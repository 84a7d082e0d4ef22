"""Carries notes to where they are to go, in a thread for each channel: one that hangs holds neither run nor others.

A note that did not arrive is tried again with back-off within a bounded time. How it went is heard by `outcomes`; it is
the runner's thread that tells it.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

from pghaul.model.text import Text, say

PATIENCE = 60.0  # seconds in which one note is tried while the run goes on
CLOSING = 10.0  # seconds that all channels together get when the run has ended
MOST_WAITING = 50  # notes for one channel; a run that has more to say than can be delivered says so
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is to be said: to people in their language, and to programs in English. `facts` are plain JSON."""

    event: str
    title: str
    message: str
    urgent: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: uuid4().hex)


class Undelivered(Exception):  # noqa: N818 -- it never leaves this part of the house
    """`why` names no secret. `again`: it may arrive later."""

    def __init__(self, why: Text, *, again: bool) -> None:
        super().__init__(why)
        self.why = why
        self.again = again


class Channel(Protocol):
    """One way to somebody."""

    @property
    def name(self) -> str:
        """As it may be shown: never with a token."""
        ...

    def deliver(self, note: Note) -> None:
        """Return when it has arrived; Undelivered. Every wait within has an end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`words` of one note; `arrived` or not."""

    words: Text
    arrived: bool


class Courier:
    """One channel and its thread, which is begun by the first note."""

    def __init__(self, channel: Channel, outcomes: queue.SimpleQueue[Outcome]) -> None:
        self.channel = channel
        self._outcomes = outcomes
        self._notes: queue.Queue[Note | None] = queue.Queue(MOST_WAITING)
        self._ending = threading.Event()  # no new note: what is left is tried until `_given_up`
        self._given_up = threading.Event()
        self._thread: threading.Thread | None = None

    def send(self, note: Note) -> None:
        """Hand it over; never waits."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"notify {self.channel.name}", daemon=True)
            self._thread.start()
        try:
            self._notes.put_nowait(note)
        except queue.Full:
            self._lost(note, say("too many notes wait for it already"))

    def end(self) -> None:
        """Nothing more will come."""
        self._ending.set()
        if self._thread is not None:
            try:
                self._notes.put_nowait(None)
            except queue.Full:
                self._given_up.set()

    def wait(self, until: float) -> None:
        """Wait until all is delivered or `until` (time.monotonic) has come; the thread then ends by itself."""
        if self._thread is None:
            return
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            self._given_up.set()
            words = say("{channel} has not answered yet: the end of the run is perhaps not told", channel=self._name)
            self._outcomes.put(Outcome(words=words, arrived=False))

    @property
    def _name(self) -> str:
        return self.channel.name

    def _work(self) -> None:
        while not self._given_up.is_set():
            note = self._notes.get()
            if note is None:
                return
            self._carry(note)

    def _carry(self, note: Note) -> None:
        until, tries = time.monotonic() + PATIENCE, 0
        while True:
            try:
                self.channel.deliver(note)
            except Undelivered as exc:
                tries += 1
                pause = random.uniform(0.5, 1.0) * min(LONGEST_PAUSE, FIRST_PAUSE * 2**tries)  # noqa: S311
                if not exc.again or time.monotonic() + pause > until or self._rest(pause):
                    self._lost(note, exc.why)
                    return
            except Exception as exc:  # noqa: BLE001 -- a thread that dies tells nobody
                self._lost(
                    note, say("it failed with {kind}", kind=type(exc).__name__)
                )  # its words may hold the address
                return
            else:
                words = say("{channel} was told: {event}", channel=self._name, event=note.event)
                self._outcomes.put(Outcome(words=words, arrived=True))
                return

    def _rest(self, pause: float) -> bool:
        """True when it is given up. A run that ends does not wait for the whole of a long pause."""
        if self._ending.is_set() or self._ending.wait(pause):
            return self._given_up.wait(min(pause, 1.0))
        return False

    def _lost(self, note: Note, why: Text) -> None:
        words = say("{channel} could not be told: {event}; {why}", channel=self._name, event=note.event, why=why)
        self._outcomes.put(Outcome(words=words, arrived=False))
