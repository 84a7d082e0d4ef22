"""A report as text: what `show` has, and who, where, and how sure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from pghaul.cli import render
from pghaul.cli.grid import grid
from pghaul.cli.words import tell
from pghaul.model.figures import amount, count, duration, visible
from pghaul.model.text import joined, saying
from pghaul.model.verification import SET_ASIDE, RowDifference, TableVerdict, Verification
from pghaul.service.report import words
from pghaul.service.report.contents import Outcome, Report, Story
from pghaul.service.report.page import RECENT, moment

STYLE = {
    Outcome.DONE: "bold green",
    Outcome.DIFFERENT: "bold red",
    Outcome.FAILED: "bold red",
    Outcome.STOPPED: "bold yellow",
    Outcome.INCOMPLETE: "bold yellow",
    Outcome.PAUSED: "bold magenta",
    Outcome.RUNNING: "bold cyan",
}
ROWS_SHOWN = 10  # differing rows of a table on a terminal; the other forms have all
VALUE_SHOWN = 40  # characters of one value
HEADLINE = saying("{symbol} {words}")
LABELLED = saying("{label}: {value}")
INDENTED = saying("  {words}")
ATTEMPT = saying("{epoch}, {at}, {who}, pghaul {version}")
ROW = saying("{key}: {kind}{columns}")
CHANGED = saying(" ({column}: {source} → {target})")
COMPARED = saying("{table}: {result}")
ENDS = saying("{source} → {target}")
PAUSE = saying("{since}, {took}: {why}")


def show(console: Console, found: Report, data: Mapping[str, Any], *, verbose: bool) -> None:
    """All of it, or what fits on a terminal."""
    _verdict(console, found)
    if found.story:
        _glance(console, found.story)
    _ends(console, data)
    if found.story:
        _story(console, found.story, verbose=verbose)
    recent = found.verifications if verbose else found.verifications[-RECENT:]
    if rest := len(found.verifications) - len(recent):
        render.heading(console, words.EARLIER.format(n=rest))
    for verification in recent:
        _verification(console, verification, verbose=verbose)
    render.heading(console, words.HOW_TO_READ)
    for term, text in words.READ if verbose else ():
        render.line(console, LABELLED.format(label=term, value=text))
    if not verbose:
        render.line(console, words.TEXT_ENDS.format(run=found.id))
    made = data["made"]
    console.print()
    said = words.MADE.format(who=made["who"], version=made["pghaul"], at=moment(made["at"]))
    render.line(console, said, "dim")
    render.line(console, words.HASH_IS.format(hash=data["sha256"]), "dim")


def _verdict(console: Console, found: Report) -> None:
    outcome = found.verdict.outcome
    title = words.TITLE_RUN if found.story else words.TITLE_VERIFICATION
    render.line(console, title.format(id=found.id), "bold")
    equal = not found.story and outcome is Outcome.DONE
    said = words.EQUAL if equal else words.OUTCOME[outcome]
    symbol = words.SYMBOL[outcome] if _can(console, words.SYMBOL[outcome]) else "*"
    render.line(console, HEADLINE.format(symbol=symbol, words=said), STYLE[outcome])
    render.line(console, (words.RUN_MEANS if found.story else words.VERIFICATION_MEANS)[outcome])
    for reason in found.verdict.reasons:
        render.line(console, INDENTED.format(words=reason), STYLE[outcome])


def _can(console: Console, text: str) -> bool:
    try:
        text.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _glance(console: Console, story: Story) -> None:
    run = story.run
    table = grid("", "")
    table.show_header = False
    figures = {
        words.STARTED: moment(run.started),
        words.FINISHED: moment(run.finished) if run.finished else words.NOT_FINISHED,
        words.TOOK: words.NOT_FINISHED if story.seconds is None else duration(story.seconds),
        words.TABLE_COUNT: count(len(story.tables)),
        words.ROWS: count(story.sum.rows),
        words.BYTES: amount(story.sum.bytes),
        words.CHUNKS: words.CHUNKS_OF.format(done=count(run.chunks_done), all=count(run.chunks)),
        words.PAUSE_COUNT: count(len(story.pauses)),
        words.RETRIES: count(len(story.retries)),
    }
    if story.downtime and story.downtime.seconds is not None:
        figures[words.DOWNTIME] = words.SECONDS.format(seconds=story.downtime.seconds)
    console.print()
    for label, value in figures.items():
        render.row(table, Text(tell(label), style="bold"), value)
    console.print(table)


def _ends(console: Console, data: Mapping[str, Any]) -> None:
    source, target = data["source"], data["target"]
    render.heading(console, words.ENDS)
    table = grid("", words.SOURCE, words.TARGET)
    for key, label in words.END.items():
        if key in source or key in target:
            render.row(table, Text(tell(label), style="bold"), *(_known(side.get(key)) for side in (source, target)))
    console.print(table)


def _known(value: object) -> str:
    if isinstance(value, bool):
        return words.YES if value else words.NO
    return words.UNKNOWN if value in (None, "") else str(value)


def _story(console: Console, story: Story, *, verbose: bool) -> None:
    who = [
        ATTEMPT.format(
            epoch=a.epoch,
            at=moment(a.at),
            who=a.facts.get("who", words.UNKNOWN),
            version=a.facts.get("pghaul", words.UNKNOWN),
        )
        for a in story.attempts
    ]
    render.listing(console, words.ATTEMPTS, who, verbose=verbose)
    if verbose:
        render.heading(console, words.ASKED)
        console.print(Text(visible(story.plan_toml.rstrip())), soft_wrap=True)
    render.rate_over_time(console, story.samples)
    render.heading(console, words.TABLES)
    limit = None if verbose else render.TABLES_SHOWN
    _tables(console, story, limit)
    if story.downtime:
        render.listing(console, words.CUTOVER, [render.told(e) for e in story.downtime.steps], verbose=True)
    render.listing(console, words.NOT_CARRIED, render.left_behind(story.not_carried, verbose=verbose), verbose=verbose)
    paused = [PAUSE.format(since=moment(p.since), took=_took(p.seconds), why=p.why) for p in story.pauses]
    render.listing(console, words.PAUSES, paused, verbose=verbose)
    for title, events in {
        words.WARNINGS: story.warnings,
        words.AGAIN: story.retries + story.redone,
        words.NOTES: story.notes,
    }.items():
        render.listing(console, title, [render.told(e) for e in events], verbose=verbose)


def _tables(console: Console, story: Story, limit: int | None) -> None:
    met = story.sum.met
    table = render.sums_grid(met=met)
    shown = story.tables if limit is None else story.seen(limit)
    for one in shown:
        render.row(table, one.name, *render.sums(one.sum, met=met), render.proven(one.proofs, agrees=one.agrees))
    if len(story.tables) > len(shown):
        render.row(table, words.MORE.format(n=len(story.tables) - len(shown)), *[""] * (4 + met))
    agrees = all(t.agrees is not False for t in story.tables)
    total = render.proven({p for t in story.tables for p in t.proofs}, agrees=agrees)
    render.row(table, words.TABLES_SUM.format(n=len(story.tables)), *render.sums(story.sum, met=met), total)
    console.print(table)


def _took(seconds: float | None) -> str:
    return words.STILL if seconds is None else duration(seconds)


def _verification(console: Console, found: Verification, *, verbose: bool) -> None:
    verdicts = [t.agrees for t in found.tables]
    title = words.VERIFIED_BY if found.who else words.VERIFIED_BY_NOBODY
    render.heading(console, title.format(id=found.id, **({"who": found.who} if found.who else {})))
    render.line(console, LABELLED.format(label=moment(found.started), value=words.METHOD[found.method]))
    counts = {"equal": verdicts.count(True), "different": verdicts.count(False), "unknown": verdicts.count(None)}
    render.line(console, words.COMPARED.format(tables=len(verdicts), **counts))
    for table in found.tables:
        if table.agrees is not True:
            _compared(console, table, verbose=verbose)


def _compared(console: Console, table: TableVerdict, *, verbose: bool) -> None:
    if table.agrees is None:
        said = words.NOT_COMPARED.format(why=table.why)
    else:
        counts = words.COUNTS.format(
            missing=count(table.missing), extra=count(table.extra), different=count(table.different)
        )
        aside = [SET_ASIDE.format(n=count(table.aside))] if table.aside else []
        said = joined(", ", [words.DIFFERS, counts, *aside])
    render.line(console, COMPARED.format(table=str(table.target), result=said), "red" if table.agrees is False else "")
    for row in table.rows if verbose else table.rows[:ROWS_SHOWN]:
        render.line(console, INDENTED.format(words=_row(row)))
    rest = len(table.rows) - ROWS_SHOWN
    if rest > 0 and not verbose:
        render.line(console, INDENTED.format(words=words.MORE.format(n=rest)))
    if not table.complete:
        render.line(console, INDENTED.format(words=words.AND_PERHAPS_MORE))


def _row(row: RowDifference) -> str:
    key = ", ".join(f"{name}={_value(value)}" for name, value in row.key)
    changes = [CHANGED.format(column=n, source=_value(here), target=_value(there)) for n, here, there in row.columns]
    return ROW.format(key=key, kind=words.KINDS[row.kind], columns=joined("", changes))


def _value(value: str | None) -> str:
    if value is None:
        return "NULL"
    return value if len(value) <= VALUE_SHOWN else value[:VALUE_SHOWN] + "…"
