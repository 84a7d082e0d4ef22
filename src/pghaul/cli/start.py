"""The word to start with: demo."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pghaul.cli.words import tell

Rows = Annotated[int, typer.Option("--rows", min=1000, help="Rows of history.")]
Keep = Annotated[bool, typer.Option("--keep/--no-keep", help="Leave the servers and their files behind.")]


def _say(words: str) -> None:
    sys.stdout.write(tell(words) + "\n")
    sys.stdout.flush()


def demo(rows: Rows = 3_000_000, keep: Keep = False) -> int:
    """Two servers of its own, a migration killed twice, resumed and proven. About a minute."""
    from pghaul.service.demo import run_demo  # noqa: PLC0415 -- embedded servers come with an extra

    return run_demo(_say, rows=rows, keep=keep)
