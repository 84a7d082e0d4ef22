"""How rows that were set aside are shown, to people and to programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from pghaul.cli import render
from pghaul.cli.grid import grid
from pghaul.cli.words import tell
from pghaul.model.figures import amount, count
from pghaul.model.quarantine import Lot, Reason, Replayed, SetAside
from pghaul.model.text import say, saying
from pghaul.model.wording import BECAME
from pghaul.service.quarantine_export import record

REASONS_SHOWN = 3
VALUE_SHOWN = 200  # characters of one value
ABSENT = "NULL"

WAITING = say("waiting")
REPLAYED = say("replayed")
REASON = saying("{n} × {sqlstate} {about}: {message}")
BARE_REASON = saying("{n} × {sqlstate}: {message}")
MORE_REASONS = saying("… and {n} more reasons")
HEAD = saying("{table}, row {id}, set aside by run {run} at {moment}")
WHY = saying("{sqlstate}: {message}")
CONSTRAINT = saying("constraint {name}")
COLUMN = saying("column {name}")
KEY = saying("key {key}")
CUT = saying("… ({n} characters)")
WAS_REPLAYED = saying("replayed by run {run} at {moment}")
AS_BYTES = saying("bytes that are no {encoding} are shown as \\xHH: {columns}")
STILL = say("still set aside")
TOLD_OF = saying("{table}: {reason}")
AS_RUN = saying("In the target's ledger, this replay is run {run}.")
SEE = saying("See the rows: pghaul quarantine show {words}")
NEXT = saying("Load them again: pghaul quarantine replay {words}")


def lots(console: Console, found: Sequence[Lot], words: str) -> None:
    """By run and table, and what to do next."""
    figures = (WAITING, REPLAYED, say("bytes"))
    table = grid(say("table"), say("run"), *figures, say("set aside"), right=figures)
    for lot in found:
        moment = f"{lot.first.astimezone():%Y-%m-%d %H:%M:%S}"
        render.row(table, lot.table, lot.run, count(lot.waiting), count(lot.replayed), amount(lot.bytes), moment)
    console.print(table)
    for lot in (each for each in found if each.reasons):
        console.print()
        render.line(console, f"{lot.table} {lot.run}", "bold")
        for reason in lot.reasons[:REASONS_SHOWN]:
            render.line(console, render.INDENTED.format(words=told(reason)))
        if len(lot.reasons) > REASONS_SHOWN:
            more = MORE_REASONS.format(n=len(lot.reasons) - REASONS_SHOWN)
            render.line(console, render.INDENTED.format(words=more), "dim")
    if any(lot.waiting for lot in found):
        console.print()
        render.line(console, SEE.format(words=words), "cyan")


def replayed(console: Console, run: str, found: Sequence[Replayed], words: str) -> None:
    """By table, and what is left to do."""
    titles = [BECAME[name] for name in ("inserted", "updated", "ignored")] + [STILL]
    table = grid(say("table"), *titles, right=titles)
    for each in found:
        figures = (each.inserted, each.updated, each.ignored, each.left)
        render.row(table, each.table, *(count(n) for n in figures))
    console.print(table)
    for each in (some for some in found if some.reasons):
        for reason in each.reasons[:REASONS_SHOWN]:
            render.line(console, TOLD_OF.format(table=each.table, reason=told(reason)), "red")
    render.line(console, AS_RUN.format(run=run))
    if any(each.left for each in found):
        render.line(console, SEE.format(words=words), "cyan")


def replayed_data(run: str, found: Sequence[Replayed]) -> dict[str, Any]:
    """As JSON has it."""
    return {"run": run, "tables": [asdict(each) for each in found]}


def told(reason: Reason) -> str:
    """A line."""
    about = reason.constraint or reason.column
    facts = {"n": count(reason.rows), "sqlstate": reason.sqlstate, "message": reason.message}
    return REASON.format(about=about, **facts) if about else BARE_REASON.format(**facts)


def rows(console: Console, found: Sequence[SetAside], words: str, *, whole: bool) -> None:
    """Each with its values."""
    for row in found:
        _row(console, row, whole=whole)
        console.print()
    if any(row.replayed_at is None for row in found):
        render.line(console, NEXT.format(words=words), "cyan")


def _row(console: Console, row: SetAside, *, whole: bool) -> None:
    moment = f"{row.at.astimezone():%Y-%m-%d %H:%M:%S}"
    render.line(console, HEAD.format(table=row.table, id=row.id, run=row.run, moment=moment), "bold")
    render.line(console, WHY.format(sqlstate=row.sqlstate, message=row.message), "red")
    for words, value in ((CONSTRAINT, row.constraint), (COLUMN, row.column)):
        if value:
            render.line(console, words.format(name=value))
    if row.key:
        render.line(console, KEY.format(key=row.key))
    if row.replayed_by and row.replayed_at:
        then = f"{row.replayed_at.astimezone():%Y-%m-%d %H:%M:%S}"
        render.line(console, WAS_REPLAYED.format(run=row.replayed_by, moment=then), "green")
    values = grid("", "")
    values.show_header = False
    for name, value in row.shown.items():
        values.add_row(Text(tell(f"  {name}"), style="bold"), _value(value, whole=whole))
    console.print(values)
    if row.escaped:
        render.line(console, AS_BYTES.format(encoding=row.encoding, columns=", ".join(row.escaped)), "dim")


def _value(value: str | None, *, whole: bool) -> Text:
    """In quotes, so that '' is seen, and 'NULL' is told from NULL."""
    if value is None:
        return Text(ABSENT, style="dim")
    if whole or len(value) <= VALUE_SHOWN:
        return Text(tell(f"'{value}'"))
    return Text.assemble(tell(f"'{value[:VALUE_SHOWN]}"), (tell(CUT.format(n=count(len(value)))), "dim"))


def lot_data(lot: Lot) -> dict[str, Any]:
    """As JSON has it."""
    return asdict(lot) | {"waiting": lot.waiting}


def row_data(row: SetAside) -> dict[str, Any]:
    """As an export has it."""
    return record(row)
