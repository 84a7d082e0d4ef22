"""What a verification found, on a terminal: a line for each table, and the rows that differ. And how far it is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Self

from rich.console import Console
from rich.status import Status
from rich.text import Text

from pghaul.cli import render
from pghaul.cli.grid import grid
from pghaul.cli.words import tell
from pghaul.model.event import Event, EventKind
from pghaul.model.figures import count, duration
from pghaul.model.text import Text as Words
from pghaul.model.text import joined, say, saying
from pghaul.model.verification import SET_ASIDE, Difference, Method, RowDifference, TableVerdict, Verification

VALUE_SHOWN = 60  # characters of one value on a terminal
BEFORE = 15  # of two long ones, as many are shown in front of where they part
TABLES_SHOWN = 20
ROWS_SHOWN = 10  # of a table
COLUMNS_SHOWN = 20  # of a row without a key, or of what differs in one
EVERY = 5.0  # seconds between two lines where nothing can be redrawn

FAR = saying("{done} of {all} tables, {seconds}, now {table}")
AGREES, DIFFERS, UNKNOWN = say("the same"), say("DIFFERENT"), say("not compared")
COUNTED = say("same number of rows")
KINDS = {
    Difference.MISSING: say("missing"),
    Difference.EXTRA: say("extra"),
    Difference.DIFFERENT: say("different"),
    Difference.TIMES: say("times"),
}
SAME_TABLE = saying("{source} → {target}")
TIMES_OF = saying("{n} × on the source, {m} × on the target")
MORE = say("not all of them were looked at: --limit shows more")
MORE_ROWS = saying("… and {n} more: --verbose")
TABLES = saying("tables: {n}")
ALL_AGREE = saying("{at} {tables} tables the same, {rows} rows, {seconds:.1f} s")
SOME_DIFFER = saying("{at} {n} of {tables} tables differ: {names}")
NOT_ALL = saying("{at} {n} of {tables} tables cannot be compared: {names}")
SAME_IN_ALL = saying("Source and target are the same (tables: {tables}).")
COUNTS_IN_ALL = saying("Source and target have the same number of rows (tables: {tables}).")
DIFFERENT_IN_ALL = saying("DIFFERENT: {n} of {tables} tables")
UNKNOWN_IN_ALL = saying("not compared: {n} of {tables} tables")
ABSENT = "NULL"
FACTS = (say("NULLs"), say("least"), say("greatest"), say("sum"))


class Progress:
    """A Listener: one line that is redrawn, or elsewhere one now and then."""

    def __init__(self, console: Console, *, verbose: bool) -> None:
        self._console = console
        self._verbose = verbose
        self._started = self._said = time.monotonic()
        self._status: Status | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, event: Event) -> None:
        if self._verbose and event.kind is EventKind.VERIFIED:
            words = {True: AGREES, False: DIFFERS, None: UNKNOWN}[event.data["agrees"]]
            line = joined(": ", [str(event.table), words])
            render.line(self._console, line)
        elif event.kind is EventKind.PROGRESS:
            self._far(event.data)

    def _far(self, data: dict[str, Any]) -> None:
        seconds = duration(time.monotonic() - self._started)
        words = FAR.format(done=data["tables_done"], all=data["tables"], seconds=seconds, table=str(data["working"]))
        if self._status is not None:
            self._status.update(Text(tell(words)))
        elif time.monotonic() - self._said >= EVERY:
            self._said = time.monotonic()
            render.line(self._console, words)


def show(console: Console, found: Verification, *, rows: int | None, verbose: bool) -> None:
    """All tables, worst first, the rows of those that differ (so many of each), and the verdict."""
    ordered = sorted(found.tables, key=lambda t: (t.agrees is not False, t.agrees is True, -t.source_rows))
    needed = sum(not t.agrees for t in ordered)
    shown = ordered if verbose else ordered[: max(needed, TABLES_SHOWN)]
    figures = (say("source rows"), say("target rows"), say("missing"), say("extra"), say("different"), say("seconds"))
    table = grid(say("table"), *figures, say("proof"), right=figures)
    for verdict in shown:
        render.row(table, name(verdict), *_figures(verdict), _judgement(verdict, found.method))
    if len(ordered) > len(shown):
        render.row(table, render.AND_MORE.format(n=len(ordered) - len(shown)), *[""] * 7)
    sums = (count(sum(t.source_rows for t in ordered)), count(sum(t.target_rows for t in ordered)))
    render.row(table, TABLES.format(n=len(ordered)), *sums, "", "", "", "", "")
    console.print(table)
    for verdict in ordered:
        _rows(console, verdict, rows)
    for verdict in ordered if verbose else ():
        _columns(console, verdict)
    console.print()
    _conclusion(console, found)


def _conclusion(console: Console, found: Verification) -> None:
    """What somebody wants to know who sees the end only."""
    different = [t for t in found.tables if t.agrees is False]
    unknown = sum(t.agrees is None for t in found.tables)
    if different:
        render.line(console, DIFFERENT_IN_ALL.format(n=len(different), tables=len(found.tables)), "bold red")
    if unknown:
        render.line(console, UNKNOWN_IN_ALL.format(n=unknown, tables=len(found.tables)), "yellow")
    if not different and not unknown:
        words = COUNTS_IN_ALL if found.method is Method.COUNT else SAME_IN_ALL
        render.line(console, words.format(tables=len(found.tables)), "green")


def name(verdict: TableVerdict) -> str:
    """One where both sides have the same."""
    if verdict.source == verdict.target:
        return str(verdict.target)
    return SAME_TABLE.format(source=str(verdict.source), target=str(verdict.target))


def _figures(verdict: TableVerdict) -> tuple[str, ...]:
    more = "" if verdict.complete else "+"
    counts = (verdict.missing, verdict.extra, verdict.different)
    told = [f"{count(n)}{more}" if n or more else "" for n in counts] if verdict.agrees is False else ["", "", ""]
    return (count(verdict.source_rows), count(verdict.target_rows), *told, f"{verdict.seconds:.1f}")


def _judgement(verdict: TableVerdict, method: Method) -> Text:
    if verdict.agrees is None:
        text = Text(tell(UNKNOWN), style="yellow")
        return text.append(f": {tell(verdict.why)}") if verdict.why else text
    if not verdict.agrees:
        said = [DIFFERS, SET_ASIDE.format(n=count(verdict.aside))] if verdict.aside else [DIFFERS]
        return Text(tell(joined(", ", said)), style="bold red")
    return Text(tell(COUNTED if method is Method.COUNT else AGREES), style="green")


def _rows(console: Console, verdict: TableVerdict, limit: int | None) -> None:
    if not verdict.rows:
        return
    render.heading(console, name(verdict))
    for row in verdict.rows[:limit]:
        kind = Text(f"  {tell(KINDS[row.kind])} ", style="bold")
        console.print(kind.append(tell(_told(row)), style="not bold"), soft_wrap=True)
    if limit is not None and len(verdict.rows) > limit:
        render.line(console, render.INDENTED.format(words=MORE_ROWS.format(n=len(verdict.rows) - limit)))
    if not verdict.complete:
        render.line(console, render.INDENTED.format(words=MORE))


def _columns(console: Console, verdict: TableVerdict) -> None:
    """Side by side where they are not the same."""
    if not verdict.columns:
        return
    table = grid(say("column"), *FACTS, right=FACTS)
    for column in verdict.columns:
        pairs = (tuple(map(str, column.nulls)), column.least, column.greatest, column.total)
        render.row(table, column.name, *(_pair(*p) for p in pairs))
    render.heading(console, name(verdict))
    console.print(table)


def _pair(here: str | None, there: str | None) -> str:
    return here or "" if here == there else f"{_value(here)} → {_value(there)}"


def _told(row: RowDifference) -> str:
    key = _first([f"{column}={_value(value)}" for column, value in row.key])
    if row.columns:
        return f"{key}: " + _first([f"{column} {_both(here, there)}" for column, here, there in row.columns])
    usual = {Difference.MISSING: (1, 0), Difference.EXTRA: (0, 1)}.get(row.kind)
    if row.times == usual or row.kind is Difference.DIFFERENT:
        return key
    return f"{key}: {tell(TIMES_OF.format(n=row.times[0], m=row.times[1]))}"


def _first(parts: Sequence[str]) -> str:
    """A row may have 1,600 columns: the others are in --json."""
    shown = ", ".join(parts[:COLUMNS_SHOWN])
    return f"{shown}, … +{len(parts) - COLUMNS_SHOWN}" if len(parts) > COLUMNS_SHOWN else shown


def _both(here: str | None, there: str | None) -> str:
    """Long ones from shortly before where they part."""
    if here is None or there is None:
        return f"{_value(here)} → {_value(there)}"
    same = next((i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), min(len(here), len(there)))
    skip = same - BEFORE if same > VALUE_SHOWN // 2 and max(len(here), len(there)) > VALUE_SHOWN else 0
    return f"{_value(here, skip)} → {_value(there, skip)}"


def _value(value: str | None, skip: int = 0) -> str:
    """In quotes, on one line, cut with a mark."""
    if value is None:
        return ABSENT
    part = value[skip : skip + VALUE_SHOWN]
    shown = part.encode("unicode_escape").decode() if not part.isprintable() else part
    return f"{'…' if skip else ''}'{shown}'{'…' if skip + VALUE_SHOWN < len(value) else ''}"


def in_one_line(found: Verification) -> Words:
    """For `--watch`."""
    at = f"{found.finished.astimezone():%H:%M:%S}"
    different = [t for t in found.tables if t.agrees is False]
    unknown = [t for t in found.tables if t.agrees is None]
    if different or unknown:
        named = different or unknown
        names = ", ".join(str(t.target) for t in named[:5]) + (" …" if len(named) > 5 else "")
        words = SOME_DIFFER if different else NOT_ALL
        return words.format(at=at, n=len(named), tables=len(found.tables), names=names)
    rows = count(sum(t.source_rows for t in found.tables))
    seconds = (found.finished - found.started).total_seconds()
    return ALL_AGREE.format(at=at, tables=len(found.tables), rows=rows, seconds=seconds)


def as_json(found: Verification) -> dict[str, Any]:
    """One document."""
    return {
        "id": found.id,
        "run": found.run,
        "source": found.source,
        "target": found.target,
        "method": found.method,
        "started": found.started,
        "finished": found.finished,
        "who": found.who,
        "agrees": found.agrees,
        "tables": [_table_json(t) for t in found.tables],
    }


def _table_json(table: TableVerdict) -> dict[str, Any]:
    plain = ("agrees", "source_rows", "target_rows", "source_hash", "target_hash", "key", "missing", "extra")
    return (
        {"source": str(table.source), "target": str(table.target)}
        | {k: getattr(table, k) for k in (*plain, "different", "aside", "complete", "seconds", "why")}
        | {"rows": [_row_json(r) for r in table.rows]}
        | ({"columns": [asdict(c) for c in table.columns]} if table.columns else {})
    )


def _row_json(row: RowDifference) -> dict[str, Any]:
    columns = [{"name": c, "source": here, "target": there} for c, here, there in row.columns]
    return {"kind": row.kind, "key": dict(row.key), "columns": columns, "times": row.times}
