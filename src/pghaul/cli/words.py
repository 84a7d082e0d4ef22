"""The language of the command line: chosen once a process, from PGHAUL_LANG or the locale."""

from __future__ import annotations

import functools
import os

from pghaul.model.errors import UsageError
from pghaul.model.redaction import redacted, redacted_data
from pghaul.model.text import Text
from pghaul.service.language import Language, chosen, speaking


@functools.cache
def language() -> Language:
    """English where PGHAUL_LANG is none of ours: that is said by the first command, which must be able to speak."""
    try:
        return speaking(chosen(os.environ))
    except UsageError:
        return Language()


def tell(words: str) -> str:
    """In the reader's language; what is no Text is data and stays as it is. All that is shown goes through it."""
    return language().say(redacted(words) if isinstance(words, Text) else redacted_data(words))
