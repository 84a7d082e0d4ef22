"""stdout and stderr on their bad days: one sentence and a failure for what was asked for, and no run is lost by it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.databases import DatabasePair
from tests.looking import value
from tests.moving import move

from pghaul.model.event import Event, EventKind
from pghaul.model.run import RunState
from pghaul.service.migration import MigrationService

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
TABLE = pytest.mark.template(source="CREATE TABLE one (id int); INSERT INTO one SELECT generate_series(1, 5000)")


def pghaul(argv: Sequence[str], out: int | None = None, err: int | None = None) -> subprocess.CompletedProcess[str]:
    """A process of its own; a stream that is None is read."""
    pipe = subprocess.PIPE
    out, err = (pipe if stream is None else stream for stream in (out, err))
    return subprocess.run(
        [sys.executable, "-m", "pghaul", *argv], stdout=out, stderr=err, text=True, timeout=120, check=False
    )


@needs_full
@pytest.mark.parametrize("argv", [["--version"], ["runs", "--json"]])
def test_what_was_asked_for_and_cannot_be_written_is_a_failure_and_one_sentence(state: str, argv: list[str]) -> None:
    with FULL.open("w") as full:
        done = pghaul(argv, out=full.fileno())
    assert done.returncode == 1
    assert "the output could not be written: No space left on device [PGH-6510]" in done.stderr.splitlines()[0]
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="a shell that closes streams")
def test_closed_streams_end_no_command(state: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -m pghaul runs --json <&- >&- 2>&-', sys.executable], timeout=120, check=False
    )
    assert done.returncode == 0


@needs_full
@TABLE
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_run_that_can_say_nothing_arrives(db_pair: DatabasePair, state: str, more: list[str]) -> None:
    with FULL.open("w") as full:
        argv = ["run", "--from", db_pair.source, "--to", db_pair.target, "--table", "one", "--workers", "1", *more]
        done = pghaul(argv, out=full.fileno(), err=full.fileno())
    assert (done.returncode, MigrationService().status().state) == (0, RunState.DONE)
    assert value(db_pair.target, "SELECT count(*) FROM one") == 5000


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's pipe")
@TABLE
def test_a_reader_of_stderr_that_goes_away_ends_no_run(db_pair: DatabasePair, state: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        argv = ["run", "--from", db_pair.source, "--to", db_pair.target, "--table", "one"]
        done = pghaul(argv, out=writer, err=writer)
    finally:
        os.close(writer)
    assert (done.returncode, MigrationService().status().state) == (0, RunState.DONE)


@TABLE
def test_a_face_that_fails_is_let_go_and_the_run_goes_on(db_pair: DatabasePair, state: str) -> None:
    told: list[Event] = []

    def fail(event: Event) -> None:
        told.append(event)
        raise OSError(5, "Input/output error")

    run = move(db_pair, listener=fail).run
    assert (run.state, len(told)) == (RunState.DONE, 1)
    kept = [e.message for e in MigrationService().show(run.id).events if e.kind is EventKind.WARNING]
    assert kept == ["what the run says of itself can be shown no more: Input/output error"]


def test_who_interrupts_before_anything_has_begun_sees_no_traceback() -> None:
    code = "from pghaul import __main__ as m\ndef stop(): raise KeyboardInterrupt\nm._run = stop\nm.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
