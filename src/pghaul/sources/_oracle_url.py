"""oracle:// URLs: host, port, service or SID, user, and how to get there. Needs no driver."""

from __future__ import annotations

from collections.abc import Mapping

from pghaul.model.errors import UsageError
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.text import listed, say
from pghaul.sources.server_url import server_url

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
    said = server_url(url, OPTIONS, _unreadable, _unknown)
    if not said.host or not (said.database or said.options.get("sid")):
        raise _unreadable()
    params = {
        **said.options,
        "host": said.host,
        "port": str(said.port or PORT),
        "user": said.user or environ.get("ORACLE_USER", ""),
        "database": said.database,
    }
    return said.endpoint("oracle", params, given=password, last=environ.get("ORACLE_PASSWORD"))


def _unreadable() -> UsageError:
    return UsageError(
        say("the Oracle URL cannot be read, or names no host, or neither service nor sid"), advice=EXAMPLE, code=1056
    )


def _unknown(key: str, value: str) -> UsageError:
    return UsageError(
        say("{key}={value} is not known in an Oracle URL", key=key, value=value),
        advice=say("it may say {options}; docs/connectors.md explains them", options=listed(OPTIONS)),
        code=1057,
    )
