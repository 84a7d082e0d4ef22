"""Whom a run tells: targets as people write them, as they may be stored, and the channels that they become.

A webhook's address may hold a token, in its path or its query. So it is stored without them, and never shown: what is
left names the host. `env:NAME` is stored as it is, and works on a resume too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import SplitResult, urlsplit

from pghaul.model.errors import OutletError
from pghaul.model.plan import Options
from pghaul.model.redaction import know
from pghaul.model.text import say

if TYPE_CHECKING:
    from pghaul.service.delivery import Channel

ENV, MAIL, DESKTOP = "env:", "mailto:", "desktop"
WEB = ("https://", "http://")
SECRET = "PGHAUL_WEBHOOK_SECRET"  # noqa: S105 -- the variable's name
LEAST = 12  # characters of a token
WITHHELD = "…"  # in place of a path that is not stored


def storable(target: str) -> str:
    """As it may stand in a plan: what could be a token is left out."""
    if target == DESKTOP or target.startswith((ENV, MAIL)):
        return target
    try:
        url = urlsplit(target)
        place = f"{url.scheme}://{_place(url)}/"
    except ValueError:
        return WITHHELD
    if url.scheme not in {"https", "http"} or not url.hostname:
        return WITHHELD
    bare = url.path in {"", "/"} and not url.query and not url.fragment
    return place if bare else place + WITHHELD


def is_withheld(target: str) -> bool:
    """Stored without its address."""
    return target.endswith(WITHHELD)


def storable_options(options: Options) -> Options:
    """Options whose targets hold no token."""
    if not options.notify:
        return options
    return options.model_copy(update={"notify": [storable(t) for t in options.notify]})


def channels(targets: Iterable[str], environ: Mapping[str, str]) -> list[Channel]:
    """One for each target. OutletError names what cannot be told, and never a target that may hold a token."""
    return [channel_of(target, environ) for target in dict.fromkeys(targets)]


def channel_of(target: str, environ: Mapping[str, str]) -> Channel:
    """What a target means."""
    if not target.startswith(ENV):
        return _channel(target, environ, environ.get(SECRET))
    name = target.removeprefix(ENV)
    said = environ.get(name)
    if not said:
        words = say("the variable {name} is to say whom to notify, and is not set", name=name)
        raise OutletError(words, advice=say("set it to https://…, mailto:… or desktop"), code=6541)
    return _channel(said, environ, environ.get(f"{name}_SECRET") or environ.get(SECRET))


def _channel(target: str, environ: Mapping[str, str], secret: str | None) -> Channel:
    if target == DESKTOP:
        from pghaul.service.toast import Desktop  # noqa: PLC0415 -- a run that notifies nobody needs none of it

        return Desktop()
    if target.startswith(MAIL):
        from pghaul.service.mail import Mail, addresses, server_of  # noqa: PLC0415

        return Mail(addresses(target.removeprefix(MAIL)), server_of(environ))
    if not target.startswith(WEB):
        raise OutletError(
            say("this is nothing that can be notified"),
            where="notify",
            advice=say("write https://…, mailto:ops@example.com, desktop, or env:NAME"),
            code=6542,
        )
    from pghaul.service.webhook import Webhook  # noqa: PLC0415

    know(secret)
    url = _checked(target)
    for part in _tokens(urlsplit(url)):
        know(part)
    return Webhook(url, secret or None)


def _tokens(url: SplitResult) -> Iterator[str]:
    """What may be a token of its address: a part that is no word."""
    rest = url.path + (f"?{url.query}" if url.query else "")
    yield from (part for part in [rest, *re.split(r"[/?&=]", rest)] if len(part) >= LEAST and not part.isalpha())


def _checked(url: str) -> str:
    if any(c.isspace() or ord(c) < 33 or ord(c) > 126 for c in url.removesuffix(WITHHELD)):
        _no_url()
    try:
        parts = urlsplit(url)
        place = _place(parts)
    except ValueError:
        _no_url()
    if not parts.hostname:
        _no_url()
    if parts.username is not None or parts.password is not None:
        raise OutletError(
            say("a webhook's address may hold no user and no password"),
            where=place,
            advice=say("its receiver knows us by the signature: set PGHAUL_WEBHOOK_SECRET"),
            code=6543,
        )
    if is_withheld(url):
        raise OutletError(
            say("the address of this webhook was not stored with the plan, as it may hold a token"),
            where=place,
            advice=say(
                "say it again with --notify, or write env:NAME into the plan and the address into that variable"
            ),
            code=6544,
        )
    return url


def _no_url() -> NoReturn:
    words = say("this is no address of a webhook")
    raise OutletError(words, where="notify", advice=say("write https://host/path"), code=6545)


def _place(url: SplitResult) -> str:
    """`host:port`, without user and password; ValueError for a port that is none."""
    port = f":{url.port}" if url.port is not None else ""
    return f"{_bracketed(url.hostname or '')}{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
