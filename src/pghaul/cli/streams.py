"""stdout and stderr on their bad days: closed, on a full disk, or without a reader.

What a run says of itself may be lost; the run may not. A stream that fails on stderr is let go without a word, for
there is nobody to tell. stdout holds what was asked for: that it is not whole is said, and is a failure.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import IO, Any, TextIO

from pghaul.model.errors import OutletError
from pghaul.model.text import say

STANDARD = (0, 1, 2)


class _Noting(io.FileIO):
    """Keeps why it failed: what stands above it in the buffers forgets what could not be written."""

    failed: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as exc:
            self.failed = exc
            raise


class _Unfailing(io.FileIO):
    """Takes everything, and keeps what can be kept."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def make_sound() -> None:
    """Before anything is opened: no socket may get the number of a closed stdout, and no word ends a command."""
    for number in STANDARD:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)  # None where it was closed
    sys.stdout = _through(_Noting, sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False))
    sys.stderr = _through(_Unfailing, sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False))


def _through(kind: type[io.FileIO], stream: TextIO) -> TextIO:
    """A terminal of Windows takes no bytes: it stays as it is."""
    on_terminal = stream.isatty()
    if sys.platform == "win32" and on_terminal:
        return stream
    raw, lines = kind(stream.fileno(), "w", closefd=False), on_terminal or kind is _Unfailing
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding=stream.encoding, errors=stream.errors, line_buffering=lines)


def failure_of(stream: IO[str]) -> OSError | None:
    """Why what was written to it has not arrived. It takes everything from then on."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    broken = None
    try:
        stream.flush()
    except OSError as exc:
        broken = exc
    if isinstance(raw, _Noting):
        broken, raw.failed = broken or raw.failed, None
    if broken:
        give_up(stream)
    return broken


def not_written(broken: OSError) -> OutletError | None:
    """To be told to whoever reads stderr; None for a reader of stdout that went away, who needs not be told."""
    if isinstance(broken, BrokenPipeError):
        return None
    return OutletError(
        say("the output could not be written: {why}", why=broken.strerror or str(broken)),
        advice=say("lead it to where there is room"),
        code=6510,
    )


def give_up(stream: IO[str]) -> None:
    """What still comes goes nowhere, and the interpreter does not complain of it at its exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
