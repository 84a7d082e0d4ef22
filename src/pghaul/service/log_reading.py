"""What happened in a run, read again: the store's events, and what only the log has (tracebacks, single chunks).

An event stands in both; it is told once, from the store, where its words can be read in another language.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from pghaul.model.errors import NotFoundError
from pghaul.model.event import Event, EventKind, Level, level_of
from pghaul.model.run import LIVING
from pghaul.service.log_files import parts_of, path_of
from pghaul.service.watching import EVERY, follow

if TYPE_CHECKING:
    from pghaul.service.migration import MigrationService

Key: TypeAlias = tuple[datetime, str, str | None, str | None]
KINDS = frozenset(k.value for k in EventKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened. `event`: as the run has told it; None for what only a log has."""

    at: datetime
    level: Level
    name: str  # an event's kind, `failure` or `process`
    fields: Mapping[str, Any] = field(default_factory=dict)
    event: Event | None = None

    @property
    def key(self) -> Key:
        """The same in the store and in the log."""
        return (self.at, self.name, self.fields.get("table"), self.fields.get("chunk"))

    def as_json(self) -> dict[str, Any]:
        """Plain values, as a line of the log has them."""
        shown = {"at": self.at.isoformat(), "level": self.level.value, "event": self.name}
        return shown | {k: v for k, v in self.fields.items() if k not in shown}


class LogTail:
    """The log of a run, from its oldest part on; each call of `more` gives what has come since the last."""

    def __init__(self, folder: Path, run: str) -> None:
        self._folder = folder
        self._run = run
        self._file: IO[bytes] | None = None
        self._rest = b""

    def more(self) -> list[Entry]:
        """Lines that cannot be read (cut off by a full disk) are left out, and so is a log nobody may read."""
        found: list[Entry] = []
        try:
            if self._file is None:
                found += self._older()
            found += self._read()
            if self._file is not None and self._turned():
                self.close()
                found += self._read()
        except OSError:
            self.close()
        return found

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._rest = b""

    def _older(self) -> list[Entry]:
        newest = path_of(self._folder, self._run)
        lines = [li for p in parts_of(self._folder, self._run) if p != newest for li in p.read_bytes().splitlines()]
        return [e for line in lines if (e := entry_of(line, self._run))]

    def _read(self) -> list[Entry]:
        path = path_of(self._folder, self._run)
        if self._file is None:
            if not path.is_file():
                return []
            self._file = path.open("rb")
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return [e for line in lines if (e := entry_of(line, self._run))]

    def _turned(self) -> bool:
        """Whether the file has got another name meanwhile, and a new one stands in its place."""
        path = path_of(self._folder, self._run)
        if self._file is None or not path.is_file():
            return False
        return not os.path.samestat(path.stat(), os.fstat(self._file.fileno()))


def entries(folder: Path, run: str) -> list[Entry]:
    """All that the log of a run says now."""
    tail = LogTail(folder, run)
    try:
        return tail.more()
    finally:
        tail.close()


def entry_of(line: bytes, run: str) -> Entry | None:
    """None where it is no line of a log."""
    try:
        fields = json.loads(line)
        at, level, name = datetime.fromisoformat(fields.pop("at")), Level(fields.pop("level")), fields.pop("event")
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    event = None
    if name in KINDS:
        data = {k: v for k, v in fields.items() if k not in {"run", "table", "chunk", "message"}}
        event = Event(
            kind=EventKind(name),
            run=run,
            table=fields.get("table"),
            chunk=fields.get("chunk"),
            message=fields.get("message", ""),
            data=data,
            at=at,
        )
    return Entry(at=at, level=level, name=str(name), fields=fields, event=event)


def of_event(event: Event) -> Entry:
    """As the store has it."""
    fields = event.as_json()
    name = fields.pop("event")
    return Entry(at=event.at, level=level_of(event), name=name, fields=fields, event=event)


def told(service: MigrationService, run_id: str, folder: Path, *, to_the_end: bool) -> Iterator[Entry]:
    """Everything that is known of a run, in order; then what comes, until it has ended. NotFoundError.

    A run that failed while it was planned is in no store; its log tells why.
    """
    tail = LogTail(folder, run_id)
    try:
        logged = tail.more()
        try:
            first = service.look(run_id)
        except NotFoundError:
            if not logged:
                raise
            yield from logged
            if to_the_end:
                yield from _of_series(service, run_id, tail)
            return
        told: set[Key] = set()
        yield from _in_order([of_event(e) for e in first.events], logged, told)
        if to_the_end and first.run.state in LIVING:
            for event in follow(service, run_id, first.last):
                fresh = [] if event.kind is EventKind.PROGRESS else [of_event(event)]
                yield from _in_order(fresh, tail.more(), told)
            yield from _in_order([], tail.more(), told)
    finally:
        tail.close()


def _of_series(service: MigrationService, series_id: str, tail: LogTail) -> Iterator[Entry]:
    """What comes until it has ended: a series has its events in its log alone."""
    while (series := service.series.find(series_id)) is not None and series.lives:
        time.sleep(EVERY)
        yield from tail.more()
    yield from tail.more()


def _in_order(stored: Iterable[Entry], logged: Iterable[Entry], told: set[Key]) -> Iterator[Entry]:
    """Each once; of two that are the same, that of the store."""
    for entry in sorted([*stored, *logged], key=lambda e: e.at):  # stable: the store's is the first
        if entry.key not in told:
            told.add(entry.key)
            yield entry
