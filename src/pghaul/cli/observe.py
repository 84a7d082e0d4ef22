"""The words that look at a run from another terminal: watch, logs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from pghaul.cli import exit_codes, options, render
from pghaul.cli.progress import open_view, sentence
from pghaul.cli.words import tell
from pghaul.model.event import Event, EventKind
from pghaul.model.run import LIVING, Run, RunState
from pghaul.model.text import saying
from pghaul.service.migration import MigrationService
from pghaul.service.watching import follow

SEE = saying("See it again: pghaul show {run}")
GO_ON = saying("Go on with it: pghaul resume {run}")
LOOK_INTO = saying("Some contents differ: pghaul show {run}")
LEFT = saying("Run {run} goes on; this was only its view.")
PAUSED = saying("Run {run} is paused: {why}")


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LEVELS = {
    EventKind.CHUNK_FAILED: Level.ERROR,
    EventKind.WARNING: Level.WARNING,
    EventKind.CHUNK_RETRY: Level.WARNING,
    EventKind.CHUNK_REDO: Level.WARNING,
}

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")]
Lowest = Annotated[Level, typer.Option("--level", help="This level and higher ones.")]


def watch(
    run_id: options.OptionalRun = None,
    every: options.Every = options.EVERY,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """A live view of a run, whichever process it runs in."""
    service = MigrationService()
    return follow_to_its_end(service, service.status(run_id), every=every, as_json=as_json, verbose=verbose)


def follow_to_its_end(service: MigrationService, run: Run, *, every: float, as_json: bool, verbose: bool) -> int:
    """What `watch` does; Ctrl-C ends the view, not the run."""
    console = Console(stderr=True, highlight=False)
    view = open_view(console, sys.stdout, as_json=as_json, verbose=verbose, every=every)
    if run.note:
        render.line(console, PAUSED.format(run=run.id, why=run.note), "magenta")
    try:
        with view:
            for event in follow(service, run.id, service.look(run.id).last):
                view(event)
    except KeyboardInterrupt:
        render.line(console, LEFT.format(run=run.id))
        return exit_codes.DONE
    ended = service.status(run.id)
    tell_end(service, ended, console, as_json=as_json)
    return exit_codes.of_state(ended.state)


def tell_end(service: MigrationService, ended: Run, console: Console, *, as_json: bool) -> None:
    """Receipts, and what to do next."""
    if not as_json:
        found = service.show(ended.id)
        render.receipts(render.page(), (r.receipt for r in found.chunks if r.receipt))
    hints = {RunState.DONE: SEE, RunState.DIFFERENT: LOOK_INTO}
    render.line(console, hints.get(ended.state, GO_ON).format(run=ended.id))


def logs(
    run_id: options.RequiredRun,
    to_the_end: Follow = False,
    level: Lowest = Level.INFO,
    as_json: options.AsJson = False,
) -> int:
    """What happened in a run, a line for each event."""
    lowest = list(Level).index(level)
    try:
        for event in _events(MigrationService(), run_id, to_the_end=to_the_end):
            if list(Level).index(level_of(event)) >= lowest:
                sys.stdout.write((render.as_json(event.as_json()) if as_json else _line(event)) + "\n")
                sys.stdout.flush()
    except (KeyboardInterrupt, BrokenPipeError):
        return exit_codes.DONE
    return exit_codes.DONE


def level_of(event: Event) -> Level:
    """How much an event matters."""
    if event.kind is EventKind.RUN_FINISHED and event.data.get("state") == RunState.FAILED.value:
        return Level.ERROR
    return LEVELS.get(event.kind, Level.INFO)


def _events(service: MigrationService, run_id: str, *, to_the_end: bool) -> Iterator[Event]:
    first = service.look(run_id)
    yield from first.events
    if to_the_end and first.run.state in LIVING:
        yield from (e for e in follow(service, run_id, first.last) if e.kind is not EventKind.PROGRESS)


def _line(event: Event) -> str:
    words = " ".join(tell(sentence(event)).split("\n"))
    return f"{event.at.astimezone():%Y-%m-%d %H:%M:%S} {level_of(event).value:7} {words}"
