"""The command line's one door: every exception becomes one message and an exit code here."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console

from pghaul import __version__
from pghaul.cli import (
    check,
    cutover,
    exit_codes,
    helptexts,
    look,
    move,
    observe,
    plan,
    profile,
    profile_options,
    prove,
    quarantine,
    render,
    report,
    start,
    target,
    types,
    usage,
    verify,
)
from pghaul.cli.streams import failure_of, not_written
from pghaul.cli.words import forgiving
from pghaul.model.errors import PghaulError
from pghaul.model.figures import visible
from pghaul.model.redaction import know_any, redacted, traceback_of
from pghaul.model.text import say, saying
from pghaul.service.language import chosen
from pghaul.service.logs import record_failure
from pghaul.service.passwords import ask_with
from pghaul.service.settings import DEBUG, debugging, from_file, read_from

# Panels, in the order in which a person needs them.
PANELS = LOOK, MOVE, PROVE, MEND, AFTER, START = "Look", "Move", "Prove", "Mend", "After", "Start"
HELP = "Moves data into PostgreSQL: fast, resumable after any crash, proven."
SHOWING = ("run", "resume", "cutover")  # those that tell of progress
EPILOG = "A first look that needs nothing: pghaul demo"
VISIBLE = say(
    "A password stands on the command line, where other users of this machine can read it: keep it in a profile "
    "(pghaul profile add) or in ~/.pgpass."
)
INTERRUPTED = say("Interrupted.")
UNEXPECTED = saying("{kind}: {message}")
DEBUG_HINT = saying("This should not have happened. {variable}=1 shows where; please report it.")
TRACEBACK_IN = saying("Its traceback stands in {path}")

# Typer carries its own copy of click in some versions: its base classes are reached through what it exports.
_WRONG_USAGE = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="pghaul",
    help=HELP,
    epilog=EPILOG,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"pghaul {__version__}\n")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 -- its callback does it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    env_file: Annotated[
        str | None,
        typer.Option("--env-file", metavar="FILE", help="Settings of the target; default: .env, if there is one."),
    ] = None,
) -> None:
    """Moves data into PostgreSQL: fast, resumable after any crash, proven."""
    read_from(env_file)
    if context.invoked_subcommand in SHOWING and (every := from_file().every):
        context.default_map = {context.invoked_subcommand: {"every": every}}
    if context.invoked_subcommand is None:
        from pghaul.cli import welcome  # noqa: PLC0415 -- not for commands

        welcome.show(render.page())


app.add_typer(profile.app, rich_help_panel=LOOK)
app.add_typer(quarantine.app, rich_help_panel=MEND)
app.add_typer(target.app, rich_help_panel=AFTER)
for _panel, _commands in {
    LOOK: (look.inspect, plan.plan, types.types, check.check),
    MOVE: (move.run, move.resume, move.pause, move.stop, move.status, observe.watch, cutover.cutover),
    PROVE: (verify.verify, report.report, prove.runs, prove.show, observe.logs),
    START: (start.demo, start.doctor),
}.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code and never raises for what a user did."""
    words = sys.argv[1:] if argv is None else list(argv)
    for word in words:
        know_any(word, typed=True)
    forgiving(sys.stdout, sys.stderr)
    if profile_options.shows_password(words):
        render.line(Console(stderr=True, highlight=False), VISIBLE, "yellow")
    ask_with(profile_options.ask)
    try:
        chosen(os.environ)  # a PGHAUL_LANG that we do not speak is said before anything else
        command: Any = typer.main.get_command(app)
        _order(command)
        helptexts.translate(command)
        command.invoke = _interruptible(command.invoke)
        code = command.main(args=words, prog_name="pghaul", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001 -- the last place that can speak to the user
        return _failed(exc, sys.argv[1:] if argv is None else argv)
    return _delivered(code if isinstance(code, int) else exit_codes.DONE)


def _order(command: Any) -> None:
    """Typer shows all words that have words of their own behind those that have none, and their panels too."""
    words = command.commands
    command.commands = dict(sorted(words.items(), key=lambda item: PANELS.index(item[1].rich_help_panel)))


def _interruptible(invoke: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Typer ends a command that is interrupted without a word, in the middle of the line where it was asked."""

    def invoked(context: Any) -> Any:
        try:
            return invoke(context)
        except KeyboardInterrupt as exc:
            if sys.stderr.isatty():
                sys.stderr.write("\n")
            raise typer.Abort from exc

    return invoked


def _failed(exc: BaseException, argv: Sequence[str]) -> int:
    if isinstance(exc, OSError) and (broken := failure_of(sys.stdout)):
        return _lost(broken)
    console = Console(stderr=True, highlight=False)
    logged = record_failure(exc, argv[0] if argv and argv[0].isalpha() else "")
    if debugging():
        sys.stderr.write(visible(traceback_of(exc)))
    if isinstance(exc, _WRONG_USAGE):
        if found := usage.as_ours(exc):
            render.error(console, found)
        return exit_codes.USAGE
    if isinstance(exc, PghaulError):
        render.error(console, exc)
    elif isinstance(exc, (KeyboardInterrupt, typer.Abort)):
        render.line(console, INTERRUPTED, "yellow")
    else:
        words = redacted(str(exc)).partition("\n")[0]
        render.line(console, UNEXPECTED.format(kind=type(exc).__name__, message=words), "bold red")
        render.line(console, DEBUG_HINT.format(variable=DEBUG))
        if logged:
            render.line(console, TRACEBACK_IN.format(path=str(logged)))
    for note in getattr(exc, "__notes__", ()):
        render.line(console, note)
    return exit_codes.STOPPED if isinstance(exc, typer.Abort) else exit_codes.of_error(exc)


def _delivered(code: int) -> int:
    """A reader of stdout that went away at the end is no failure of ours; what could not be written is."""
    broken = failure_of(sys.stdout)
    return code if broken is None or isinstance(broken, BrokenPipeError) else _lost(broken, code)


def _lost(broken: OSError, code: int = exit_codes.FAILED) -> int:
    """What was asked for has not arrived."""
    if found := not_written(broken):
        render.error(Console(stderr=True, highlight=False), found)
    return code or exit_codes.FAILED
