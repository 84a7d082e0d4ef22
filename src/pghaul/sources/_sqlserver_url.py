"""sqlserver:// and mssql:// URLs: host, port or instance, user, database, and how to get there. Needs no driver."""

from __future__ import annotations

from collections.abc import Mapping

from pghaul.model.errors import UsageError
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.text import listed, say
from pghaul.sources.server_url import server_url

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
    said = server_url(url, OPTIONS, _unreadable, _unknown)
    params = {
        **said.options,
        "host": said.host or environ.get("SQLCMDSERVER", ""),
        "user": said.user or environ.get("SQLCMDUSER", ""),
        "database": said.database or environ.get("SQLCMDDBNAME", ""),
    }
    if not params["host"] or not params["database"]:
        raise _unreadable()
    if said.port or "instance" not in params:
        params["port"] = str(said.port or PORT)
    return said.endpoint("sqlserver", params, given=password, last=environ.get("SQLCMDPASSWORD"))


def _unreadable() -> UsageError:
    return UsageError(
        say("the SQL Server URL cannot be read, or names no host or no database"), advice=EXAMPLE, code=1054
    )


def _unknown(key: str, value: str) -> UsageError:
    return UsageError(
        say("{key}={value} is not known in a SQL Server URL", key=key, value=value),
        advice=say("it may say {options}; docs/connectors.md explains them", options=listed(OPTIONS)),
        code=1055,
    )
