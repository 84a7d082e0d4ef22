r"""A row as COPY's text form has it, apart from any server: what is set aside is kept so, byte by byte.

A line holds the values between tabs; `\N` is NULL, an empty field is an empty text, and a backslash takes the special
meaning from what follows it. Bytes that are none of the line's encoding are refused by every server and so may well
stand here: they travel as lone surrogates (PEP 383), and nothing of them is lost on the way back.
"""

from __future__ import annotations

import re

NULL = rb"\N"
SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
ESCAPES = {ord(c): f"\\{short}" for short, c in SHORT.items()} | {ord("\\"): r"\\"}
ESCAPED = re.compile(r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|(.))", re.DOTALL)
UNDECODED = re.compile(r"[\udc80-\udcff]")

# PostgreSQL's names of encodings whose Python names differ by more than a hyphen or an underscore. What Python does
# not know at all is read as UTF8: what does not fit stays as bytes.
CODECS = {
    "SQL_ASCII": "utf-8",
    "UTF8": "utf-8",
    "UHC": "cp949",
    "EUC_JIS_2004": "euc_jis_2004",
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
    "SHIFT_JIS_2004": "shift_jis_2004",
    "SJIS": "cp932",
    **{f"LATIN{n}": f"iso8859-{iso}" for n, iso in enumerate((1, 2, 3, 4, 9, 10, 13, 14, 15, 16), start=1)},
    **{f"ISO_8859_{n}": f"iso8859-{n}" for n in (5, 6, 7, 8)},
    **{f"WIN{n}": f"cp{n}" for n in (866, 874, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258)},
}


def codec(encoding: str) -> str:
    """Python's name of one of PostgreSQL's encodings."""
    name = CODECS.get(encoding.upper(), encoding)
    try:
        "".encode(name)
    except LookupError:
        return "utf-8"
    return name


def decode(line: bytes, encoding: str) -> tuple[str | None, ...]:
    """The values of a line without its newline; None is NULL. Bytes that do not decode are lone surrogates."""
    python = codec(encoding)
    # First decoded, then parted: in some encodings of East Asia the second byte of a letter may be a backslash.
    return tuple(_value(field, python) for field in _text(line, python).split("\t"))


def encode(values: tuple[str | None, ...], encoding: str) -> bytes:
    """The line that decode() would give these values for."""
    fields = (r"\N" if v is None else v.translate(ESCAPES) for v in values)
    return "\t".join(fields).encode(codec(encoding), "surrogateescape")


def undecoded(value: str | None) -> bool:
    """Does it hold bytes that are no text of its encoding?"""
    return value is not None and UNDECODED.search(value) is not None


def escaped(value: str) -> str:
    r"""Such a value as plain text: its bytes as `\xHH`, its own backslashes doubled, so that there is a way back."""
    return UNDECODED.sub(lambda m: f"\\x{ord(m.group()) - 0xDC00:02x}", value.replace("\\", "\\\\"))


def _text(line: bytes, python: str) -> str:
    return line.decode(python, "surrogateescape")


def _value(field: str, python: str) -> str | None:
    if field == r"\N":
        return None
    if "\\" not in field:
        return field
    parts = ESCAPED.sub(_unescape, field)
    # Numbers are bytes: two of them may be one letter.
    return _text(parts.encode(python, "surrogateescape"), python) if UNDECODED.search(parts) else parts


def _unescape(found: re.Match[str]) -> str:
    octal, hexadecimal, other = found.groups()
    if other is not None:
        return SHORT.get(other, other)
    byte = int(octal, 8) & 0xFF if octal else int(hexadecimal, 16)
    return chr(byte) if byte < 0x80 else chr(0xDC00 + byte)
