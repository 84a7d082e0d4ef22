""".env files: read exactly, as text that can be put together again byte for byte.

What is understood is what the many readers of such files agree on: `KEY=value`, `export` before it, comments, values
in single quotes (as they are) or in double quotes (with backslashes), over several lines if need be. Nothing is
expanded. A line that is none of these is an error with its number; its words are not shown, they may be a password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pghaul.model.errors import UsageError
from pghaul.model.text import say

LINES = re.compile(r"[^\n]*\n|[^\n]+")  # no other line ends: a value may hold what Python takes for one
ASSIGNMENT = re.compile(r"\s*(?:export\s+)?(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*(?P<value>.*)", re.DOTALL)
SINGLE = re.compile(r"'(?P<value>[^']*)'[ \t]*(?:#[^\r\n]*)?\r?\n?", re.DOTALL)
DOUBLE = re.compile(r'"(?P<value>(?:[^"\\]|\\.)*)"[ \t]*(?:#[^\r\n]*)?\r?\n?', re.DOTALL)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")  # needs no quotes, whoever reads it
MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the file as it stands, with its end; several where a value in quotes goes over them."""

    text: str
    key: str | None = None
    value: str = ""


def parsed(text: str, where: str) -> list[Line]:
    """All lines; their texts joined are the file. UsageError with the number of the first that is malformed."""
    lines: list[Line] = []
    raw = LINES.findall(text)
    number = 0
    while number < len(raw):
        first = raw[number]
        if not first.strip() or first.lstrip().startswith("#"):
            lines.append(Line(text=first))
            number += 1
            continue
        taken, line = _assignment(raw, number, where)
        lines.append(line)
        number += taken
    return lines


def _assignment(raw: list[str], number: int, where: str) -> tuple[int, Line]:
    found = ASSIGNMENT.fullmatch(raw[number])
    if found is None:
        raise UsageError(
            say("line {number} is not KEY=value", number=number + 1),
            where=where,
            advice=say("write it as KEY=value, or make it a comment with # at its beginning"),
            code=1032,
        )
    quote = found["value"][:1]
    if quote not in {"'", '"'}:
        value = re.split(r"(?:^|\s)#", found["value"], maxsplit=1)[0].strip()
        return 1, Line(text=raw[number], key=found["key"], value=value)
    pattern = SINGLE if quote == "'" else DOUBLE
    rest = found["value"]
    for taken in range(1, len(raw) - number + 1):
        if whole := pattern.fullmatch(rest):
            value = whole["value"] if quote == "'" else _unescaped(whole["value"])
            return taken, Line(text="".join(raw[number : number + taken]), key=found["key"], value=value)
        if number + taken < len(raw):
            rest += raw[number + taken]
    raise UsageError(
        say("line {number}: its quotes do not end, or something follows them", number=number + 1),
        where=where,
        advice=say('end the value with the quote it began with; inside double quotes write \\" for a quote'),
        code=1033,
    )


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[1]), value, flags=re.DOTALL)


def quoted(value: str) -> str:
    """As a value of such a file: in quotes where any reader might see something else in it."""
    if not value or PLAIN.fullmatch(value):
        return value
    if "'" not in value and "\n" not in value and "\r" not in value:
        return f"'{value}'"
    escaped = re.sub(r'(["\\$`])', r"\\\1", value).replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def text_of(path: Path) -> str:
    """UsageError where it cannot be read; line ends stay as they are."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        return (raw if len(raw) <= MOST_BYTES else b"\xff").decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(
            say("this is no .env file: it is not text in UTF-8, or larger than 1 MB"),
            where=str(path),
            advice=say("name another one with --env-file"),
            code=1034,
        ) from None
    except OSError as exc:
        raise UsageError(
            say("the .env file cannot be read: {why}", why=exc.strerror or type(exc).__name__),
            where=str(path),
            advice=say("look at its name and its permissions, or name another one with --env-file"),
            code=1035,
        ) from exc


def mentions(path: Path, names: Iterable[str]) -> bool:
    """Does any of these names stand in it? One that cannot be read says nothing."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES)
    except OSError:
        return False
    return any(name.encode() in raw for name in names)


def values(path: Path) -> dict[str, str]:
    """Of each key the last one, as all readers have it."""
    text = text_of(path).removeprefix("\ufeff")
    return {line.key: line.value for line in parsed(text, str(path)) if line.key}


def save(path: Path, text: str, *, mode: int | None = None) -> None:
    """Replaced whole, and 0600 where a new one is made; `mode` where it is to be another."""
    real = Path(os.path.realpath(path))  # a link stays a link
    draft = real.with_name(f".{real.name}.{os.getpid()}")
    try:
        kept = real.stat().st_mode & 0o777 if real.exists() else 0o600
        draft.unlink(missing_ok=True)
        handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(kept if mode is None else mode)
        draft.replace(real)
    except OSError as exc:
        draft.unlink(missing_ok=True)
        raise UsageError(
            say("the file cannot be written: {why}", why=exc.strerror or type(exc).__name__),
            where=str(path),
            advice=say("look at the permissions of its folder, or choose another --write"),
            code=1036,
        ) from exc
