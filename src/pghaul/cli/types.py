"""`pghaul types`: what the types of another kind of database become."""

from __future__ import annotations

from typing import Annotated

import typer

from pghaul.cli import exit_codes, options, render
from pghaul.cli.grid import grid
from pghaul.model.text import say
from pghaul.service.engines import types_of

Kind = Annotated[str, typer.Argument(metavar="ENGINE", help="sqlite, mysql, sqlserver, oracle, files …")]


def types(engine: Kind, as_json: options.AsJson = False) -> int:
    """Which PostgreSQL type each type of another kind of database becomes."""
    found = types_of(engine)
    if as_json:
        render.print_json([{"native": n, "type": t, "note": note} for n, t, note in found])
        return exit_codes.DONE
    table = grid(say("type"), say("in PostgreSQL"), say("note"))
    for native, wanted, note in found:
        render.row(table, native, wanted, note)
    render.page().print(table)
    return exit_codes.DONE
