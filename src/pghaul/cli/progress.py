"""How a run is watched: a live bar on a terminal, a line now and then elsewhere, JSON lines for programs.

Rates and remaining time come from the runner's PROGRESS events; rows per second are taken here.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from pghaul.cli.options import EVERY
from pghaul.model.event import Event, EventKind
from pghaul.model.figures import amount, count, duration

LANES_SHOWN = 8  # workers with a line of their own
WINDOW = 10.0  # seconds over which rows per second are taken
NOTICES_SHOWN = 10  # the rest is in `show`
NOTICES_ALIKE = 2

ALWAYS = {
    EventKind.CUTOVER,
    EventKind.WARNING,
    EventKind.CHUNK_RETRY,
    EventKind.CHUNK_FAILED,
    EventKind.CHUNK_REDO,
    EventKind.PAUSED,
    EventKind.RESUMED,
}
ENDS_CHUNK = {EventKind.CHUNK_DONE, EventKind.CHUNK_FAILED, EventKind.CHUNK_RETRY}
TITLES = {
    EventKind.RUN_STARTED: "run {run} started",
    EventKind.RUN_FINISHED: "run {run} ended",
    EventKind.ATTEMPT: "attempt {epoch}",
    EventKind.CHUNK_STARTED: "started",
    EventKind.CHUNK_DONE: "done",
    EventKind.CHUNK_RETRY: "once more",
    EventKind.CHUNK_FAILED: "failed",
    EventKind.CHUNK_REDO: "changed since, copied again",
    EventKind.INDEX_DONE: "indexed",
    EventKind.VERIFIED: "verified",
    EventKind.SCHEMA: "schema",
    EventKind.CUTOVER: "cutover",
    EventKind.NOTICE: "note",
    EventKind.PAUSED: "paused",
    EventKind.RESUMED: "goes on",
    EventKind.WARNING: "warning",
}
STATUS = "{percent} · {rows} rows · {size} · {rows_rate} rows/s · {rate}/s · {chunks} chunks · {eta} left"
CLIENT = " · client {cpu:.0%} CPU, {memory}"
LANE = "  {table} · {doing} · {size} · {rate}/s"
MORE_LANES = "  … and {n} more"
MORE_NOTICES = "more notes follow; all are in: pghaul show {run}"


class View(Protocol):
    """A Listener to be entered for the time of the run; `paused` clears the screen for a question."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...
    def __call__(self, event: Event) -> None: ...
    @contextmanager
    def paused(self) -> Iterator[None]: ...


def open_view(console: Console, out: IO[str], *, as_json: bool, verbose: bool, every: float = EVERY) -> View:
    """The view that fits: JSON asked for, a terminal, or neither (then a line every so many seconds)."""
    if as_json:
        return JsonLines(out)
    kind = LiveView if console.is_terminal else PlainView
    return kind(console, verbose=verbose, every=every)


class JsonLines:
    """One event a line. A reader that goes away does not end the run."""

    def __init__(self, out: IO[str]) -> None:
        self._out: IO[str] | None = out

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __call__(self, event: Event) -> None:
        if self._out is None:
            return
        try:
            self._out.write(json.dumps(event.as_json(), default=str, ensure_ascii=False) + "\n")
            self._out.flush()
        except (BrokenPipeError, ValueError):
            self._out = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        yield


class PlainView:
    """Lines on stderr."""

    def __init__(self, console: Console, *, verbose: bool, every: float = EVERY) -> None:
        self._console = console
        self._verbose = verbose
        self._every = every
        self._notices = 0
        self._alike: Counter[tuple[Any, Any]] = Counter()
        self._more = False
        self._said = time.monotonic()
        self._seen: deque[tuple[float, int]] = deque()
        self._active: set[tuple[str | None, str | None]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __call__(self, event: Event) -> None:
        self._follow(event)
        if event.kind is EventKind.PROGRESS:
            self._progress(event.data)
        elif self._tells(event):
            self._console.print(Text(sentence(event)), soft_wrap=True)

    @contextmanager
    def paused(self) -> Iterator[None]:
        yield

    def _progress(self, data: dict[str, Any]) -> None:
        figures = self._figures(data)
        if time.monotonic() - self._said < self._every:
            return
        self._said = time.monotonic()
        self._console.print(Text(STATUS.format(**figures) + figures["client"]), soft_wrap=True)

    def _tells(self, event: Event) -> bool:
        if self._verbose or event.kind in ALWAYS:
            return True
        if event.kind is not EventKind.NOTICE:
            return event.kind in {EventKind.RUN_STARTED, EventKind.ATTEMPT, EventKind.SCHEMA}
        return self._tells_notice(event)

    def _tells_notice(self, event: Event) -> bool:
        """Many of one kind for one reason say no more than the first of them."""
        self._alike[event.data.get("kind"), event.data.get("why")] += 1
        told = self._alike[event.data.get("kind"), event.data.get("why")] <= NOTICES_ALIKE
        told = told and self._notices < NOTICES_SHOWN
        self._notices += told
        if not told and not self._more:
            self._more = True
            self._console.print(Text(MORE_NOTICES.format(run=event.run)), soft_wrap=True)
        return told

    def _follow(self, event: Event) -> None:
        if event.kind is EventKind.CHUNK_STARTED:
            self._active.add((event.table, event.chunk))
        elif event.kind in ENDS_CHUNK:
            self._active.discard((event.table, event.chunk))

    def _figures(self, data: dict[str, Any]) -> dict[str, str]:
        size, total = int(data.get("bytes", 0)), int(data.get("bytes_estimated", 0))
        eta, rows = data.get("eta"), int(data.get("rows_estimated", data.get("rows", 0)))
        return {
            "percent": f"{min(100.0, 100 * size / total):.0f}%" if total else "…",
            "rows": count(rows),
            "size": amount(size),
            "rows_rate": count(self._rows_rate(rows)),
            "rate": amount(data.get("rate") or 0),
            "chunks": f"{data.get('chunks_done', 0)}/{data.get('chunks', 0)}",
            "eta": duration(eta) if eta is not None else "…",
            "active": str(len(data.get("workers", self._active))),
            "client": CLIENT.format(cpu=data["cpu"], memory=amount(data["memory"])) if "cpu" in data else "",
        }

    def _rows_rate(self, rows: int) -> int:
        now = time.monotonic()
        self._seen.append((now, rows))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
        elapsed = now - self._seen[0][0]
        return max(0, round((rows - self._seen[0][1]) / elapsed)) if elapsed > 0 else 0


class LiveView(PlainView):
    """One bar for the whole run, by bytes, and a line for each worker; other lines scroll above them."""

    def __init__(self, console: Console, *, verbose: bool, every: float = EVERY) -> None:
        super().__init__(console, verbose=verbose, every=every)
        texts = ("{percent}", "{rows} rows", "{rows_rate}/s", "{rate}/s", "{chunks} chunks", "{active} active", "{eta}")
        columns = [TextColumn("{task.fields[" + t[1:].replace("}", "]}", 1), markup=False) for t in texts]
        client = TextColumn("{task.fields[client]}", markup=False)
        self._bar = Progress(BarColumn(bar_width=24), *columns, client, console=console)
        self._lanes = Text()
        self._live = Live(console=console, transient=True, get_renderable=lambda: Group(self._bar, self._lanes))
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The bar goes away while a person is asked."""
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def _progress(self, data: dict[str, Any]) -> None:
        figures: dict[str, Any] = {**self._figures(data)}
        total = float(data.get("bytes_estimated") or 1)
        if self._task is None:
            self._task = self._bar.add_task("", total=total, **figures)
        self._bar.update(self._task, completed=min(float(data.get("bytes", 0)), total), total=total, **figures)
        self._lanes = Text(lanes(data.get("workers", [])), no_wrap=True, overflow="ellipsis")


def lanes(workers: Sequence[dict[str, Any]]) -> str:
    """A line for each worker: where it is, what it does, how much and how fast."""
    lines = [
        LANE.format(
            table=f"{w['table']} {w['chunk']}" if w["chunk"].startswith("ctid") else w["table"],
            doing=w["doing"],
            size=amount(w["bytes"]),
            rate=amount(w["rate"]),
        )
        for w in workers[:LANES_SHOWN]
    ]
    if len(workers) > LANES_SHOWN:
        lines.append(MORE_LANES.format(n=len(workers) - LANES_SHOWN))
    return "\n".join(lines)


def sentence(event: Event) -> str:
    """An event in one line: where, what, and the figures that go with it."""
    place = " ".join(part for part in (event.table, event.chunk) if part and part != "leaf")
    epoch = event.data.get("epoch", "")
    what = event.message or TITLES.get(event.kind, event.kind.value).format(run=event.run, epoch=epoch)
    if event.kind in {EventKind.CHUNK_RETRY, EventKind.CHUNK_FAILED, EventKind.WARNING} and event.message:
        what = f"{TITLES[event.kind]}: {event.message}"
    if event.kind is EventKind.SCHEMA and not event.message:
        made = event.data.get("objects")
        what = f"{what}: {event.data.get('step', '')}" + (f" ({len(made)})" if isinstance(made, list) and made else "")
    if error := event.data.get("error"):
        what = f"{what}: {error}" if str(error) not in what else what
    return f"{place}: {what}" if place else what
