"""What a Korean reader must not meet on a screen: English of the catalogue, or English that never came into it."""

from __future__ import annotations

import re
from functools import cache

from tools import messages

# Commands, paths, URLs and quoted words are the same in every language.
COMMANDS = re.compile(r"`[^`]*`|'[^']*'|\"[^\"]*\"|pghaul [\w. -]*|postgresql://\S*|https?://\S*|\S*[/\\]\S*|--[\w-]+")
PROSE = re.compile(r"\b[a-z]{2,}(?: [a-z]{2,}){2,}\b")  # three small English words in a row
PARTS = re.compile(r"[A-Za-z]\w*[,:;]? (?:[\w']+[,:;]? )*[\w']+")


@cache
def english() -> frozenset[str]:
    """The parts of English templates between their placeholders, where they are words and have a translation."""
    catalogue = messages.read("ko")
    found = set()
    for message in catalogue:
        if not message.id or message.string == message.id:
            continue
        for piece in messages.PLACEHOLDER.split(str(message.id)):
            part = PARTS.search(piece)
            if part and len(part[0]) > 8 and part[0] not in str(message.string):
                found.add(part[0])
    return frozenset(found)


@cache
def titles() -> frozenset[str]:
    """Short entries: titles of columns, names of states."""
    short = (m for m in messages.read("ko") if m.id and m.string != m.id and "{" not in m.id)
    return frozenset(str(m.id).strip(" :") for m in short if len(str(m.id).split()) <= 2)


def still_english(screen: str, *, choices: bool = False) -> list[str]:
    """Lines of the screen that hold English words, and which. `choices`: words to be typed stand there too."""
    wrong = []
    for line in screen.splitlines():
        flat = re.sub(r"[│╭╮╰╯─]", " ", line)
        wrong += [f"{part!r} in {line.strip()}" for part in english() if part in flat]
        cells = {cell.strip() for cell in re.split(r"\s{2,}|[:,;·(){}]", flat)}
        wrong += [f"{cell!r} in {line.strip()}" for cell in cells & titles() if not choices]
        wrong += [f"prose in {line.strip()}" for _ in PROSE.findall(COMMANDS.sub(" ", flat))]
    return wrong
