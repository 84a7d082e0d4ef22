r"""Array literals of texts, as the recipe `insert` reads them: taken apart where a batch holds a row at fault.

Bytes in a server's encoding, in which no second byte of a letter looks like a quote, a comma or a backslash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

ELEMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"|([^,{}"]+)', re.DOTALL)
ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
NULL = b"NULL"
# What COPY's text writes for what would part its fields and lines.
ESCAPES = {
    b"\\": b"\\\\",  # first of all
    b"\b": b"\\b",
    b"\f": b"\\f",
    b"\n": b"\\n",
    b"\r": b"\\r",
    b"\t": b"\\t",
    b"\v": b"\\v",
}


def elements(literal: bytes) -> list[bytes | None]:
    """The texts of an array of one dimension."""
    found: list[bytes | None] = []
    for match in ELEMENT.finditer(literal):
        quoted, bare = match.groups()
        if quoted is not None:
            found.append(ESCAPED.sub(rb"\1", quoted))
        else:
            found.append(None if bare == NULL else bare)
    return found


def literal(texts: Sequence[bytes | None]) -> bytes:
    """The other way."""
    return b"{" + b",".join(NULL if t is None else _quoted(t) for t in texts) + b"}"


def line(values: Iterable[bytes | None]) -> bytes:
    """One row as COPY's text has it."""
    return b"\t".join(rb"\N" if v is None else _escaped(v) for v in values)


def _quoted(text: bytes) -> bytes:
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _escaped(value: bytes) -> bytes:
    for plain, written in ESCAPES.items():
        value = value.replace(plain, written)
    return value
