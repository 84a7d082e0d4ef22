"""How a run is watched: a live bar on a terminal, a line now and then elsewhere, JSON lines for programs.

Rates and remaining time come from the runner's PROGRESS events; rows per second are taken here.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any, Protocol, Self

import rich.text
from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn

from pghaul.cli.options import EVERY
from pghaul.cli.render import line
from pghaul.cli.words import is_unicode, tell
from pghaul.model.errors import UsageError
from pghaul.model.event import Event, EventKind, Level, level_of
from pghaul.model.figures import amount, count, duration
from pghaul.model.run import RunState
from pghaul.model.text import Template, Text, say, saying
from pghaul.model.wording import worded

LOUD_AND_QUIET = say("--verbose and --quiet contradict each other")
CHOOSE_ONE = say("leave one of them out")
BAR = ("percent", "rows", "rows_rate", "rate", "chunks", "active", "eta", "client")
NARROW = ("percent", "rate", "chunks", "eta")  # what stays beside the bar where not all of it has its place there
BAR_WIDTH = 24
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
    EventKind.ROUND,
}
TROUBLES = {EventKind.CHUNK_RETRY, EventKind.CHUNK_FAILED, EventKind.WARNING}
ENDS_CHUNK = {EventKind.CHUNK_DONE, EventKind.CHUNK_FAILED, EventKind.CHUNK_RETRY}
TITLES: Mapping[EventKind, Text] = {
    EventKind.RUN_STARTED: saying("run {run} started"),
    EventKind.RUN_FINISHED: saying("run {run} ended"),
    EventKind.ATTEMPT: saying("attempt {epoch}"),
    EventKind.CHUNK_STARTED: say("started"),
    EventKind.CHUNK_DONE: say("done"),
    EventKind.CHUNK_RETRY: say("once more"),
    EventKind.CHUNK_FAILED: say("failed"),
    EventKind.CHUNK_REDO: say("changed since, copied again"),
    EventKind.INDEX_DONE: say("indexed"),
    EventKind.VERIFIED: say("verified"),
    EventKind.SCHEMA: say("schema"),
    EventKind.CUTOVER: say("cutover"),
    EventKind.NOTICE: say("note"),
    EventKind.PAUSED: say("paused"),
    EventKind.RESUMED: say("goes on"),
    EventKind.ROUND: say("a round that found nothing to do"),
    EventKind.WARNING: say("warning"),
}
STEPS: Mapping[str, Text] = {  # of the schema, and what a worker is at
    "dump": say("dump"),
    "create": say("create"),
    "large objects": say("large objects"),
    "finish": say("finish"),
    "conclude": say("conclude"),
    "sequences": say("sequences"),
    "references": say("foreign keys"),
    "comments": say("comments"),
    "views": say("views"),
    "foreign keys dropped for the load": say("foreign keys dropped for the load"),
    "copy": say("copy"),
    "empty": say("empty"),
    "compare": say("compare"),
    "analyze": say("analyze"),
    "vacuum": say("vacuum"),
}
ENDED = saying("run {run} ended: {state}")
DIFFERS, COPIED_AGAIN = say("DIFFERENT"), say("different, so it is copied again")
STATUS = saying("{percent} · {rows} rows · {size} · {rows_rate} rows/s · {rate}/s · {chunks} chunks · {eta} left")
STATUS_CLIENT = saying("{status} · {client}")
CLIENT = saying("client {cpu:.0%} CPU, {memory}")
ROWS, ROWS_RATE, RATE = saying("{n} rows"), saying("{n}/s"), saying("{size}/s")
CHUNKS, ACTIVE = saying("{n} chunks"), saying("{n} active")
LANE = saying("  {table} · {doing} · {size} · {rate}/s")
MORE_LANES = saying("  … and {n} more")
MORE_NOTICES = saying("more notes follow; all are in: pghaul show {run}")
LED_TO = saying("{what}: {error}")
AT = saying("{place}: {what}")
STEP_MADE = saying("{what}: {step} ({n})")


class View(Protocol):
    """A Listener to be entered for the time of the run; `paused` clears the screen for a question."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...
    def __call__(self, event: Event) -> None: ...
    @contextmanager
    def paused(self) -> Iterator[None]: ...


def open_view(
    console: Console, out: IO[str], *, as_json: bool, verbose: bool, quiet: bool = False, every: float = EVERY
) -> View:
    """The view that fits: JSON asked for, silence, a terminal, or none (then a line every so many seconds)."""
    if quiet and verbose:
        raise UsageError(LOUD_AND_QUIET, advice=CHOOSE_ONE, code=1084)
    if as_json:
        return JsonLines(out)
    if quiet:
        return QuietView(console, verbose=False)
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
            words = json.dumps(event.as_json(), default=str, ensure_ascii=not is_unicode(self._out))
            self._out.write(words + "\n")
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
            line(self._console, sentence(event))

    @contextmanager
    def paused(self) -> Iterator[None]:
        yield

    def _progress(self, data: dict[str, Any]) -> None:
        figures = self._figures(data)
        if time.monotonic() - self._said < self._every:
            return
        self._said = time.monotonic()
        said = STATUS.format(**figures)
        line(self._console, STATUS_CLIENT.format(status=said, client=figures["client"]) if figures["client"] else said)

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
            line(self._console, MORE_NOTICES.format(run=event.run))
        return told

    def _follow(self, event: Event) -> None:
        if event.kind is EventKind.CHUNK_STARTED:
            self._active.add((event.table, event.chunk))
        elif event.kind in ENDS_CHUNK:
            self._active.discard((event.table, event.chunk))

    def _figures(self, data: Mapping[str, Any]) -> dict[str, str]:
        size, total = int(data.get("bytes", 0)), int(data.get("bytes_estimated", 0))
        most = 99.0 if data.get("chunks_done", 0) < data.get("chunks", 0) else 100.0  # all only when all is done
        eta, rows = data.get("eta"), int(data.get("rows_estimated", data.get("rows", 0)))
        return {
            "percent": f"{min(most, 100 * size / total):.0f}%" if total else "…",
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


class QuietView(PlainView):
    """For cron: what is said is worth a mail."""

    def _progress(self, data: dict[str, Any]) -> None:
        pass

    def _tells(self, event: Event) -> bool:
        return level_of(event).rank >= Level.WARNING.rank


class LiveView(PlainView):
    """One bar for the whole run, by bytes, and a line for each worker; other lines scroll above them.

    Where not all figures have their place beside the bar, most stand below it: Rich would cut all of them.
    """

    def __init__(self, console: Console, *, verbose: bool, every: float = EVERY) -> None:
        super().__init__(console, verbose=verbose, every=every)
        self._bar = Progress(*_bar_of(BAR), console=console)
        self._lanes = rich.text.Text()
        self._live = Live(console=console, transient=True, get_renderable=lambda: Group(self._bar, self._lanes))
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        if event.kind is EventKind.ROUND and self._task is not None:
            self._bar.remove_task(self._task)
            self._task, self._lanes = None, rich.text.Text()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The bar goes away while a person is asked."""
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def _progress(self, data: dict[str, Any]) -> None:
        figures = _columns(self._figures(data))
        total = float(data.get("bytes_estimated") or 1)
        if self._task is None:
            self._task = self._bar.add_task("", total=total, **figures)
        self._bar.update(self._task, completed=min(float(data.get("bytes", 0)), total), total=total, **figures)
        below = [] if _fits(figures, self._console.width) else [v for n, v in figures.items() if n not in NARROW and v]
        self._bar.columns = _bar_of(NARROW if below else BAR)
        lines = [*(["  " + " · ".join(v.strip(" ·") for v in below)] if below else []), lanes(data.get("workers", []))]
        self._lanes = rich.text.Text("\n".join(filter(None, lines)), no_wrap=True, overflow="ellipsis")


def _bar_of(names: Sequence[str]) -> tuple[ProgressColumn, ...]:
    texts = (TextColumn("{task.fields[" + name + "]}", markup=False) for name in names)
    return (BarColumn(bar_width=BAR_WIDTH), *texts)


def _fits(figures: Mapping[str, str], width: int) -> bool:
    return BAR_WIDTH + sum(1 + cell_len(words) for words in figures.values()) <= width


def _columns(figures: Mapping[str, str]) -> dict[str, Any]:
    """The bar's fields, in the reader's language."""
    said = {
        "percent": figures["percent"],
        "rows": ROWS.format(n=figures["rows"]),
        "rows_rate": ROWS_RATE.format(n=figures["rows_rate"]),
        "rate": RATE.format(size=figures["rate"]),
        "chunks": CHUNKS.format(n=figures["chunks"]),
        "active": ACTIVE.format(n=figures["active"]),
        "eta": figures["eta"],
        "client": STATUS_CLIENT.format(status="", client=figures["client"]) if figures["client"] else "",
    }
    return {name: tell(words) for name, words in said.items()}


def lanes(workers: Sequence[dict[str, Any]]) -> str:
    """A line for each worker: where it is, what it does, how much and how fast."""
    lines: list[str] = [
        LANE.format(
            table=f"{w['table']} {w['chunk']}" if w["chunk"].startswith("ctid") else w["table"],
            doing=STEPS.get(w["doing"], w["doing"]),
            size=amount(w["bytes"]),
            rate=amount(w["rate"]),
        )
        for w in workers[:LANES_SHOWN]
    ]
    if len(workers) > LANES_SHOWN:
        lines.append(MORE_LANES.format(n=len(workers) - LANES_SHOWN))
    return "\n".join(map(tell, lines))


def sentence(event: Event) -> str:
    """An event in one line: where, what, and the figures that go with it."""
    place = " ".join(part for part in (event.table, event.chunk) if part and part != "leaf")
    what = _what(event)
    error = event.data.get("error")
    if error and str(error) not in what:
        what = LED_TO.format(what=what, error=error if isinstance(error, str) else str(error))
    return AT.format(place=place, what=what) if place else what


def _what(event: Event) -> str:
    """Its message under its title, where only the title tells that something went wrong."""
    if event.kind in TROUBLES and event.message:
        return LED_TO.format(what=TITLES[event.kind], error=event.message)
    if event.message:
        return event.message
    title = _title(event)
    if event.kind is not EventKind.SCHEMA:
        return title
    step, made = str(event.data.get("step", "")), event.data.get("objects")
    named = STEPS.get(step, step)
    if isinstance(made, list) and made:
        return STEP_MADE.format(what=title, step=named, n=len(made))
    return LED_TO.format(what=title, error=named)


def _title(event: Event) -> str:
    """What an event is that says nothing of itself."""
    if event.kind in {EventKind.VERIFIED, EventKind.CHUNK_DONE} and event.data.get("agrees") is False:
        return COPIED_AGAIN if event.data.get("step") == "refresh" else DIFFERS
    if event.kind is EventKind.RUN_FINISHED and event.data.get("state") in {s.value for s in RunState}:
        return ENDED.format(run=event.run, state=worded(RunState(event.data["state"])))
    title: str = TITLES.get(event.kind, event.kind.value)
    return title.format(run=event.run, epoch=event.data.get("epoch", "")) if isinstance(title, Template) else title
