"""mysql:// and mariadb:// URLs: host, port, user, database, and how to get there. Needs no driver."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from pghaul.model.errors import UsageError
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.redaction import know_any
from pghaul.model.text import listed, say

SCHEMES = ("mysql", "mariadb")
SSL_MODES = ("disabled", "preferred", "required", "verify-ca", "verify-identity")
ZERO_DATES = ("refuse", "null", "text")
FILES = ("ssl-ca", "ssl-cert", "ssl-key")
# What a URL may say behind its question mark; `consistency` is the engine's own.
OPTIONS = ("socket", "ssl-mode", *FILES, "charset", "connect-timeout", "zero-dates", "databases", "consistency")
CHOICES = {"ssl-mode": SSL_MODES, "zero-dates": ZERO_DATES, "consistency": ("auto", "snapshot")}
EXAMPLE = say("mysql://user@host:3306/database?ssl-mode=required is one; docs/connectors.md has the words")


def endpoint(url: str, environ: Mapping[str, str], password: str | None) -> ForeignEndpoint:
    """Of a URL; what it does not say comes from MYSQL_HOST, MYSQL_TCP_PORT, MYSQL_UNIX_PORT and MYSQL_PWD."""
    know_any(url, typed=True)
    try:
        split = urlsplit(url)
        port = split.port
        if split.scheme not in SCHEMES or not url.partition(":")[2].startswith("//"):
            raise ValueError  # noqa: TRY301
    except ValueError as exc:
        raise UsageError(say("the MySQL URL cannot be read"), advice=EXAMPLE, code=1052) from exc
    params = _options(split.query)
    host = unquote(split.hostname or "")
    if host.startswith("/"):
        params["socket"], host = host, ""
    if not host and not params.get("socket"):
        host, socket = environ.get("MYSQL_HOST", ""), environ.get("MYSQL_UNIX_PORT", "")
        if socket and not host:
            params["socket"] = socket
    params["host"] = host or "localhost"
    if not params.get("socket"):
        params["port"] = str(port or environ.get("MYSQL_TCP_PORT") or 3306)
    params["user"] = unquote(split.username or "") or environ.get("USER", "")
    params["database"] = unquote(split.path.removeprefix("/"))
    said = unquote(split.password) if split.password is not None else None
    secret = password if password is not None else said if said is not None else environ.get("MYSQL_PWD")
    return ForeignEndpoint(engine="mysql", params=tuple(sorted(params.items())), password=secret)


def _options(query: str) -> dict[str, str]:
    params = {k.replace("_", "-").lower(): v for k, v in parse_qsl(query, keep_blank_values=True)}
    for key, value in params.items():
        choices = CHOICES.get(key)
        if key not in OPTIONS or (choices and value.lower() not in choices):
            raise UsageError(
                say("{key}={value} is not known in a MySQL URL", key=key, value=value),
                advice=say(
                    "it may say {options}; ssl-mode is one of {modes}", options=listed(OPTIONS), modes=listed(SSL_MODES)
                ),
                code=1053,
            )
    return params
