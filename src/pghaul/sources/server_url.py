"""The URL of a database server, taken apart: scheme://user:password@host:port/database?option=value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from pghaul.model.errors import UsageError
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.redaction import know_any

NUMBERS = frozenset({"timeout"})  # options that are whole numbers
Options = Mapping[str, tuple[str, ...]]  # what may be said, and its values where there are only these


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerURL:
    """What it says; "" where it says nothing. The password is None then: an empty one is one."""

    host: str
    port: int | None
    user: str
    database: str
    options: Mapping[str, str]
    password: str | None

    def endpoint(
        self, engine: str, params: Mapping[str, str], *, given: str | None, last: str | None
    ) -> ForeignEndpoint:
        """The password given beside the URL goes before its own, and that before the last, of the environment."""
        said = self.password if self.password is not None else last
        known = tuple(sorted((k, v) for k, v in params.items() if v))
        return ForeignEndpoint(engine=engine, params=known, password=given if given is not None else said)


def server_url(
    url: str, options: Options, unreadable: Callable[[], UsageError], unknown: Callable[[str, str], UsageError]
) -> ServerURL:
    """Raises what `unreadable` makes, or `unknown` of an option and its value."""
    know_any(url, typed=True)
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as exc:
        raise unreadable() from exc
    said = {k.lower(): v for k, v in parse_qsl(split.query, keep_blank_values=True)}
    for key, value in said.items():
        values = options.get(key)
        if values is None or (values and value not in values) or (key in NUMBERS and not value.isdigit()):
            raise unknown(key, value)
    return ServerURL(
        host=unquote(split.hostname or ""),
        port=port,
        user=unquote(split.username or ""),
        database=unquote(split.path.removeprefix("/")),
        options=said,
        password=unquote(split.password) if split.password is not None else None,
    )
