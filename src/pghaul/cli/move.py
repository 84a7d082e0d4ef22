"""The words that move data: run, resume, pause, stop, status."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console

from pghaul.cli import exit_codes, observe, options, preview, render, repeating
from pghaul.cli.observe import GO_ON
from pghaul.cli.progress import View, open_view
from pghaul.cli.prompts import Choice
from pghaul.cli.repeating import Shown
from pghaul.cli.signals import stop_on_signals
from pghaul.model.errors import NotFoundError, PghaulError, StateError, StoppedError, UsageError
from pghaul.model.figures import count
from pghaul.model.plan import OnExisting, Plan
from pghaul.model.run import Run, RunState
from pghaul.model.table import Name
from pghaul.model.text import say, saying
from pghaul.service.migration import Ask, MigrationService, Stop
from pghaul.service.recording import new_run_id
from pghaul.service.wishes import Woken

STOPPING = say("Stopping: chunks in flight are rolled back. Ctrl-C again ends at once.")
INTERRUPTED = say("interrupted; what was in flight is rolled back by the servers")
NOBODY_TO_ASK = say("on_existing = ask needs a terminal to ask on")
NOBODY_ADVICE = say("choose --on-existing fail, truncate, append, skip or refresh")
QUESTION = saying("{table} holds {rows} rows on the target. What shall become of them?")
UNKNOWN_ROWS = say("some")
ANSWERS = saying("{answers}; with '{all}' behind it, for this and all the rest")
FOR_ALL = " all"  # typed in every language, as the answers are
ABOUT = saying("about {n}")
ASKED_TO_PAUSE = saying("Run {run} was asked to pause. Go on with it: pghaul resume {run}")
GOES_ON = saying("Run {run} was paused, and goes on in process {pid}. Follow it: pghaul watch {run}")
BY_ITSELF = saying("Run {run} waits in process {pid}: {why}")
ASKED_TO_STOP = saying("Run {run} was asked to stop. Follow it: pghaul status {run}")


@options.takes_plan
def run(
    plan: Plan,
    run_id: options.RunId = None,
    save_plan: options.SavePlan = None,
    interval: repeating.Interval = None,
    rounds: repeating.Limit = None,
    every: options.Every = options.EVERY,
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Copy tables from any source into PostgreSQL."""
    seconds = repeating.seconds_of(interval, rounds)
    if save_plan:
        from pghaul.service.plan_file import write_plan  # noqa: PLC0415

        write_plan(plan, save_plan)
    if dry_run:
        return preview.show(plan, as_json=as_json, verbose=verbose, sample=True)
    if seconds is not None:
        said = Shown(every=every, as_json=as_json, verbose=verbose, quiet=quiet)
        return repeating.repeat(plan, seconds, said, limit=rounds, series_id=run_id)
    return carry_out(plan, run_id=run_id, every=every, as_json=as_json, verbose=verbose, quiet=quiet)


def carry_out(
    plan: Plan,
    *,
    run_id: str | None = None,
    every: float = options.EVERY,
    as_json: bool = False,
    verbose: bool = False,
    quiet: bool = False,
) -> int:
    """Run a plan and watch it to its end."""
    asks = _must_ask(plan, as_json=as_json)
    service, name = MigrationService(), run_id or new_run_id()

    def start(view: View, console: Console, stop: Stop) -> Run:
        ask = _asking(view, console) if asks else None
        return service.run(plan, run_id=name, fresh=run_id is None, listener=view, ask=ask, stop=stop)

    return watch_to_its_end(start, service, name, every=every, as_json=as_json, verbose=verbose, quiet=quiet)


def resume(  # noqa: PLR0917 -- Typer maps parameters to options
    run_id: options.OptionalRun = None,
    source: options.From = None,
    target: options.To = None,
    trust_ledger: options.TrustLedger = False,
    max_rejects: options.MaxRejects = None,
    metrics_port: options.MetricsPort = None,
    metrics_host: options.MetricsHost = None,
    metrics_file: options.MetricsFile = None,
    notify: options.Notify = None,
    notify_on: options.TellOf = None,
    interval: repeating.Interval = None,
    rounds: repeating.Limit = None,
    every: options.Every = options.EVERY,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Go on with a run that was paused, stopped, failed or killed."""
    service = MigrationService()
    outlets = options.outlets(
        metrics_port=metrics_port,
        metrics_host=metrics_host,
        metrics_file=metrics_file,
        notify=notify,
        notify_on=notify_on,
    )
    if series := repeating.to_resume(service, run_id):
        said = Shown(every=every, as_json=as_json, verbose=verbose, quiet=quiet)
        return repeating.resume(
            service, series, said, interval, limit=rounds, source=source, target=target, outlets=outlets
        )
    repeating.refuse_without_series(interval, rounds)
    name = run_id or service.latest_unfinished().id
    if woken := service.wake(name):
        return _follow_woken(service, woken, every=every, as_json=as_json, verbose=verbose)

    def go_on(view: View, _console: Console, stop: Stop) -> Run:
        return service.resume(
            name,
            source=source,
            target=target,
            trust_ledger=trust_ledger,
            max_rejects=max_rejects,
            outlets=outlets,
            listener=view,
            stop=stop,
        )

    return watch_to_its_end(go_on, service, name, every=every, as_json=as_json, verbose=verbose, quiet=quiet)


def _follow_woken(service: MigrationService, woken: Woken, *, every: float, as_json: bool, verbose: bool) -> int:
    """The run's own process goes on; here it can only be watched, where somebody is looking."""
    console, run = Console(stderr=True, highlight=False), woken.run
    words = GOES_ON if woken.asked else BY_ITSELF
    render.line(console, words.format(run=run.id, pid=run.pid, why=run.note or ""))
    if as_json or not console.is_terminal:
        return exit_codes.DONE
    return observe.follow_to_its_end(service, run, every=every, as_json=as_json, verbose=verbose)


def pause(run_id: options.RequiredRun, now: options.Now = False) -> int:
    """Ask a running run to hold, from any terminal; it keeps its snapshot for a while."""
    service = MigrationService()
    if series := service.series.find(run_id):
        return repeating.pause(service, series, now=now)
    found = service.request_pause(run_id, let_go=now)
    render.line(Console(stderr=True), ASKED_TO_PAUSE.format(run=found.id))
    return exit_codes.DONE


def stop(run_id: options.RequiredRun) -> int:
    """Ask a running run to stop, from any terminal."""
    service = MigrationService()
    if series := service.series.find(run_id):
        return repeating.stop(service, series)
    found = service.request_stop(run_id)
    render.line(Console(stderr=True), ASKED_TO_STOP.format(run=found.id))
    return exit_codes.DONE


def status(run_id: options.OptionalRun = None, as_json: options.AsJson = False) -> int:
    """How far a run came."""
    service = MigrationService()
    if series := repeating.found(service, run_id):
        return repeating.status(service, series, as_json=as_json)
    found = service.status(run_id)
    counts = service.chunk_counts(found.id)
    if as_json:
        render.print_json(render.run_json(found) | {"chunk_states": {s.value: n for s, n in counts.items()}})
        return exit_codes.DONE
    render.status(render.page(), found, counts)
    if found.state in {RunState.STOPPED, RunState.FAILED}:
        render.line(Console(stderr=True), GO_ON.format(run=found.id))
    return exit_codes.DONE


def watch_to_its_end(
    action: Callable[[View, Console, Stop], Run],
    service: MigrationService,
    run_id: str,
    *,
    every: float,
    as_json: bool,
    verbose: bool,
    quiet: bool = False,
) -> int:
    """Watch a run to its end; what failed says how to go on."""
    console = Console(stderr=True, highlight=False)
    view = open_view(console, sys.stdout, as_json=as_json, verbose=verbose, quiet=quiet, every=every)
    try:
        with stop_on_signals(lambda: render.line(console, STOPPING, "yellow")) as stopping, view:
            ended = action(view, console, stopping)
    except KeyboardInterrupt as exc:
        raise _with_hint(StoppedError(INTERRUPTED, code=4060), service, run_id) from exc
    except PghaulError as exc:
        raise _with_hint(exc, service, run_id)  # noqa: B904 -- the same exception
    if not (quiet and ended.state is RunState.DONE):
        observe.tell_end(service, ended, console, as_json=as_json)
    return exit_codes.of_state(ended.state)


def _with_hint(exc: PghaulError, service: MigrationService, run_id: str) -> PghaulError:
    if not isinstance(exc, UsageError) and _is_recorded(service, run_id):
        exc.add_note(GO_ON.format(run=run_id))
    return exc


def _is_recorded(service: MigrationService, run_id: str) -> bool:
    """A run that failed while it was planned left nothing to go on with."""
    try:
        service.status(run_id)
    except (NotFoundError, StateError):
        return False
    return True


def _must_ask(plan: Plan, *, as_json: bool) -> bool:
    said = [s.on_existing or plan.options.on_existing for s in plan.tables]
    asks = OnExisting.ASK in [*said, *([plan.options.on_existing] if plan.whole else [])]
    if asks and (as_json or not sys.stdin.isatty()):
        raise UsageError(NOBODY_TO_ASK, advice=NOBODY_ADVICE, code=1060)
    return asks


def _asking(view: View, console: Console) -> Ask:
    """Table by table, until an answer is given for all the rest."""
    kept: list[OnExisting] = []

    def ask(table: Name, rows: int | None) -> OnExisting:
        if kept:
            return kept[0]
        many: str = UNKNOWN_ROWS if rows is None else ABOUT.format(n=count(rows))
        words = QUESTION.format(table=str(table), rows=many)
        answers = [c.value for c in OnExisting if c is not OnExisting.ASK]
        with view.paused():
            render.line(console, words)
            render.line(console, ANSWERS.format(answers=", ".join(answers), all=FOR_ALL))
            said = Choice.ask(
                "",
                choices=[*answers, *(a + FOR_ALL for a in answers)],
                show_choices=False,
                default=OnExisting.FAIL.value,
                console=console,
            )
        answer = OnExisting(said.removesuffix(FOR_ALL))
        kept.extend([answer] if said.endswith(FOR_ALL) else [])
        return answer

    return ask
