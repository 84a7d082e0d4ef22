"""Tables and messages. Nothing that comes from a database is read as markup."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
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
from pghaul.model.receipt import Proof, Receipt
from pghaul.model.run import Run, RunState
from pghaul.model.sample import Sample
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


def amount(size: float) -> str:
    """Bytes for people: 512 B, 64.0 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"


def count(number: float) -> str:
    """4,320,000."""
    return f"{int(number):,}"


def duration(seconds: float) -> str:
    """0:42, 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


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
    by_table: dict[str, list[Receipt]] = defaultdict(list)
    for receipt in found:
        by_table[str(receipt.table)].append(receipt)
    ordered = sorted(by_table.items(), key=lambda item: -sum(r.rows for r in item[1]))
    shown = ordered if limit is None else ordered[:limit]
    everything = [r for parts in by_table.values() for r in parts]
    met = any(r.inserted != r.rows for r in everything)
    became = ("of these",) if met else ()
    table = grid("table", "rows", *became, "bytes", "seconds", "proof", right=("rows", "bytes", "seconds"))
    for name, parts in shown:
        row(table, name, *_sums(parts, met=met), _proof(parts))
    if len(ordered) > len(shown):
        row(table, AND_MORE.format(n=len(ordered) - len(shown)), *[""] * (4 + met))
    row(table, SUM.format(n=len(ordered)), *_sums(everything, met=met), _proof(everything) if everything else "")
    console.print(table)


def _sums(parts: Sequence[Receipt], *, met: bool) -> tuple[str, ...]:
    return (
        count(sum(r.rows for r in parts)),
        *([_became(parts)] if met else []),
        amount(sum(r.bytes for r in parts)),
        f"{sum(r.seconds for r in parts):.1f}",
    )


def _became(parts: Sequence[Receipt]) -> str:
    sums = {word: sum(getattr(r, field) for r in parts) for field, word in BECAME.items()}
    return ", ".join(f"{count(n)} {word}" for word, n in sums.items() if n)


def _proof(parts: Sequence[Receipt]) -> Text:
    if not all(r.agrees for r in parts):
        return Text(DIFFERS, style="bold red")
    kinds = sorted({PROOFS[r.proof] for r in parts})
    return Text(", ".join(kinds), style="green")


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
    heights = sparkline.rates(samples)
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
