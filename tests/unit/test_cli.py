"""The command line without any server: wrong words, empty stores, what is printed where."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import pytest
import typer.main
from rich.console import Console
from tests.recorded import new_store
from typer.testing import CliRunner

from pghaul import __version__
from pghaul.cli import exit_codes, move, render
from pghaul.cli.app import app, run
from pghaul.cli.options import parse_size
from pghaul.cli.progress import JsonLines, LiveView, PlainView, View, open_view, sentence
from pghaul.cli.render import left_behind
from pghaul.cli.signals import stop_on_signals
from pghaul.model import errors
from pghaul.model.chunk import Chunk, ChunkKind, ChunkState
from pghaul.model.errors import NotFoundError, PghaulError, StoppedError, TerminalError, UsageError
from pghaul.model.event import Event, EventKind
from pghaul.model.manifest import Manifest
from pghaul.model.plan import OnExisting, Options, Plan, Selection
from pghaul.model.receipt import Proof, Receipt
from pghaul.model.run import LIVING, Run, RunState, Wish
from pghaul.model.table import Name, Unsupported
from pghaul.service.migration import MigrationService
from pghaul.service.plan_file import read_plan
from pghaul.store.repository import Store

RUN = "0123456789ab"
LEAF = Name("public", "leaf[red]")
URLS = ["--from", "postgresql://me:s3cret@old/db", "--to", "postgresql://me@new/db"]
PROGRESS = {
    "rows": 5_000,
    "bytes": 512_000,
    "bytes_estimated": 1_024_000,
    "rate": 1024,
    "eta": 65.0,
    "chunks_done": 1,
    "chunks": 2,
}

Started: TypeAlias = list[tuple[Plan, dict[str, object]]]
Output: TypeAlias = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def state_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = new_store(tmp_path)
    monkeypatch.setenv("PGHAUL_STATE", url)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("PGHAUL_DEBUG", raising=False)
    return url


def run_of(state: RunState, run_id: str = RUN) -> Run:
    return Run(
        id=run_id,
        state=state,
        source="postgresql://me@old:5432/db",
        target="postgresql://me@new:5432/db",
        started=datetime(2026, 1, 2, tzinfo=UTC),
        finished=datetime(2026, 1, 2, 1, tzinfo=UTC),
        epoch=2,
        chunks=1,
        chunks_done=1,
        rows=4_320_000,
        pid=os.getpid(),
    )


@pytest.fixture
def record(state_url: str) -> Callable[[RunState], None]:
    """Puts a run with one finished chunk into the store."""

    def put(state: RunState) -> None:
        store = Store(state_url)
        plan = Plan(source="host=old", target="host=new", tables=[Selection(name="public.*")])
        chunk = Chunk(table=LEAF, kind=ChunkKind.LEAF)
        lost = Unsupported(kind="TRIGGER", name="on_insert", why="not carried yet")
        store.create_run(
            run_of(state),
            plan,
            Manifest(tables=(), placements=(), chunks=(chunk,), identities=("a", "b"), not_carried=(lost,)),
        )
        receipt = Receipt(table=LEAF, chunk="leaf", rows=4_320_000, bytes=1, seconds=2, epoch=1, proof=Proof.STREAM)
        store.save_chunk(RUN, LEAF, "leaf", ChunkState.DONE, receipt=receipt)
        store.save_event(Event(kind=EventKind.CHUNK_RETRY, run=RUN, table=str(LEAF), message="the server went away"))
        store.close()

    return put


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Takes the place of the service's run: remembers the plan, and says that the run failed."""
    seen: Started = []

    def fake(_self: MigrationService, plan: Plan, **rest: object) -> Run:
        seen.append((plan, rest))
        raise TerminalError("no [bold]server[/bold] here", where="old", advice="start it")

    monkeypatch.setattr(MigrationService, "run", fake)
    return seen


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["run"], "where from (--from), where to (--to), which tables (--table)"),
        (["run", *URLS], "which tables (--table)"),
        (["run", *URLS, "--table", "t", "--wokers", "3"], "--wokers"),
        (["run", *URLS, "--table", "t", "--workers", "0"], "--workers"),
        (["run", *URLS, "--table", "t", "--verify", "sometimes"], "--verify"),
        (["run", *URLS, "--table", "t", "--split-size", "big"], "a size is written 64MB"),
        (["run", *URLS, "--table", "t", "--run-id", "XYZ"], "12 characters"),
        (["run", *URLS, "--table", "t", "--on-existing", "ask"], "needs a terminal"),
        (["run", *URLS, "--table", "t", "--recipe", "copy", "--mode", "upsert"], "--recipe copy does not go with"),
        (["run", "no-such-plan.toml"], "no such plan file"),
        (["show"], "RUN"),
        (["migrate"], "migrate"),
    ],
)
def test_wrong_usage_is_one_message_on_stderr_and_exit_2(argv: list[str], said: str, capsys: Output) -> None:
    code = run(argv)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
    assert "s3cret" not in err


def test_without_a_word_it_shows_where_to_start(capsys: Output) -> None:
    assert run([]) == 0
    out, err = capsys.readouterr()
    assert out.count("pghaul demo") == 1
    assert err == ""


def test_the_version_goes_to_stdout(capsys: Output) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"pghaul {__version__}\n"


def test_the_help_shows_panels_in_the_order_of_need() -> None:
    text = CliRunner().invoke(app, ["--help"]).output
    places = [text.index(f"─ {title} ─") for title in ("Move", "Prove", "Start")]
    assert places == sorted(places)


def test_every_option_of_a_plan_can_be_said_on_the_command_line() -> None:
    command = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    said = {p.name for p in command.params}
    renamed = {"format": "copy_format", "split_bytes": "split_size"}
    assert {renamed.get(name, name) for name in Options.model_fields} <= said


@pytest.mark.parametrize("command", [["status"], ["resume"], ["show", RUN], ["stop", RUN], ["resume", RUN]])
def test_what_is_not_in_the_store_is_not_found_and_exit_1(command: list[str], capsys: Output) -> None:
    assert run(command) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Not found: there is no")


def test_no_runs_are_an_empty_list_for_programs(capsys: Output) -> None:
    assert run(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_failure_shows_message_place_and_advice_and_no_markup(started: Started, capsys: Output) -> None:
    assert run(["run", *URLS, "--table", "t"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    visible, _, failure = err.partition("\n")
    assert visible.startswith("A password stands on the command line")
    assert failure == "Cannot go on: no [bold]server[/bold] here [PGH-5000]\n  at: old\n  try: start it\n"
    assert len(started) == 1


def test_a_failure_of_a_recorded_run_says_how_to_go_on(
    started: Started, record: Callable[[RunState], None], capsys: Output
) -> None:
    record(RunState.FAILED)
    assert run(["run", *URLS, "--table", "t", "--run-id", RUN]) == 1
    assert capsys.readouterr().err.endswith(f"Go on with it: pghaul resume {RUN}\n")


def test_options_reach_the_plan(started: Started, capsys: Output) -> None:
    words = "--table a --table b.* --split-size 64MB --no-indexes --on-existing skip --retries 0 --workers 3"
    run(["run", *URLS, *words.split()])
    plan, rest = started[0]
    assert [s.name for s in plan.tables] == ["a", "b.*"]
    wanted = Options(split_bytes=64 << 20, indexes=False, on_existing=OnExisting.SKIP, retries=0, workers=3)
    assert plan.options == wanted
    assert rest["ask"] is None


def test_the_command_line_s_words_go_over_the_plan_file_s(started: Started, tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        'source = "postgresql://x/y"\ntarget = "postgresql://z/y"\n'
        '[options]\nworkers = 4\nretries = 1\n[[tables]]\nname = "a"\non_existing = "append"\n'
    )
    run(["run", str(path), "--from", "postgresql://other/y", "--workers", "5"])
    plan = started[0][0]
    assert (plan.source, plan.target) == ("postgresql://other/y", "postgresql://z/y")
    assert (plan.options.workers, plan.options.retries) == (5, 1)
    assert plan.tables == [Selection(name="a", on_existing=OnExisting.APPEND)]


def test_a_plan_is_kept_without_its_password_before_the_run_begins(
    started: Started, tmp_path: Path, capsys: Output
) -> None:
    path = tmp_path / "kept.toml"
    run(["run", *URLS, "--table", "t", "--save-plan", str(path), "--workers", "7"])
    assert "s3cret" not in path.read_text()
    assert read_plan(path).options.workers == 7
    assert started[0][0].source == URLS[1]


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (UsageError("no"), 2, "Wrong usage: no"),
        (StoppedError("as asked"), 130, "Stopped: as asked"),
        (KeyboardInterrupt(), 130, "Stopped: interrupted"),
        (RuntimeError("odd\nand long"), 1, "RuntimeError: odd\nThis should not have happened. PGHAUL_DEBUG=1"),
    ],
)
def test_every_way_to_fail_has_its_exit_code(
    raised: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def fail(*_args: object, **_rest: object) -> Run:
        raise raised

    monkeypatch.setattr(MigrationService, "run", fail)
    assert run(["run", *URLS, "--table", "t"]) == code
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_debugging_shows_the_traceback(started: Started, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setenv("PGHAUL_DEBUG", "1")
    run(["run", *URLS, "--table", "t"])
    assert "Traceback" in capsys.readouterr().err


def test_exit_codes_cover_every_state_and_every_error() -> None:
    assert {s: exit_codes.of_state(s) for s in RunState if s not in LIVING} == {
        RunState.DONE: 0,
        RunState.FAILED: 1,
        RunState.DIFFERENT: 3,
        RunState.STOPPED: 130,
    }
    tree = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, PghaulError)]
    assert {exit_codes.of_error(c("x")) for c in tree} == {1, 2, 130}


@pytest.mark.parametrize(("state", "code"), [(RunState.DONE, 0), (RunState.DIFFERENT, 3)])
def test_the_end_of_a_run_is_its_receipts_on_stdout_and_the_next_step_on_stderr(
    state: RunState, code: int, record: Callable[[RunState], None], capsys: Output
) -> None:
    record(state)
    assert run(["resume", RUN]) == code  # a finished run is shown again, not done again
    out, err = capsys.readouterr()
    assert "public.leaf[red]" in out
    assert "4,320,000" in out
    assert "hash of the stream" in out
    assert f"pghaul show {RUN}" in err


def test_with_json_nothing_but_events_is_on_stdout(record: Callable[[RunState], None], capsys: Output) -> None:
    record(RunState.DONE)
    assert run(["resume", RUN, "--json"]) == 0
    assert capsys.readouterr().out == ""


def test_show_tells_receipts_retries_and_what_was_not_carried(
    record: Callable[[RunState], None], capsys: Output
) -> None:
    record(RunState.DONE)
    assert run(["show", RUN]) == 0
    out = capsys.readouterr().out
    assert "public.leaf[red]: the server went away" in out
    assert "TRIGGER on_insert: not carried yet" in out


def test_show_is_one_json_document_for_programs(record: Callable[[RunState], None], capsys: Output) -> None:
    record(RunState.DONE)
    assert run(["show", RUN, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["run"]["state"] == "done"
    assert shown["chunks"][0]["receipt"]["rows"] == 4_320_000
    assert shown["chunks"][0]["receipt"]["agrees"] is True
    assert shown["not_carried"][0]["name"] == "on_insert"


def test_status_shows_the_latest_run_with_its_chunks(record: Callable[[RunState], None], capsys: Output) -> None:
    record(RunState.FAILED)
    assert run(["status"]) == 0
    out, err = capsys.readouterr()
    assert RUN in out
    assert "1 done" in out
    assert f"pghaul resume {RUN}" in err
    assert run(["status", RUN, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["chunk_states"] == {"done": 1}


def test_stop_leaves_a_wish_for_a_running_run_only(
    record: Callable[[RunState], None], state_url: str, capsys: Output
) -> None:
    record(RunState.RUNNING)
    assert run(["stop", RUN]) == 0
    store = Store(state_url)
    assert store.wish(RUN) is Wish.STOP
    store.save_run(run_of(RunState.DONE))
    store.close()
    assert run(["stop", RUN]) == 1
    assert "does not run: it is done" in capsys.readouterr().err


def test_a_run_id_that_is_taken_is_refused(record: Callable[[RunState], None], capsys: Output) -> None:
    record(RunState.FAILED)
    assert run(["run", *URLS, "--table", "t", "--run-id", RUN]) == 2
    assert f"there is a run {RUN} already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "size"), [("8192", 8192), ("64MB", 64 << 20), ("1GB", 1 << 30), ("1.5 gib", 3 << 29), ("8kB", 8192)]
)
def test_sizes_are_read_as_postgresql_writes_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "8191", "1 parsec"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="a size is written"):
        parse_size(text)


def test_json_events_go_out_one_a_line_and_a_lost_reader_ends_nothing() -> None:
    out = io.StringIO()
    view = JsonLines(out)
    view(Event(kind=EventKind.PROGRESS, run=RUN, data=PROGRESS))
    view(Event(kind=EventKind.NOTICE, run=RUN, message="two\nlines"))
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["progress", "notice"]
    out.close()
    view(Event(kind=EventKind.NOTICE, run=RUN))
    view(Event(kind=EventKind.NOTICE, run=RUN))
    assert view._out is None


@pytest.mark.parametrize(
    ("terminal", "as_json", "kind"), [(True, False, LiveView), (False, False, PlainView), (True, True, JsonLines)]
)
def test_the_view_fits_who_is_watching(terminal: bool, as_json: bool, kind: type[View]) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal)
    assert type(open_view(console, io.StringIO(), as_json=as_json, verbose=False)) is kind


def test_without_a_terminal_progress_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    out, clock = io.StringIO(), [100.0]
    monkeypatch.setattr("pghaul.cli.progress.time.monotonic", lambda: clock[0])
    view = PlainView(Console(file=out, width=200), verbose=False)
    for moment, rows in ((101.0, 0), (106.0, 5_000), (107.0, 6_000)):
        clock[0] = moment
        view(Event(kind=EventKind.PROGRESS, run=RUN, data=PROGRESS | {"rows": rows}))
    rate = round(5_000 / 5.0)
    wanted = f"50% · 5,000 rows · 500.0 kB · {rate:,} rows/s · 1.0 kB/s · 1/2 chunks · 1:05 left"
    assert out.getvalue().splitlines() == [wanted]


def test_on_a_terminal_a_bar_shows_figures_and_lines_pass_above_it() -> None:
    out = io.StringIO()
    with LiveView(Console(file=out, force_terminal=True, width=200), verbose=False) as view:
        view(Event(kind=EventKind.CHUNK_STARTED, run=RUN, table="a[b]", chunk="leaf"))
        view(Event(kind=EventKind.PROGRESS, run=RUN, data=PROGRESS))
        view(Event(kind=EventKind.WARNING, run=RUN, message="[bold]slow[/bold]"))
        with view.paused():
            out.write("a question")
        view(Event(kind=EventKind.PROGRESS, run=RUN, data=PROGRESS))
    for words in ("50%", "5,000 rows", "1 active", "[bold]slow[/bold]", "a question"):
        assert words in out.getvalue()


@pytest.mark.parametrize(("kinds", "shown"), [(50, 10), (1, 2)], ids=["of many kinds", "all alike"])
def test_a_flood_of_notes_is_cut_and_says_where_the_rest_is(kinds: int, shown: int) -> None:
    out = io.StringIO()
    view = PlainView(Console(file=out, width=200), verbose=False)
    for number in range(50):
        facts = {"kind": f"K{number % kinds}", "why": "later"}
        view(Event(kind=EventKind.NOTICE, run=RUN, message=f"note {number}", data=facts))
    lines = out.getvalue().splitlines()
    assert lines[0] == "note 0"
    assert lines[shown:] == [f"more notes follow; all are in: pghaul show {RUN}"]


def test_many_left_behind_for_one_reason_take_one_line() -> None:
    lost = [Unsupported(kind="CLUSTER", name=f"leaf_{n}", why="later") for n in range(9)]
    other = Unsupported(kind="RULE", name="r", why="never")
    assert left_behind([*lost, other], verbose=False) == ["CLUSTER of 9, leaf_0 … leaf_8: later", "RULE r: never"]
    assert len(left_behind([*lost, other], verbose=True)) == 10


def test_a_retry_names_its_place_and_its_error() -> None:
    event = Event(
        kind=EventKind.CHUNK_RETRY, run=RUN, table="public.t", chunk="ctid:0-9", data={"error": "gone", "wait": 1}
    )
    assert sentence(event) == "public.t ctid:0-9: once more: gone"


@pytest.mark.skipif(sys.platform == "win32", reason="no signals to oneself")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(number: signal.Signals) -> None:
    said: list[int] = []
    before = signal.getsignal(number)
    with stop_on_signals(lambda: said.append(1)) as stopping:
        assert not stopping()
        signal.raise_signal(number)
        assert stopping()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert said == [1]
    assert signal.getsignal(number) is before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a terminal that goes away says nothing here")
@pytest.mark.parametrize("ignored", [True, False])
def test_a_terminal_that_goes_away_asks_for_a_stop_however_often_it_says_so(ignored: bool) -> None:
    said: list[int] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with stop_on_signals(lambda: said.append(1)) as stopping:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)
            assert stopping() is not ignored
    finally:
        signal.signal(signal.SIGHUP, before)
    assert said == ([] if ignored else [1])


def test_a_command_that_is_interrupted_says_so(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    def interrupt(*_args: object, **_rest: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MigrationService, "runs", interrupt)
    assert run(["runs"]) == exit_codes.STOPPED
    assert capsys.readouterr().err == "Interrupted.\n"


def test_ask_puts_the_estimate_to_the_person_and_takes_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    console = Console(file=out, width=200)
    monkeypatch.setattr("builtins.input", lambda *_args: "append")
    ask = move._asking(PlainView(console, verbose=False), console)
    assert ask(LEAF, 1_234) is OnExisting.APPEND
    assert "public.leaf[red] holds about 1,234 rows" in out.getvalue()


def test_an_answer_for_all_the_rest_is_the_last_question(monkeypatch: pytest.MonkeyPatch) -> None:
    out, answers = io.StringIO(), iter(["skip", "refresh all"])
    console = Console(file=out, width=200)
    monkeypatch.setattr("builtins.input", lambda *_args: next(answers))
    ask = move._asking(PlainView(console, verbose=False), console)
    assert [ask(LEAF, None) for _ in range(4)] == [OnExisting.SKIP, *[OnExisting.REFRESH] * 3]
    assert out.getvalue().count("holds some rows") == 2


def test_many_tables_are_summed_up() -> None:
    out = io.StringIO()
    found = [
        Receipt(table=Name("public", f"t{i}"), chunk="leaf", rows=i, bytes=i, seconds=1, epoch=1) for i in range(100)
    ]
    render.receipts(Console(file=out, width=200), found)
    lines = out.getvalue().splitlines()
    assert lines[1].startswith("public.t99")
    assert lines[-2].startswith("… and 80 more")
    assert lines[-1].split()[:3] == ["tables:", "100", "4,950"]


def test_a_difference_is_shouted() -> None:
    out = io.StringIO()
    receipt = Receipt(table=LEAF, chunk="leaf", rows=1, bytes=1, seconds=1, epoch=1, source_hash="aa", target_hash="bb")
    render.receipts(Console(file=out, width=200), [receipt])
    assert out.getvalue().count("DIFFERENT") == 2


def test_a_missing_run_is_told_by_the_service_too(state_url: str) -> None:
    with pytest.raises(NotFoundError, match=RUN):
        MigrationService(state_url).show(RUN)
