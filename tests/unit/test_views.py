"""What is drawn of a run: bars of its rate, lines of its workers, and lines of a log."""

from __future__ import annotations

import io
import os
import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest
from rich.console import Console
from tests.recorded import new_store

from pghaul.cli import check, render, sparkline
from pghaul.cli.app import run
from pghaul.cli.options import parse_rate
from pghaul.cli.progress import LANES_SHOWN, LiveView, PlainView, lanes, sentence
from pghaul.cli.signals import NAMES
from pghaul.engine.control import Control
from pghaul.engine.dispatch import InFlight, Task
from pghaul.engine.footprint import Footprint, taken
from pghaul.engine.job import Job, JobKind
from pghaul.engine.lanes import Lanes
from pghaul.engine.report import Reporter
from pghaul.model.checklist import Item, Outcome
from pghaul.model.errors import NotFoundError
from pghaul.model.event import Event, EventKind, Level, level_of
from pghaul.model.manifest import Manifest
from pghaul.model.plan import Plan, Selection
from pghaul.model.run import Run, RunState
from pghaul.model.sample import Sample, rates
from pghaul.model.table import Name
from pghaul.model.text import say
from pghaul.service import watching
from pghaul.store.repository import Store

RUN = "0123456789ab"
BEGIN = datetime(2026, 1, 2, tzinfo=UTC)
PROGRESS = {
    "rows": 5_000,
    "rows_estimated": 7_500,
    "bytes": 512_000,
    "bytes_estimated": 1_024_000,
    "rate": 1024,
    "eta": 65.0,
    "chunks_done": 1,
    "chunks": 2,
    "cpu": 0.5,
    "memory": 50 << 20,
    "workers": [
        {"table": "public.big", "chunk": "ctid:0-9", "doing": "copy", "bytes": 2048, "rate": 1024},
        {"table": "public.[b]", "chunk": "leaf", "doing": "index:i", "bytes": 0, "rate": 0},
    ],
}


def sample(second: float, moved: int, in_flight: int = 0) -> Sample:
    return Sample(at=BEGIN + timedelta(seconds=second), rows=0, bytes=moved, in_flight=in_flight, chunks_done=0)


def test_a_rate_is_bytes_by_seconds_wherever_the_samples_lie() -> None:
    samples = [sample(0, 0), sample(1, 100), sample(7, 700), sample(8, 700), sample(10, 700)]
    assert rates(samples, 10) == pytest.approx([100.0] * 7 + [0.0] * 3)
    assert sum(rates(samples, 7)) * 10 / 7 == pytest.approx(700)


def test_what_was_rolled_back_was_moved_all_the_same() -> None:
    samples = [sample(0, 0), sample(1, 0, 100), sample(2, 0, 0), sample(3, 0, 100)]
    assert rates(samples, 3) == pytest.approx([100.0, 0.0, 100.0])


@pytest.mark.parametrize("samples", [[], [sample(0, 5)], [sample(0, 0), sample(0, 9)]])
def test_without_a_span_of_time_there_is_nothing_to_draw(samples: list[Sample]) -> None:
    assert rates(samples, 60) == []


def test_bars_fall_back_to_what_the_encoding_has() -> None:
    heights = [0.0, 0.01, 4.0, 8.0]
    assert sparkline.draw(heights, "utf-8") == "▁▂▅█"
    assert sparkline.draw(heights, "ascii") == "_.=#".replace("=", sparkline.ASCII_BARS[4])
    assert sparkline.draw(heights, "no-such-encoding").isascii()
    assert sparkline.draw([0.0, 0.0], "utf-8") == "▁▁"


def test_a_run_that_moved_nothing_shows_no_rate() -> None:
    out = io.StringIO()
    render.rate_over_time(Console(file=out, width=200), [sample(0, 0), sample(9, 0)])
    assert out.getvalue() == ""
    render.rate_over_time(Console(file=out, width=200), [sample(0, 0), sample(60, 60 << 20)])
    assert "Rate (at most 1.0 MB/s, over 1:00)" in out.getvalue()


def test_a_live_view_shows_each_worker_and_what_the_client_takes() -> None:
    out = io.StringIO()
    with LiveView(Console(file=out, force_terminal=True, width=250), verbose=False) as view:
        view(Event(kind=EventKind.PROGRESS, run=RUN, data=PROGRESS))
        view._live.refresh()
    for words in (
        "7,500 rows",
        "2 active",
        "client 50% CPU, 50.0 MB",
        "public.big ctid:0-9 · copy · 2.0 kB · 1.0 kB/s",
    ):
        assert words in out.getvalue()
    assert "public.[b] · index:i" in out.getvalue()


@pytest.mark.parametrize("width", [56, 80])
def test_in_a_narrow_terminal_all_figures_are_whole(width: int) -> None:
    out = io.StringIO()
    with LiveView(Console(file=out, force_terminal=True, width=width), verbose=False) as view:
        view(Event(kind=EventKind.PROGRESS, run=RUN, data=PROGRESS))
        view._live.refresh()
    said = " ".join(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue()).split())
    assert "7,500 rows · 0/s · 2 active · client 50% CPU, 50.0 MB" in said
    assert "…" not in said


def test_of_many_workers_the_largest_are_shown() -> None:
    worker = PROGRESS["workers"][0]  # type: ignore[index]
    lines = lanes([worker] * (LANES_SHOWN + 3)).splitlines()
    assert (len(lines), lines[-1]) == (LANES_SHOWN + 1, "  … and 3 more")


def test_in_a_log_file_a_line_comes_as_often_as_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    out, clock = io.StringIO(), [100.0]
    monkeypatch.setattr("pghaul.cli.progress.time.monotonic", lambda: clock[0])
    view = PlainView(Console(file=out, width=200), verbose=False, every=60)
    for _ in range(180):
        clock[0] += 1
        view(Event(kind=EventKind.PROGRESS, run=RUN, data=PROGRESS))
    assert len(out.getvalue().splitlines()) == 3


@pytest.mark.parametrize(
    ("kind", "data", "level"),
    [
        (EventKind.NOTICE, {}, Level.INFO),
        (EventKind.CHUNK_RETRY, {}, Level.WARNING),
        (EventKind.CHUNK_FAILED, {}, Level.ERROR),
        (EventKind.RUN_FINISHED, {"state": "done"}, Level.INFO),
        (EventKind.RUN_FINISHED, {"state": "failed"}, Level.ERROR),
    ],
)
def test_an_event_has_a_level(kind: EventKind, data: dict[str, str], level: Level) -> None:
    assert level_of(Event(kind=kind, run=RUN, data=data)) is level


@pytest.mark.parametrize(("text", "rate"), [("50MB/s", 50 << 20), ("64kB", 64 << 10), ("1.5GB/s", 3 << 29)])
def test_a_rate_is_a_size_per_second(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


def test_ctrl_break_is_heeded_where_there_is_one() -> None:
    assert "SIGBREAK" in NAMES


def test_a_log_is_followed_until_the_run_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What comes after the run's last state is told too."""
    url = new_store(tmp_path)
    monkeypatch.setenv("PGHAUL_STATE", url)
    going = Run(id=RUN, state=RunState.RUNNING, source="a", target="b", started=BEGIN, pid=os.getpid())
    plan = Plan(source="host=a", target="host=b", tables=[Selection(name="t")])
    store, words = Store(url), iter(("first", "second", "", "last"))

    def happen(_seconds: float = 0) -> None:
        word = next(words)
        if word:
            store.save_event(Event(kind=EventKind.NOTICE, run=RUN, message=word))
        else:
            store.save_run(replace(going, state=RunState.DONE))

    store.create_run(going, plan, Manifest(tables=(), chunks=(), placements=(), identities=("a", "b")))
    monkeypatch.setattr(watching.time, "sleep", happen)
    happen()
    assert run(["logs", RUN, "--follow"]) == 0
    store.close()
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["first", "second", "last"]


def flight(chunk: str, moved: int, *, size: int = 1, kind: JobKind = JobKind.COPY, moving: bool = True) -> InFlight:
    job = Job(run="r", epoch=1, kind=kind, relation="public.t", chunk=chunk, snapshot="", marker="m")
    return InFlight(task=Task(job=job, table=Name("public", "t"), size=size), bytes=moved, moving=moving)


def test_a_worker_s_rate_is_its_own_and_forgotten_with_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr("pghaul.engine.progress.time.monotonic", lambda: now[0])
    told = Lanes()
    told.tell([flight("a", 0), flight("b", 0, size=9)])
    now[0] += 2
    said = told.tell([flight("a", 100), flight("b", 4000, size=9)])
    assert [(w["chunk"], w["rate"]) for w in said] == [("b", 2000), ("a", 50)]
    told.tell([])
    assert told.tell([flight("a", 100)])[0]["rate"] == 0


def test_what_a_worker_does_is_told_by_its_job_and_its_stream() -> None:
    flights = [
        flight("leaf", 1),
        flight("leaf", 1, moving=False),
        flight("leaf", 0, kind=JobKind.CHECK),
        flight("index:i", 0, kind=JobKind.STEP),
    ]
    assert [w["doing"] for w in Lanes().tell(flights)] == ["copy", "finish", "compare", "index:i"]


def test_shared_memory_forgets_a_stream_with_its_job() -> None:
    control = Control(2)
    control.take(1)
    control.set_moving(True)
    control.clear(1)
    assert not control.moving(1)


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="read from /proc")  # noqa: PTH112
def test_the_client_s_own_cpu_and_memory_are_measured() -> None:
    footprint = Footprint()
    footprint.look([os.getpid()])
    before = taken(os.getpid())
    assert before is not None
    while (now := taken(os.getpid())) is not None and now.seconds - before.seconds < 0.03:
        pass
    footprint._at = time.monotonic() - 1.0  # on a busy machine that may have taken any time
    said = footprint.look([os.getpid(), 999_999_999])
    assert said["cpu"] > 0
    assert said["memory"] > 5 << 20
    assert footprint.look([999_999_999]) == {}


def test_a_name_cannot_command_the_terminal() -> None:
    out = io.StringIO()
    console = Console(file=out, width=200)
    render.line(console, "a\x1b[2Jb\u202e\r\nc\td")
    table = render.grid("name")
    render.row(table, "점\x1b]0;title\x07")
    console.print(table)
    assert "a\\u001b[2Jb\\u202e\\u000d\nc" in out.getvalue()
    assert "점\\u001b]0;title\\u0007" in out.getvalue()


def test_nor_can_what_a_check_has_found_or_an_advice() -> None:
    out = io.StringIO()
    console = Console(file=out, width=200)
    item = Item(
        id="x", about=say("a table"), side="source", outcome=Outcome.LOOK, found="\x1b[31mred", advice=say("look")
    )
    check.items(console, [item])
    render.error(console, NotFoundError(say("no"), advice=say("did you mean {n}?", n="\x1b[31mred"), code=5201))
    assert out.getvalue().count("\\u001b[31mred") == 2
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        (EventKind.RUN_FINISHED, {"state": "stopped"}, f"run {RUN} ended: stopped"),
        (EventKind.VERIFIED, {"agrees": True}, "verified"),
        (EventKind.VERIFIED, {"agrees": False}, "DIFFERENT"),
        (EventKind.VERIFIED, {"agrees": False, "step": "refresh"}, "different, so it is copied again"),
    ],
)
def test_a_line_of_a_log_says_how_it_went(kind: EventKind, data: dict[str, object], said: str) -> None:
    assert sentence(Event(kind=kind, run=RUN, data=data)) == said


def test_rows_that_wait_for_their_merge_are_shown_as_moved() -> None:
    heard: list[Event] = []
    going = Run(id=RUN, state=RunState.RUNNING, source="a", target="b", started=datetime.now(UTC))
    plan = Plan(source="postgresql://a/b", target="postgresql://c/d", tables=[Selection(name="public.*")])
    report = Reporter(going, plan, Mock, heard.append, lambda: False, lambda _: Mock())
    report.heed([replace(flight("stage:1:0", 900, moving=False), rows=n) for n in (30, 12)])
    assert [e.data["rows_estimated"] for e in heard if e.kind is EventKind.PROGRESS] == [42]
