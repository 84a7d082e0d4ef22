"""Catalogues: what the program says, collected from the code, and its translations, compiled.

`make messages` writes locale/pghaul.pot (every template of say() and saying(), every word of help), brings the .po of
each language up to date, and compiles its .mo. What is new stays empty there: a test fails until it is translated.
Nothing in these files changes unless words do, so that two branches seldom meet in them.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import typer.main
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from pghaul import __version__
from pghaul.cli import helptexts
from pghaul.cli.app import app
from pghaul.service.language import DOMAIN, ENGLISH, FOLDER, LANGUAGES

SOURCE = FOLDER.parent
TEMPLATE = FOLDER / f"{DOMAIN}.pot"
KEYWORDS = {"say": None, "saying": None}
FIXED = datetime(2026, 1, 1, tzinfo=UTC)  # a date of today would make every commit meet every other
PLACEHOLDER = re.compile(r"\{\w+(?:![rsa])?(?::[^{}]*)?\}")
WORD = re.compile(r"[^\W\d_]")
HEADER = "# What pghaul says. Made by `make messages`; translations are written into the .po files.\n"


def po_of(code: str) -> Path:
    """Where the translations of a language are."""
    return FOLDER / code / "LC_MESSAGES" / f"{DOMAIN}.po"


def said() -> Iterator[str]:
    """Templates of say() and saying(), as Babel finds them in the code."""
    for _file, _line, words, _comments, _context in extract_from_dir(SOURCE, keywords=KEYWORDS):
        if isinstance(words, str) and words:
            yield words


def helped() -> Iterator[str]:
    """Words of help of every command and option, Typer's own among them."""
    for holder, attribute in helptexts.places(typer.main.get_command(app)):
        yield str(getattr(holder, attribute))


def wanted() -> list[str]:
    """Everything that has to be translated, in the order of the alphabet."""
    return sorted({*said(), *helped()})


def wordless(words: str) -> bool:
    """Only placeholders and signs: the same in every language, until somebody says otherwise."""
    return not WORD.search(PLACEHOLDER.sub("", words))


def read(code: str) -> Catalog:
    """The translations of a language; none where there is no file yet."""
    path = po_of(code)
    if not path.exists():
        return Catalog(locale=code)
    with path.open("rb") as file:
        return read_po(file, locale=code, domain=DOMAIN)


def updated(code: str) -> Catalog:
    """What there is, with the new ones empty and the old ones gone. Nothing is guessed."""
    there = read(code)
    catalog = _empty(code)
    for words in wanted():
        known = there.get(words)
        text = known.string if known is not None and not known.fuzzy else ""
        catalog.add(words, text or (words if wordless(words) else ""))
    return catalog


def po_text(catalog: Catalog) -> bytes:
    """As it is written: sorted, without places and dates."""
    out = io.BytesIO()
    write_po(out, catalog, width=120, sort_output=True, no_location=True, ignore_obsolete=True)
    return out.getvalue()


def mo_bytes(catalog: Catalog) -> bytes:
    """Compiled."""
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def _empty(code: str | None = None) -> Catalog:
    return Catalog(
        locale=code,
        domain=DOMAIN,
        project="pghaul",
        version=__version__,
        header_comment=HEADER.rstrip(),
        creation_date=FIXED,
        revision_date=FIXED,
        last_translator="pghaul",
        language_team="pghaul",
        msgid_bugs_address="https://github.com/pghaul/pghaul/issues",
        fuzzy=False,
    )


def main() -> int:
    """Write everything; says how much is missing."""
    template = _empty()
    for words in wanted():
        template.add(words)
    FOLDER.mkdir(exist_ok=True)
    TEMPLATE.write_bytes(po_text(template))
    for code in (c for c in LANGUAGES if c != ENGLISH):
        catalog, path = updated(code), po_of(code)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(po_text(catalog))
        path.with_suffix(".mo").write_bytes(mo_bytes(catalog))
        missing = sum(1 for m in catalog if m.id and not m.string)
        sys.stdout.write(f"{path.relative_to(SOURCE)}: {len(catalog)} entries, {missing} missing\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
