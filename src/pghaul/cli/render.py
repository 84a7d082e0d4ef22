"""Tables and messages. Nothing that comes from a database is read as markup."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pghaul.cli import sparkline
from pghaul.cli.grid import grid
from pghaul.cli.words import is_unicode, tell
from pghaul.model.chunk import ChunkState
from pghaul.model.errors import PghaulError
from pghaul.model.event import Event, EventKind
from pghaul.model.figures import amount, count, duration
from pghaul.model.quarantine import gone_later
from pghaul.model.receipt import Proof, Receipt, Sum, by_table, sum_of
from pghaul.model.run import LedgerRun, Run, RunState
from pghaul.model.sample import Sample, rates
from pghaul.model.table import WITH_TEXT, Unsupported, shortened
from pghaul.model.text import joined, say, saying
from pghaul.model.wording import COUNTED, became, worded

if TYPE_CHECKING:
    from pghaul.service.migration import RunReport

TABLES_SHOWN = 20
LISTED = 50  # retries, notes and what is not carried: at most so many lines of each
STYLE = {
    RunState.DONE: "green",
    RunState.RUNNING: "cyan",
    RunState.PAUSED: "magenta",
    RunState.STOPPED: "yellow",
    RunState.FAILED: "red",
    RunState.DIFFERENT: "red",
}
PAGE = 1000  # columns where no terminal sets them: a name is never cut for a file or a pipe
LEDGER_TITLES = (
    say("run"),
    say("state"),
    say("started"),
    say("tables claimed"),
    say("chunks done"),
    say("rows"),
    say("bytes"),
)
RUN_TITLES = (
    say("run"),
    say("state"),
    say("started"),
    say("chunks"),
    say("rows"),
    say("bytes"),
    say("from"),
    say("to"),
)
TEXT_SHOWN = 300  # characters of a definition that is left, where nobody asked for all of it
ALIKE = 3  # as many of one kind, left behind for one reason, are named; of more, the first and the last
DIFFERS = say("DIFFERENT")
SUM = saying("tables: {n}")
RATE = saying("Rate (at most {most}/s, over {seconds})")
LEFT_BEHIND = saying("{kind} {name}: {why}")
MANY_LEFT_BEHIND = saying("{kind} of {n}, {first} … {last}: {why}")
MOVED = saying("{rows} rows, {size}")
NO_CHUNKS = say("none")
INDENTED = saying("  {words}")
AND_MORE = saying("… and {n} more")
AT = saying("at: {where}")
TRY = saying("try: {advice}")


def error(console: Console, exc: PghaulError) -> None:
    """Title, message, code, where, advice; nothing else."""
    text = Text.assemble((f"{tell(exc.title)}: ", "bold red"), tell(exc.message), (f" [{exc.code}]", "dim"))
    if exc.where:
        text.append("\n  " + tell(AT.format(where=exc.where)))
    if exc.advice:
        text.append("\n  " + tell(TRY.format(advice=exc.advice)), style="cyan")
    console.print(text, soft_wrap=True)


class Page(Console):
    """stdout. Whether a reader that went away ends the command is for the command to say, not for Rich."""

    def on_broken_pipe(self) -> None:
        """Called where it was caught."""
        raise  # noqa: PLE0704


def page() -> Console:
    """stdout, as wide as its terminal, or as wide as it takes."""
    return Page(highlight=False, width=None if sys.stdout.isatty() else PAGE)


def left_behind(items: Sequence[Unsupported], *, verbose: bool) -> list[str]:
    """What is not carried, a line each; many alike take one line unless all are asked for."""
    groups: dict[tuple[str, str], list[Unsupported]] = {}
    for item in items:
        groups.setdefault((item.kind, item.reason), []).append(item)
    lines: list[str] = []
    for (kind, why), alike in groups.items():
        if verbose or len(alike) <= ALIKE:
            lines += [LEFT_BEHIND.format(kind=kind, name=u.name, why=_whole(u, verbose=verbose)) for u in alike]
        else:
            first, last = alike[0].name, alike[-1].name
            lines.append(MANY_LEFT_BEHIND.format(kind=kind, n=len(alike), first=first, last=last, why=why))
    return lines


def _whole(item: Unsupported, *, verbose: bool) -> str:
    """With its text, of which the beginning tells which one it is."""
    if verbose or item.reason == item.why:
        return item.why
    text = str(item.why.values["text"])  # type: ignore[union-attr]
    return WITH_TEXT.format(why=item.reason, text=shortened(text, TEXT_SHOWN))


def line(console: Console, words: str, style: str = "") -> None:
    """One line, in the reader's language."""
    console.print(Text(tell(words), style=style), soft_wrap=True)


def as_json(value: Any) -> str:
    """Dataclasses, names, enums and moments as plain JSON."""
    return json.dumps(value, default=_plain, ensure_ascii=not is_unicode(sys.stdout))


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    return value.isoformat() if isinstance(value, datetime) else str(value)


def print_json(value: object) -> None:
    """One document on stdout."""
    sys.stdout.write(as_json(value) + "\n")


def run_json(run: Run) -> dict[str, Any]:
    """A run as JSON has it."""
    return asdict(run)


def report_json(report: RunReport) -> dict[str, Any]:
    """Everything `show` knows."""
    return {
        "run": asdict(report.run),
        "plan": report.plan.model_dump(mode="json"),
        "chunks": [
            {
                "table": str(r.chunk.table),
                "chunk": r.chunk.key,
                "state": r.state,
                "attempts": r.attempts,
                "error": r.error,
                "receipt": None if r.receipt is None else _receipt_json(r.receipt),
            }
            for r in report.chunks
        ],
        "events": [event.as_json() for event in report.events],
        "not_carried": [asdict(item) for item in report.not_carried],
        "samples": [asdict(sample) for sample in report.samples],
    }


def _receipt_json(receipt: Receipt) -> dict[str, Any]:
    return asdict(receipt) | {"table": str(receipt.table), "agrees": receipt.agrees, "inserted": receipt.inserted}


def row(table: Table, *cells: str | Text) -> None:
    """Cells in the reader's language."""
    table.add_row(*(c if isinstance(c, Text) else Text(tell(c)) for c in cells))


def runs(console: Console, found: Iterable[Run]) -> None:
    """`pghaul runs`. Where a round of a series is among them, it says of which."""
    listed = list(found)
    rounds = any(run.series for run in listed)
    table = grid(*RUN_TITLES, *([say("series")] if rounds else []), right=RUN_TITLES[3:6])
    for run in listed:
        row(
            table,
            run.id,
            state(run),
            f"{run.started.astimezone():%Y-%m-%d %H:%M:%S}",
            f"{run.chunks_done}/{run.chunks}",
            count(run.rows),
            amount(run.bytes),
            run.source,
            run.target,
            *([run.series or ""] if rounds else []),
        )
    console.print(table)


def ledger_runs(console: Console, found: Iterable[LedgerRun]) -> None:
    """`pghaul runs --target`."""
    table = grid(*LEDGER_TITLES, right=LEDGER_TITLES[3:])
    for run in found:
        began = f"{run.started.astimezone():%Y-%m-%d %H:%M:%S}"
        figures = (count(run.tables), count(run.chunks), count(run.rows), amount(run.bytes))
        row(table, run.id, run.state, began, *figures)
    console.print(table)


def status(console: Console, run: Run, counts: dict[ChunkState, int]) -> None:
    """`pghaul status`."""
    table = grid("", "")
    table.show_header = False
    chunks = joined(", ", [COUNTED.format(n=n, what=worded(state)) for state, n in counts.items()])
    seconds = (run.finished - run.started).total_seconds() if run.finished else None
    facts: dict[str, str | Text] = {
        say("run"): run.id,
        say("state"): state(run),
        say("from"): run.source,
        say("to"): run.target,
        say("started"): f"{run.started.astimezone():%Y-%m-%d %H:%M:%S}",
        say("took"): duration(seconds) if seconds is not None else "",
        say("attempts"): str(run.epoch),
        say("chunks"): chunks or NO_CHUNKS,
        say("moved"): MOVED.format(rows=count(run.rows), size=amount(run.bytes)),
        say("paused"): run.note or "",
        say("error"): run.error or "",
    }
    for name, value in facts.items():
        if value:
            row(table, Text(tell(name), style="bold"), value)
    console.print(table)


def state(run: Run) -> Text:
    """How it stands, coloured."""
    return Text(tell(worded(run.state)), style=STYLE[run.state])


def receipts_of(found: RunReport) -> list[Receipt]:
    """Of its chunks, and of what went again after them."""
    return [*(r.receipt for r in found.chunks if r.receipt), *gone_later(found.events)]


def receipts(console: Console, found: Iterable[Receipt], *, limit: int | None = TABLES_SHOWN) -> None:
    """A table of tables: rows, bytes, proof; the biggest first."""
    ordered = by_table(found)
    shown = ordered if limit is None else ordered[:limit]
    everything = sum_of(r for _, parts in ordered for r in parts)
    met = everything.met
    table = sums_grid(met=met)
    for name, parts in shown:
        found_of = sum_of(parts)
        row(table, str(name), *sums(found_of, met=met), proven(found_of.proofs, agrees=found_of.agrees))
    if len(ordered) > len(shown):
        row(table, AND_MORE.format(n=len(ordered) - len(shown)), *[""] * (4 + met))
    proof = proven(everything.proofs, agrees=everything.agrees)
    row(table, SUM.format(n=len(ordered)), *sums(everything, met=met), proof)
    console.print(table)


def sums_grid(*, met: bool) -> Table:
    """Columns for a name, `sums` and `proven`. `met`: some rows were there before."""
    became = (say("of these"),) if met else ()
    figures = (say("bytes"), say("seconds"))
    return grid(say("table"), say("rows"), *became, *figures, say("proof"), right=(say("rows"), *figures))


def sums(found: Sum, *, met: bool) -> tuple[str | Text, ...]:
    """Rows, what became of them, bytes and seconds."""
    return (count(found.rows), *([became(found.became)] if met else []), amount(found.bytes), f"{found.seconds:.1f}")


def proven(proofs: Iterable[Proof], *, agrees: bool | None) -> Text:
    """How, or that it differs; nothing where nobody knows."""
    if agrees is False:
        return Text(tell(DIFFERS), style="bold red")
    return Text(", ".join(sorted(tell(worded(proof)) for proof in proofs if agrees)), style="green")


def report(console: Console, found: RunReport, counts: dict[ChunkState, int], *, verbose: bool = False) -> None:
    """`pghaul show`: the run, its receipts, and whatever was not plain sailing."""
    status(console, found.run, counts)
    rate_over_time(console, found.samples)
    heading(console, say("Receipts"))
    limit = None if verbose else TABLES_SHOWN
    receipts(console, receipts_of(found), limit=limit)
    bad = [
        FAILED_CHUNK.format(table=str(r.chunk.table), chunk=r.chunk.key, error=r.error) for r in found.chunks if r.error
    ]
    listing(console, say("Failed chunks"), bad, verbose=verbose)
    for title, kinds in SECTIONS.items():
        listing(console, title, [told(e) for e in found.events if e.kind in kinds], verbose=verbose)
    lost = left_behind(found.not_carried, verbose=verbose)
    listing(console, say("Not carried over"), lost, verbose=verbose)


def rate_over_time(console: Console, samples: Sequence[Sample]) -> None:
    """One line: how fast the run was over its time, and its fastest."""
    heights = rates(samples, sparkline.WIDTH)
    if not heights or max(heights) <= 0:
        return
    seconds = (samples[-1].at - samples[0].at).total_seconds()
    heading(console, RATE.format(most=amount(max(heights)), seconds=duration(seconds)))
    line(console, "  " + sparkline.draw(heights, console.encoding))


SECTIONS = {
    say("Cutover"): {EventKind.CUTOVER},
    say("Attempts"): {EventKind.ATTEMPT},
    say("Pauses"): {EventKind.PAUSED, EventKind.RESUMED},
    say("Done again"): {EventKind.CHUNK_RETRY, EventKind.CHUNK_REDO},
    say("Warnings"): {EventKind.WARNING, EventKind.CHUNK_FAILED},
    say("Notes"): {EventKind.NOTICE},
}
# What events say in figures only.
FIGURE = saying("{name} {value}")
FIGURES = {
    "attempt": say("attempt"),
    "cause": say("cause"),
    "epoch": say("epoch"),
    "freed": say("freed"),
    "seconds": say("seconds"),
    "snapshot": say("snapshot"),
    "step": say("step"),
    "until": say("until"),
    "wait": say("wait"),
}
FAILED_CHUNK = saying("{table} {chunk}: {error}")
TOLD, TOLD_OF = saying("{at} {words}"), saying("{at} {table}: {words}")


def told(event: Event) -> str:
    """When, where and what; the figures where nothing else is said."""
    figures = [
        FIGURE.format(name=FIGURES.get(k, k), value=v if isinstance(v, str) else str(v))
        for k, v in event.data.items()
        if v not in (None, "", [], {})
    ]
    at, words = f"{event.at.astimezone():%H:%M:%S}", event.message or joined(", ", figures)
    if not event.table:
        return TOLD.format(at=at, words=words)
    return TOLD_OF.format(at=at, table=event.table, words=words)


def heading(console: Console, title: str, style: str = "bold") -> None:
    """A blank line and a title."""
    console.print()
    console.print(Text(tell(title), style=style or "bold"))


def listing(console: Console, title: str, lines: Sequence[str], *, verbose: bool) -> None:
    """A titled list, cut where nobody asked for all of it; nothing where there is nothing."""
    if not lines:
        return
    heading(console, title)
    shown = lines if verbose else lines[:LISTED]
    for words in shown:
        line(console, INDENTED.format(words=words))
    if len(lines) > len(shown):
        line(console, INDENTED.format(words=AND_MORE.format(n=len(lines) - len(shown))))
