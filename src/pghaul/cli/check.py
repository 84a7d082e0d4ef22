"""`pghaul check`: the runbook, run: what is fine, what to look at, what to mend, and what only a person can tick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pghaul.cli import exit_codes, options, render
from pghaul.cli.words import tell
from pghaul.model.checklist import Checklist, Item, Outcome, Phase
from pghaul.model.plan import Plan
from pghaul.model.text import say, saying
from pghaul.service.migration import MigrationService

MARKS = {Outcome.FINE: "✔", Outcome.LOOK: "!", Outcome.BAD: "✘", Outcome.BY_HAND: "☐"}
PLAIN_MARKS = {Outcome.FINE: "+", Outcome.LOOK: "!", Outcome.BAD: "x", Outcome.BY_HAND: "[ ]"}
STYLES = {Outcome.FINE: "green", Outcome.LOOK: "yellow", Outcome.BAD: "bold red", Outcome.BY_HAND: "cyan"}
TITLES = {
    Phase.BEFORE: say("The week before"),
    Phase.DAY: say("The day"),
    Phase.AFTER: say("The week after"),
}
SIDES = {"source": say("source"), "target": say("target"), "here": ""}
BETWEEN = saying("{title}: {source} → {target}")
ADVICE = saying("    {advice}")
SUM = saying("fine: {fine}, to look at: {look}, to mend: {bad}")
BY_HAND = saying("to be ticked by hand: {hand}")

InPhase = Annotated[
    Phase, typer.Option("--phase", help="The week before, the day itself, or the week after.", show_default=False)
]


@options.takes_plan
def check(plan: Plan, phase: InPhase = Phase.BEFORE, as_json: options.AsJson = False) -> int:
    """Go through the runbook's check-list for a plan; changes nothing."""
    found = MigrationService().check(plan, phase)
    if as_json:
        render.print_json(asdict(found) | {"ok": found.ok})
    else:
        show(render.page(), found)
    return exit_codes.DONE if found.ok else exit_codes.FAILED


def show(console: Console, found: Checklist) -> None:
    """A line for each question; what is not fine says what to do."""
    title = TITLES[found.phase]
    render.line(console, BETWEEN.format(title=title, source=found.source, target=found.target), "bold")
    items(console, found.items)


def items(console: Console, found: Sequence[Item]) -> None:
    """A line for each, and how many of which kind there are; `pghaul doctor` shows its own the same way."""
    marks = MARKS if _can_draw(console) else PLAIN_MARKS
    for item in found:
        _item(console, item, marks[item.outcome])
    counts = {o: sum(i.outcome is o for i in found) for o in Outcome}
    fine, look, bad = (counts[o] for o in (Outcome.FINE, Outcome.LOOK, Outcome.BAD))
    console.print()
    render.line(console, SUM.format(fine=fine, look=look, bad=bad))
    if hand := counts[Outcome.BY_HAND]:
        render.line(console, BY_HAND.format(hand=hand))


def _item(console: Console, item: Item, mark: str) -> None:
    words = Text(f"{mark} ", style=STYLES[item.outcome])
    side = tell(SIDES[item.side])
    words.append(f"{side}: " if side else "", style="bold")
    words.append(tell(item.about), style="" if item.outcome is not Outcome.BAD else "bold")
    words.append(f" ({tell(item.found)})" if item.found else "", style="dim")
    console.print(words, soft_wrap=True)
    if item.advice and item.outcome in {Outcome.LOOK, Outcome.BAD}:
        render.line(console, ADVICE.format(advice=item.advice), "cyan")


def _can_draw(console: Console) -> bool:
    try:
        "".join(MARKS.values()).encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
