"""The words that prove: runs, show."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from pghaul.cli import exit_codes, options, render, repeating
from pghaul.model.text import say
from pghaul.service.migration import MigrationService

SERIES = say("Series")
NO_RUNS = say("There is no run yet. Start one: pghaul run --help, or pghaul demo")

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the latest first.")]


Ledger = Annotated[
    str | None,
    typer.Option("--target", metavar="URL", help="Those that this target's ledger knows: the state store may be lost."),
]


def runs(limit: Limit = 20, target: Ledger = None, as_json: options.AsJson = False) -> int:
    """The runs of this state store, the latest first."""
    if target:
        return _of_ledger(target, limit, as_json=as_json)
    service = MigrationService()
    found, series = service.runs(limit), service.series.all(limit)
    if as_json:
        render.print_json([render.run_json(run) for run in found])
    elif found or series:
        page = render.page()
        if found:
            render.runs(page, found)
        if series:
            render.heading(page, SERIES)
            repeating.listing(page, series)
    else:
        render.line(Console(stderr=True), NO_RUNS)
    return exit_codes.DONE


def _of_ledger(target: str, limit: int, *, as_json: bool) -> int:
    found = MigrationService().ledger_runs(target, limit)
    if as_json:
        sys.stdout.write(render.as_json([asdict(run) for run in found]) + "\n")
    else:
        render.ledger_runs(render.page(), found)
    return exit_codes.DONE


def show(run_id: options.RequiredRun, as_json: options.AsJson = False, verbose: options.Verbose = False) -> int:
    """A run's receipts, retries and notes, and what was not carried over."""
    service = MigrationService()
    if (series := service.series.find(run_id)) and series.id == run_id:
        return repeating.status(service, series, as_json=as_json)
    report = service.show(run_id)
    if as_json:
        render.print_json(render.report_json(report))
    else:
        render.report(render.page(), report, service.chunk_counts(run_id), verbose=verbose)
    return exit_codes.DONE
