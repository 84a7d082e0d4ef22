"""Where a profile leads: to PostgreSQL by libpq's keywords, to another database by the words of its engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.profile import OWN_PASSWORD, POSTGRESQL, Endpoint, Profile
from pghaul.postgres.dsn import keywords_of, resolve
from pghaul.service.endpoint_url import storable_url
from pghaul.service.reaching import foreign_scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a URL or a conninfo string says, and the password that stood in it."""

    engine: str = POSTGRESQL
    params: tuple[tuple[str, str], ...] = ()
    password: str | None = field(default=None, repr=False)


def place_of(words: str, environ: Mapping[str, str]) -> Place:
    """UsageError where it is none. A password of the environment is none of the profile's."""
    if scheme := foreign_scheme(words):
        from pghaul.sources.protocol import engine_of  # noqa: PLC0415 -- few profiles need it

        found = engine_of(scheme).endpoint(words, environ, None)
        own = found.password if OWN_PASSWORD.search(words) else None
        return Place(engine=found.engine, params=found.params, password=own or None)
    keywords = keywords_of(words)
    password = keywords.pop("password", None)
    return Place(params=tuple(keywords.items()), password=password or None)


def url_of(profile: Profile) -> str:
    """Where a profile leads, as a URL with all of its options; there is no password in it."""
    if profile.engine == POSTGRESQL:
        return storable_url(Endpoint(params=profile.params))
    return ForeignEndpoint(engine=profile.engine, params=profile.params).display


def endpoint_of(profile: Profile, environ: Mapping[str, str], password: str | None) -> Endpoint | ForeignEndpoint:
    """What it takes to connect; UsageError, NotFoundError where it leads nowhere."""
    if profile.engine == POSTGRESQL:
        return resolve(url_of(profile), environ=environ, password=password)
    from pghaul.sources.protocol import engine_of  # noqa: PLC0415

    return engine_of(profile.engine).endpoint(url_of(profile), environ, password)


def takes_password(profile: Profile) -> bool:
    """Whether there is anything that a password would open: not with files."""
    if profile.engine == POSTGRESQL:
        return True
    from pghaul.sources.protocol import engine_of  # noqa: PLC0415

    return bool(getattr(engine_of(profile.engine), "TAKES_PASSWORD", True))
