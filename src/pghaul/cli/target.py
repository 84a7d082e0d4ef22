"""`pghaul target`: the database before and after a migration: made ready, looked after, saved, switched to, cleaned."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict

import typer
from rich.console import Console

from pghaul.cli import exit_codes, options, render, target_view
from pghaul.cli import target_options as words
from pghaul.model.errors import SecretError, UsageError
from pghaul.model.text import say
from pghaul.model.upkeep import Wanted
from pghaul.service.migration import MigrationService
from pghaul.service.settings import PASSWORD
from pghaul.service.switch import Format

NIGHT = "02:00"
OWNER_PASSWORD = "PGHAUL_OWNER_PASSWORD"  # noqa: S105 -- the variable's name

app = typer.Typer(
    name="target",
    help="The target before and after: prepare, advise, back up, switch, check, clean.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def prepare(  # noqa: PLR0917 -- Typer maps parameters to options
    url: words.Target,
    database: words.Database = None,
    owner: words.Owner = None,
    schema: words.Schemas = None,
    extension: words.Extensions = None,
    encoding: words.Encoding = "UTF8",
    collation: words.Collation = None,
    ctype: words.Ctype = None,
    template0: words.Template0 = False,
    password_from: words.PasswordFrom = None,
    only_print: words.OnlyPrint = False,
    as_json: options.AsJson = False,
) -> int:
    """Make database, role, schemas and extensions; or print the SQL for who may."""

    def wanted(named: str) -> Wanted:
        return Wanted(
            database=database or named,
            owner=owner,
            schemas=tuple(schema or ()),
            extensions=tuple(extension or ()),
            encoding=encoding,
            collation=collation,
            ctype=ctype,
            template0=template0,
            password=lambda: _password(password_from, str(owner)),
            only_print=only_print,
        )

    found = MigrationService().target.prepare(url, wanted)
    target_view.prepared(found, as_json=as_json)
    return exit_codes.DONE if found.ready or only_print else exit_codes.DIFFERENT


def _password(way: str | None, role: str) -> str | None:
    """Of a role that is to be made: never a word of the command line."""
    kind, _, name = (way or "").partition(":")
    if kind not in {"", "prompt", "env"} or (kind == "env") != bool(name):
        raise UsageError(
            say("a new role's password comes from a variable or from a terminal"),
            advice=say("--password-from env:VARIABLE, or --password-from prompt"),
            code=1042,
        )
    if kind == "env" or (not kind and os.environ.get(OWNER_PASSWORD)):
        variable = name or OWNER_PASSWORD
        if not os.environ.get(variable):
            raise SecretError(
                say(
                    "the password of role {name} is to come from {variable}, which is not set",
                    name=role,
                    variable=variable,
                ),
                advice=say("set it, or use --password-from prompt"),
                code=6320,
            )
        return os.environ[variable]
    if kind == "prompt" or sys.stdin.isatty():
        return words.ask_twice(role)
    return None


@app.command()
def check(url: words.AnyTarget = None, timeout: words.Timeout = 5.0, as_json: options.AsJson = False) -> int:
    """Is it healthy: connects, reads, says version and lag; JSON where nobody looks."""
    found = MigrationService().target.check(words.target(url), timeout=timeout)
    target_view.health(found, as_json=as_json or not sys.stdout.isatty())
    return exit_codes.DONE if found.ok else exit_codes.FAILED


@app.command()
def advise(
    url: words.AnyTarget = None,
    memory: words.Memory = None,
    vector_distance: words.VectorDistance = words.Distance.COSINE,
    create_vector_indexes: words.CreateVectorIndexes = False,
    as_json: options.AsJson = False,
) -> int:
    """What could be better, each with the SQL that mends it; nothing is run."""
    found, made = MigrationService().target.advise(
        words.target(url),
        memory=memory,
        distance=vector_distance.value,
        create_vector_indexes=create_vector_indexes,
    )
    target_view.advised(found, made, as_json=as_json)
    return exit_codes.DONE


@app.command()
def backup(
    url: words.AnyTarget = None,
    to: words.Folder = None,
    keep: words.Keep = None,
    schedule: words.Schedule = None,
    print_schedule: words.PrintSchedule = False,
    as_json: options.AsJson = False,
) -> int:
    """Save it in a dated file, verified; or print how to do so every night."""
    if to is None:
        raise UsageError(say("nothing says where the backup goes"), advice=say("name a folder: --to FOLDER"), code=1079)
    desk, place = MigrationService().target, words.target(url)
    if schedule or print_schedule:
        target_view.scheduled(desk.schedule(place, to, schedule or NIGHT, keep=keep), as_json=as_json)
    else:
        target_view.backed_up(desk.backup(place, to, keep=keep), as_json=as_json)
    return exit_codes.DONE


@app.command()
def switch(
    url: words.AnyTarget = None,
    form: words.Forms = Format.ENV,
    write: words.Write = None,
    back: words.Back = False,
    with_password: words.WithPassword = False,
    password_variable: words.Variable = PASSWORD,
    as_json: options.AsJson = False,
) -> int:
    """Write what an application needs to find it, into its .env file; and back."""
    desk = MigrationService().target
    if back:
        if write is None:
            raise UsageError(say("--back goes with --write FILE"), advice=say("name the file to give back"), code=1088)
        done = desk.switch_back(write)
    else:
        reference = None if with_password else password_variable
        done = desk.switch(words.target(url), form, write, reference)
    target_view.switched(done, as_json=as_json)
    return exit_codes.DONE


@app.command()
def clean(
    url: words.Target,
    run: words.Run = None,
    everything: words.Everything = False,
    force: words.Force = False,
    as_json: options.AsJson = False,
) -> int:
    """Remove the ledger of pghaul, or a finished run from it."""
    done = MigrationService().target.clean(url, run, everything=everything, force=force)
    if as_json:
        render.print_json(asdict(done))
    else:
        target_view.cleaned(Console(stderr=True, highlight=False), done)
    return exit_codes.DONE
