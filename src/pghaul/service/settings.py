"""What the environment says: where the state lies, and passwords that must not stand in a plan or on a command line.

Read once, at the service's door; nothing below it looks at PGHAUL_* for these.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pghaul.model.redaction import know, know_any

STATE = "PGHAUL_STATE"
SOURCE_PASSWORD = "PGHAUL_SOURCE_PASSWORD"  # noqa: S105 -- the variable's name
TARGET_PASSWORD = "PGHAUL_TARGET_PASSWORD"  # noqa: S105
DEBUG = "PGHAUL_DEBUG"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One of the environment; `meaning` as the reference says it. A test fails where one is used that is not here."""

    name: str
    meaning: str


VARIABLES = (
    Variable(name=STATE, meaning="SQLAlchemy URL of the state store; default: SQLite in the user's state folder"),
    Variable(name=SOURCE_PASSWORD, meaning="the source's password, where its URL holds none"),
    Variable(name=TARGET_PASSWORD, meaning="the target's password, where its URL holds none"),
    Variable(
        name="PGHAUL_OWNER_PASSWORD", meaning="the password of a role that `pghaul target prepare --owner` is to make"
    ),
    Variable(
        name="PGHAUL_KEY",
        meaning="the key of kept passwords, 32 bytes in base64: wins over the one in the keyring or in a file",
    ),
    Variable(name="PGHAUL_OLD_KEY", meaning="another key that may be read with, while `PGHAUL_KEY` is changed"),
    Variable(name="PGHAUL_PASSPHRASE", meaning="the passphrase of `profile export --with-secrets`, and of its import"),
    Variable(name=DEBUG, meaning="`1` shows a traceback with every error"),
    Variable(name="PGHAUL_LANG", meaning="`en` or `ko`: the language of everything shown; default: the locale's"),
    Variable(
        name="PGHAUL_LOG_DIR", meaning="the folder of the log files; default: this system's, see `pghaul logs --path`"
    ),
    Variable(
        name="PGHAUL_LOG_LEVEL", meaning="`debug`, `info` (the default), `warning`, `error`, or `off`: what is logged"
    ),
    Variable(name="PGHAUL_LOG_SIZE", meaning="how large a log file grows before the next one is begun; default `10MB`"),
    Variable(name="PGHAUL_LOG_PARTS", meaning="how many files are kept of the log of a run; default `5`"),
    Variable(
        name="PGHAUL_LOG_DAYS", meaning="logs that nobody has written to for so many days are deleted; default `90`"
    ),
    Variable(
        name="PGHAUL_PG_BIN",
        meaning="the folder of the pg_dump and pg_restore to use; default: the newest that fits, from PATH, the usual "
        "places and the `demo` extra",
    ),
    Variable(
        name="PGHAUL_WEBHOOK_SECRET",
        meaning="signs what is sent to webhooks; for a webhook named by `env:NAME`, `NAME_SECRET` is looked for first",
    ),
    Variable(
        name="PGHAUL_SMTP",
        meaning="the server that takes mail: `smtp://user@host:587?from=pghaul@example.com`, or `smtps://…`",
    ),
    Variable(name="PGHAUL_SMTP_PASSWORD", meaning="the password of its user; sent over TLS only"),
    Variable(
        name="PGHAUL_ASSUME_VERSION",
        meaning="treat both servers as if they were this old (`9.3`), or each (`source=9.3,target=16`): for tests of "
        "old capabilities; never raises a version",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`state_url` may hold a password (of the state's own server); it stays out of repr as the others do."""

    state_url: str = field(repr=False)
    source_password: str | None = field(default=None, repr=False)
    target_password: str | None = field(default=None, repr=False)


def load(environ: Mapping[str, str] = os.environ, *, state_url: str | None = None) -> Settings:
    """`state_url` given beats PGHAUL_STATE, which beats the user's own folder."""
    settings = Settings(
        state_url=state_url or environ.get(STATE) or default_state_url(),
        source_password=environ.get(SOURCE_PASSWORD) or None,
        target_password=environ.get(TARGET_PASSWORD) or None,
    )
    if not settings.state_url.startswith("sqlite"):
        know_any(settings.state_url, typed=True)
    know(settings.source_password)
    know(settings.target_password)
    return settings


def default_state_url() -> str:
    """SQLite in the folder that this system keeps for a program's state."""
    import platformdirs  # noqa: PLC0415

    folder = Path(platformdirs.user_state_dir("pghaul", appauthor=False))
    return f"sqlite:///{(folder / 'state.db').as_posix()}"


def debugging(environ: Mapping[str, str] = os.environ) -> bool:
    """Tracebacks are shown only where somebody asked for them."""
    return environ.get(DEBUG, "") not in {"", "0"}
