"""A backup at a time of day, by the scheduler that the machine has: what to write into crontab, or for systemd.

Printed and not installed: who runs it, where and with which rights is for people to say. No secret stands in them.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pghaul.model.errors import UsageError
from pghaul.model.text import say

TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Lines for either; `unit` is the name of service and timer."""

    crontab: str
    unit: str
    service: str
    timer: str


def schedule(words: Sequence[str], at: str, about: str) -> Schedule:
    """For `pghaul` with these words, daily at HH:MM. UsageError for another time."""
    found = TIME.fullmatch(at.strip())
    if found is None:
        raise UsageError(
            say("{text} is no time of day", text=at), advice=say("write it like 02:00, from 00:00 to 23:59"), code=1089
        )
    hour, minute = int(found[1]), int(found[2])
    command = [*_program(), *words]
    unit = f"pghaul-backup-{_for_a_file(about)}"
    return Schedule(
        crontab=f"{minute} {hour} * * * {shlex.join(command)}".replace("%", "\\%") + "\n",
        unit=unit,
        service=SERVICE.format(about=about.replace("%", "%%"), command=" ".join(map(_for_systemd, command))),
        timer=TIMER.format(about=about.replace("%", "%%"), hour=hour, minute=minute),
    )


def _program() -> list[str]:
    found = shutil.which("pghaul")
    return [found] if found else [sys.executable, "-m", "pghaul"]


def _for_a_file(name: str) -> str:
    """What systemd takes in a unit's name; two databases whose names it does not take stay two."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", name)
    return plain if plain == name else f"{plain}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"


def _for_systemd(word: str) -> str:
    """Neither its specifiers nor its variables."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if re.fullmatch(r"[\w./:@%=+,-]+", escaped) else f'"{escaped}"'


SERVICE = """[Unit]
Description=Backup of {about} by pghaul
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
UMask=0077
ExecStart={command}
"""
TIMER = """[Unit]
Description=Backup of {about} by pghaul, daily

[Timer]
OnCalendar=*-*-* {hour:02}:{minute:02}:00
Persistent=true

[Install]
WantedBy=timers.target
"""
