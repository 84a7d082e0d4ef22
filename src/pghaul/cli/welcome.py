"""`pghaul` alone: where to start, and what was left unfinished."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from pghaul.cli import render
from pghaul.cli.grid import grid
from pghaul.model.errors import PghaulError
from pghaul.model.run import RunState
from pghaul.model.text import say, saying
from pghaul.service.migration import MigrationService

TITLE = say("Moves data into PostgreSQL: fast, resumable after any crash, proven.")
STEPS = (
    ("pghaul demo", say("see it work, on two servers of its own; about a minute")),
    ("pghaul doctor", say("is this machine ready?")),
    ("pghaul inspect URL", say("what is in a database: tables, partitions, sizes")),
    ("pghaul plan --interactive", say("asks what to move, shows what would happen, writes a plan")),
    ("pghaul run plan.toml", say("moves it; from another terminal: status, watch, pause, stop")),
    ("pghaul resume", say("goes on after anything went wrong")),
    ("pghaul report RUN", say("what was moved, with its proof, for those who ask")),
    ("pghaul --help", say("all commands")),
)
UNFINISHED = saying("Run {run} is {state}. Go on with it: pghaul resume {run}")


def show(console: Console) -> None:
    """The steps in the order in which a person takes them."""
    render.line(console, TITLE, "bold")
    console.print()
    table = grid("", "")
    table.show_header = False
    for command, words in STEPS:
        render.row(table, Text("  " + command, style="cyan"), words)
    console.print(table)
    _unfinished(console)


def _unfinished(console: Console) -> None:
    """A store that cannot be opened is for `doctor` to tell: this page never fails."""
    try:
        run = MigrationService().latest_unfinished()
    except PghaulError:
        return
    console.print()
    state = {RunState.FAILED: say("failed"), RunState.PAUSED: say("paused")}.get(run.state, say("stopped"))
    render.line(console, UNFINISHED.format(run=run.id, state=state), "yellow")
