"""The one owner of exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but different, 130 stopped."""

from __future__ import annotations

from pghaul.model.errors import PghaulError, StoppedError, UsageError
from pghaul.model.run import RunState

DONE = 0
FAILED = 1
USAGE = 2
DIFFERENT = 3  # verification found differences, or rows were set aside
STOPPED = 130  # as shells say of Ctrl-C

_OF_STATE = {
    RunState.RUNNING: DONE,
    RunState.PAUSED: DONE,
    RunState.DONE: DONE,
    RunState.FAILED: FAILED,
    RunState.STOPPED: STOPPED,
    RunState.DIFFERENT: DIFFERENT,
}


def of_state(state: RunState) -> int:
    """How a run ended."""
    return _OF_STATE[state]


def of_error(exc: BaseException) -> int:
    """What an exception means to the shell."""
    match exc:
        case KeyboardInterrupt() | StoppedError():
            return STOPPED
        case UsageError():
            return USAGE
        case PghaulError():
            return FAILED
        case _:
            return FAILED
