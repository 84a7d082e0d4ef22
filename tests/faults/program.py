"""The command line as a user runs it, in processes that can be found, stopped and killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from tests.faults.plant import SPLIT_SIZE

RUN_OPTIONS = (
    *("--workers", "2", "--verify", "checksum", "--split-size", SPLIT_SIZE),
    *("--stall-timeout", "1.5", "--lock-timeout", "1", "--give-up-after", "40"),
)


PATIENCE = 60.0  # seconds for what takes one on a quiet machine; nobody waits longer than he has to


def wait_until(true: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Look every 30 ms; whether it came true in time."""
    deadline = time.monotonic() + seconds
    turn = threading.Event()
    while not true():
        if time.monotonic() > deadline:
            return False
        turn.wait(0.03)
    return True


class Program:
    """Runs of pghaul with one state store. All their processes carry its URL in their environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = f"sqlite:///{(folder / 'state.db').as_posix()}"
        self.process: subprocess.Popen[bytes] | None = None
        self.calls = 0
        self.environ: dict[str, str] = {}  # over that of the tests
        self._started: set[int] = set()

    def start(self, *words: str) -> None:
        """Start `pghaul words…`; stdout and stderr go to files of the folder."""
        self.calls += 1
        environment = os.environ | {"PGHAUL_STATE": self.state, "PYTHONWARNINGS": "default"} | self.environ
        with self._log("out").open("wb") as out, self._log("err").open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pghaul", *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                cwd=self.folder,
            )
        self._started.add(self.process.pid)

    def run(self, source: str, target: str, run_id: str, *words: str, tables: Sequence[str] = ("plant.*",)) -> None:
        """Start a run of all tables of the plant, or of these."""
        chosen = [word for table in tables for word in ("--table", table)]
        ends = ("--from", source, "--to", target, *chosen, "--run-id", run_id, "--json")
        self.start("run", *ends, *RUN_OPTIONS, *words)

    def resume(self, run_id: str) -> None:
        """Start a resume."""
        self.start("resume", run_id, "--json")

    def wait(self, seconds: float = PATIENCE) -> int | None:
        """The exit code, negative for a signal; None when it still runs."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def said(self) -> str:
        """Both outputs of the last call."""
        return self._log("out").read_text(errors="replace") + self._log("err").read_text(errors="replace")

    def complaint(self) -> str:
        """The last lines of stderr."""
        return "\n".join(self._log("err").read_text(errors="replace").splitlines()[-6:])[-900:]

    def processes(self) -> list[psutil.Process]:
        """Every living process of any of the calls."""
        return [p for p in psutil.process_iter() if self._is_ours(p)]

    def workers(self) -> list[psutil.Process]:
        """Its spawned worker processes."""
        return [p for p in self.processes() if _is_worker(p)]

    def worker_of(self, client_port: int) -> psutil.Process | None:
        """The worker that holds the client's end of this connection, else any."""
        workers = self.workers()
        return next((w for w in workers if client_port in _ports(w)), workers[0] if workers else None)

    def kill_main(self) -> None:
        """SIGKILL the main process only; its workers are left over."""
        assert self.process is not None
        self.process.kill()

    def kill_all(self) -> None:
        """Clean up after a case, whatever it left."""
        for process in self.processes():
            try:
                process.kill()
            except psutil.Error:
                continue
        if self.process is not None:
            self.process.wait(10)

    def _log(self, kind: str) -> Path:
        return self.folder / f"call{self.calls}.{kind}"

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE or process.environ().get("PGHAUL_STATE") != self.state:
                return False
            # A test that also works in-process has children of its own with this environment.
            return process.ppid() != os.getpid() or process.pid in self._started
        except (psutil.Error, OSError):
            return False


def _is_worker(process: psutil.Process) -> bool:
    try:
        words = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return "multiprocessing" in words and "resource_tracker" not in words


def _ports(process: psutil.Process) -> set[int]:
    try:
        return {c.laddr.port for c in process.net_connections("tcp")}
    except psutil.Error:
        return set()
