"""Passwords that are not kept: from a variable, from somebody at a terminal, from a program.

What a program writes to stderr is never shown: it may quote what it was asked for. Nor is its command run by a shell,
so nothing in it is expanded; who needs one says `sh -c '…'`.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Mapping

from pghaul.model.errors import SecretError
from pghaul.model.profile import PasswordFrom, Way
from pghaul.model.text import Text, say

Ask = Callable[[Text], str]

COMMAND_SECONDS = 30.0  # long enough to touch a key or to unlock a vault
MOST_CHARACTERS = 10_000


class _Face:
    """How the face of this process asks; a service without a face cannot."""

    ask: Ask | None = None


def ask_with(ask: Ask | None) -> None:
    """A face says at its start how it asks for a password, without showing what is typed."""
    _Face.ask = ask


def asked(words: Text) -> str:
    """What somebody types. SecretError where there is nobody to ask."""
    if _Face.ask is None:
        raise SecretError(
            say("a password is to be typed, and there is nobody to ask"),
            advice=say("use a terminal, or another --password-from: env:NAME, command:CMD, pgpass"),
            code=6306,
        )
    return _Face.ask(words)


def found(way: Way, name: str, environ: Mapping[str, str]) -> str | None:
    """The password of profile `name` by any way but a kept one; None leaves it to libpq's own."""
    match way.kind:
        case PasswordFrom.ENV:
            return _from_environment(way.detail, name, environ)
        case PasswordFrom.PROMPT:
            return asked(say("Password of profile {name}", name=name))
        case PasswordFrom.COMMAND:
            return from_command(way.detail, name, environ)
        case _:
            return None


def _from_environment(variable: str, name: str, environ: Mapping[str, str]) -> str:
    if not environ.get(variable):
        raise SecretError(
            say("profile {name} takes its password from {variable}, which is not set", name=name, variable=variable),
            advice=say("set it, or change it: pghaul profile edit {name} --password-from …", name=name),
            code=6307,
        )
    return environ[variable]


def from_command(command: str, name: str, environ: Mapping[str, str]) -> str:
    """The first line that the program prints."""
    try:
        done = subprocess.run(  # noqa: S603 -- the user's own command
            command if os.name == "nt" else shlex.split(command),
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SecretError(
            say("the password command of profile {name} has not answered for {n} s", name=name, n=COMMAND_SECONDS),
            advice=say("run it by hand: {command}", command=command),
            code=6308,
        ) from None
    except (OSError, ValueError):
        raise SecretError(
            say("the password command of profile {name} cannot be run", name=name),
            advice=say("it is run without a shell: {command}", command=command),
            code=6309,
        ) from None
    line = done.stdout.decode("utf-8", "replace").splitlines()[:1] if not done.returncode else []
    if not line or not line[0] or len(line[0]) > MOST_CHARACTERS:
        raise SecretError(
            say("the password command of profile {name} gave none: status {n}", name=name, n=done.returncode),
            advice=say("run it by hand: {command}", command=command),
            code=6310,
        )
    return line[0]
