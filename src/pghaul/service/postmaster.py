"""A server's processes, by their ids. psutil comes with the `demo` extra: only who starts servers imports this."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

import psutil

STOPPING = 5.0  # seconds until a suspended process has stopped: the signal alone does not stop it
NOTICING = 5.0  # seconds in which orphaned backends may notice by themselves that their postmaster has died
DYING = 5.0  # … and in which who was killed has ended
LOOK = 0.01


def is_running(pid: int) -> bool:
    """A process that has ended and that nobody has reaped is not."""
    try:
        return _lives(psutil.Process(pid))
    except psutil.Error:
        return False


def kill_family(pid: int) -> None:
    """Kill this process; return when its children have noticed, or were killed, too.

    It is suspended first: a child made between the listing and the killing would be missing from the list, live on,
    and keep the shared memory of the server that is to start in its place.
    """
    try:
        parent = psutil.Process(pid)
    except psutil.Error:
        return
    family = [parent, *_suspended_children(parent)]
    _kill([parent])
    if not _wait_for(family, NOTICING):
        _kill(family)
        _wait_for(family, DYING)


def _suspended_children(parent: psutil.Process) -> list[psutil.Process]:
    deadline = time.monotonic() + STOPPING
    try:
        parent.suspend()
        while parent.status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
            time.sleep(LOOK)
        return list(parent.children(recursive=True))
    except psutil.Error:
        return []


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _wait_for(processes: Sequence[psutil.Process], seconds: float) -> bool:
    """Until all have ended, whoever reaps them; False where one has not."""
    deadline = time.monotonic() + seconds
    while any(_lives(p) for p in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK)
    return True
