"""In which language a face speaks, and how it says a Text in it: gettext catalogues, English where there is none."""

from __future__ import annotations

import gettext
import locale
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pghaul.model.errors import UsageError
from pghaul.model.text import Lookup, say, told_in

LANGUAGE = "PGHAUL_LANG"
DOMAIN = "pghaul"
FOLDER = Path(__file__).resolve().parents[1] / "locale"
ENGLISH, KOREAN = "en", "ko"
LANGUAGES = (ENGLISH, KOREAN)
# As gettext and libc look, in this order; the first that is set decides.
LOCALE_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")


def _as_it_is(words: str) -> str:
    return words


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One of LANGUAGES; `lookup` takes an English template to its translation."""

    code: str = ENGLISH
    lookup: Lookup = field(default=_as_it_is, repr=False)

    def say(self, words: str) -> str:
        """A Text in this language; any other string is data, and stays as it is."""
        return told_in(self.lookup, words)


def speaking(code: str) -> Language:
    """The language of a code; English where its catalogue was not installed."""
    if code == ENGLISH:
        return Language()
    catalogue = gettext.translation(DOMAIN, FOLDER, languages=[code], fallback=True)
    return Language(code=code, lookup=lambda words: catalogue.gettext(words) if words else words)


def chosen(environ: Mapping[str, str] = os.environ) -> str:
    """PGHAUL_LANG, else the locale, else English. UsageError for a PGHAUL_LANG that we do not speak."""
    if said := environ.get(LANGUAGE):
        code = said.partition("_")[0].partition("-")[0].lower()
        if code not in LANGUAGES:
            known = ", ".join(LANGUAGES)
            words = say("PGHAUL_LANG is none of {languages}", languages=known)
            raise UsageError(words, where=LANGUAGE, advice=say("write PGHAUL_LANG=ko, or leave it out"), code=1061)
        return code
    named = next((v for name in LOCALE_VARIABLES if (v := environ.get(name))), None) or _of_the_system()
    code = named.partition("_")[0].lower()
    return code if code in LANGUAGES else ENGLISH


def _of_the_system() -> str:
    """Windows and macOS keep it elsewhere than in the environment."""
    try:
        found = locale.getlocale()[0] or ""
    except ValueError:  # a locale that Python cannot read
        return ""
    return KOREAN if found.lower().startswith("korean") else found
