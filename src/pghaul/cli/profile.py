"""`pghaul profile`: databases under names, with their passwords kept or found."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import typer
from rich.console import Console

from pghaul.cli import exit_codes, foreign_probe_view, options, profile_view, render
from pghaul.cli import profile_options as words
from pghaul.model.errors import UsageError
from pghaul.model.probe import ForeignProbe
from pghaul.model.profile import PasswordFrom, Profile, Way
from pghaul.model.text import say, saying
from pghaul.service.migration import MigrationService

PASSPHRASE = "PGHAUL_PASSPHRASE"  # noqa: S105 -- the variable's name
ADDED = saying("Profile {name} is kept. See whether it works: pghaul profile test {name}")
CHANGED = saying("Profile {name} is changed.")
REMOVED = saying("Profile {name} is forgotten.")
LEFT = saying("Unfinished runs need --from or --to from now on: {runs}")
ROTATED = saying("A new key encrypts the kept passwords: {n}")
WRITTEN = saying("Written: {path}")
RUN_IT = saying("Profile {name} runs this for its password: {command}")

app = typer.Typer(
    name="profile",
    help="Databases under names, with their passwords kept or found.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _line(text: str) -> None:
    render.line(Console(stderr=True, highlight=False), text)


@app.command()
def add(  # noqa: PLR0917 -- Typer maps parameters to options
    name: words.NewName,
    url: words.Where = None,
    sslmode: words.Mode = None,
    sslrootcert: words.RootCert = None,
    sslcert: words.Cert = None,
    sslkey: words.CertKey = None,
    service: words.Service = None,
    passfile: words.PassFile = None,
    password_from: words.From = None,
    password: words.Typed = False,
    password_stdin: words.Stdin = False,
    note: words.Note = None,
) -> int:
    """Keep a database under a name."""
    from pghaul.service.profile_place import Place, place_of  # noqa: PLC0415 -- drivers

    over = words.reach(
        sslmode=sslmode, sslrootcert=sslrootcert, sslcert=sslcert, sslkey=sslkey, service=service, passfile=passfile
    )
    if not url and not service:
        raise UsageError(
            say("nothing says where the database is"),
            advice=say("e.g. pghaul profile add old-plant postgresql://me@old.example/plant --password"),
            code=1074,
        )
    place = place_of(url, os.environ) if url else Place()
    words.refuse_reach(over, place.engine)
    said = words.password_words(password_from, typed=password, stdin=password_stdin, name=name)
    way = said.way or Way(kind=PasswordFrom.KEPT if place.password else PasswordFrom.PGPASS)
    params = tuple((dict(place.params) | over).items())
    profile = Profile(name=name, engine=place.engine, params=params, way=way, note=note or "")
    kept = MigrationService().profiles.add(profile, said.password or (place.password if said.way is None else None))
    _line(ADDED.format(name=kept.name))
    return exit_codes.DONE


@app.command(name="list")
def list_(as_json: options.AsJson = False) -> int:
    """All profiles."""
    found = MigrationService().profiles.all()
    if as_json:
        render.print_json([profile_view.as_data(p) for p in found])
    else:
        profile_view.listing(render.page(), found)
    return exit_codes.DONE


@app.command()
def show(name: words.Name, as_json: options.AsJson = False) -> int:
    """Everything about a profile but its password."""
    found = MigrationService().profiles.get(name)
    if as_json:
        render.print_json(profile_view.as_data(found))
    else:
        profile_view.show(render.page(), found)
    return exit_codes.DONE


@app.command()
def edit(  # noqa: PLR0917 -- Typer maps parameters to options
    name: words.Name,
    url: words.Where = None,
    sslmode: words.Mode = None,
    sslrootcert: words.RootCert = None,
    sslcert: words.Cert = None,
    sslkey: words.CertKey = None,
    service: words.Service = None,
    passfile: words.PassFile = None,
    password_from: words.From = None,
    password: words.Typed = False,
    password_stdin: words.Stdin = False,
    note: words.Note = None,
) -> int:
    """Change what is said, and leave the rest; an empty value takes an option away."""
    from pghaul.service.profile_place import Place, place_of  # noqa: PLC0415 -- drivers

    over = words.reach(
        sslmode=sslmode, sslrootcert=sslrootcert, sslcert=sslcert, sslkey=sslkey, service=service, passfile=passfile
    )
    place = place_of(url, os.environ) if url else None
    profiles = MigrationService().profiles
    before = profiles.get(name)  # before anybody types a password for nothing
    words.refuse_reach(over, (place or before).engine)
    told = place.password if place else None
    said = words.password_words(password_from, typed=password, stdin=password_stdin, name=name)
    way = said.way or (Way(kind=PasswordFrom.KEPT) if told else None)

    def changed(before: Profile) -> Profile:
        now = place or Place(engine=before.engine, params=before.params)
        params = dict(now.params) | over
        return replace(
            before,
            engine=now.engine,
            params=tuple((k, v) for k, v in params.items() if v),
            way=way or before.way,
            note=before.note if note is None else note,
        )

    kept = profiles.edit(name, changed, said.password or (told if said.way is None else None))
    _line(CHANGED.format(name=kept.name))
    return exit_codes.DONE


@app.command(name="test")
def try_out(name_or_url: words.NameOrUrl, as_json: options.AsJson = False) -> int:
    """Connect, and say what is there, what is granted, and what is wrong."""
    found = MigrationService().probe(name_or_url)
    if as_json:
        render.print_json(profile_view.probe_data(found))
    elif isinstance(found, ForeignProbe):
        foreign_probe_view.show(render.page(), found)
    else:
        profile_view.probed(render.page(), found)
    return exit_codes.DONE if found.usable else exit_codes.FAILED


@app.command()
def remove(name: words.Name, force: words.Force = False) -> int:
    """Forget a profile and its password."""
    runs = MigrationService().profiles.remove(name, force=force)
    _line(REMOVED.format(name=name))
    if runs:
        _line(LEFT.format(runs=", ".join(runs)))
    return exit_codes.DONE


@app.command(name="rotate-key")
def rotate_key() -> int:
    """Encrypt all kept passwords by a new key."""
    _line(ROTATED.format(n=MigrationService().profiles.rotate()))
    return exit_codes.DONE


@app.command()
def export(
    names: words.Names = None,
    output: words.Output = None,
    with_secrets: words.WithSecrets = False,
) -> int:
    """Write profiles as TOML, without passwords unless asked for."""
    from pghaul.service import profile_file  # noqa: PLC0415 -- TOML's writer

    profiles = MigrationService().profiles
    passphrase = None
    if with_secrets:
        passphrase = os.environ.get(PASSPHRASE) or words.ask_passphrase(twice=True)
    text = profile_file.written(profiles, names or [], passphrase)
    if output is None:
        sys.stdout.write(text)
        return exit_codes.DONE
    profile_file.save(text, output)
    _line(WRITTEN.format(path=str(output)))
    return exit_codes.DONE


@app.command(name="import")
def import_(
    file: words.File,
    replace_known: words.Replace = False,
    allow_commands: words.AllowCommands = False,
    as_json: options.AsJson = False,
) -> int:
    """Read profiles of a file; what is there stays, unless said otherwise."""
    from pghaul.service import profile_file  # noqa: PLC0415

    def allows(profile: Profile) -> bool:
        if allow_commands or as_json or not sys.stdin.isatty():
            return allow_commands
        _line(RUN_IT.format(name=profile.name, command=profile.way.detail))
        return bool(typer.confirm("?", err=True))

    def passphrase() -> str:
        return os.environ.get(PASSPHRASE) or words.ask_passphrase()

    consent = profile_file.Consent(replace=replace_known, allows=allows, passphrase=passphrase)
    done = profile_file.read_in(MigrationService().profiles, file, consent)
    if as_json:
        render.print_json([profile_view.imported_data(i) for i in done])
    else:
        profile_view.imported(render.page(), done)
    refused = any(i.fate is profile_file.Fate.REFUSED for i in done)
    return exit_codes.FAILED if refused else exit_codes.DONE
