"""The words that prove: runs, show."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from pghaul.cli import exit_codes, options, render
from pghaul.model.text import say
from pghaul.service.migration import MigrationService

NO_RUNS = say("There is no run yet. Start one: pghaul run --help, or pghaul demo")

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the latest first.")]


def runs(limit: Limit = 20, as_json: options.AsJson = False) -> int:
    """The runs of this state store, the latest first."""
    found = MigrationService().runs(limit)
    if as_json:
        render.print_json([render.run_json(run) for run in found])
    elif found:
        render.runs(render.page(), found)
    else:
        render.line(Console(stderr=True), NO_RUNS)
    return exit_codes.DONE


def show(run_id: options.RequiredRun, as_json: options.AsJson = False, verbose: options.Verbose = False) -> int:
    """A run's receipts, retries and notes, and what was not carried over."""
    service = MigrationService()
    report = service.show(run_id)
    if as_json:
        render.print_json(render.report_json(report))
    else:
        render.report(render.page(), report, service.chunk_counts(run_id), verbose=verbose)
    return exit_codes.DONE
