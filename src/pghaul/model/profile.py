"""How to reach one database. The secret itself never stands here."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pghaul.model.redaction import know

# A word that can be no URL and no conninfo string, nor an option, nor a plan's file.
NAME = re.compile(r"\w[\w.-]{0,62}")
POSTGRESQL = "postgresql"


# user:password@ in a URL, or password= in its query or in a conninfo string
OWN_PASSWORD = re.compile(r"^\w+://[^/?@]*:[^/?@]+@|(^|[?&\s])password\s*=")


class PasswordFrom(StrEnum):
    """Where the password of a profile is found when it is needed."""

    KEPT = "kept"  # encrypted, in the state store
    ENV = "env"  # in an environment variable
    PGPASS = "pgpass"  # where libpq looks: PGPASSWORD, the service file, ~/.pgpass; or the engine; or there is none
    PROMPT = "prompt"  # somebody is asked
    COMMAND = "command"  # the first line that a program prints


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Where a password comes from; `detail` is the variable's name or the command."""

    kind: PasswordFrom = PasswordFrom.PGPASS
    detail: str = ""

    @property
    def spelled(self) -> str:
        """As it is said on the command line: env:NAME, pgpass, prompt, command:CMD, kept."""
        return f"{self.kind.value}:{self.detail}" if self.detail else self.kind.value

    @classmethod
    def parse(cls, words: str) -> Way:
        """What `spelled` says; ValueError for anything else."""
        kind, colon, detail = words.strip().partition(":")
        found = PasswordFrom(kind.strip())
        wants = found in {PasswordFrom.ENV, PasswordFrom.COMMAND}
        if wants != bool(detail.strip()) or (colon and not wants):
            raise ValueError(words)
        return cls(kind=found, detail=detail.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A database under a name. `params` are its engine's as they were said, libpq's keywords of PostgreSQL; without any
    password.
    """

    name: str
    params: tuple[tuple[str, str], ...]
    engine: str = POSTGRESQL  # else the name of a source's entry point
    way: Way = field(default_factory=Way)
    note: str = ""
    changed: datetime | None = None


def profile_name(words: str) -> str | None:
    """The name that these words may be, None for what is a URL, a conninfo string or no name at all.

    Hangul typed on a Mac comes in pieces (NFD); the same name is the same everywhere.
    """
    name = unicodedata.normalize("NFC", words.strip())
    return name if NAME.fullmatch(name) and not name.endswith(".toml") else None


PUBLIC = ("user", "dbname", "host")  # a password that says the same is not hidden where they are named


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One PostgreSQL database, resolved from URL, service file and environment.

    `params` are libpq's keywords without the password. `password` is kept out of repr, str, logs and pickles of
    anything but the worker's initialiser.
    """

    params: tuple[tuple[str, str], ...]
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.keep_secret()

    def keep_secret(self) -> None:
        """From now on no word of this process shows the password. A worker, who unpickles it, says so itself."""
        know(self.password, public=[self.get(keyword) for keyword in PUBLIC])

    def get(self, keyword: str, default: str = "") -> str:
        """One libpq keyword, or the default."""
        return dict(self.params).get(keyword, default)

    @property
    def display(self) -> str:
        """A URL without password, for plans, logs and the screen."""
        hosts = self.get("host", "localhost").split(",")
        ports = (self.get("port", "5432").split(",") * len(hosts))[: len(hosts)]
        place = ",".join(f"{h}:{p}" for h, p in zip(hosts, ports, strict=True) if not h.startswith("/"))
        query = "" if place else f"?host={hosts[0]}&port={ports[0]}"
        return f"postgresql://{self.get('user')}@{place}/{self.get('dbname')}{query}"
