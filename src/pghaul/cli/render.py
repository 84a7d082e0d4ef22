"""Tables and messages. Nothing that comes from a database is read as markup."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pghaul.cli import sparkline
from pghaul.cli.words import tell
from pghaul.model.chunk import ChunkState
from pghaul.model.errors import PghaulError
from pghaul.model.event import EventKind
from pghaul.model.figures import amount, count, duration
from pghaul.model.receipt import Proof, Receipt, Sum, by_table, sum_of
from pghaul.model.run import Run, RunState
from pghaul.model.sample import Sample, rates
from pghaul.model.table import Unsupported
from pghaul.model.text import saying

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
PROOFS = {Proof.COUNT: "rows counted", Proof.STREAM: "hash of the stream", Proof.ROWS: "sum of row hashes"}
BROKEN = {"table", "tree", "from", "to", "what becomes of it", "error"}  # columns that may take several lines
PAGE = 1000  # columns where no terminal sets them: a name is never cut for a file or a pipe
ALIKE = 3  # as many of one kind, left behind for one reason, are named; of more, the first and the last
DIFFERS = "DIFFERENT"
SUM = "tables: {n}"
RATE = "Rate (at most {most}/s, over {seconds})"
BECAME = {"inserted": "new", "updated": "updated", "unchanged": "the same", "ignored": "left out"}
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


def page() -> Console:
    """stdout, as wide as its terminal, or as wide as it takes."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PAGE)


def left_behind(items: Sequence[Unsupported], *, verbose: bool) -> list[str]:
    """What is not carried, a line each; many alike take one line unless all are asked for."""
    groups: dict[tuple[str, str], list[str]] = {}
    for item in items:
        groups.setdefault((item.kind, item.why), []).append(item.name)
    lines = []
    for (kind, why), names in groups.items():
        if verbose or len(names) <= ALIKE:
            lines += [f"{kind} {name}: {why}" for name in names]
        else:
            lines.append(f"{kind} of {len(names)}, {names[0]} … {names[-1]}: {why}")
    return lines


def line(console: Console, words: str, style: str = "") -> None:
    """One line, in the reader's language."""
    console.print(Text(tell(words), style=style), soft_wrap=True)


def as_json(value: Any) -> str:
    """Dataclasses, names, enums and moments as plain JSON."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


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


def grid(*columns: str, right: Sequence[str] = ()) -> Table:
    """A table without lines."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        side: Literal["left", "right"] = "right" if name in right else "left"
        table.add_column(name, justify=side, overflow="fold", no_wrap=name not in BROKEN)
    return table


def row(table: Table, *cells: str | Text) -> None:
    """Cells in the reader's language."""
    table.add_row(*(c if isinstance(c, Text) else Text(tell(c)) for c in cells))


def runs(console: Console, found: Iterable[Run]) -> None:
    """`pghaul runs`."""
    table = grid("run", "state", "started", "chunks", "rows", "bytes", "from", "to", right=("chunks", "rows", "bytes"))
    for run in found:
        row(
            table,
            run.id,
            Text(run.state.value, style=STYLE[run.state]),
            f"{run.started.astimezone():%Y-%m-%d %H:%M:%S}",
            f"{run.chunks_done}/{run.chunks}",
            count(run.rows),
            amount(run.bytes),
            run.source,
            run.target,
        )
    console.print(table)


def status(console: Console, run: Run, counts: dict[ChunkState, int]) -> None:
    """`pghaul status`."""
    table = grid("", "")
    table.show_header = False
    chunks = ", ".join(f"{n} {state.value}" for state, n in counts.items()) or "none"
    seconds = (run.finished - run.started).total_seconds() if run.finished else None
    facts: dict[str, str | Text] = {
        "run": run.id,
        "state": Text(run.state.value, style=STYLE[run.state]),
        "from": run.source,
        "to": run.target,
        "started": f"{run.started.astimezone():%Y-%m-%d %H:%M:%S}",
        "took": duration(seconds) if seconds is not None else "",
        "attempts": str(run.epoch),
        "chunks": chunks,
        "moved": f"{count(run.rows)} rows, {amount(run.bytes)}",
        "paused": run.note or "",
        "error": run.error or "",
    }
    for name, value in facts.items():
        if value:
            row(table, Text(name, style="bold"), value)
    console.print(table)


def receipts(console: Console, found: Iterable[Receipt], *, limit: int | None = TABLES_SHOWN) -> None:
    """A table of tables: rows, bytes, proof; the biggest first."""
    ordered = by_table(found)
    shown = ordered if limit is None else ordered[:limit]
    everything = sum_of(r for _, parts in ordered for r in parts)
    met = everything.met
    became = ("of these",) if met else ()
    table = grid("table", "rows", *became, "bytes", "seconds", "proof", right=("rows", "bytes", "seconds"))
    for name, parts in shown:
        row(table, str(name), *_sums(sum_of(parts), met=met))
    if len(ordered) > len(shown):
        row(table, AND_MORE.format(n=len(ordered) - len(shown)), *[""] * (4 + met))
    row(table, SUM.format(n=len(ordered)), *_sums(everything, met=met))
    console.print(table)


def _sums(found: Sum, *, met: bool) -> tuple[str | Text, ...]:
    became = ", ".join(f"{count(n)} {BECAME[field]}" for field, n in found.became.items() if n)
    figures = (count(found.rows), *([became] if met else []), amount(found.bytes), f"{found.seconds:.1f}")
    return (*figures, _proof(found))


def _proof(found: Sum) -> Text:
    if not found.agrees:
        return Text(DIFFERS, style="bold red")
    return Text(", ".join(sorted(PROOFS[proof] for proof in found.proofs)), style="green")


def report(console: Console, found: RunReport, counts: dict[ChunkState, int], *, verbose: bool = False) -> None:
    """`pghaul show`: the run, its receipts, and whatever was not plain sailing."""
    status(console, found.run, counts)
    rate_over_time(console, found.samples)
    heading(console, "Receipts")
    limit = None if verbose else TABLES_SHOWN
    receipts(console, (r.receipt for r in found.chunks if r.receipt), limit=limit)
    bad = [f"{r.chunk.table} {r.chunk.key}: {r.error}" for r in found.chunks if r.error]
    listing(console, "Failed chunks", bad, verbose=verbose)
    for title, kinds in SECTIONS.items():
        told = [
            f"{e.at.astimezone():%H:%M:%S} {_told(e.table, e.message, e.data)}" for e in found.events if e.kind in kinds
        ]
        listing(console, title, told, verbose=verbose)
    lost = left_behind(found.not_carried, verbose=verbose)
    listing(console, "Not carried over", lost, verbose=verbose)


def rate_over_time(console: Console, samples: Sequence[Sample]) -> None:
    """One line: how fast the run was over its time, and its fastest."""
    heights = rates(samples, sparkline.WIDTH)
    if not heights or max(heights) <= 0:
        return
    seconds = (samples[-1].at - samples[0].at).total_seconds()
    heading(console, RATE.format(most=amount(max(heights)), seconds=duration(seconds)))
    line(console, "  " + sparkline.draw(heights, console.encoding))


SECTIONS = {
    "Cutover": {EventKind.CUTOVER},
    "Attempts": {EventKind.ATTEMPT},
    "Pauses": {EventKind.PAUSED, EventKind.RESUMED},
    "Done again": {EventKind.CHUNK_RETRY, EventKind.CHUNK_REDO},
    "Warnings": {EventKind.WARNING, EventKind.CHUNK_FAILED},
    "Notes": {EventKind.NOTICE},
}


def _told(table: str | None, message: str, data: dict[str, Any]) -> str:
    figures = ", ".join(f"{k} {v}" for k, v in data.items() if v not in (None, "", [], {}))
    words = " · ".join(part for part in (message, "" if message else figures) if part)
    return f"{table}: {words}" if table else words


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
        line(console, f"  {words}")
    if len(lines) > len(shown):
        line(console, "  " + AND_MORE.format(n=len(lines) - len(shown)))
