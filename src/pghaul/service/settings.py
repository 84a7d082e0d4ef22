"""What the environment says: where the state lies, and passwords that must not stand in a plan or on a command line.

Read once, at the service's door; nothing below it looks at PGHAUL_* for these.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

STATE = "PGHAUL_STATE"
SOURCE_PASSWORD = "PGHAUL_SOURCE_PASSWORD"  # noqa: S105 -- the variable's name
TARGET_PASSWORD = "PGHAUL_TARGET_PASSWORD"  # noqa: S105
DEBUG = "PGHAUL_DEBUG"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`state_url` may hold a password (of the state's own server); it stays out of repr as the others do."""

    state_url: str = field(repr=False)
    source_password: str | None = field(default=None, repr=False)
    target_password: str | None = field(default=None, repr=False)


def load(environ: Mapping[str, str] = os.environ, *, state_url: str | None = None) -> Settings:
    """`state_url` given beats PGHAUL_STATE, which beats the user's own folder."""
    return Settings(
        state_url=state_url or environ.get(STATE) or default_state_url(),
        source_password=environ.get(SOURCE_PASSWORD) or None,
        target_password=environ.get(TARGET_PASSWORD) or None,
    )


def default_state_url() -> str:
    """SQLite in the folder that this system keeps for a program's state."""
    import platformdirs  # noqa: PLC0415

    folder = Path(platformdirs.user_state_dir("pghaul", appauthor=False))
    return f"sqlite:///{(folder / 'state.db').as_posix()}"


def debugging(environ: Mapping[str, str] = os.environ) -> bool:
    """Tracebacks are shown only where somebody asked for them."""
    return environ.get(DEBUG, "") not in {"", "0"}
