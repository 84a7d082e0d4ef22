"""Keys of masking: where a plan says that they are, never in a plan, a log or an error.

A run that goes on has to have the key that it began with, or half of a table would be masked otherwise: the mapping
keeps a mark of each key, which tells nothing of it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from pathlib import Path

from pghaul.model.errors import TransformError
from pghaul.model.redaction import know
from pghaul.model.text import say
from pghaul.model.transforming import ENVIRONMENT, Transform

LEAST = 16  # characters: fewer can be guessed, and what was masked with them, too
MARK = 8  # hexadecimal digits


def key_of(transform: Transform) -> bytes:
    """The key itself. TransformError where there is none, or one that can be guessed."""
    place = transform.key or ""
    text = _variable(place.removeprefix(ENVIRONMENT)) if place.startswith(ENVIRONMENT) else _file(place)
    know(text)
    if len(text) < LEAST:
        raise TransformError(
            say("the key for {kind} has fewer than {n} characters", kind=transform.kind, n=LEAST),
            where=place,
            advice=say("make one: openssl rand -hex 32"),
            code=7120,
        )
    return text.encode()


def _variable(name: str) -> str:
    if not os.environ.get(name):
        raise TransformError(
            say("the variable {name}, which has the key for masking, is not set", name=name),
            where=ENVIRONMENT + name,
            advice=say("set it for every process of the run, and to the same value when it is resumed"),
            code=7121,
        )
    return os.environ[name]


def _file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise TransformError(
            say("the file with the key for masking cannot be read: {error}", error=type(exc).__name__),
            where=path,
            advice=say("a relative path begins at the plan's folder"),
            code=7122,
        ) from exc


def mark_of(transforms: Iterable[Transform], column: str) -> str:
    """Of the keys and functions that make a column's values; empty where there are none."""
    found = hashlib.sha256()
    marked = False
    for transform in transforms:
        if column not in transform.names and transform.names:
            continue
        if transform.key is not None:
            found.update(hmac.digest(key_of(transform), b"pghaul: which key", "sha256"))
            marked = True
        if transform.function is not None:
            path = Path(transform.function.rpartition(":")[0])
            found.update(path.read_bytes() if path.is_file() else b"")
            marked = True
    return found.hexdigest()[:MARK] if marked else ""
