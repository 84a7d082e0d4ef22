"""`pghaul quarantine`: rows that a target did not take, and what becomes of them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import typer
from rich.console import Console

from pghaul.cli import exit_codes, options, quarantine_view, render
from pghaul.cli import quarantine_options as words
from pghaul.cli.prompts import YesNo
from pghaul.model.errors import UsageError
from pghaul.model.figures import count
from pghaul.model.quarantine import Conflict, Which
from pghaul.model.text import say, saying
from pghaul.service.migration import MigrationService
from pghaul.service.quarantine_export import Format, new_file
from pghaul.service.recording import new_run_id

EXPORTED = saying("Rows written: {n}")
DROPPED = saying("Rows deleted from quarantine: {n}")
NOTHING = say("There are no such rows.")
MORE = say("There are more such rows: --limit shows them, `pghaul quarantine list` counts them.")
REALLY = saying("{n} rows will be deleted for good, {waiting} of them never replayed. Delete them?")

app = typer.Typer(
    name="quarantine",
    help="Rows that a target did not take: look at them, export, replay or drop them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _line(text: str) -> None:
    render.line(Console(stderr=True, highlight=False), text)


@app.command(name="list")
def list_(
    target: words.Target = None,
    run: words.Run = None,
    table: words.Tables = None,
    where: words.Where = None,
    as_json: options.AsJson = False,
) -> int:
    """How many rows are set aside, by run and table, and why."""
    place = MigrationService().quarantine(target, run)
    found = place.lots(Which(tables=tuple(table or ()), conditions=words.conditions(where)))
    if as_json:
        render.print_json([quarantine_view.lot_data(lot) for lot in found])
    elif found:
        quarantine_view.lots(render.page(), found, words.again(target, run))
    else:
        _line(NOTHING)
    return exit_codes.DONE


@app.command()
def show(
    target: words.Target = None,
    run: words.Run = None,
    table: words.Tables = None,
    ids: words.Ids = None,
    where: words.Where = None,
    limit: words.Limit = 10,
    verbose: words.Whole = False,
    as_json: options.AsJson = False,
) -> int:
    """Rows with their values, and why each was set aside."""
    place = MigrationService().quarantine(target, run)
    which = Which(tables=tuple(table or ()), ids=tuple(ids or ()), conditions=words.conditions(where))
    found = place.first(which, limit + 1)
    more, found = len(found) > limit, found[:limit]
    if as_json:
        render.print_json([quarantine_view.row_data(row) for row in found])
    elif found:
        quarantine_view.rows(render.page(), found, words.again(target, run), whole=verbose)
    else:
        _line(NOTHING)
    if more:
        _line(MORE)
    return exit_codes.DONE


@app.command()
def export(
    target: words.Target = None,
    output: words.Output = Path("-"),
    form: words.Form = Format.JSONL,
    run: words.Run = None,
    table: words.Tables = None,
    ids: words.Ids = None,
    where: words.Where = None,
) -> int:
    """Write rows to a file that only you may read, or to stdout: all that is known of them, nothing lost."""
    place = MigrationService().quarantine(target, run)
    which = Which(tables=tuple(table or ()), ids=tuple(ids or ()), conditions=words.conditions(where))
    with _opened(output) as opener:
        number = place.export(which, form, opener)
    _line(EXPORTED.format(n=count(number)))
    return exit_codes.DONE


@contextlib.contextmanager
def _opened(output: Path) -> Iterator[Callable[[], BinaryIO]]:
    if str(output) == "-":
        sys.stdout.flush()
        yield lambda: sys.stdout.buffer
        return
    with new_file(output) as opener:
        yield opener


@app.command()
def replay(
    target: words.Target = None,
    run: words.Run = None,
    table: words.Tables = None,
    ids: words.Ids = None,
    where: words.Where = None,
    on_conflict: words.OnConflict = Conflict.ERROR,
    all_or_nothing: words.AllOrNothing = False,
    as_json: options.AsJson = False,
) -> int:
    """Load rows once more, once; what the target refuses again stays set aside."""
    place = MigrationService().quarantine(target, run)
    which = Which(tables=tuple(table or ()), ids=tuple(ids or ()), conditions=words.conditions(where))
    number = new_run_id()
    found = place.replay(which, run=number, conflict=on_conflict, all_or_nothing=all_or_nothing)
    if as_json:
        render.print_json(quarantine_view.replayed_data(number, found))
    elif found:
        quarantine_view.replayed(render.page(), number, found, words.again(target, run))
    else:
        _line(NOTHING)
    return exit_codes.DIFFERENT if any(each.left for each in found) else exit_codes.DONE


@app.command()
def drop(
    target: words.Target = None,
    run: words.Run = None,
    table: words.Tables = None,
    ids: words.Ids = None,
    where: words.Where = None,
    older_than: words.OlderThan = None,
    replayed: words.OnlyReplayed = False,
    yes: words.Yes = False,
) -> int:
    """Delete rows from quarantine for good: what was never replayed is lost with them."""
    place = MigrationService().quarantine(target, run)
    which = Which(
        tables=tuple(table or ()),
        ids=tuple(ids or ()),
        conditions=words.conditions(where),
        older_than=older_than,
        replayed=True if replayed else None,
    )
    if not yes:
        found = place.lots(which)
        if not found:
            _line(NOTHING)
            return exit_codes.DONE
        _ask(sum(lot.rows for lot in found), sum(lot.waiting for lot in found))
    _line(DROPPED.format(n=count(place.drop(which))))
    return exit_codes.DONE


def _ask(rows: int, waiting: int) -> None:
    """Only a terminal can be asked; elsewhere it has to be said."""
    question = REALLY.format(n=count(rows), waiting=count(waiting))
    if not sys.stdin.isatty():
        raise UsageError(question, advice=say("say it with --yes"), code=1097)
    if not YesNo.ask(words.question(question), console=Console(stderr=True, highlight=False), default=False):
        raise typer.Abort
