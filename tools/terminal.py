"""A terminal of a fixed size: runs a command in it, as a person would, and keeps what is on its screen as a picture.

Of a terminal's language only that much is understood that rich speaks: colours, line feeds, carriage returns,
cursor up, and clearing a line. POSIX only, as pseudo-terminals are.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

COLUMNS, LINES = 120, 60
PATIENCE = 180.0  # seconds for one command
PIECE = re.compile(r"(\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|[\r\n])")
STYLE = re.compile(r"\x1b\[[0-9;]*m")
# Without rich's fonts from elsewhere: a picture in documentation asks nobody for anything.
SVG = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
INK = (214, 220, 228)
DARK = [
    (72, 79, 88),
    (255, 123, 114),
    (126, 211, 134),
    (227, 179, 65),
    (108, 182, 255),
    (211, 149, 242),
    (86, 211, 208),
]
LIGHT = [(110, 118, 129), (255, 161, 152), (162, 230, 168), (240, 205, 110), (150, 205, 255), (226, 180, 250)]
THEME = TerminalTheme((22, 27, 34), INK, [*DARK, INK], [*LIGHT, (130, 230, 228), (255, 255, 255)])


class Screen:
    """Lines as they stand in the end; what has scrolled away is kept above them."""

    def __init__(self) -> None:
        self.lines: list[str] = [""]
        self._row = 0
        self._fresh = False  # the cursor is at the line's beginning, and what comes replaces the line

    def feed(self, text: str) -> None:
        """What the program has written."""
        for piece in PIECE.split(text):
            if piece:
                self._take(piece)

    def _take(self, piece: str) -> None:
        if piece == "\n":
            self._row += 1
            self._fresh = True
            if self._row == len(self.lines):
                self.lines.append("")
                self._fresh = False
        elif piece == "\r":
            self._fresh = True
        elif piece.startswith("\x1b") and not STYLE.fullmatch(piece):
            self._control(piece)
        elif self._fresh and not STYLE.fullmatch(piece):
            self.lines[self._row], self._fresh = piece, False
        else:
            self.lines[self._row] += piece

    def _control(self, piece: str) -> None:
        if piece.endswith("A"):
            self._row = max(0, self._row - int(piece[2:-1] or 1))
        elif piece.endswith("K"):
            self.lines[self._row] = ""

    @property
    def text(self) -> str:
        """Without empty lines at its end."""
        return "\n".join(self.lines).rstrip()


Look = Callable[[Screen, "subprocess.Popen[bytes]"], None]


def play(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    folder: Path,
    answer: str = "",
    look: Look = lambda _screen, _process: None,
) -> Screen:
    """Run to the end. `answer` is typed where the program asks unseen; `look` is called again and again."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    process = subprocess.Popen(  # noqa: S603 -- the tour's own words
        command, env=dict(env), cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    screen, pending, until = Screen(), b"", time.monotonic() + PATIENCE
    try:
        while time.monotonic() < until:
            written = _read(ours, process)
            if written is None:
                break
            pending += written
            whole, pending = _decodable(pending)
            screen.feed(whole)
            if answer and screen.lines[-1].rstrip().endswith(":") and not termios.tcgetattr(ours)[3] & termios.ECHO:
                os.write(ours, answer.encode() + b"\n")
                answer = ""
            look(screen, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return screen


def _read(terminal: int, process: subprocess.Popen[bytes]) -> bytes | None:
    """Empty after a tenth of a second of silence; None at the end."""
    ended = process.poll() is not None  # asked first: what it wrote before its end is there by now
    ready, _, _ = select.select([terminal], [], [], 0.1)
    if not ready:
        return None if ended else b""
    try:
        return os.read(terminal, 65536) or None
    except OSError:  # Linux tells so that the other end is closed
        return None


def _decodable(pending: bytes) -> tuple[str, bytes]:
    """All but a character or a control sequence that is cut in two."""
    cut = len(pending)
    escape = pending.rfind(b"\x1b")
    if escape >= 0 and not re.match(rb"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07)", pending[escape:]):
        cut = escape
    while cut and len(pending) - cut < 4:
        try:
            return pending[:cut].decode(), pending[cut:]
        except UnicodeDecodeError:
            cut -= 1
    return pending[:cut].decode(errors="replace"), pending[cut:]


def picture(parts: Sequence[tuple[str, str]], title: str) -> str:
    """An SVG of commands and what they wrote; the same for the same words."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for number, (command, written) in enumerate(parts):
        if number:
            console.print()
        console.print(Text("$ ", style="bold green") + Text(command, style="bold"), soft_wrap=False)
        if written:
            console.print(Text.from_ansi(written), soft_wrap=False)
    return console.export_svg(title=title, theme=THEME, code_format=SVG, unique_id=re.sub(r"\W", "-", title))
