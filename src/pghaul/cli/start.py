"""The words to start with: demo, doctor."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from pghaul.cli import check, exit_codes, options, render
from pghaul.cli.words import tell
from pghaul.model.checklist import Outcome
from pghaul.model.text import say

WELL = say("This machine is ready.")
ILL = say("Something has to be mended first.")

Rows = Annotated[int, typer.Option("--rows", min=1000, help="Rows of history.")]
Keep = Annotated[bool, typer.Option("--keep/--no-keep", help="Leave the servers and their files behind.")]


def _say(words: str) -> None:
    sys.stdout.write(tell(words) + "\n")
    sys.stdout.flush()


def demo(rows: Rows = 3_000_000, keep: Keep = False) -> int:
    """Two servers of its own, a migration killed twice, resumed and proven. About a minute."""
    from pghaul.service.demo import run_demo  # noqa: PLC0415 -- embedded servers come with an extra

    return run_demo(_say, rows=rows, keep=keep)


def doctor(as_json: options.AsJson = False) -> int:
    """Is this machine ready: programs, drivers, state, secrets, language."""
    from pghaul.service.doctor import examine  # noqa: PLC0415 -- it imports what other commands do not need

    found = examine()
    ill = any(item.outcome is Outcome.BAD for item in found)
    if as_json:
        render.print_json({"ok": not ill, "items": [asdict(item) for item in found]})
    else:
        check.items(render.page(), found)
        render.line(Console(stderr=True, highlight=False), ILL if ill else WELL)
    return exit_codes.FAILED if ill else exit_codes.DONE
