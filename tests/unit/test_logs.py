"""Log files: whole lines, bounded size, private, and never worth a run."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pghaul.cli.app import run as pghaul
from pghaul.model.errors import AccessError, OutletError, StoppedError, UsageError
from pghaul.model.event import Event, EventKind, Level, level_of
from pghaul.model.manifest import Manifest
from pghaul.model.plan import Plan, Selection
from pghaul.model.redaction import know
from pghaul.model.run import Run, RunState
from pghaul.model.text import say
from pghaul.service import log_files
from pghaul.service.log_files import Keeping, LineFile, alone, parts_of, prune
from pghaul.service.log_reading import LogTail, entries, entry_of
from pghaul.service.logs import RunLog, read_settings, record_failure
from pghaul.service.outlets import telling
from pghaul.store.repository import Store

RUN = "0123456789ab"
KEEPING = Keeping(size=200, parts=3, days=9)
PLAN = Plan(source="postgresql://a@x/d", target="postgresql://b@y/d", tables=[Selection(name="public.t")])
A_RUN = Run(id=RUN, state=RunState.RUNNING, source="s", target="t", started=datetime.now(UTC))


def lines(folder: Path, name: str = RUN) -> list[dict[str, Any]]:
    return [json.loads(li) for p in parts_of(folder, name) for li in p.read_text(encoding="utf-8").splitlines()]


def warning(message: str = "something", **more: Any) -> Event:
    return Event(kind=EventKind.WARNING, run=RUN, message=message, **more)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PGHAUL_LOG_DIR", str(tmp_path / "log"))
    return tmp_path / "log"


# --- files ---------------------------------------------------------------------------------------------------


def test_a_full_file_is_turned_over_and_only_so_many_are_kept(tmp_path: Path) -> None:
    file = LineFile(tmp_path, RUN, KEEPING)
    said = [f"{n} " + "x" * 90 for n in range(9)]
    for words in said:
        file.write(words)
    file.close()
    assert [p.name for p in parts_of(tmp_path, RUN)] == [f"{RUN}.2.jsonl", f"{RUN}.1.jsonl", f"{RUN}.jsonl"]
    kept = [li for p in parts_of(tmp_path, RUN) for li in p.read_text().splitlines()]
    assert kept == said[-len(kept) :]
    assert len(kept) == 5
    assert all(p.stat().st_size <= KEEPING.size for p in parts_of(tmp_path, RUN))


def test_one_part_is_emptied_when_it_is_full(tmp_path: Path) -> None:
    file = LineFile(tmp_path, RUN, Keeping(size=100, parts=1, days=1))
    for n in range(3):
        file.write(f"{n}" * 60)
    file.close()
    assert [p.read_text() for p in parts_of(tmp_path, RUN)] == ["2" * 60 + "\n"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_in_the_place_of_the_file_is_not_waited_for(folder: Path) -> None:
    folder.mkdir()
    os.mkfifo(folder / f"{RUN}.jsonl")
    with pytest.raises(OutletError) as caught:
        RunLog(RUN, read_settings())
    assert caught.value.code == "PGH-6504"
    os.mkfifo(folder / "pghaul.jsonl")
    assert record_failure(AccessError("no", code=5100)) is None


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_files_and_folder_are_their_owner_s_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        LineFile(tmp_path / "a" / "b", RUN, KEEPING).close()
        with alone(tmp_path / "a" / "b", "pghaul"):
            pass
    finally:
        os.umask(before)
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "a").rglob("*")}
    assert modes == {"b": 0o700, f"{RUN}.jsonl": 0o600, "pghaul.lock": 0o600}


def test_a_line_that_was_cut_off_spoils_only_itself(tmp_path: Path) -> None:
    (tmp_path / f"{RUN}.jsonl").write_text('{"at": "2026-01-01T00:00:00+00:00", "lev')
    file = LineFile(tmp_path, RUN, KEEPING)
    file.write('{"at": "2026-01-02T00:00:00+00:00", "level": "info", "event": "process"}')
    file.close()
    assert [e.name for e in entries(tmp_path, RUN)] == ["process"]


def test_a_name_that_cannot_be_changed_loses_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, while somebody reads the file."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "in use")

    monkeypatch.setattr(Path, "replace", refuse)
    file = LineFile(tmp_path, RUN, KEEPING)
    for n in range(6):
        file.write(f"{n} " + "x" * 90)
    file.close()
    assert [li[0] for p in parts_of(tmp_path, RUN) for li in p.read_text().splitlines()] == list("012345")


def test_old_logs_are_deleted_and_nothing_else(tmp_path: Path) -> None:
    long_ago = time.time() - 10 * 86_400
    names = [f"{RUN}.jsonl", f"{RUN}.3.jsonl", "pghaul.1.jsonl", "somebody.jsonl", "messages", f"{RUN}.json"]
    for name in names:
        (tmp_path / name).write_text("x\n")
        os.utime(tmp_path / name, (long_ago, long_ago))
    (tmp_path / "cccccccccccc.jsonl").write_text("young\n")
    prune(tmp_path, 9)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*names[3:], "cccccccccccc.jsonl"])


def test_of_very_many_logs_the_oldest_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_files, "MOST_FILES", 3)
    for n in range(5):
        (tmp_path / f"{n:012x}.jsonl").write_text("x\n")
        os.utime(tmp_path / f"{n:012x}.jsonl", (time.time() - 100 + n,) * 2)
    prune(tmp_path, 9)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{n:012x}.jsonl" for n in (2, 3, 4)]


MANY = """
import sys
from pathlib import Path
from pghaul.service.log_files import Keeping, LineFile, alone
for n in range(150):
    with alone(Path(sys.argv[1]), "pghaul"):
        file = LineFile(Path(sys.argv[1]), "pghaul", Keeping(size=20_000, parts=100, days=9))
        file.write(f"{sys.argv[2]} {n} " + "x" * 100)
        file.close()
"""


def test_several_processes_lose_and_mix_no_line_of_the_shared_file(tmp_path: Path) -> None:
    started = [subprocess.Popen([sys.executable, "-c", MANY, str(tmp_path), str(who)]) for who in range(3)]
    assert [p.wait(60) for p in started] == [0, 0, 0]
    said = [li.split() for p in parts_of(tmp_path, "pghaul") for li in p.read_text().splitlines()]
    assert len(parts_of(tmp_path, "pghaul")) > 2
    for who in "012":
        assert [n for w, n, _ in said if w == who] == [str(n) for n in range(150)]


def test_a_lock_that_somebody_keeps_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_files, "LOCK_PATIENCE", 0.05)
    came: list[str] = []
    with alone(tmp_path, "pghaul"), alone(tmp_path, "pghaul"):
        came.append("in")
    assert came == ["in"]


# --- settings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("PGHAUL_LOG_LEVEL", "loud", "PGH-6501"),
        ("PGHAUL_LOG_SIZE", "much", "PGH-6502"),
        ("PGHAUL_LOG_SIZE", "1kB", "PGH-6502"),
        ("PGHAUL_LOG_PARTS", "0", "PGH-6503"),
        ("PGHAUL_LOG_DAYS", "-1", "PGH-6503"),
    ],
)
def test_a_setting_that_says_nothing_is_named(variable: str, value: str, code: str) -> None:
    with pytest.raises(OutletError, match=variable) as caught:
        read_settings({variable: value})
    assert caught.value.code == code


@pytest.mark.parametrize(("said", "size"), [("64kB", 65536), ("2 MB", 2**21), ("1g", 2**30), ("100000", 100000)])
def test_sizes_are_read(said: str, size: int) -> None:
    assert read_settings({"PGHAUL_LOG_SIZE": said}).keeping.size == size


def test_without_settings_logs_lie_where_the_system_keeps_them() -> None:
    found = read_settings({"HOME": "/home/somebody"})
    assert (found.chosen, found.level, found.keeping) == (False, Level.INFO, Keeping(size=10 * 2**20, parts=5, days=90))
    assert "pghaul" in str(found.folder)


# --- what is written -----------------------------------------------------------------------------------------


def test_a_line_says_when_what_how_grave_and_of_which_run(folder: Path) -> None:
    event = Event(
        kind=EventKind.CHUNK_RETRY,
        run=RUN,
        table="public.t",
        chunk="leaf",
        message=say("{n} 번", n=3),
        data={"code": "PGH-2300", "sqlstate": "55P03", "wait": 0.5},
    )
    log = RunLog(RUN, read_settings())
    log(event)
    log.close()
    process, line = lines(folder)
    assert (process["event"], process["run"], process["pid"]) == ("process", RUN, os.getpid())
    assert line == {
        "at": event.at.isoformat(),
        "level": "warning",
        "event": "chunk_retry",
        "run": RUN,
        "table": "public.t",
        "chunk": "leaf",
        "code": "PGH-2300",
        "sqlstate": "55P03",
        "message": "3 번",
        "wait": 0.5,
    }
    assert list(line)[:5] == ["at", "level", "event", "run", "table"]


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", {"process", "chunk_done", "notice", "warning", "failure"}),
        ("info", {"process", "notice", "warning", "failure"}),
        ("warning", {"warning", "failure"}),
        ("error", {"failure"}),
        ("off", set()),
    ],
)
def test_a_level_keeps_out_what_is_below(
    folder: Path, monkeypatch: pytest.MonkeyPatch, level: str, written: set[str]
) -> None:
    monkeypatch.setenv("PGHAUL_LOG_LEVEL", level)

    def work() -> None:
        with telling(lambda _event: None, A_RUN, PLAN) as tell:
            for kind in (EventKind.CHUNK_DONE, EventKind.NOTICE, EventKind.WARNING):
                tell(Event(kind=kind, run=RUN))
            raise AccessError("no")

    with pytest.raises(AccessError):
        work()
    assert {li["event"] for li in lines(folder)} - {"run_finished"} == written


def test_progress_is_written_now_and_then_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHAUL_LOG_LEVEL", "debug")
    now = [1000.0]
    monkeypatch.setattr("pghaul.service.logs.time.monotonic", lambda: now[0])
    log = RunLog(RUN, read_settings())
    for _ in range(200):
        now[0] += 0.1
        log(Event(kind=EventKind.PROGRESS, run=RUN))
    log.close()
    assert len([li for li in lines(folder) if li["event"] == "progress"]) == 2


def test_what_ends_a_run_is_written_with_its_traceback_and_without_passwords(folder: Path) -> None:
    know("S3cret/w0rt")

    def work() -> None:
        with telling(lambda _event: None, A_RUN, PLAN):
            try:
                raise ValueError({"password": "S3cret/w0rt"})  # noqa: TRY301
            except ValueError as exc:
                raise AccessError(
                    say("not {what}", what="S3cret/w0rt"), where="h", sqlstate="28P01", code=5101
                ) from exc

    with pytest.raises(AccessError):
        work()
    failure = next(li for li in lines(folder) if li["event"] == "failure")
    assert (failure["level"], failure["code"], failure["sqlstate"]) == ("error", "PGH-5101", "28P01")
    assert (failure["message"], failure["where"], failure["error"]) == ("not ***", "h", "AccessError")
    assert "ValueError: {'password': " in failure["traceback"]
    assert "S3cret" not in folder.joinpath(f"{RUN}.jsonl").read_text()


def test_who_stops_a_run_has_not_failed(folder: Path) -> None:
    def work() -> None:
        with telling(lambda _event: None, A_RUN, PLAN) as tell:
            tell(warning())
            raise StoppedError("stopped as asked")

    with pytest.raises(StoppedError):
        work()
    assert "failure" not in {li["event"] for li in lines(folder)}


def test_a_resume_goes_on_in_the_same_file(folder: Path) -> None:
    for words in ("first", "second"):
        with telling(lambda _event: None, A_RUN, PLAN) as tell:
            tell(warning(words))
    assert [li.get("message") for li in lines(folder)] == [None, "first", None, "second"]


# --- what cannot be written ----------------------------------------------------------------------------------


def told_by(*events: Event) -> list[Event]:
    heard: list[Event] = []
    with telling(heard.append, A_RUN, PLAN) as tell:
        for event in events:
            tell(event)
    return heard


def assert_lost_once(heard: list[Event], why: str) -> None:
    """The run has heard everything, and one sentence about the log."""
    assert [e.message for e in heard if "the log" not in e.message] == ["one", "two", "three"]
    lost = [e.message for e in heard if "the log" in e.message]
    assert len(lost) == 1
    assert why in lost[0]


THREE = (warning("one"), warning("two"), warning("three"))


def test_a_folder_of_ours_that_cannot_be_made_is_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a home that is read-only."""
    (tmp_path / "home").write_text("a file stands in the way")
    monkeypatch.delenv("PGHAUL_LOG_DIR", raising=False)
    monkeypatch.setattr("platformdirs.user_log_dir", lambda *_, **__: str(tmp_path / "home" / "log"))
    assert_lost_once(told_by(*THREE), "Not a directory")


def test_a_folder_that_somebody_chose_and_cannot_be_used_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("PGHAUL_LOG_DIR", str(tmp_path / "file"))
    with pytest.raises(OutletError, match="cannot be used") as caught:
        told_by(*THREE)
    assert (caught.value.code, caught.value.where) == ("PGH-6504", str(tmp_path / "file"))


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = sys.platform == "linux" and os.geteuid() == 0
    if mounted:
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
        mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    if not mounted:
        pytest.skip("only root may mount a disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_fills_up_is_one_warning_and_what_was_written_can_be_read(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHAUL_LOG_DIR", str(tiny))
    many = [warning("x" * 3000, data={"n": n}) for n in range(40)]
    heard = told_by(*many)
    assert [e.data["n"] for e in heard if e.data] == list(range(40))
    lost = [e.message for e in heard if not e.data]
    assert len(lost) == 1
    assert lost[0].startswith("the log failed, and is told no more: No space left on device")
    read = [e.fields["n"] for e in entries(tiny, RUN) if e.name == "warning"]
    assert read == list(range(len(read)))
    assert read


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_a_full_disk_from_the_first_line_on_is_one_warning(folder: Path) -> None:
    folder.mkdir()
    real = os.open

    def on_full(path: Any, flags: int, mode: int = 0o777) -> int:
        return real("/dev/full" if str(path).endswith(f"{RUN}.jsonl") else path, flags & ~os.O_CREAT, mode)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_files.os, "open", on_full)
        assert_lost_once(told_by(*THREE), "No space left")


# --- commands without a run ----------------------------------------------------------------------------------


def test_an_error_of_a_command_is_written_and_an_unexpected_one_says_where(
    folder: Path, state: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pghaul(["status", "ffffffffffff"]) == 1

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nothing at all")

    monkeypatch.setattr("pghaul.cli.prove.MigrationService", fail)
    assert pghaul(["runs"]) == 1
    expected, unexpected = lines(folder, "pghaul")
    assert (expected["command"], expected["level"]) == ("status", "error")
    assert expected["code"].startswith("PGH-52")
    assert (unexpected["command"], unexpected["error"]) == ("runs", "ZeroDivisionError")
    assert "in fail" in unexpected["traceback"]
    assert str(folder / "pghaul.jsonl") in capsys.readouterr().err


def test_wrong_words_and_interruptions_are_no_matter_for_a_log(folder: Path) -> None:
    for exc in (UsageError("x"), KeyboardInterrupt(), StoppedError("x")):
        assert record_failure(exc) is None
    assert not folder.exists()


def test_an_error_that_cannot_be_written_is_shown_all_the_same(
    tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("PGHAUL_LOG_DIR", str(tmp_path / "file"))
    assert pghaul(["status", "ffffffffffff"]) == 1
    assert capsys.readouterr().err.startswith("Not found: there is no run ffffffffffff")


# --- reading -------------------------------------------------------------------------------------------------


def line(name: str, second: int, **more: Any) -> str:
    at = datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC).isoformat()
    return json.dumps({"at": at, "level": "info", "event": name, "run": RUN} | more)


def test_a_log_is_followed_over_a_turn_of_its_files(tmp_path: Path) -> None:
    file, tail = LineFile(tmp_path, RUN, Keeping(size=250, parts=9, days=1)), LogTail(tmp_path, RUN)
    seen = []
    for n in range(12):
        file.write(line("x", n, n=n))
        seen += [e.fields["n"] for e in tail.more()]
    file.close()
    tail.close()
    assert len(parts_of(tmp_path, RUN)) > 3
    assert seen == list(range(12))
    assert [e.fields["n"] for e in entries(tmp_path, RUN)] == list(range(12))


def test_half_a_line_is_waited_for(tmp_path: Path) -> None:
    path, tail, whole = tmp_path / f"{RUN}.jsonl", LogTail(tmp_path, RUN), line("x", 1)
    path.write_text(whole[:20])
    assert tail.more() == []
    path.write_text(whole + "\n")
    assert [e.name for e in tail.more()] == ["x"]
    tail.close()


@pytest.mark.parametrize("broken", [b"", b"{", b"[1]", b'"x"', b'{"at": 3}', b"\xff\xfe"])
def test_what_is_no_line_of_a_log_is_left_out(broken: bytes) -> None:
    assert entry_of(broken, RUN) is None


@pytest.fixture
def kept(state: str) -> Iterator[Store]:
    store = Store(state)
    store.create_run(A_RUN, PLAN, Manifest(tables=(), chunks=(), placements=(), identities=("a", "b")))
    yield store
    store.close()


def finish(store: Store) -> None:
    from dataclasses import replace  # noqa: PLC0415

    store.save_run(replace(A_RUN, state=RunState.FAILED))


def test_store_and_log_are_told_together_each_event_once(
    folder: Path, kept: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHAUL_LOG_LEVEL", "debug")
    chunk = Event(kind=EventKind.CHUNK_DONE, run=RUN, table="public.t", chunk="leaf", data={"rows": 3})

    def work() -> None:
        with telling(lambda _event: None, A_RUN, PLAN) as tell:
            for event in (warning("first"), chunk, warning("second")):
                kept.save_event(event)
                tell(event)
            raise ZeroDivisionError("unexpected")

    with pytest.raises(ZeroDivisionError):
        work()
    finish(kept)
    assert pghaul(["logs", RUN]) == 0
    shown = capsys.readouterr().out
    assert [li.split()[2] for li in shown.splitlines() if li[0].isdigit()] == ["warning", "warning", "error", "error"]
    assert "ZeroDivisionError: unexpected" in shown
    assert "    Traceback (most recent call last):" in shown
    assert pghaul(["logs", RUN, "--level", "debug", "--json"]) == 0
    told = [json.loads(li) for li in capsys.readouterr().out.splitlines()]
    names = ["process", "warning", "chunk_done", "warning", "failure", "run_finished"]
    assert sorted(t["event"] for t in told) == sorted(names)
    assert [t["at"] for t in told] == sorted(t["at"] for t in told)
    assert {t["level"] for t in told} == {"info", "debug", "warning", "error"}


def test_a_run_that_failed_while_it_was_planned_is_told_from_its_log(
    folder: Path, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        with telling(lambda _event: None, A_RUN, PLAN):
            raise AccessError("the door is closed", code=5101)

    with pytest.raises(AccessError):
        work()
    assert pghaul(["logs", RUN]) == 0
    assert "the door is closed [PGH-5101]" in capsys.readouterr().out
    assert pghaul(["logs", "ffffffffffff"]) == 1
    assert "there is no run" in capsys.readouterr().err


def test_where_the_files_are(folder: Path, state: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert pghaul(["logs", "--path"]) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert pghaul(["logs", RUN, "--path"]) == 1
    assert "there is no log of run" in capsys.readouterr().err
    told_by(*THREE)
    assert pghaul(["logs", RUN, "--path"]) == 0
    assert capsys.readouterr().out == f"{folder / RUN}.jsonl\n"
    assert pghaul(["logs", RUN, "--path", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(folder), "files": [f"{folder / RUN}.jsonl"]}


@pytest.mark.parametrize(
    ("kind", "data", "level"),
    [
        (EventKind.RUN_FINISHED, {"state": "done"}, Level.INFO),
        (EventKind.RUN_FINISHED, {"state": "different"}, Level.WARNING),
        (EventKind.RUN_FINISHED, {"state": "failed"}, Level.ERROR),
        (EventKind.VERIFIED, {"agrees": False, "step": "verify"}, Level.WARNING),
        (EventKind.VERIFIED, {"agrees": False, "step": "refresh"}, Level.INFO),
        (EventKind.CHUNK_DONE, {"agrees": False}, Level.WARNING),
        (EventKind.CHUNK_DONE, {}, Level.DEBUG),
        (EventKind.CHUNK_FAILED, {}, Level.ERROR),
    ],
)
def test_how_grave_an_event_is(kind: EventKind, data: dict[str, Any], level: Level) -> None:
    assert level_of(Event(kind=kind, run=RUN, data=data)) is level


def test_structlog_is_not_imported_before_there_is_a_line() -> None:
    script = "import sys, pghaul.cli.app, pghaul.service.migration; print('structlog' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
