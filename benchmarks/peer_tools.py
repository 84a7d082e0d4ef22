"""dlt and Sling, for the merges: in an environment of their own, made once, with the versions pinned here.

They are no dependencies of the project, and it shares none of theirs.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("build/peers")
DLT = (
    "dlt[postgres]==1.31.0",
    "sqlalchemy==2.1.9",
    "psycopg2-binary==2.9.13",
    "pyarrow==26.0.1",
    "connectorx==0.4.6",
    "adbc-driver-postgresql==1.13.0",
    "adbc-driver-manager==1.13.0",
)
# The last release whose wheel brings the program; newer ones fetch it from GitHub when they are first called.
SLING = "sling-linux-amd64==1.4.11"


@dataclass(frozen=True, kw_only=True)
class Tools:
    python: Path | None  # that can import dlt
    sling: Path | None


def tools(say: Callable[[str], None]) -> Tools:
    """What could be installed; what could not is said, and left out."""
    python = _python()
    dlt = _install(python, python.parents[2] / "dlt.stamp", DLT, say)
    return Tools(python=python if dlt else None, sling=sling(say))


def sling(say: Callable[[str], None]) -> Path | None:
    """Its program alone; None, and a word about it, where it cannot be had."""
    folder, python = FOLDER.resolve(), _python()
    fits = platform.system() == "Linux" and platform.machine() == "x86_64"
    installed = fits and _install(python, folder / "sling.stamp", (SLING,), say)
    program = next(folder.glob("venv/lib/*/site-packages/sling_linux_amd64/bin/sling-linux-amd64"), None)
    if not (installed and program):
        say("  Sling: not to be had here, left out")
        return None
    program.chmod(0o755)
    return program


def sling_environment() -> dict[str, str]:
    """A home of its own; nothing is reported to anybody."""
    return {"SLING_HOME_DIR": str(FOLDER.resolve() / "sling-home"), "SLING_DISABLE_TELEMETRY": "TRUE"}


def _python() -> Path:
    folder = FOLDER.resolve() / "venv"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run((sys.executable, "-m", "venv", str(folder)), check=True)
    return python


def _install(python: Path, stamp: Path, pins: tuple[str, ...], say: Callable[[str], None]) -> bool:
    wanted = "\n".join(pins)
    if stamp.exists() and stamp.read_text() == wanted:
        return True
    done = subprocess.run((str(python), "-m", "pip", "install", "-q", *pins), capture_output=True, check=False)
    if done.returncode:
        say(f"  {pins[0]}: cannot be installed, left out: {done.stderr.decode(errors='replace')[-300:]}")
        return False
    stamp.write_text(wanted)
    return True
