"""A series on the command line: `run --every`, and what the words that take a RUN do with the id of a series."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias

import typer
from rich.console import Console
from rich.text import Text

from pghaul.cli import exit_codes, render
from pghaul.cli.grid import grid
from pghaul.cli.progress import View, open_view
from pghaul.cli.signals import stop_on_signals
from pghaul.cli.words import tell
from pghaul.model.errors import PghaulError, StoppedError, UsageError
from pghaul.model.event import Event, EventKind, Level, Listener, level_of
from pghaul.model.figures import count, duration
from pghaul.model.plan import Plan
from pghaul.model.run import FINISHED, LIVING, Run, RunState
from pghaul.model.series import Series
from pghaul.model.text import joined, say, saying
from pghaul.model.wording import worded
from pghaul.service.beat import interval, parse_interval
from pghaul.service.migration import MigrationService, Stop
from pghaul.service.recording import new_run_id

PANEL = "Again and again"
STOPPING = say("Stopping: a round in flight is rolled back. Ctrl-C again ends at once.")
INTERRUPTED = say("interrupted; what was in flight is rolled back by the servers")
GO_ON = saying("Go on with it: pghaul resume {run}")
SEE = saying("See its rounds: pghaul status {run}")
ASKED_TO_PAUSE = saying("Series {series} was asked to pause. Go on with it: pghaul resume {series}")
ASKED_TO_STOP = saying("Series {series} was asked to stop. Follow it: pghaul status {series}")
GOES_ON = saying("Series {series} was paused, and goes on in process {pid}. Look at it: pghaul status {series}")
RUNS = saying("Series {series} runs in process {pid}. Look at it: pghaul status {series}")
BY_ITSELF = saying("Series {series} waits in process {pid}: {why}")
ROUNDS = saying("{n}, of these {empty} empty, {failed} failed")
ROUNDS_DIFFERENT = saying("{rounds}, {n} with rows set aside")
AT_AND = saying("{at} ({words})")
MARK = saying("{table}: {value}")
IN_A_ROW = saying("failed {n} times in a row, and is tried again")
NO_ROUNDS = say("none yet")
WATCHED = saying("series {series}: {rounds}")
ROUND = saying("{at} run {run}: {state}, {rows} rows")
LED_TO = saying("{what}: {error}")
LEFT = saying("Series {series} goes on; this was only its view.")
ENDED = saying("series {series} ended: {state}; {rounds}")
EVERY = 0.5  # seconds between two looks
LATEST = say("Latest rounds")
ROUNDS_SHOWN = 5
# Of a round in which all goes well one line is enough; the rest is for --verbose.
QUIET_IN_ROUNDS = {EventKind.ATTEMPT, EventKind.SCHEMA, EventKind.CHUNK_STARTED, EventKind.CHUNK_DONE}

Interval: TypeAlias = Annotated[
    str | None,
    typer.Option("--every", metavar="INTERVAL", help="Merge again and again: 30s, 5m, 1h.", rich_help_panel=PANEL),
]
Limit: TypeAlias = Annotated[
    int | None,
    typer.Option("--rounds", min=1, metavar="N", help="End after so many rounds.", rich_help_panel=PANEL),
]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How a series is watched by who began it."""

    every: float
    as_json: bool
    verbose: bool
    quiet: bool


def seconds_of(said: str | None, limit: int | None) -> float | None:
    """What --every says; None where it is not said."""
    if said is None and limit is not None:
        raise UsageError(
            say("--rounds goes with --every only"), advice=say("say how often, too: --every 30s"), code=1095
        )
    return None if said is None else parse_interval(said)


def repeat(plan: Plan, seconds: float, shown: Shown, *, limit: int | None = None, series_id: str | None = None) -> int:
    """`pghaul run --every`."""
    service, name = MigrationService(), series_id or new_run_id()

    def begin(listener: Listener, stop: Stop) -> Series:
        return service.series.run(
            plan, seconds, series_id=name, fresh=series_id is None, limit=limit, listener=listener, stop=stop
        )

    return _to_its_end(begin, name, shown)


def refuse_without_series(interval: str | None, limit: int | None) -> None:
    """`pghaul resume RUN` with the words of a series."""
    if interval is not None or limit is not None:
        words = say("--every and --rounds go with a series, and this is a run")
        raise UsageError(words, advice=say("leave them out"), code=1087)


def resume(
    service: MigrationService, series: Series, shown: Shown, interval_said: str | None = None, **said: Any
) -> int:
    """`pghaul resume SERIES`: withdraw its pause where its process lives, else begin again."""
    seconds = parse_interval(interval_said) if interval_said else None
    if awake := service.series.wake(series):
        words = GOES_ON if awake.asked else BY_ITSELF if series.note else RUNS
        line = words.format(series=series.id, pid=series.pid, why=series.note or "")
        render.line(Console(stderr=True, highlight=False), line)
        return exit_codes.DONE

    def go_on(listener: Listener, stop: Stop) -> Series:
        return service.series.resume(series.id, listener=listener, stop=stop, every=seconds, **said)

    return _to_its_end(go_on, series.id, shown)


def pause(service: MigrationService, series: Series, *, now: bool) -> int:
    """`pghaul pause SERIES`."""
    service.series.request_pause(series, let_go=now)
    render.line(Console(stderr=True), ASKED_TO_PAUSE.format(series=series.id))
    return exit_codes.DONE


def stop(service: MigrationService, series: Series) -> int:
    """`pghaul stop SERIES`."""
    service.series.request_stop(series)
    render.line(Console(stderr=True), ASKED_TO_STOP.format(series=series.id))
    return exit_codes.DONE


def status(service: MigrationService, series: Series, *, as_json: bool) -> int:
    """`pghaul status SERIES`."""
    latest = service.series.rounds(series.id, ROUNDS_SHOWN)
    if as_json:
        render.print_json(series_json(series) | {"latest": [render.run_json(run) for run in latest]})
        return exit_codes.DONE
    page = render.page()
    _facts(page, series)
    if latest:
        render.heading(page, LATEST)
        render.runs(page, latest)
    if not series.lives and series.state is not RunState.DONE:
        render.line(Console(stderr=True), GO_ON.format(run=series.id))
    return exit_codes.DONE


def watch(service: MigrationService, series: Series, *, as_json: bool) -> int:
    """`pghaul watch SERIES`: a line for each round that moved rows or failed, until the series ends."""
    console = Console(stderr=True, highlight=False)
    known = {run.id for run in service.series.rounds(series.id, ROUNDS_SHOWN)}
    render.line(console, WATCHED.format(series=series.id, rounds=_rounds(series)))
    try:
        while series.lives:
            time.sleep(EVERY)
            series = service.series.find(series.id) or series
            for run in reversed(service.series.rounds(series.id, ROUNDS_SHOWN)):
                if run.id not in known and run.state not in LIVING:
                    known.add(run.id)
                    _tell_round(console, run, as_json=as_json)
    except KeyboardInterrupt:
        render.line(console, LEFT.format(series=series.id))
        return exit_codes.DONE
    render.line(console, ENDED.format(series=series.id, state=worded(series.state), rounds=_rounds(series)))
    return exit_codes.of_state(series.state)


def _tell_round(console: Console, run: Run, *, as_json: bool) -> None:
    if as_json:
        render.print_json(render.run_json(run))
        sys.stdout.flush()
        return
    at = _moment(run.finished or run.started)
    words = ROUND.format(at=at, run=run.id, state=worded(run.state), rows=count(run.rows))
    render.line(console, LED_TO.format(what=words, error=run.error) if run.error else words)


def series_json(series: Series) -> dict[str, Any]:
    """A series as JSON has it; `lag` in seconds."""
    plain: dict[str, Any] = {f: getattr(series, f) for f in Series.__dataclass_fields__}
    return plain | {"kind": "series", "lag": series.lag(datetime.now(UTC))}


def listing(console: Console, found: list[Series]) -> None:
    """The series among `pghaul runs`."""
    titles = (
        say("series"),
        say("state"),
        say("every"),
        say("rounds"),
        say("empty rounds"),
        say("rows"),
        say("last round"),
    )
    table = grid(*titles, say("from"), say("to"), right=titles[3:6])
    for series in found:
        figures = (count(series.rounds), count(series.empty_rounds), count(series.rows))
        last = _moment(series.last_round) if series.last_round else ""
        cells = (series.id, _state(series), interval(series.every), *figures, last, series.source, series.target)
        render.row(table, *cells)
    console.print(table)


def _facts(console: Console, series: Series) -> None:
    table = grid("", "")
    table.show_header = False
    lag = series.lag(datetime.now(UTC))
    marks = joined(", ", [MARK.format(table=t, value=v) for t, v in series.marks.items()])
    facts: dict[str, str | Text] = {
        say("series"): series.id,
        say("state"): _state(series),
        say("from"): series.source,
        say("to"): series.target,
        say("every"): interval(series.every),
        say("started"): _moment(series.started),
        say("rounds"): _rounds(series),
        say("rows"): count(series.rows),
        say("last round"): _moment(series.last_round) if series.last_round else NO_ROUNDS,
        say("lag"): duration(lag) if lag is not None else "",
        say("read up to"): marks,
        say("paused"): series.note or "",
        say("last error"): _error(series),
    }
    for name, value in facts.items():
        if value:
            render.row(table, Text(tell(name), style="bold"), value)
    console.print(table)


def _rounds(series: Series) -> str:
    figures = {"n": series.rounds, "empty": series.empty_rounds, "failed": series.failed_rounds}
    rounds = ROUNDS.format(**{k: count(v) for k, v in figures.items()})
    if not series.different_rounds:
        return rounds
    return ROUNDS_DIFFERENT.format(rounds=rounds, n=count(series.different_rounds))


def _error(series: Series) -> str:
    if not series.error:
        return ""
    at = _moment(series.error_at) if series.error_at else ""
    said = AT_AND.format(at=series.error, words=at) if at else series.error
    tries = IN_A_ROW.format(n=series.failures) if series.failures and series.lives else ""
    return joined("; ", [said, tries]) if tries else said


def _moment(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def _state(series: Series) -> Text:
    return Text(tell(worded(series.state)), style=render.STYLE[series.state])


def _to_its_end(action: Callable[[Listener, Stop], Series], series_id: str, shown: Shown) -> int:
    console = Console(stderr=True, highlight=False)
    view = open_view(console, sys.stdout, **vars(shown))
    listener: Listener = view if shown.verbose else _Fewer(view, () if shown.as_json else QUIET_IN_ROUNDS)
    try:
        with stop_on_signals(lambda: render.line(console, STOPPING, "yellow")) as stopping, view:
            ended = action(listener, stopping)
    except KeyboardInterrupt as exc:
        raise _with_hint(StoppedError(INTERRUPTED, code=4060), series_id) from exc
    except PghaulError as exc:
        raise _with_hint(exc, series_id)  # noqa: B904 -- the same exception
    if not (shown.quiet and ended.state is RunState.DONE):
        render.line(console, SEE.format(run=series_id))
    return exit_codes.of_state(ended.state)


def _with_hint(exc: PghaulError, series_id: str) -> PghaulError:
    if not isinstance(exc, UsageError) and MigrationService().series.find(series_id) is not None:
        exc.add_note(GO_ON.format(run=series_id))
    return exc


class _Fewer:
    """A listener that leaves out what only one who looks for a mistake wants to see of every round."""

    def __init__(self, view: View, left_out: Collection[EventKind]) -> None:
        self._view = view
        self._left_out = left_out

    def __call__(self, event: Event) -> None:
        silent = event.kind is EventKind.ROUND and level_of(event) is Level.DEBUG
        if not silent and event.kind not in self._left_out:
            self._view(event)


def found(service: MigrationService, identifier: str | None) -> Series | None:
    """The series that an id means, its own or that of one of its rounds; without an id, the latest of all."""
    if identifier:
        return service.series.find(identifier)
    return service.series.latest(next(iter(service.runs(1)), None))


def to_resume(service: MigrationService, identifier: str | None) -> Series | None:
    """The series that is to go on; a failed round is not resumed by itself. None: it is about a run."""
    if identifier:
        return service.series.find(identifier)
    latest = service.series.latest(next(iter(service.runs(1)), None))
    return latest if latest is not None and latest.state not in FINISHED else None
