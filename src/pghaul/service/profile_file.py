"""Profiles as a file: TOML, without passwords, or with them under a passphrase.

A file from somebody else is not trusted: its names and keywords are checked like typed ones, nothing that is there is
replaced unasked, and a command that would be run for a password is another's program until somebody has said yes.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import tomlkit

from pghaul.model.errors import PghaulError, SecretError, UsageError
from pghaul.model.profile import PasswordFrom, Profile, Way, profile_name
from pghaul.model.text import say
from pghaul.service import sealing
from pghaul.service.keys import Key
from pghaul.service.profile_place import place_of, url_of
from pghaul.service.profiles import KEPT, Profiles

FORMAT = 1
PLACE = "file"
COMMENT = "Profiles of pghaul. Read it in with: pghaul profile import FILE"


class Fate(StrEnum):
    """What an import did with one profile."""

    ADDED = "added"
    REPLACED = "replaced"
    LEFT = "left"  # there is one of this name: --replace
    REFUSED = "refused"  # its command was not allowed, or it cannot be used; `why`


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One profile of a file. `password`: whether it came with one that is kept now."""

    name: str
    fate: Fate
    password: bool = False
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What the reader of a file agrees to. `allows` is asked for each command; `passphrase` only where it is needed."""

    replace: bool
    allows: Callable[[Profile], bool]
    passphrase: Callable[[], str]


def written(profiles: Profiles, names: Iterable[str], passphrase: str | None = None) -> str:
    """The named profiles (all of them, where none is named) as TOML; with a passphrase, their kept passwords too."""
    chosen = [profiles.get(name) for name in names] or profiles.all()
    document = tomlkit.document()
    document.add(tomlkit.comment(COMMENT))
    document.add("format", tomlkit.item(FORMAT))
    key = None
    if passphrase:
        salt = secrets.token_bytes(sealing.SALT_BYTES)
        key = sealing.passphrase_key(passphrase, salt, sealing.COST)
        told = {"kind": "scrypt", "salt": base64.b64encode(salt).decode(), **sealing.COST}
        document.add("encryption", tomlkit.item(told))
    entries = tomlkit.aot()
    for profile in chosen:
        entries.append(tomlkit.item(_entry(profiles, profile, key)))
    document.add("profile", entries)
    return tomlkit.dumps(document)


def save(text: str, path: Path) -> None:
    """0600, and never half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError as exc:
        draft.unlink(missing_ok=True)
        why = exc.strerror or type(exc).__name__
        raise SecretError(
            say("the file of profiles cannot be written: {why}", why=why),
            where=str(path),
            advice=say("choose another --output"),
            code=6318,
        ) from exc


def read_in(profiles: Profiles, path: Path, consent: Consent) -> list[Imported]:
    """Keep the profiles of a file. UsageError for what is no such file, SecretError for a wrong passphrase."""
    document = _document(path)
    entries = document.get("profile", [])
    sealed = any("secret" in e for e in entries)
    key = _file_key(document.get("encryption"), consent.passphrase(), path) if sealed else None
    # All of it is opened before anything is kept: a wrong passphrase leaves everything as it was.
    parts = [_opened(entry, key, path) for entry in entries]
    there = {p.name for p in profiles.all()}
    return [_keep(profiles, profile, password, there, consent) for profile, password in parts]


def _entry(profiles: Profiles, profile: Profile, key: Key | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": profile.name, "url": url_of(profile), "password_from": profile.way.spelled}
    if profile.note:
        entry["note"] = profile.note
    if key is not None and profile.way == KEPT:
        password = profiles.password_of(profile.name)
        if password is not None:
            read_back = replace(profile, params=place_of(entry["url"], {}).params)
            entry["secret"] = sealing.seal(password, key, sealing.belonging(PLACE, read_back))
    return entry


def _document(path: Path) -> Mapping[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as exc:
        raise UsageError(
            say("the file of profiles cannot be read: {why}", why=str(exc.strerror)),
            where=str(path),
            advice=say("look at its name, and at the permissions of the file and its folders"),
            code=1078,
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        document = {}
    entries = document.get("profile")
    if document.get("format") != FORMAT or not isinstance(entries, list) or not all(map(_is_entry, entries)):
        raise UsageError(
            say("this is not a file of profiles, or one of a newer pghaul"),
            where=str(path),
            advice=say("`pghaul profile export --output FILE` writes one"),
            code=1073,
        )
    return document


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and {"name", "url"} <= set(entry) <= {"name", "url", "password_from", "note", "secret"}
        and all(isinstance(v, str) for v in entry.values())
    )


def _file_key(said: Any, passphrase: str, path: Path) -> Key:
    try:
        return sealing.passphrase_key(passphrase, base64.b64decode(said["salt"], validate=True), said)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise SecretError(
            say("the file does not say how its passwords are encrypted"), where=str(path), code=6316
        ) from None


def _opened(entry: Mapping[str, str], key: Key | None, path: Path) -> tuple[Profile, str | None]:
    """A profile that is to keep a password, and whose file has none, looks where libpq looks until it is given one."""
    place = place_of(entry["url"], {})
    try:
        way = Way.parse(entry.get("password_from", "pgpass"))
    except ValueError:
        way = Way()
    if place.password:
        way = KEPT
    profile = Profile(
        name=profile_name(entry["name"]) or entry["name"],
        engine=place.engine,
        params=tuple(sorted(place.params)),
        way=way,
        note=entry.get("note", ""),
    )
    if way != KEPT or key is None or "secret" not in entry:
        return profile, place.password
    sealed = sealing.parsed(entry["secret"], profile.name)
    password = sealing.unseal(sealed, key, sealing.belonging(PLACE, profile))
    if password is None:
        raise SecretError(
            say("the passphrase is wrong, or the file was changed after it was written"),
            where=str(path),
            advice=say("nothing was imported; try again with the passphrase of the export"),
            code=6317,
        )
    return profile, password


def _keep(profiles: Profiles, profile: Profile, password: str | None, there: set[str], consent: Consent) -> Imported:
    known = profile.name in there
    if known and not consent.replace:
        return Imported(name=profile.name, fate=Fate.LEFT, why=say("there is a profile of this name: --replace"))
    if profile.way.kind is PasswordFrom.COMMAND and not consent.allows(profile):
        why = say("it runs a command for its password, which nobody has allowed: --allow-commands")
        return Imported(name=profile.name, fate=Fate.REFUSED, why=why)
    without = profile.way == KEPT and password is None
    if without:
        profile = replace(profile, way=Way())
    try:
        profiles.add(profile, password, replacing=known)
    except PghaulError as exc:
        return Imported(name=profile.name, fate=Fate.REFUSED, why=exc.said)
    fate = Fate.REPLACED if known else Fate.ADDED
    why = say("its password was not in the file: pghaul profile edit {name} --password", name=profile.name)
    return Imported(name=profile.name, fate=fate, password=password is not None, why=why if without else None)
