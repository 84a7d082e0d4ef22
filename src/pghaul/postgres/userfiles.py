"""The two files in which libpq's users keep what they do not type: pg_service.conf and .pgpass.

Read here and not by the drivers, because the two drivers read them differently and a worker may run
elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from pghaul.model.errors import NotSupportedError, UsageError
from pghaul.model.text import say


def service_values(service: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The keywords of a service; UsageError when no file defines it."""
    for path in _service_files(environ):
        values = _section(path, service)
        if values is not None:
            return values
    raise UsageError(
        say("no service {service!r} is defined", service=service),
        advice=say("add it to ~/.pg_service.conf, or name the file in PGSERVICEFILE"),
        code=1012,
    )


def password_for(passfile: str, host: str, port: str, database: str, user: str) -> str | None:
    """The first matching line's password; a file that others can read, or we cannot, is ignored, as libpq does."""
    path = Path(passfile)
    try:
        if not path.is_file() or (os.name != "nt" and path.stat().st_mode & 0o077):
            return None
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    wanted = ("localhost" if host.startswith(("/", "@")) else host, port, database, user)
    for line in text.splitlines():
        fields = [re.sub(r"\\(.)", r"\1", f) for f in re.findall(r"(?:\A|:)((?:\\.|[^:\\])*)", line)]
        raw = re.findall(r"(?:\A|:)((?:\\.|[^:\\])*)", line)
        if line.startswith("#") or len(fields) < 5:
            continue
        if all(r == "*" or f == w for r, f, w in zip(raw, fields, wanted, strict=False)):
            return fields[4]
    return None


def default_passfile(environ: Mapping[str, str]) -> str:
    """Where libpq looks when nobody names a file."""
    if os.name == "nt":
        return str(Path(environ.get("APPDATA", "")) / "postgresql" / "pgpass.conf")
    return str(_home(environ) / ".pgpass")


def passfile_line(password: str) -> str:
    """A line that gives this password to every server: the file serves one child process only."""
    if "\n" in password or "\r" in password:
        raise NotSupportedError(
            say("the password holds a line break, which no password file can carry"),
            advice=say("give the role another password"),
            code=5308,
        )
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:*:{escaped}\n"


def _service_files(environ: Mapping[str, str]) -> list[Path]:
    named = environ.get("PGSERVICEFILE")
    if os.name == "nt":
        own = Path(environ.get("APPDATA", "")) / "postgresql" / ".pg_service.conf"
    else:
        own = _home(environ) / ".pg_service.conf"
    files = [Path(named) if named else own]
    if folder := environ.get("PGSYSCONFDIR"):
        files.append(Path(folder) / "pg_service.conf")
    return files


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def _section(path: Path, service: str) -> dict[str, str] | None:
    """Libpq's own dialect of INI: no interpolation, no quotes, `#` at the start of a line only."""
    if not path.is_file():
        return None
    values: dict[str, str] | None = None
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            if values is not None:
                break
            values = {} if line == f"[{service}]" else None
        elif values is not None:
            key, equals, value = line.partition("=")
            if not equals:  # the line may hold a password: only its place is told
                raise UsageError(
                    say("line {number} of the service file is not key=value", number=number),
                    where=str(path),
                    advice=say("write it as key=value, or make it a comment with # at its beginning"),
                    code=1013,
                )
            values.setdefault(key.strip(), value.strip())
    return values
