"""`pghaul inspect`: what is in a database, seen before anything moves."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from pghaul.cli import exit_codes, options, overview, render, selecting
from pghaul.model.plan import Period, Unit
from pghaul.service.migration import MigrationService

Url = Annotated[
    str,
    typer.Argument(metavar="URL", help="The database: postgresql://…, mysql://…, sqlite://…, any other, or a profile."),
]
WholeTrees = Annotated[bool, typer.Option("--tree", help="All members of all trees, not their summary.")]


def inspect(
    url: Url,
    table: options.Tables = None,
    schema: selecting.Schemas = None,
    exclude: selecting.Excluded = None,
    timezone: selecting.Timezone = None,
    unit: selecting.EpochUnit = None,
    registry: selecting.Registry = None,
    tree: WholeTrees = False,
    as_json: options.AsJson = False,
) -> int:
    """Show schemas, tables and partition trees: bounds, sizes, rows by estimate, and what is wrong."""
    period = Period(timezone=timezone or Period().timezone, unit=unit or Unit.AUTO, registry=registry)
    patterns = [s["name"] for s in selecting.selections(table, schema, {}, [])]
    found = MigrationService().inspect(url, patterns=patterns, exclude=exclude or [], period=period)
    if as_json:
        render.print_json(overview.as_data(found))
    else:
        overview.show(render.page(), found, whole=tree)
        render.line(Console(stderr=True, highlight=False), overview.next_step(found, url))
    return exit_codes.DONE
