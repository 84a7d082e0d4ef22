"""What processes of a pool do in its tests instead of moving rows. Imports nothing: each of them imports it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECRET = "s3cret-Wort"


@dataclass(frozen=True)
class Order:
    """As Job: `word` names what is done in the process of `slot`, with `value`."""

    word: str
    value: Any = None
    slot: int = 0


class AwkwardError(Exception):
    """Can be pickled, but not read again."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


class LocalError(Exception):
    """Cannot be pickled."""

    def __reduce__(self) -> str:
        raise TypeError("no")


_config: Any = None
_control: Any = None


def _until(true: Callable[[], Any]) -> None:
    turn = threading.Event()
    while not true():
        turn.wait(0.01)


def _start(receive: Callable[[], Any], control: Any) -> None:
    global _config, _control
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _config, _control = receive(), control


def _wait_for_the_end(_: Any) -> None:
    _until(lambda: _control.stopping)


def _hang(path: str | None) -> None:
    if path:
        Path(path).write_text(str(os.getpid()))
    _until(lambda: False)


def _fail(error: BaseException) -> None:
    raise error


def _fail_by(kind: str) -> None:
    if kind == "local":
        from pghaul.model.redaction import know  # noqa: PLC0415

        know(SECRET)
        raise LocalError(f"not with {SECRET}")
    raise AwkwardError("one", "two")


WORDS: dict[str, Callable[[Any], Any]] = {
    "echo": lambda value: value,
    "pid": lambda _: os.getpid(),
    "config": lambda _: _config,
    "fail": _fail,
    "fail by": _fail_by,
    "die": lambda _: os._exit(7),
    "leave": lambda _: sys.exit(3),
    "hang": _hang,
    "wait": _wait_for_the_end,
    "lambda": lambda _: lambda: None,
}


def _work(order: Order) -> Any:
    return WORDS[order.word](order.value)


def duty() -> tuple[Callable[[Callable[[], Any], Any], None], Callable[[Any], Any]]:
    """Of a well-behaved process."""
    return _start, _work


def stillborn() -> tuple[Callable[[Callable[[], Any], Any], None], Callable[[Any], Any]]:
    """Fails with the configuration in its words."""

    def start(receive: Callable[[], Any], _control: Any) -> None:
        from pghaul.model.redaction import know  # noqa: PLC0415

        config = receive()
        know(SECRET)
        raise RuntimeError(f"cannot start with {config}")

    return start, _work


def hang_in_a_pool(path: str) -> None:
    """Of a process that is killed: one of its workers is idle, the other at work; their ids go to stdout."""
    from pghaul.engine.pool import WorkerPool  # noqa: PLC0415

    pool: Any = WorkerPool(2, duty=duty)
    pool.configure("c")
    idle = pool.submit(Order("pid", slot=1)).result(60)
    pool.submit(Order("hang", path))
    _until(lambda: Path(path).exists() and Path(path).read_text())
    sys.stdout.write(f"{idle} {Path(path).read_text()}\n")
    sys.stdout.flush()
    _until(lambda: False)
