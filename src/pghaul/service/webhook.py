"""A webhook: one POST of JSON, signed, to an address whose path may be a secret and is therefore never shown.

Signed are timestamp and body: `HMAC-SHA256(secret, timestamp + "." + body)`. docs/monitoring.md shows a receiver.
Redirects are not followed: a signed body and a token would go where nobody has said they should.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from email.message import Message
from typing import IO
from urllib.parse import urlsplit

from pghaul import __version__
from pghaul.model.text import Text, say
from pghaul.service.delivery import Note, Undelivered

TIMEOUT = 10.0  # seconds for each step: to connect, to send, to be answered
AGAIN = frozenset({408, 425, 429})  # and all of 5xx
SIGNATURE, TIMESTAMP, DELIVERY = "X-Pghaul-Signature", "X-Pghaul-Timestamp", "X-Pghaul-Delivery"


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """As it stands in the header."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"sha256={digest}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """None: the answer itself becomes the error."""


class Webhook:
    """Implements `Channel`."""

    def __init__(self, url: str, secret: str | None) -> None:
        self._url = url
        self._secret = secret
        self._host = urlsplit(url).netloc
        self._opener = urllib.request.build_opener(_NoRedirect())  # proxies as the environment says

    def __repr__(self) -> str:
        return f"Webhook({self._host!r})"

    @property
    def name(self) -> str:
        """Its host: the path may be a token."""
        return say("the webhook at {host}", host=self._host)

    def deliver(self, note: Note) -> None:
        """200 to 299 is an arrival."""
        try:
            with self._opener.open(self._request(note), timeout=TIMEOUT):
                return
        except urllib.error.HTTPError as exc:
            exc.close()
            again = exc.code in AGAIN or exc.code >= 500
            raise Undelivered(_refused(exc.code), again=again) from None
        except urllib.error.URLError as exc:
            raise _unreachable(exc.reason) from None
        except (OSError, http.client.HTTPException) as exc:
            raise _unreachable(exc) from None

    def _request(self, note: Note) -> urllib.request.Request:
        said = {"event": note.event, "delivery": note.id, **note.facts, "title": note.title, "message": note.message}
        # Slack, Mattermost and their like show `text`.
        body = json.dumps(said | {"text": f"{note.title}\n{note.message}"}, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": f"pghaul/{__version__}",
            DELIVERY: note.id,
        }
        if self._secret:
            stamp = str(int(time.time()))
            headers |= {TIMESTAMP: stamp, SIGNATURE: signature(self._secret, stamp, body)}
        return urllib.request.Request(self._url, data=body, headers=headers, method="POST")  # noqa: S310


def _refused(code: int) -> Text:
    if 300 <= code < 400:
        return say("it answered {code}, a redirect, which is not followed", code=code)
    return say("it answered {code}", code=code)


def _unreachable(reason: object) -> Undelivered:
    """Never in the words of the exception, which may quote the address."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        return Undelivered(say("its certificate is not trusted: {why}", why=reason.verify_message), again=False)
    if isinstance(reason, TimeoutError):
        return Undelivered(say("it did not answer within {seconds:g} s", seconds=TIMEOUT), again=True)
    why = getattr(reason, "strerror", None) or type(reason).__name__
    return Undelivered(say("it cannot be reached: {why}", why=str(why)), again=True)
