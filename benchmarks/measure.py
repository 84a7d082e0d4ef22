"""Runs commands as process trees and says what they cost: wall, CPU, memory.

CPU is the operating system's own account where it has one (wait4: the command and all descendants that were
waited for). Memory is the high-water mark of each process of the tree, the largest counted. Windows has
neither: there CPU and memory are sampled, and a result says so.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeAlias

import psutil

# A look at the tree costs a few ms. The high-water mark is the kernel's, so a look only has to come once in a
# process's last moments to miss little; where there is none, growth between two looks is missed.
LOOK_EVERY = 0.1
MIB = 1024 * 1024

Stage: TypeAlias = tuple[str, ...]
Pipeline: TypeAlias = tuple[Stage, ...]  # stages joined by pipes, as in a shell


class CommandFailedError(Exception):
    """A measured command did not end with one of the expected codes."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a person would type: pipelines, one after the other. `env` is added to ours."""

    name: str
    steps: tuple[Pipeline, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    codes: tuple[int, ...] = (0,)


@dataclass(frozen=True, kw_only=True)
class ProcessPeak:
    words: str  # command line, shortened
    root: bool  # a process that we started, not a descendant
    rss_mb: float


@dataclass(frozen=True, kw_only=True)
class Usage:
    wall_s: float
    cpu_s: float
    peaks: tuple[ProcessPeak, ...]
    stdout: str = ""
    servers_cpu_s: float = 0.0  # of both servers in the meantime, where somebody has looked

    @property
    def peak_rss_mb(self) -> float:
        """Of the largest process."""
        return max((p.rss_mb for p in self.peaks), default=0.0)


def caveat() -> str:
    """What this platform cannot say exactly; empty where it can."""
    if not hasattr(os, "wait4"):
        return f"CPU and memory sampled every {LOOK_EVERY} s: a lower bound"
    return "" if Path("/proc/self/status").exists() else f"memory sampled every {LOOK_EVERY} s: a lower bound"


def measure(command: Command) -> Usage:
    """Run it; CommandFailedError with the end of its stderr unless it ends well."""
    usages = [_run(step, command) for step in command.steps]
    return Usage(
        wall_s=sum(u.wall_s for u in usages),
        cpu_s=sum(u.cpu_s for u in usages),
        peaks=tuple(p for u in usages for p in u.peaks),
        stdout="".join(u.stdout for u in usages),
    )


def interleave(
    subjects: Mapping[str, Callable[[], Usage]], runs: int, say: Callable[[str], None]
) -> dict[str, list[Usage]]:
    """A B C B C A …: what drifts on a machine drifts for all of them, and nobody always follows the same program."""
    done: dict[str, list[Usage]] = {name: [] for name in subjects}
    order = list(subjects)
    for number in range(1, runs + 1):
        for name in order[(number - 1) % len(order) :] + order[: (number - 1) % len(order)]:
            usage = subjects[name]()
            done[name].append(usage)
            cost = f"{usage.wall_s:.2f} s, CPU {usage.cpu_s:.2f} s, {usage.peak_rss_mb:.0f} MiB"
            say(f"  {number}/{runs} {name}: {cost}")
    return done


def median(usages: Sequence[Usage], what: Callable[[Usage], float]) -> float:
    """The middle one of several runs."""
    return statistics.median(what(u) for u in usages)


def environ(command: Command) -> dict[str, str]:
    """Ours and the command's."""
    env = os.environ | dict(command.env)
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its bytecode; so has a checkout after one run
    return env


def _run(pipeline: Pipeline, command: Command) -> Usage:
    env = environ(command)
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as output:
        started = time.monotonic()
        processes = _start(pipeline, env, output, errors)
        tree = _Tree([p.pid for p in processes])
        with tree:
            cpu = [_wait(p) for p in processes]
        wall = time.monotonic() - started
        if any(p.returncode not in command.codes for p in processes):
            errors.seek(0)
            tail = errors.read().decode(errors="replace")[-2000:]
            raise CommandFailedError(f"{command.name} ended with {[p.returncode for p in processes]}:\n{tail}")
        output.seek(0)
        text = output.read().decode(errors="replace")
    return Usage(
        wall_s=wall,
        cpu_s=tree.cpu if None in cpu else sum(c or 0 for c in cpu),
        peaks=tree.peaks(),
        stdout=text,
    )


def _start(
    pipeline: Pipeline, env: Mapping[str, str], output: IO[bytes], errors: IO[bytes]
) -> list[subprocess.Popen[bytes]]:
    processes: list[subprocess.Popen[bytes]] = []
    before: IO[bytes] | None = None
    for number, stage in enumerate(pipeline, 1):
        last = number == len(pipeline)
        process = subprocess.Popen(
            stage,
            stdin=before or subprocess.DEVNULL,
            stdout=output if last else subprocess.PIPE,
            stderr=errors,
            env=dict(env),
        )
        if before is not None:
            before.close()  # the reader's death must reach the writer
        before = process.stdout
        processes.append(process)
    return processes


def _wait(process: subprocess.Popen[bytes]) -> float | None:
    """CPU seconds of the process and the descendants it waited for; None where there is no account."""
    if not hasattr(os, "wait4"):
        process.wait()
        return None
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime


class _Tree:
    """Looks at processes and their descendants while they run."""

    def __init__(self, roots: Sequence[int]) -> None:
        self._roots = roots
        self._seen: dict[int, ProcessPeak] = {}
        self._cpu: dict[int, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def cpu(self) -> float:
        """Sampled; only used where wait4 is missing."""
        return sum(self._cpu.values())

    def peaks(self) -> tuple[ProcessPeak, ...]:
        return tuple(self._seen.values())

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            for root in self._roots:
                self._look(root)

    def _look(self, root: int) -> None:
        try:
            process = psutil.Process(root)
            for each in (process, *process.children(recursive=True)):
                self._note(each, root=each.pid == root)
        except psutil.Error:
            return

    def _note(self, process: psutil.Process, *, root: bool) -> None:
        try:
            before = self._seen.get(process.pid)
            words = " ".join(process.cmdline())[-200:]
            if not hasattr(os, "wait4"):
                times = process.cpu_times()
                self._cpu[process.pid] = times.user + times.system
            mark = _high_water_mark(process.pid)
            # The mark only rises, except that exec starts it afresh: before it, the process was a copy of us.
            peak = mark if mark is not None else max(process.memory_info().rss / MIB, before.rss_mb if before else 0)
        except (psutil.Error, OSError):
            return
        self._seen[process.pid] = ProcessPeak(words=words, root=root, rss_mb=peak)


def _high_water_mark(pid: int) -> float | None:
    """MiB by Linux's account; None elsewhere, and for a process that is ending."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return None
    line = next((li for li in status.splitlines() if li.startswith("VmHWM:")), None)
    if line is None:
        raise OSError("no memory left to look at")
    return int(line.split()[1]) / 1024
