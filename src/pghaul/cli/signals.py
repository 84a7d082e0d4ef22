"""The first Ctrl-C (or SIGTERM, or Ctrl-Break on Windows) asks for a stop, the second ends at once.

So does a terminal that goes away (SIGHUP), unless that is to be ignored (nohup). It may say so several times.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGBREAK")
STOPPING = tuple(number for name in NAMES if (number := getattr(signal, name, None)) is not None)
GONE = getattr(signal, "SIGHUP", None)


@contextmanager
def stop_on_signals(say: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Yields the question "shall we stop?"; `say` is called when the answer turns to yes."""
    asked = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        if not asked.is_set():
            asked.set()
            say()
        elif number != GONE:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set  # signals belong to the main thread
        return
    numbers = [*STOPPING, *([GONE] if GONE and signal.getsignal(GONE) is signal.SIG_DFL else [])]
    before: dict[signal.Signals, Any] = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
