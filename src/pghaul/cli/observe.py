"""The words that look at a run from another terminal: watch, logs."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pghaul.cli import exit_codes, options, render, repeating
from pghaul.cli.progress import open_view, sentence
from pghaul.cli.streams import failure_of, not_written
from pghaul.cli.words import tell
from pghaul.model.errors import NotFoundError, StateError
from pghaul.model.event import Level
from pghaul.model.figures import visible
from pghaul.model.quarantine import SET_ASIDE
from pghaul.model.run import Run, RunState
from pghaul.model.text import say, saying
from pghaul.service.log_files import parts_of
from pghaul.service.log_reading import Entry, told
from pghaul.service.logs import FAILURE, log_folder
from pghaul.service.migration import MigrationService
from pghaul.service.watching import follow

SEE = saying("See it again: pghaul show {run}")
GO_ON = saying("Go on with it: pghaul resume {run}")
LOOK_INTO = saying("Some contents differ: pghaul show {run}")
LOOK_AT_ROWS = saying("Rows were set aside: pghaul quarantine show --run {run}")
LEFT = saying("Run {run} goes on; this was only its view.")
PAUSED = saying("Run {run} is paused: {why}")


LOG_ADVICE = say("it may have been deleted with age, or PGHAUL_LOG_DIR is another than the run's")

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")]
Lowest = Annotated[Level, typer.Option("--level", help="This level and higher ones.")]
Whose = Annotated[str | None, typer.Argument(metavar="RUN", help="A run's id; by default the latest.")]
WithPath = Annotated[bool, typer.Option("--path", help="Say where the log files are, and nothing else.")]


def watch(
    run_id: options.OptionalRun = None,
    every: options.Every = options.EVERY,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """A live view of a run, whichever process it runs in."""
    service = MigrationService()
    if series := repeating.found(service, run_id):
        return repeating.watch(service, series, as_json=as_json)
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
    """Receipts, and what to do next. The run has ended as it has, whatever becomes of words on it."""
    with contextlib.suppress(OSError):
        _tell_end(service, ended, console, as_json=as_json)
    broken = failure_of(sys.stdout)
    if broken and (said := not_written(broken)):
        render.error(console, said)


def _tell_end(service: MigrationService, ended: Run, console: Console, *, as_json: bool) -> None:
    found = None
    try:
        found = service.show(ended.id)
    except StateError as exc:  # the run has ended as it has; who cannot read of it is told why
        if not as_json:
            render.error(console, exc)
            return
    if found and not as_json:
        render.receipts(render.page(), render.receipts_of(found))
    hints = {RunState.DONE: SEE, RunState.DIFFERENT: LOOK_INTO}
    render.line(console, hints.get(ended.state, GO_ON).format(run=ended.id))
    if found and any(event.data.get("kind") == SET_ASIDE for event in found.events):
        render.line(console, LOOK_AT_ROWS.format(run=ended.id))


def logs(
    run_id: Whose = None,
    to_the_end: Follow = False,
    level: Lowest = Level.INFO,
    path: WithPath = False,
    as_json: options.AsJson = False,
) -> int:
    """What happened in a run, a line for each event."""
    folder = log_folder()
    if path:
        return _tell_files(folder, run_id, as_json=as_json)
    service = MigrationService()
    run_id = run_id or service.status().id
    try:
        for entry in told(service, run_id, folder, to_the_end=to_the_end):
            if entry.level.rank >= level.rank:
                text = render.as_json(entry.as_json()) if as_json else visible(_lines(entry, level))
                if text:
                    sys.stdout.write(text + "\n")
                    sys.stdout.flush()
    except (KeyboardInterrupt, BrokenPipeError):
        return exit_codes.DONE
    return exit_codes.DONE


def _tell_files(folder: Path, run_id: str | None, *, as_json: bool) -> int:
    """The folder; of a run its files, the oldest first."""
    files = parts_of(folder, run_id) if run_id else []
    if as_json:
        render.print_json({"folder": str(folder), "files": [str(f) for f in files]})
        return exit_codes.DONE
    if run_id and not files:
        words = say("there is no log of run {run}", run=run_id)
        raise NotFoundError(words, where=str(folder), advice=LOG_ADVICE, code=5283)
    sys.stdout.write("".join(f"{p}\n" for p in files or [folder]))
    return exit_codes.DONE


def _lines(entry: Entry, level: Level) -> str:
    """One line; of an error that nobody expected, or where every detail is asked for, its traceback below."""
    moment = f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S} {entry.level.value:7}"
    if entry.event is not None:
        return f"{moment} " + " ".join(tell(sentence(entry.event)).split("\n"))
    if entry.name != FAILURE:
        figures = ", ".join(f"{k} {v}" for k, v in entry.fields.items() if k != "run")
        return f"{moment} {entry.name}: {figures}" if level is Level.DEBUG else ""
    if "code" in entry.fields and level is not Level.DEBUG:
        return ""  # the run's end has said so
    words = " ".join(str(entry.fields.get("message", "")).split("\n"))
    shown = f"{moment} {entry.fields.get('error', entry.name)}: {words}"
    trace = str(entry.fields.get("traceback", "")).rstrip()
    return "\n".join([shown, *("    " + line for line in trace.splitlines())])
