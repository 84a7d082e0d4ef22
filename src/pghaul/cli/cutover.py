"""`pghaul cutover`: the last refresh, while nobody writes to the source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pghaul.cli import exit_codes, options, render
from pghaul.cli.move import watch_to_its_end
from pghaul.cli.progress import View
from pghaul.model.errors import UsageError
from pghaul.model.plan import Plan
from pghaul.model.run import Run
from pghaul.model.text import say
from pghaul.service.migration import MigrationService, Stop
from pghaul.service.recording import new_run_id

NEEDS_READ_ONLY = say("--end-sessions goes with --read-only: ended sessions would come back and write")
UNDO_NEEDS_RUN = say("--undo takes the id of the cutover's run")
UNDONE = say("The source takes writes again, as before the cutover.")

What = Annotated[str, typer.Argument(metavar="RUN|PLAN.toml", help="A run that has moved it before, or a plan.")]
ReadOnly = Annotated[bool, typer.Option("--read-only", help="Make the source read-only for new sessions first.")]
EndSessions = Annotated[bool, typer.Option("--end-sessions", help="And end the sessions that are there.")]
Undo = Annotated[bool, typer.Option("--undo", help="Take back the read-only of this cutover.")]
QuietFor = Annotated[
    float, typer.Option("--quiet-for", min=0.1, metavar="S", help="For so long nobody may write before it begins.")
]


def cutover(  # noqa: PLR0917 -- Typer maps parameters to options
    what: What,
    source: options.From = None,
    target: options.To = None,
    read_only: ReadOnly = False,
    end_sessions: EndSessions = False,
    quiet_for: QuietFor = 2.0,
    undo: Undo = False,
    run_id: options.RunId = None,
    metrics_port: options.MetricsPort = None,
    metrics_host: options.MetricsHost = None,
    metrics_file: options.MetricsFile = None,
    notify: options.Notify = None,
    notify_on: options.TellOf = None,
    every: options.Every = options.EVERY,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Refresh what changed while nobody writes, prove it, and say how long that took."""
    service = MigrationService()
    if undo:
        return _undo(service, what, source)
    if end_sessions and not read_only:
        raise UsageError(NEEDS_READ_ONLY, code=1062)
    plan = _plan(service, what, source, target)
    name = run_id or new_run_id()
    outlets = options.outlets(
        metrics_port=metrics_port,
        metrics_host=metrics_host,
        metrics_file=metrics_file,
        notify=notify,
        notify_on=notify_on,
    )

    def begin(view: View, _console: Console, stop: Stop) -> Run:
        return service.cutover(
            plan,
            run_id=name,
            listener=view,
            read_only=read_only,
            end_sessions=end_sessions,
            quiet_for=quiet_for,
            outlets=outlets,
            stop=stop,
        )

    return watch_to_its_end(begin, service, name, every=every, as_json=as_json, verbose=verbose, quiet=quiet)


def _plan(service: MigrationService, what: str, source: str | None, target: str | None) -> Plan:
    if not what.endswith(".toml") and not Path(what).exists():
        plan = service.show(what).plan
        return plan.model_copy(update={k: v for k, v in (("source", source), ("target", target)) if v})
    from pghaul.service.plan_file import read_plan  # noqa: PLC0415

    return read_plan(Path(what), source=source, target=target)


def _undo(service: MigrationService, run: str, source: str | None) -> int:
    if run.endswith(".toml"):
        raise UsageError(UNDO_NEEDS_RUN, code=1063)
    service.undo_cutover(run, source=source)
    render.line(Console(stderr=True), UNDONE)
    return exit_codes.DONE
