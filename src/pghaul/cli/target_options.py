"""Options of `pghaul target`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from pghaul.cli.profile_options import ask
from pghaul.cli.selecting import parse_bytes
from pghaul.model.errors import SecretError, UsageError
from pghaul.model.text import say
from pghaul.service.settings import from_file
from pghaul.service.switch import Format

WANTED, PRINTED = "What is wanted", "How it is made"

Target: TypeAlias = Annotated[str, typer.Argument(metavar="URL", help="The target: postgresql://…, or a profile.")]
AnyTarget: TypeAlias = Annotated[
    str | None,
    typer.Argument(metavar="URL", help="The target: postgresql://…, or a profile; default: that of .env."),
]
Run: TypeAlias = Annotated[str | None, typer.Argument(metavar="RUN", help="A run that has ended.")]

Database: TypeAlias = Annotated[
    str | None,
    typer.Option("--database", metavar="NAME", help="Default: the one of the URL.", rich_help_panel=WANTED),
]
Owner: TypeAlias = Annotated[
    str | None,
    typer.Option("--owner", metavar="ROLE", help="To whom it belongs; made if missing.", rich_help_panel=WANTED),
]
Schemas: TypeAlias = Annotated[
    list[str] | None, typer.Option("--schema", metavar="NAME", help="Repeat it.", rich_help_panel=WANTED)
]
Extensions: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--extension", metavar="NAME", help="E.g. vector, postgis; repeat it.", rich_help_panel=WANTED),
]
Encoding: TypeAlias = Annotated[
    str, typer.Option("--encoding", metavar="NAME", help="Of a new database.", rich_help_panel=WANTED)
]
Collation: TypeAlias = Annotated[
    str | None,
    typer.Option("--collation", metavar="LOCALE", help="LC_COLLATE, e.g. ko_KR.UTF-8.", rich_help_panel=WANTED),
]
Ctype: TypeAlias = Annotated[
    str | None,
    typer.Option("--ctype", metavar="LOCALE", help="LC_CTYPE; default: as --collation.", rich_help_panel=WANTED),
]
Template0: TypeAlias = Annotated[
    bool,
    typer.Option("--template0", help="Copy the pristine template, not template1.", rich_help_panel=WANTED),
]
PasswordFrom: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--password-from",
        metavar="WAY",
        help="Of a new role: `env:VARIABLE` or `prompt`.",
        rich_help_panel=PRINTED,
    ),
]
OnlyPrint: TypeAlias = Annotated[
    bool, typer.Option("--print", help="Change nothing; print what is missing as SQL.", rich_help_panel=PRINTED)
]
Timeout: TypeAlias = Annotated[float, typer.Option("--timeout", min=0.1, metavar="S", help="To answer at all.")]
Everything: TypeAlias = Annotated[bool, typer.Option("--all", help="All of it: schema pghaul.")]
Force: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Even with rows in quarantine, or runs that could be resumed.")
]


class Distance(StrEnum):
    """pgvector's, by the names of its operator classes."""

    COSINE = "cosine"
    L2 = "l2"
    IP = "ip"


Memory: TypeAlias = Annotated[
    int | None,
    typer.Option("--memory", parser=parse_bytes, metavar="SIZE", help="Of the server's machine, e.g. 16GB."),
]
VectorDistance: TypeAlias = Annotated[Distance, typer.Option("--vector-distance", help="By what vectors are searched.")]
CreateVectorIndexes: TypeAlias = Annotated[
    bool, typer.Option("--create-vector-indexes", help="Make the missing ones, CONCURRENTLY.")
]
Folder: TypeAlias = Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="Where the file goes.")]
Keep: TypeAlias = Annotated[
    int | None, typer.Option("--keep", min=1, metavar="N", help="Then remove all but the newest N of this database.")
]
Schedule: TypeAlias = Annotated[
    str | None, typer.Option("--schedule", metavar="HH:MM", help="Print the lines for every day at this time.")
]
PrintSchedule: TypeAlias = Annotated[
    bool, typer.Option("--print-schedule", help="The same, for 02:00: crontab, and systemd.")
]
Forms: TypeAlias = Annotated[Format, typer.Option("--format", help="How the application is told.")]
Write: TypeAlias = Annotated[
    Path | None, typer.Option("--write", metavar="FILE", help="Into this .env file; else on stdout.")
]
Back: TypeAlias = Annotated[bool, typer.Option("--back", help="Give the file back as it was.")]
WithPassword: TypeAlias = Annotated[
    bool, typer.Option("--with-password", help="The password itself, not a reference to a variable.")
]
Variable: TypeAlias = Annotated[
    str, typer.Option("--password-variable", metavar="NAME", help="The variable that holds it for the application.")
]


def target(url: str | None) -> str:
    """As it is said, or that of .env and the environment. UsageError where neither says it."""
    found = url or from_file().target
    if not found:
        raise UsageError(
            say("nothing says which target"),
            advice=say("name it, or set POSTGRESQL_HOST and POSTGRESQL_DATABASE in .env"),
            code=1085,
        )
    return found


def ask_twice(role: str) -> str:
    """A slip of the finger would lock everybody out."""
    said = ask(say("Password of the new role {name}", name=role))
    if ask(say("Once more")) != said:
        raise SecretError(say("the two passwords are not the same"), advice=say("try again"), code=6321)
    return said
