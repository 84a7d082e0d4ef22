"""The language of the command line, chosen once a process from PGHAUL_LANG or the locale; what streams can show."""

from __future__ import annotations

import codecs
import functools
import os
import sys
from typing import IO

from pghaul.model.errors import UsageError
from pghaul.model.figures import visible
from pghaul.model.redaction import redacted, redacted_data
from pghaul.model.text import Text
from pghaul.service.language import KOREAN, Language, chosen, speaking

SAMPLES = {KOREAN: "가힣"}  # what a stream has to be able to show of a language


@functools.cache
def language() -> Language:
    """English where PGHAUL_LANG is none of ours: that is said by the first command, which must be able to speak.

    English, too, where stdout or stderr has no letters for the other: `\\uac00` is no word in any language.
    """
    try:
        code = chosen(os.environ)
    except UsageError:
        return Language()
    readable = all(_shows(stream, SAMPLES.get(code, "")) for stream in (sys.stdout, sys.stderr))
    return speaking(code) if readable else Language()


def tell(words: str) -> str:
    """In the reader's language; what is no Text is data and stays as it is. All that is shown goes through it.

    A name from a database may hold what a terminal would obey: it is shown as what it is.
    """
    return visible(language().say(redacted(words) if isinstance(words, Text) else redacted_data(words)))


def is_unicode(stream: object) -> bool:
    """Does it take every character? JSON is written in ASCII where it does not."""
    encoding = getattr(stream, "encoding", None)
    return not encoding or codecs.lookup(encoding).name.startswith("utf")


def forgiving(*streams: IO[str]) -> None:
    """A dash that an old code page lacks shall not end a command: it is shown by its number."""
    for stream in streams:
        if getattr(stream, "errors", None) == "strict" and not is_unicode(stream):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]


def _shows(stream: object, sample: str) -> bool:
    try:
        sample.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
