"""Options of `pghaul profile`, and how they become a profile. A password is never a value on the command line."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from pghaul.cli.words import tell
from pghaul.model.errors import SecretError, UsageError
from pghaul.model.profile import OWN_PASSWORD, POSTGRESQL, PasswordFrom, Way
from pghaul.model.text import Text, say

ENDS, ENDS_SAID = ("--from", "--to", "add", "edit", "inspect"), ("--from=", "--to=")
DATABASE = re.compile(r"[a-z][\w+.-]*://", re.IGNORECASE)
WAY, REACH = "Its password", "Where it is"


class SslMode(StrEnum):
    """libpq's."""

    DISABLE = "disable"
    ALLOW = "allow"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="The profile's name.")]
NewName: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAME", help="One word: letters, digits, dots, hyphens, underscores.")
]
Names: TypeAlias = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Which; default: all of them.")]
Where: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="URL", help="postgresql://…, mysql://…, or key=value words as for psql; best without a password."
    ),
]
NameOrUrl: TypeAlias = Annotated[str, typer.Argument(metavar="NAME|URL", help="A profile, or a database's URL.")]
Mode: TypeAlias = Annotated[
    SslMode | None, typer.Option("--sslmode", help="Only verify-full verifies the server.", rich_help_panel=REACH)
]
RootCert: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--sslrootcert", metavar="FILE", help="The authority's certificate, or `system`.", rich_help_panel=REACH
    ),
]
Cert: TypeAlias = Annotated[
    str | None, typer.Option("--sslcert", metavar="FILE", help="Our own certificate.", rich_help_panel=REACH)
]
CertKey: TypeAlias = Annotated[
    str | None, typer.Option("--sslkey", metavar="FILE", help="Its key.", rich_help_panel=REACH)
]
Service: TypeAlias = Annotated[
    str | None,
    typer.Option("--service", metavar="NAME", help="A section of pg_service.conf.", rich_help_panel=REACH),
]
PassFile: TypeAlias = Annotated[
    str | None,
    typer.Option("--passfile", metavar="FILE", help="Another password file than ~/.pgpass.", rich_help_panel=REACH),
]
From: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--password-from",
        metavar="WAY",
        help="`env:VARIABLE`, `pgpass`, `prompt` (ask each time) or `command:PROGRAM …`.",
        rich_help_panel=WAY,
    ),
]
Typed: TypeAlias = Annotated[
    bool, typer.Option("--password", help="Ask for it now, and keep it encrypted.", rich_help_panel=WAY)
]
Stdin: TypeAlias = Annotated[
    bool, typer.Option("--password-stdin", help="Read it from stdin, and keep it encrypted.", rich_help_panel=WAY)
]
Note: TypeAlias = Annotated[str | None, typer.Option("--note", metavar="WORDS", help="For people.")]
Force: TypeAlias = Annotated[bool, typer.Option("--force", help="Even where unfinished runs need it.")]
Output: TypeAlias = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write a file, not stdout.")
]
WithSecrets: TypeAlias = Annotated[
    bool, typer.Option("--with-secrets", help="Kept passwords too, encrypted by a passphrase.")
]
File: TypeAlias = Annotated[Path, typer.Argument(metavar="FILE", help="What `pghaul profile export` wrote.")]
Replace: TypeAlias = Annotated[bool, typer.Option("--replace", help="Also those whose name is there.")]
AllowCommands: TypeAlias = Annotated[
    bool, typer.Option("--allow-commands", help="Also those that run a program for their password.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the command line says of the password: the way to it, and itself where it is to be kept."""

    way: Way | None = None
    password: str | None = None


def password_words(way: str | None, *, typed: bool, stdin: bool, name: str) -> Said:
    """UsageError for two ways at once, or none that is known."""
    if sum((bool(way), typed, stdin)) > 1:
        raise _no_way()
    if way:
        return Said(way=_way(way))
    if typed:
        return Said(way=Way(kind=PasswordFrom.KEPT), password=ask(say("Password of profile {name}", name=name)))
    if stdin:
        return Said(way=Way(kind=PasswordFrom.KEPT), password=sys.stdin.readline().rstrip("\r\n"))
    return Said()


def _way(words: str) -> Way:
    try:
        found = Way.parse(words)
    except ValueError:
        found = Way(kind=PasswordFrom.KEPT)
    if found.kind is PasswordFrom.KEPT:
        raise _no_way()
    return found


def _no_way() -> UsageError:
    return UsageError(
        say("a profile has one way to its password: --password, --password-stdin or --password-from"),
        advice=say("--password-from takes env:VARIABLE, pgpass, prompt or command:PROGRAM"),
        code=1072,
    )


def _instead(passphrase: bool) -> Text:
    if passphrase:
        return say("say it in PGHAUL_PASSPHRASE")
    return say("use --password-stdin, or another --password-from: env:NAME, command:CMD, pgpass")


def ask(words: Text, *, passphrase: bool = False) -> str:
    """What somebody types, without showing it."""
    if not sys.stdin.isatty():
        raise SecretError(
            say("what nobody may read is to be typed, and there is no terminal: {what}", what=words),
            advice=_instead(passphrase),
            code=6360,
        )
    return str(typer.prompt(tell(words), hide_input=True, err=True))


def ask_passphrase(*, twice: bool = False) -> str:
    """Of a file. A new one twice: a slip of the finger would lose what it guards."""
    said = ask(say("Passphrase of the file"), passphrase=True)
    if twice and ask(say("Once more"), passphrase=True) != said:
        raise SecretError(say("the two passphrases are not the same"), advice=say("try again"), code=6361)
    return said


def reach(**said: str | None) -> dict[str, str]:
    """The options that were said; an empty one takes the keyword away."""
    return {k: v for k, v in said.items() if v is not None}


def refuse_reach(said: Mapping[str, str], engine: str) -> None:
    """UsageError where libpq's options are said of another database."""
    if said and engine != POSTGRESQL:
        option = next(iter(said))
        raise UsageError(
            say("--{option} is about PostgreSQL, and this is {engine}", option=option, engine=engine),
            advice=say("say it in the URL, in the engine's own words: docs/connectors.md has them"),
            code=1058,
        )


def shows_password(argv: Sequence[str]) -> bool:
    """Whether a password stands in a URL or conninfo string on the command line: everybody can see it in a list of
    processes."""
    for before, word in itertools.pairwise(["", *argv]):
        said = word.partition("=")[2] if word.startswith("--") else word
        is_url = DATABASE.match(said) and "--notify" not in {before, word.partition("=")[0]}
        if (is_url or before in ENDS or word.startswith(ENDS_SAID)) and OWN_PASSWORD.search(said):
            return True
    return False
