"""Figures and names as people read them, the same on a terminal and on a page."""

from __future__ import annotations

import re
from unicodedata import category

SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
MULTIPLE = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_size(text: str) -> int | None:
    """Bytes: 0, 8192, 64MB, 1.5GB; units are powers of two, as PostgreSQL's are. None where it is no size."""
    found = SIZE.fullmatch(text.strip())
    return int(float(found[1]) * MULTIPLE[found[2].lower()]) if found else None


def amount(size: float) -> str:
    """Bytes for people: 512 B, 64.0 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"


def count(number: float) -> str:
    """4,320,000."""
    return f"{int(number):,}"


def duration(seconds: float) -> str:
    """0:42, 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def visible(text: str) -> str:
    """Control characters of a name or value as what they are: neither a page nor a terminal may hide or obey them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" or category(c) == "Zs" else f"\\u{ord(c):04x}" for c in text)
