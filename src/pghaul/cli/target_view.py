"""How what was done to a target is shown. There is no password in any of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text as Styled

from pghaul.cli import render
from pghaul.cli.grid import grid
from pghaul.cli.profile_view import SIGNS
from pghaul.cli.words import tell
from pghaul.model.figures import amount, duration
from pghaul.model.text import Text, listed, say, saying
from pghaul.model.upkeep import Advice, Backup, Cleaned, Fate, Health, Preparation
from pghaul.service.schedule_lines import Schedule
from pghaul.service.switch import Switched

FATES = {
    Fate.THERE: (say("was there"), ""),
    Fate.MADE: (say("made"), "green"),
    Fate.TO_DO: (say("to be done"), "cyan"),
    Fate.REFUSED: (say("for who may"), "yellow"),
    Fate.DIFFERENT: (say("different"), "red"),
    Fate.MISSING: (say("not to be had here"), "red"),
}
KINDS = {
    "role": say("role"),
    "membership": say("membership"),
    "database": say("database"),
    "privilege": say("privilege"),
    "schema": say("schema"),
    "extension": say("extension"),
}
READY = saying("Ready: {url}")
HAND_OVER = say("Somebody who may has to run this in psql (it is on stdout); it holds no password:")
STILL = say("Not all of it is as it was asked for.")
NO_LEDGER = say("There was no ledger of pghaul.")
GONE = saying("The ledger is removed: {runs} runs, {rows} rows in quarantine, {tables} staging tables.")
SWITCHED = saying("{path} leads to the target now: {keys}")
WAY_BACK = saying("Back again: pghaul target switch --back --write {path}")
SAID_SO = saying("{path} said so already.")
AS_BEFORE = saying("{path} is as it was before.")
INDEX_MADE = saying("Made: {sql}")
NOTHING_BETTER = say("Nothing to mend was found.")
SAVED = saying("Saved and read back: {size}, {n} entries, in {time}.")
ROTATED = saying("Older ones removed: {n}")
NO_SECRET = say("No password stands in them: keep it in ~/.pgpass of the user that runs it, or in a profile.")
FORGOTTEN = saying("Removed from the ledger: {runs}")


def prepared(found: Preparation, *, as_json: bool) -> None:
    """What was there, what was made, and the SQL for the rest: on stdout."""
    if as_json:
        render.print_json(asdict(found) | {"ready": found.ready})
        return
    console = Console(stderr=True, highlight=False)
    table = grid("", "", "", "")
    table.show_header = False
    for step in found.steps:
        words, style = FATES[step.fate]
        render.row(table, KINDS[step.kind], step.name, Styled(tell(words), style=style), step.note)
    console.print(table)
    if found.sql:
        render.line(console, HAND_OVER, "yellow")
        sys.stdout.write(found.sql)
    elif found.ready:
        render.line(console, READY.format(url=found.url), "green")
    else:
        render.line(console, STILL, "red")


def health(found: Health, *, as_json: bool) -> None:
    """`pghaul target check`."""
    if as_json:
        render.print_json(asdict(found))
        return
    page = render.page()
    facts: list[tuple[Text, str | Styled]] = [(say("database"), found.url)]
    if found.ok:
        facts += _facts(found)
    else:
        facts += [
            (say("problem"), Styled(tell(found.problem or ""), style="bold red")),
            (say("try"), found.advice or ""),
        ]
    table = grid("", "")
    table.show_header = False
    for name, value in facts:
        render.row(table, Styled(tell(name), style="bold"), value)
    page.print(table)


def _facts(found: Health) -> list[tuple[Text, str | Styled]]:
    kind = say("standby") if found.in_recovery else say("primary")
    lag = say("not known") if found.lag_seconds is None else say("{seconds:.1f} s", seconds=found.lag_seconds)
    return [
        (say("server"), say("PostgreSQL {version}, {kind}", version=str(found.version), kind=kind)),
        (say("behind"), lag),
        (say("writable"), say("no, it is read-only") if found.read_only else say("yes")),
        (
            say("connections"),
            say("{used} of {most}", used=found.connections or 0, most=found.max_connections or 0),
        ),
        (say("answers in"), say("{ms:.1f} ms", ms=1000 * ((found.connect_seconds or 0) + (found.read_seconds or 0)))),
    ]


def advised(found: Sequence[Advice], made: Sequence[Advice], *, as_json: bool) -> None:
    """`pghaul target advise`: a line for each, and below it the SQL."""
    if as_json:
        render.print_json({"advice": [asdict(a) for a in found], "made": [asdict(a) for a in made]})
        return
    console = render.page()
    for each in found:
        words = Styled(f"{tell(each.object)}: ", style="bold")
        words.append(tell(each.what), style=SIGNS[each.severity])
        console.print(words, soft_wrap=True)
        if each.sql:
            console.print(Styled(f"    {tell(each.sql)}", style="cyan"), soft_wrap=True)
    for each in made:
        render.line(console, INDEX_MADE.format(sql=each.sql), "green")
    if not found and not made:
        render.line(console, NOTHING_BETTER, "green")


def backed_up(done: Backup, *, as_json: bool) -> None:
    """`pghaul target backup`: the file on stdout."""
    if as_json:
        render.print_json(asdict(done))
        return
    console = Console(stderr=True, highlight=False)
    took = duration(done.seconds)
    render.line(console, SAVED.format(size=amount(done.bytes), n=done.entries, time=took), "green")
    if done.removed:
        render.line(console, ROTATED.format(n=len(done.removed)))
    sys.stdout.write(f"{done.file}\n")


def scheduled(found: Schedule, *, as_json: bool) -> None:
    """Lines that may be copied."""
    if as_json:
        render.print_json(asdict(found))
        return
    units = {
        "crontab -e": found.crontab,
        f"~/.config/systemd/user/{found.unit}.service": found.service,
        f"~/.config/systemd/user/{found.unit}.timer": found.timer,
        f"systemctl --user enable --now {found.unit}.timer": "",
    }
    sys.stdout.write("\n".join(f"# {place}\n{text}" for place, text in units.items()))
    render.line(Console(stderr=True, highlight=False), NO_SECRET)


def switched(done: Switched, *, as_json: bool) -> None:
    """`pghaul target switch`: the lines on stdout, or what became of a file."""
    if as_json:
        render.print_json(asdict(done))
        return
    if done.file is None:
        sys.stdout.write(done.text)
        return
    console = Console(stderr=True, highlight=False)
    if done.back:
        render.line(console, AS_BEFORE.format(path=done.file), "green")
    elif not done.changed:
        render.line(console, SAID_SO.format(path=done.file))
    else:
        render.line(console, SWITCHED.format(path=done.file, keys=", ".join(done.keys)), "green")
        render.line(console, WAY_BACK.format(path=done.file))


def cleaned(console: Console, done: Cleaned) -> None:
    """`pghaul target clean`."""
    if done.schema:
        words = GONE.format(runs=len(done.runs), rows=done.rows_set_aside, tables=done.staging_tables)
        render.line(console, words, "green")
    elif done.runs:
        render.line(console, FORGOTTEN.format(runs=listed(done.runs)), "green")
    else:
        render.line(console, NO_LEDGER)
