"""Who runs it, where, with what, and between which servers: what an auditor asks years later."""

from __future__ import annotations

import getpass
import platform
from datetime import UTC, datetime
from typing import Any

from pghaul import __version__
from pghaul.postgres.server import Server


def who() -> str:
    """user@machine; a question mark where the system does not know."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # an id without a name, as in many containers
        user = "?"
    return f"{user}@{platform.node() or '?'}"


def program() -> dict[str, str]:
    """Of this process; cheap, without asking another program."""
    return {
        "pghaul": __version__,
        "python": platform.python_version(),
        "platform": " ".join(part for part in (platform.system(), platform.release(), platform.machine()) if part),
    }


def of_attempt(epoch: int) -> dict[str, Any]:
    """Who makes this attempt, and when it began."""
    return {"epoch": epoch, "at": datetime.now(UTC).isoformat(), "who": who()} | program()


def of_server(server: Server) -> dict[str, Any]:
    """What was read when the session was opened; nothing is asked for it."""
    return {
        "version": server.version,
        "database": server.database,
        "encoding": server.encoding,
        "collation": server.collation,
        "character_type": server.character_type,
        "timezone": server.timezone,
        "user": server.user,
        "superuser": server.superuser,
        "standby": server.in_recovery,
        "encrypted": server.encrypted,
        "settings": dict(server.settings),
    }
