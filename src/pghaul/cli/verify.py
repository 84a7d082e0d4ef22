"""`pghaul verify`: both sides compared by content, and the rows that differ."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pghaul.cli import exit_codes, mapped, options, render, selecting, verdicts
from pghaul.cli.signals import stop_on_signals
from pghaul.cli.verdicts import Progress
from pghaul.cli.words import tell
from pghaul.model.errors import PghaulError, StoppedError, TransientError, UsageError
from pghaul.model.plan import Plan
from pghaul.model.run import FINISHED
from pghaul.model.text import Text, say, saying
from pghaul.model.verification import Method, Verification
from pghaul.model.wording import worded
from pghaul.service.migration import MigrationService

SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h)?")
SECONDS = {"s": 1, "m": 60, "h": 3600}
SPAN_WRONG = say("a time is written 30s, 1m or 2h")
BOTH = say("--count and --checksum are two ways: choose one")
UNFINISHED = saying("Run {run} is {state}: what it has not moved yet is missing on the target.")
STOPPING = say("Stopping: statements on both servers are ended. Ctrl-C again ends at once.")
ONCE_MORE = saying("{at} {error}; again in {seconds:.0f} s")
NOTHING = say("nothing says what is to be verified")
NOTHING_ADVICE = say("a run: `pghaul verify RUN` (`pghaul runs` lists them), a plan file, or --from, --to and --table")
NAMED = 100  # rows of a table that differ; on a terminal less is shown of them, unless somebody asked for so many
MERGE = say(
    "To mend it: merge again, with --reload if the rows have been read before. Rows that the target alone has go with "
    "--mode full-sync only; insert-only changes none, and update-only adds none"
)
MEND = say("To mend it: `pghaul run` once more with --on-existing refresh, which copies only what differs")
MEND_FOREIGN = say("To mend it: `pghaul run` once more with --on-existing truncate, for the tables that differ")
LOOK = 0.2  # seconds between two looks whether to stop

What = Annotated[
    str | None, typer.Argument(metavar="RUN|PLAN.toml", help="A run that has moved it, or a plan; or --from and --to.")
]
Count = Annotated[bool, typer.Option("--count", help="Count the rows of both sides only.")]
Checksum = Annotated[bool, typer.Option("--checksum", help="Compare contents, down to the rows; the default.")]
Limit = Annotated[int, typer.Option("--limit", min=0, metavar="N", help="Name so many rows of a table that differ.")]


def parse_span(text: str) -> float:
    """Seconds: 30s, 1m, 2h; a bare number is seconds."""
    found = SPAN.fullmatch(text.strip())
    if found is None or float(found[1]) <= 0:
        raise typer.BadParameter(SPAN_WRONG)
    return float(found[1]) * SECONDS[found[2] or "s"]


Watch = Annotated[
    float | None,
    typer.Option("--watch", parser=parse_span, metavar="SPAN", help="Again after each, e.g. 1m, until Ctrl-C."),
]


def verify(  # noqa: PLR0917 -- Typer maps parameters to options
    what: What = None,
    source: options.From = None,
    target: options.To = None,
    table: options.Tables = None,
    schema: selecting.Schemas = None,
    exclude: selecting.Excluded = None,
    everything: selecting.Everything = False,
    where: selecting.Condition = None,
    since: selecting.Since = None,
    until: selecting.Until = None,
    timezone: selecting.Timezone = None,
    unit: selecting.EpochUnit = None,
    registry: selecting.Registry = None,
    key: selecting.Key = None,
    layout: selecting.TargetLayout = None,
    into: selecting.Into = None,
    count: Count = False,
    checksum: Checksum = False,
    limit: Limit = NAMED,
    watch: Watch = None,
    workers: options.Workers = None,
    source_encoding: options.SourceEncoding = None,
    stall_timeout: options.StallTimeout = None,
    lock_timeout: options.LockTimeout = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """Compare two databases by content, and name the rows that differ."""
    chosen, selected = options.parted(locals())
    if count and checksum:
        raise UsageError(BOTH, code=1075)
    from pghaul.service.verifying import Request  # noqa: PLC0415 -- drivers

    if not any((what, source, target, table, *selected.values())):
        raise UsageError(NOTHING, advice=NOTHING_ADVICE, code=1077)
    about = _about(what, source, target, table, chosen, selected)
    request = Request(
        method=Method.COUNT if count else Method.CHECKSUM,
        patterns=tuple(table or ()) if what else (),
        limit=limit,
        workers=workers or (2 if isinstance(about, str) else about.options.workers),
    )
    service = MigrationService()
    if isinstance(about, str):
        _say_unfinished(service, about)

    def once(listener: Progress, stop: Callable[[], bool]) -> Verification:
        return service.verify(about, request, listener=listener, source=source, target=target, stop=stop)

    mend = MERGE if service.merges(about) else MEND
    rows = None if verbose or limit != NAMED else verdicts.ROWS_SHOWN
    return _rounds(once, watch, mend, as_json=as_json, rows=rows, verbose=verbose)


def _say_unfinished(service: MigrationService, run_id: str) -> None:
    """What a run has not moved yet will differ, and that is no fault of it."""
    with contextlib.suppress(PghaulError):  # one that is not known is said by the comparison
        run = service.status(run_id)
        if run.state not in FINISHED:
            words = UNFINISHED.format(run=run.id, state=worded(run.state))
            render.line(Console(stderr=True, highlight=False), words, "yellow")


def _about(
    what: str | None,
    source: str | None,
    target: str | None,
    table: list[str] | None,
    chosen: dict[str, Any],
    selected: dict[str, Any],
) -> str | Plan:
    """A run's id; else the plan. Of a plan file, the patterns choose among what it selects."""
    if what is not None and not what.endswith(".toml") and not Path(what).exists():
        _refuse_words(selected)
        return what
    file = Path(what) if what else None
    return options.composed(file, source, target, None if file else table, chosen, selected)


def _refuse_words(selected: dict[str, Any]) -> None:
    """What a run has moved is in its manifest: other words would be ignored."""
    if any(v for v in selected.values()):
        raise UsageError(
            say("a run knows what it has moved: only --table can choose among it"),
            code=1076,
            advice=say("for another selection, name the databases: --from and --to"),
        )


def _rounds(
    once: Callable[[Progress, Callable[[], bool]], Verification],
    watch: float | None,
    mend: Text,
    *,
    as_json: bool,
    rows: int | None,
    verbose: bool,
) -> int:
    """One, or one after the other; the code is that of the last that came to its end."""
    console, code = Console(stderr=True, highlight=False), None
    with stop_on_signals(lambda: render.line(console, STOPPING, "yellow")) as stop:
        while True:
            try:
                with Progress(console, verbose=verbose) as progress:
                    found = once(progress, stop)
            except StoppedError:
                if code is None:
                    raise
                return code
            except TransientError as exc:
                if watch is None:
                    raise
                _once_more(console, exc, watch)
                code = exit_codes.FAILED
            else:
                _show(found, mend, brief=watch is not None, as_json=as_json, rows=rows, verbose=verbose)
                code = exit_codes.DONE if found.agrees else exit_codes.DIFFERENT
            if watch is None or not _waited(watch, stop):
                return code


def _once_more(console: Console, exc: PghaulError, seconds: float) -> None:
    now = datetime.now().astimezone()
    render.line(console, ONCE_MORE.format(at=f"{now:%H:%M:%S}", error=exc.said, seconds=seconds), "yellow")


def _waited(seconds: float, stop: Callable[[], bool]) -> bool:
    """False where somebody does not want to wait any more."""
    until = time.monotonic() + seconds
    while not stop():
        left = until - time.monotonic()
        if left <= 0:
            return True
        time.sleep(min(LOOK, left))
    return False


def _show(found: Verification, mend: Text, *, brief: bool, as_json: bool, rows: int | None, verbose: bool) -> None:
    if as_json:
        render.print_json(verdicts.as_json(found))
    elif brief:
        print(tell(verdicts.in_one_line(found)), flush=True)  # noqa: T201
    else:
        verdicts.show(render.page(), found, rows=rows, verbose=verbose)
        if not found.agrees and any(t.agrees is False for t in found.tables):
            words = MEND_FOREIGN if mapped.is_foreign(found.source) else mend
            render.line(Console(stderr=True, highlight=False), words, "cyan")
