"""`pghaul plan`: write a plan, look at what it would do, and check it; nothing is changed anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pghaul.cli import exit_codes, options, preview, render
from pghaul.model.plan import Plan
from pghaul.model.text import saying

WRITTEN = saying("Written: {plan}")
SCHEMA_BESIDE = saying("Written: {schema}, so that editors know its keys")


def _print_schema(wanted: bool) -> None:
    if wanted:
        from pghaul.service.plan_file import plan_schema  # noqa: PLC0415

        render.print_json(plan_schema())
        raise typer.Exit


SchemaJson = Annotated[
    bool,
    typer.Option("--schema-json", callback=_print_schema, is_eager=True, help="Print the JSON schema of plans."),
]

Interactive = Annotated[
    bool, typer.Option("--interactive", "-i", help="Ask for everything, write the plan, and offer to run it.")
]


@options.takes_plan
def plan(
    plan: Plan,
    output: options.PlanOut = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    schema_json: SchemaJson = False,  # noqa: ARG001 -- its callback does it
    interactive: Interactive = False,
) -> int:
    """Show what a run would do, and what stands against it."""
    if interactive:
        return _interactive(plan, output, verbose=verbose)
    if output:
        _write(plan, output)
    return preview.show(plan, as_json=as_json, verbose=verbose, file=str(output) if output else None)


def _interactive(plan: Plan, output: Path | None, *, verbose: bool) -> int:
    """Show it, write it, and offer to run it where nothing stands against it."""
    from pghaul.cli import move, wizard  # noqa: PLC0415 -- for those who want to be asked

    console = Console(stderr=True, highlight=False)
    path = output or wizard.file_to_write(console)
    _write(plan, path)
    code = preview.show(plan, as_json=False, verbose=verbose, file=str(path))
    if code == exit_codes.DONE and wizard.wants_run(console):
        return move.carry_out(plan, verbose=verbose)
    return code


def _write(plan: Plan, path: Path) -> None:
    from pghaul.service.plan_file import write_plan, write_schema  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    write_plan(plan, path)
    render.line(console, WRITTEN.format(plan=str(path)))
    if schema := write_schema(path.parent):
        render.line(console, SCHEMA_BESIDE.format(schema=str(schema)))
