"""What the environment says: where the state lies, and passwords that must not stand in a plan or on a command line.

Read once, at the service's door; nothing below it looks at PGHAUL_* for these.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pghaul.model.errors import UsageError
from pghaul.model.redaction import know, know_any
from pghaul.model.text import say

STATE = "PGHAUL_STATE"
SOURCE_PASSWORD = "PGHAUL_SOURCE_PASSWORD"  # noqa: S105 -- the variable's name
TARGET_PASSWORD = "PGHAUL_TARGET_PASSWORD"  # noqa: S105
DEBUG = "PGHAUL_DEBUG"
ENV_FILE = "PGHAUL_ENV_FILE"
HOST, PORT, DATABASE = "POSTGRESQL_HOST", "POSTGRESQL_PORT", "POSTGRESQL_DATABASE"
USER, PASSWORD, SSLMODE = "POSTGRESQL_USER", "POSTGRESQL_PASSWORD", "POSTGRESQL_SSLMODE"
WORKERS, BATCH_SIZE, LOG_INTERVAL = "MIGRATION_WORKERS", "MIGRATION_BATCH_SIZE", "MIGRATION_LOG_INTERVAL"
# These alone are read from a .env file: one that lies in a folder by chance leads neither state nor keys elsewhere.
FROM_FILE = {
    HOST: "the target where none is said: its host; this and the following may stand in a .env file, too",
    PORT: "its port; default `5432`",
    DATABASE: "its database",
    USER: "its user; default: as for psql",
    PASSWORD: "its password",
    SSLMODE: "its sslmode; default: as for psql",
    WORKERS: "how many tables at a time, where neither command line nor plan says it",
    BATCH_SIZE: "rows of a batch from another kind of database, likewise",
    LOG_INTERVAL: "seconds between two lines of progress off a terminal, likewise",
}


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
    Variable(name=ENV_FILE, meaning="the .env file to read the next ones from; default: `.env` in the working folder"),
    *(Variable(name=name, meaning=meaning) for name, meaning in FROM_FILE.items()),
    Variable(
        name="PGHAUL_ASSUME_VERSION",
        meaning="treat both servers as if they were this old (`9.3`), or each (`source=9.3,target=16`): for tests of "
        "old capabilities; never raises a version",
    ),
)


class _Said:
    """What the command line says of the .env file, for this process."""

    env_file: str | None = None


def read_from(path: str | None) -> None:
    """A face says at its start which .env file is to be read; None leaves it to the environment."""
    _Said.env_file = path


@dataclass(frozen=True, slots=True, kw_only=True)
class FromFile:
    """What .env and the environment say of the target and of how rows are moved. The environment wins."""

    target: str | None = None  # a URL without a password
    password: str | None = field(default=None, repr=False)
    workers: int | None = None
    batch_rows: int | None = None
    every: float | None = None


def from_file(environ: Mapping[str, str] = os.environ) -> FromFile:
    """UsageError for a malformed file (with the number of the line), or a value that is none."""
    found = _file_values(environ)
    know(found.get(PASSWORD), public=[found.get(name, "") for name in (HOST, DATABASE, USER)])
    return FromFile(
        target=_target(found),
        password=found.get(PASSWORD),
        workers=_whole(found, WORKERS, 64),
        batch_rows=_whole(found, BATCH_SIZE, 65_536),
        every=_whole(found, LOG_INTERVAL, 86_400),
    )


def _file_values(environ: Mapping[str, str]) -> dict[str, str]:
    said = _Said.env_file or environ.get(ENV_FILE)
    path = Path(said or ".env")
    there: Mapping[str, str] = {}
    if said or path.is_file():
        from pghaul.service.env_file import mentions, values  # noqa: PLC0415 -- few have one

        # One that only lies there, and says nothing to us, is somebody else's: what it looks like is not our affair.
        there = values(path) if said or mentions(path, FROM_FILE) else {}
    return {name: value for name in FROM_FILE if (value := environ.get(name) or there.get(name))}


def _target(found: Mapping[str, str]) -> str | None:
    if HOST not in found and DATABASE not in found:
        return None
    from pghaul.model.profile import Endpoint  # noqa: PLC0415
    from pghaul.service.endpoint_url import storable_url  # noqa: PLC0415

    words = {"host": HOST, "port": PORT, "dbname": DATABASE, "user": USER, "sslmode": SSLMODE}
    return storable_url(Endpoint(params=tuple((k, found[name]) for k, name in words.items() if name in found)))


def _whole(found: Mapping[str, str], name: str, most: int) -> int | None:
    text = found.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= most):
        raise UsageError(
            say("{variable} is not a whole number from 1 to {most}", variable=name, most=most),
            advice=say("mend it in the environment, or in the .env file"),
            code=1039,
        )
    return int(text)


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
