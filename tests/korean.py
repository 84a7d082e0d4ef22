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


def still_english(screen: str) -> list[str]:
    """Lines of the screen that hold English words, and which."""
    wrong = []
    for line in screen.splitlines():
        flat = re.sub(r"[│╭╮╰╯─]", " ", line)
        wrong += [f"{part!r} in {line.strip()}" for part in english() if part in flat]
        wrong += [f"prose in {line.strip()}" for _ in PROSE.findall(COMMANDS.sub(" ", flat))]
    return wrong
