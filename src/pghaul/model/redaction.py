"""What nobody may read, and the one place that takes it out of words: of errors, events, tracebacks, logs, the store.

Two nets. Whoever learns a password says so (`know`), and every form in which it might come out is replaced; and what
looks like a password by its place (`user:…@` in a URL, `password=…`) is replaced, whoever's it is.

A password may be a common word, and replacing that blindly would destroy what is said around it. So:

- one that is also the user's, the database's or the host's name is no secret that could be kept: not replaced;
- one of fewer than four characters is replaced by its place only;
- one of fewer than eight, or of letters or digits alone, is replaced where it stands as a word of its own, and in
  sentences only: a password `orders` leaves the table `public.orders` its name in the data of an event;
- any other is replaced wherever it stands.

A worker knows no password of the process that shows its errors: what it says is cleaned there once more.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import traceback
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, unquote

from pghaul.model.text import Template, Text

if TYPE_CHECKING:
    import logging

HIDDEN = "***"
SHORTEST = 4  # characters; below, a password is found by its place only
DISTINCT = 8  # characters; below, or of one kind alone, it is replaced as a word of its own only

# user:password@ of a URL, also of one whose slashes a path has swallowed; an @ in it belongs to the password.
_IN_URL = re.compile(r"(\b[A-Za-z][\w+.-]*:/+[^\s:/@?#\"'<>]*:)([^\s/\"'<>]*)(?=@)")
# password=…, PGPASSWORD=…, sslpassword = '…', PASSWORD '…' of SQL, "password": "…" of JSON.
_WORD = r"(?:[A-Za-z_]*passw(?:or)?d|passphrase|PGHAUL_(?:KEY))"
_VALUE = r"('(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|[^\s&,;'\"<>]+)"
_BY_NAME = re.compile(rf"(?i)({_WORD}\s*=\s*){_VALUE}")
_IN_SQL = re.compile(r"(?i)(\bpassword\s+)('(?:[^']|'')*')")
_IN_JSON = re.compile(rf"(?i)(([\"']){_WORD}\2\s*:\s*)(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')")
_NAMED = re.compile(_WORD, re.IGNORECASE)
_HEADER = re.compile(r"(?i)(\bauthorization\s*:\s*\w+\s+)(\S+)")

_RESERVED = r"[:/?#@&=\s]"  # none of them stands in a password that was encoded

_lock = threading.Lock()
_words: frozenset[str] = frozenset()
_anywhere: frozenset[str] = frozenset()
_names: re.Pattern[str] | None = None  # for names and other data: what may be replaced anywhere
_sentences: re.Pattern[str] | None = None  # and what only as a word


def know(secret: str | None, *, public: Iterable[str] = ()) -> None:
    """From now on it is replaced by `***`. `public`: what everybody may read of the same place (user, database …)."""
    if not secret or len(secret) < SHORTEST or secret.casefold() in {p.casefold() for p in public}:
        return
    alone = len(secret) < DISTINCT or secret.isalpha() or secret.isdigit()
    _add(_forms(secret), alone=alone)


def know_any(text: str, *, typed: bool = False) -> None:
    """What may be a password in a URL, a conninfo string or an argument, well-formed or not.

    `typed`: by a person, so that `://user:password` without any host behind it counts, too.
    """
    for candidate, rest in _candidates(text, typed=typed):
        public = [p for p in re.split(r"\W+", rest) if p]
        # Of one that was not percent-encoded, a parser may quote the part that it takes for a host or a port.
        for form in {candidate, unquote(candidate), *re.split(_RESERVED, candidate)}:
            know(form, public=public)


def redacted(words: str) -> str:
    """The same words without what nobody may read. A Text stays one, if that is possible."""
    hidden = _hide(words, _sentences)
    if hidden == words:
        return words
    if isinstance(words, Text) and not isinstance(words, Template):
        values = {k: redacted(v) if isinstance(v, str) else v for k, v in words.values.items()}
        made = Text(words.template, values)
        if _hide(made, _sentences) == made:
            return made
    return hidden


def redacted_data(value: Any) -> Any:
    """Plain data: sentences as `redacted`; names keep what is a common word."""
    if isinstance(value, Text):
        return redacted(value)
    if isinstance(value, str):
        return redacted(value) if " " in value else _hide(value, _names)
    if isinstance(value, dict):
        return {k: HIDDEN if v and _NAMED.fullmatch(str(k)) else redacted_data(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [redacted_data(v) for v in value]
    return value


def traceback_of(exc: BaseException) -> str:
    """As Python prints it, with its causes (those of a worker, too), redacted whole: no frame that wraps lines."""
    return _hide("".join(traceback.format_exception(exc)), _sentences)


def forget() -> None:
    """For tests: what one knows is no business of the next."""
    global _words, _anywhere, _names, _sentences  # noqa: PLW0603
    with _lock:
        _words = _anywhere = frozenset()
        _names = _sentences = None


def guard() -> None:
    """What the interpreter itself would print in this process is redacted, too: uncaught errors, others' warnings."""

    def uncaught(_kind: object, exc: BaseException, _trace: object) -> None:
        sys.stderr.write(traceback_of(exc))

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            sys.stderr.write(traceback_of(args.exc_value))

    def unraisable(args: Any) -> None:
        if args.exc_value is not None:
            sys.stderr.write(traceback_of(args.exc_value))

    sys.excepthook = uncaught
    threading.excepthook = in_thread
    sys.unraisablehook = unraisable
    _guard_logging()


def _guard_logging() -> None:
    """Libraries that warn through `logging` where nobody listens reach stderr by its last resort."""
    import logging  # noqa: PLC0415

    class Redacting(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return _hide(super().format(record), _sentences)

    if logging.lastResort is not None:
        logging.lastResort.setFormatter(Redacting())


def _add(forms: Iterable[str], *, alone: bool) -> None:
    global _words, _anywhere, _names, _sentences  # noqa: PLW0603
    found = frozenset(f for f in forms if len(f) >= SHORTEST)
    with _lock:
        words, anywhere = (_words | found, _anywhere) if alone else (_words, _anywhere | found)
        if (words, anywhere) == (_words, _anywhere):
            return
        _words, _anywhere = words, anywhere
        blind = _longest_first(anywhere)
        # A letter before or after makes it another word; so does a digit.
        apart = [rf"(?<!\w){f}(?!\w)" for f in _longest_first(words)]
        _names = re.compile("|".join(blind)) if blind else None
        _sentences = re.compile("|".join([*blind, *apart])) if blind or apart else None


def _longest_first(forms: Iterable[str]) -> list[str]:
    return [re.escape(f) for f in sorted(forms, key=lambda f: (-len(f), f))]


def _forms(secret: str) -> Iterator[str]:
    """As it is, and as a URL, JSON, repr(), a pass file, a conninfo string or HTML would write it."""
    for form in {secret, *(unicodedata.normalize(n, secret) for n in ("NFC", "NFD", "NFKC"))}:
        raw = form.encode("utf-8", "surrogateescape")
        yield form
        for quoted in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
            yield quoted
            yield re.sub(r"%[0-9A-F]{2}", lambda m: m[0].lower(), quoted)
        yield json.dumps(form)[1:-1]
        yield json.dumps(form, ensure_ascii=False)[1:-1]
        yield repr(form)[1:-1]
        yield repr(raw)[2:-1]
        doubled = form.replace("\\", "\\\\")
        yield doubled.replace(":", "\\:")
        yield doubled.replace("'", "\\'")
        yield form.replace("'", "''")
        yield (
            form.replace("&", "&amp;")
            .replace("<", "&lt;")
            .replace(">", "&gt;")
            .replace('"', "&#34;")
            .replace("'", "&#39;")
        )


def _candidates(text: str, *, typed: bool) -> Iterator[tuple[str, str]]:
    """What may be a password, and the rest of the text."""
    for place in re.finditer(r":/+", text):
        before, rest = text[: place.start()], text[place.end() :]
        user, colon, behind = rest.partition(":")
        if not colon or re.search(r"[\s/@?]", user):
            continue
        ends = [m.start() for m in re.finditer("@", behind)]
        for end in ends[:1] if _is_plain(behind) else ends:
            yield behind[:end], f"{before} {user} {behind[end:]}"
        if typed and not ends:
            lost = re.split(r"[/?#\s,]", behind, maxsplit=1)[0]
            if not lost.isdigit():  # a port
                yield lost, f"{before} {user}"
    if typed and "://" not in text and (bare := re.match(r"[^\s:/@=]+:(.+)@", text)):  # the scheme was forgotten
        yield bare[1], text[: bare.start(1)] + text[bare.end(1) :]
    for found in _BY_NAME.finditer(text):
        value = found[2]
        if value[:1] in {"'", '"'}:
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        yield value, text[: found.start(2)] + text[found.end(2) :]


def _is_plain(behind: str) -> bool:
    """Whether the first @ ends the password, as in every URL that is well-formed; an @ in its query is none of it."""
    secret, at, rest = behind.partition("@")
    return bool(at) and re.search(_RESERVED, secret) is None and "@" not in rest.partition("?")[0]


def _hide(words: str, known: re.Pattern[str] | None) -> str:
    """Plain str, even of a Text."""
    if known is not None:
        words = known.sub(HIDDEN, words)
    if "@" in words and ":/" in words:
        words = _IN_URL.sub(rf"\1{HIDDEN}", words)
    lowered = words.casefold()
    if "passw" in lowered or "passphrase" in lowered or "pghaul_key" in lowered:
        words = _BY_NAME.sub(rf"\1{HIDDEN}", words)
        words = _IN_SQL.sub(rf"\1{HIDDEN}", words)
        words = _IN_JSON.sub(rf'\1"{HIDDEN}"', words)
    if "authorization" in lowered:
        words = _HEADER.sub(rf"\1{HIDDEN}", words)
    return str(words)
