"""A notification on this machine's desktop, by the program that its system has for that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from pghaul.model.errors import OutletError
from pghaul.model.text import say
from pghaul.service.delivery import Note, Undelivered

TIMEOUT = 10.0  # seconds
APPLE = "on run argv\ndisplay notification (item 2 of argv) with title (item 1 of argv)\nend run"
# The words come by the environment: nothing of them is read as a script.
WINDOWS = """
$m = [Windows.UI.Notifications.ToastNotificationManager, Windows.UI.Notifications, ContentType = WindowsRuntime]
$x = $m::GetTemplateContent([Windows.UI.Notifications.ToastTemplateType]::ToastText02)
$t = $x.GetElementsByTagName('text')
$t.Item(0).AppendChild($x.CreateTextNode($env:TOAST_TITLE)) > $null
$t.Item(1).AppendChild($x.CreateTextNode($env:TOAST_TEXT)) > $null
$id = '{1AC14E77-02E7-4E5D-B744-2EB1AE5198B7}\\WindowsPowerShell\\v1.0\\powershell.exe'
$m::CreateToastNotifier($id).Show([Windows.UI.Notifications.ToastNotification]::new($x))
"""


def _notify_send(program: str, note: Note) -> list[str]:
    urgency = "critical" if note.urgent else "normal"
    return [program, "--app-name=pghaul", f"--urgency={urgency}", "--", note.title, note.message]


def _osascript(program: str, note: Note) -> list[str]:
    return [program, "-e", APPLE, note.title, note.message]


def _powershell(program: str, _note: Note) -> list[str]:
    return [program, "-NoProfile", "-NonInteractive", "-Command", WINDOWS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What shows notifications, and how it is called."""

    name: str
    command: Callable[[str, Note], list[str]]


PROGRAMS = {
    "darwin": Program(name="osascript", command=_osascript),
    "win32": Program(name="powershell", command=_powershell),
}
ELSEWHERE = Program(name="notify-send", command=_notify_send)


class Desktop:
    """Implements `Channel`. OutletError where this machine has no program for it."""

    def __init__(self) -> None:
        self._program = PROGRAMS.get(sys.platform, ELSEWHERE)
        found = shutil.which(self._program.name)
        if found is None:
            raise OutletError(
                say("{program} is not here, which shows notifications on a desktop", program=self._program.name),
                advice=say("install it (Debian: libnotify-bin), or notify by mail or webhook"),
                code=6540,
            )
        self._path = found

    @property
    def name(self) -> str:
        """There is only one."""
        return say("the desktop")

    def deliver(self, note: Note) -> None:
        """The program has taken it."""
        words = os.environ | {"TOAST_TITLE": note.title, "TOAST_TEXT": note.message}
        try:
            done = subprocess.run(  # noqa: S603 -- found on PATH, words as arguments of their own
                self._program.command(self._path, note),
                env=words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            why = say("{program} cannot be run: {kind}", program=self._path, kind=type(exc).__name__)
            raise Undelivered(why, again=False) from None
        if done.returncode:
            why = say("{program} ended with {code}: is there a desktop?", program=self._path, code=done.returncode)
            raise Undelivered(why, again=False)
