"""The demonstration, as `make demo` runs it, with fewer rows."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.components import need
from tests.memory import folder_for


@pytest.fixture
def own_folder() -> Iterator[Path]:
    """Not among pytest's: another pytest that begins closes those of root to the user that the servers run as."""
    folder = folder_for("demonstration")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_the_demo_survives_its_own_kills_and_leaves_nothing_behind(tmp_path: Path, own_folder: Path) -> None:
    need("PostgreSQL 16")
    need("PostgreSQL 18")
    mark = f"sqlite:///{(tmp_path / 'state.db').as_posix()}"
    environment = os.environ | {"PGHAUL_STATE": mark, "TMPDIR": str(own_folder)}
    done = subprocess.run(
        [sys.executable, "-m", "pghaul", "demo", "--rows", "300000"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed" in (done.stdout + done.stderr).lower()
    assert_nothing_is_left(own_folder)


@pytest.fixture
def hung_up() -> Iterator[None]:
    """What is started hears SIGHUP, also where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a terminal that goes away says nothing here")
@pytest.mark.usefixtures("hung_up")
def test_a_terminal_that_is_closed_leaves_no_servers_behind(tmp_path: Path, own_folder: Path) -> None:
    need("PostgreSQL 16")
    need("PostgreSQL 18")
    mark = f"sqlite:///{(tmp_path / 'state.db').as_posix()}"
    environment = os.environ | {"PGHAUL_STATE": mark, "TMPDIR": str(own_folder), "PYTHONUNBUFFERED": "1"}
    words = [sys.executable, "-m", "pghaul", "demo"]
    with subprocess.Popen(
        words,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        assert any("Writing" in line for line in demo.stdout)
        demo.send_signal(signal.SIGHUP)
        said = demo.stdout.read()
    assert demo.returncode == 130, said
    assert "Traceback" not in said
    assert_nothing_is_left(own_folder)


def assert_nothing_is_left(folder: Path) -> None:
    ours = [p for p in psutil.process_iter(["environ"]) if (p.info["environ"] or {}).get("TMPDIR") == str(folder)]
    assert ours == []
    assert [p.name for p in folder.iterdir() if p.name.startswith("pghaul")] == []
