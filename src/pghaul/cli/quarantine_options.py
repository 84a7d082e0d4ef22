"""Options of `pghaul quarantine`, and how they say which rows are meant."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.text import Text

from pghaul.cli import options
from pghaul.cli.words import tell
from pghaul.model.errors import UsageError
from pghaul.model.profile import OWN_PASSWORD
from pghaul.model.quarantine import WHERE, Conflict
from pghaul.model.text import say
from pghaul.service.quarantine_export import Format

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
AGE = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
AGE_WRONG = say("an age is written 12h or 30d (s, m, h, d)")
WHICH = "Which rows"


def parse_age(text: str) -> float:
    """Seconds."""
    found = AGE.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(tell(AGE_WRONG))
    return float(found[1]) * UNITS[found[2]]


Target: TypeAlias = Annotated[
    str | None, typer.Argument(metavar="TARGET", help="The target's URL or profile; --run says it, too.")
]
Run: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar="RUN",
        help="Those of this run, on its target.",
        autocompletion=options.complete_run,
        rich_help_panel=WHICH,
    ),
]
Tables: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--table",
        "-t",
        metavar="PATTERN",
        help="Of these tables: schema.table, * and ?; repeat it.",
        rich_help_panel=WHICH,
    ),
]
Ids: TypeAlias = Annotated[
    list[int] | None,
    typer.Option("--id", metavar="N", help="This row, by its number; repeat it.", rich_help_panel=WHICH),
]
Where: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="WORD=VALUE",
        help="By `sqlstate`, `constraint`, `column`, `chunk`, `key`: sqlstate=23505; repeat it.",
        rich_help_panel=WHICH,
    ),
]
OlderThan: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--older-than",
        parser=parse_age,
        metavar="AGE",
        help="Set aside longer ago than that: 12h, 30d.",
        rich_help_panel=WHICH,
    ),
]
OnlyReplayed: TypeAlias = Annotated[
    bool, typer.Option("--replayed", help="Only those that were replayed.", rich_help_panel=WHICH)
]
Limit: TypeAlias = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the first ones.")]
Whole: TypeAlias = Annotated[bool, typer.Option("--verbose", "-v", help="Show long values whole.")]
Form: TypeAlias = Annotated[Format, typer.Option("--format", help="As what.")]
Output: TypeAlias = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout.")]
OnConflict: TypeAlias = Annotated[
    Conflict, typer.Option("--on-conflict", help="What becomes of a row whose key is on the target now.")
]
AllOrNothing: TypeAlias = Annotated[
    bool, typer.Option("--all-or-nothing", help="Load nothing if anything is refused once more.")
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def conditions(said: list[str] | None) -> tuple[tuple[str, str], ...]:
    """What --where says. UsageError for a word that is none."""
    found = tuple((word.strip(), value) for word, _, value in (each.partition("=") for each in said or ()))
    for word, _ in found:
        if word not in WHERE:
            raise UsageError(
                say("--where does not know {word}", word=word or "…"),
                advice=say("the words are: {words}", words=", ".join(WHERE)),
                code=1098,
            )
    return found


def again(target: str | None, run: str | None) -> str:
    """The words that name the same rows in another command, without any password."""
    if run and not target:
        return f"--run {run}"
    place = shlex.quote(target or "") if not OWN_PASSWORD.search(target or "") else "TARGET"
    return f"{place} --run {run}" if run else place


def question(words: str) -> Text:
    """Nothing of it is read as markup."""
    return Text(tell(words))
