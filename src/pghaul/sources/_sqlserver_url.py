"""sqlserver:// and mssql:// URLs: host, port or instance, user, database, and how to get there. Needs no driver."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from pghaul.model.errors import UsageError
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.redaction import know_any
from pghaul.model.text import listed, say

SCHEMES = ("sqlserver", "mssql")
PORT = "1433"
YES_NO = ("yes", "no")
# What a URL may say behind its question mark, and the values of it; `consistency=snapshot` is also the engine's own.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "instance": (),
    "schema": (),
    "encrypt": YES_NO,
    "trust": ("yes",),  # the driver encrypts, but looks at no certificate: what it cannot do is not promised
    "consistency": ("auto", "table", "snapshot"),
    "timeout": (),
}
EXAMPLE = say("sqlserver://user@host:1433/database?schema=dbo is one; docs/connectors.md has the words")


def endpoint(url: str, environ: Mapping[str, str], password: str | None) -> ForeignEndpoint:
    """Of a URL; what it does not say comes from SQLCMDSERVER, SQLCMDUSER, SQLCMDPASSWORD and SQLCMDDBNAME."""
    know_any(url, typed=True)
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as exc:
        raise _unreadable() from exc
    params = _options(split.query)
    params["host"] = unquote(split.hostname or "") or environ.get("SQLCMDSERVER", "")
    params["user"] = unquote(split.username or "") or environ.get("SQLCMDUSER", "")
    params["database"] = unquote(split.path.removeprefix("/")) or environ.get("SQLCMDDBNAME", "")
    if not params["host"] or not params["database"]:
        raise _unreadable()
    if port or "instance" not in params:
        params["port"] = str(port or PORT)
    said = unquote(split.password) if split.password is not None else None
    secret = password if password is not None else said if said is not None else environ.get("SQLCMDPASSWORD")
    known = tuple(sorted((k, v) for k, v in params.items() if v))
    return ForeignEndpoint(engine="sqlserver", params=known, password=secret)


def _unreadable() -> UsageError:
    return UsageError(
        say("the SQL Server URL cannot be read, or names no host or no database"), advice=EXAMPLE, code=1054
    )


def _options(query: str) -> dict[str, str]:
    params = {k.lower(): v for k, v in parse_qsl(query, keep_blank_values=True)}
    for key, value in params.items():
        values = OPTIONS.get(key)
        if values is None or (values and value not in values) or (key == "timeout" and not value.isdigit()):
            raise UsageError(
                say("{key}={value} is not known in a SQL Server URL", key=key, value=value),
                advice=say("it may say {options}; docs/connectors.md explains them", options=listed(OPTIONS)),
                code=1055,
            )
    return params
