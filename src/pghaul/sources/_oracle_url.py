"""oracle:// URLs: host, port, service or SID, user, and how to get there. Needs no driver."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from pghaul.model.errors import UsageError
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.redaction import know_any
from pghaul.model.text import listed, say

SCHEMES = ("oracle",)
PORT = "1521"
# What a URL may say behind its question mark, and the values of it; `consistency=snapshot` is also the engine's own.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "sid": (),
    "schema": (),
    "mode": ("sysdba", "sysoper", "sysbackup"),
    "wallet": (),
    "tls": ("yes", "no"),
    "consistency": ("auto", "statement", "snapshot"),
    "timeout": (),
}
EXAMPLE = say("oracle://user@host:1521/service?schema=HR is one; docs/connectors.md has the words")


def endpoint(url: str, environ: Mapping[str, str], password: str | None) -> ForeignEndpoint:
    """Of a URL; user and password that it does not say come from ORACLE_USER and ORACLE_PASSWORD."""
    know_any(url, typed=True)
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as exc:
        raise _unreadable() from exc
    params = _options(split.query)
    params["host"] = unquote(split.hostname or "")
    params["port"] = str(port or PORT)
    params["user"] = unquote(split.username or "") or environ.get("ORACLE_USER", "")
    params["database"] = unquote(split.path.removeprefix("/"))
    if not params["host"] or not (params["database"] or params.get("sid")):
        raise _unreadable()
    said = unquote(split.password) if split.password is not None else None
    secret = password if password is not None else said if said is not None else environ.get("ORACLE_PASSWORD")
    known = tuple(sorted((k, v) for k, v in params.items() if v))
    return ForeignEndpoint(engine="oracle", params=known, password=secret)


def _unreadable() -> UsageError:
    return UsageError(
        say("the Oracle URL cannot be read, or names no host, or neither service nor sid"), advice=EXAMPLE, code=1056
    )


def _options(query: str) -> dict[str, str]:
    params = {k.lower(): v for k, v in parse_qsl(query, keep_blank_values=True)}
    for key, value in params.items():
        values = OPTIONS.get(key)
        if values is None or (values and value not in values) or (key == "timeout" and not value.isdigit()):
            raise UsageError(
                say("{key}={value} is not known in an Oracle URL", key=key, value=value),
                advice=say("it may say {options}; docs/connectors.md explains them", options=listed(OPTIONS)),
                code=1057,
            )
    return params
