"""Figures and names as people read them, the same on a terminal and on a page."""

from __future__ import annotations

from unicodedata import category


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
