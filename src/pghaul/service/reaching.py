"""From what a person writes to what a driver needs: a profile's name or a URL, and the password that counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pghaul.model.errors import UsageError, naming
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.profile import OWN_PASSWORD, POSTGRESQL, Endpoint, profile_name
from pghaul.model.text import say
from pghaul.postgres.dsn import resolve
from pghaul.service.settings import Settings, from_file

if TYPE_CHECKING:
    from pghaul.service.profiles import Profiles


# A scheme of two characters at least: one is a drive of Windows.
SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)
PLACE = ("host", "hostaddr", "port", "dbname", "user")
OURS = frozenset({"postgresql", "postgres"})


def foreign_scheme(words: str) -> str | None:
    """Of a URL, where it is not PostgreSQL's; None of a profile, a conninfo string or a file's path."""
    found = SCHEME.match(words)
    if found is None or found[1].lower() in OURS or "=" in found[0] or Path(words).exists():
        return None
    return found[1].lower()


def postgresql(endpoint: Endpoint | ForeignEndpoint, word: str) -> Endpoint:
    """UsageError where it is another database, which this word can do nothing with."""
    if not isinstance(endpoint, ForeignEndpoint):
        return endpoint
    raise UsageError(
        say("{word} works with PostgreSQL alone, and this is {engine}", word=word, engine=endpoint.engine),
        where=endpoint.display,
        advice=say("docs/connectors.md says what can be done with other databases"),
        code=1044,
    )


class Reach:
    """A password said outright wins; then the URL's own; then ours from the environment; then libpq's ways.

    A profile's own way to its password stands where the URL's would.
    """

    def __init__(self, environ: Mapping[str, str], settings: Settings, profiles: Callable[[], Profiles]) -> None:
        self._environ = environ
        self._settings = settings
        self._profiles = profiles

    def source(self, url: str, password: str | None) -> Endpoint | ForeignEndpoint:
        """SecretError, UsageError, NotFoundError."""
        return self._resolve(url, password, self._settings.source_password)

    def foreign(self, url: str) -> str | None:
        """The kind of another database than PostgreSQL to which a URL or profile leads. NotFoundError."""
        if name := profile_name(url):
            engine = self._profiles().get(name).engine
            return None if engine == POSTGRESQL else engine
        return foreign_scheme(url)

    def target(self, url: str, password: str | None) -> Endpoint:
        """SecretError, UsageError, NotFoundError."""
        self.refuse_foreign(url)
        fallback = self._settings.target_password or self._of_file(url)
        return postgresql(self._resolve(url, password, fallback), "--to")

    def refuse_foreign(self, url: str) -> None:
        """UsageError where rows cannot go."""
        if scheme := self.foreign(url):
            raise UsageError(
                say("rows go to PostgreSQL only, and not to {scheme}", scheme=scheme),
                where=profile_name(url),
                advice=say("write the target as postgresql://user@host:5432/database"),
                code=1045,
            )

    def _of_file(self, url: str) -> str | None:
        """The password of a .env file is for the target of that file alone."""
        if profile_name(url):
            return None
        try:
            said = from_file(self._environ)
            if said.password is None or said.target is None:
                return None
            ours, theirs = (resolve(words, environ=self._environ, password="") for words in (said.target, url))
        except UsageError:
            return None  # said where the file is asked for the target itself
        return said.password if all(ours.get(k) == theirs.get(k) for k in PLACE) else None

    def postgresql(
        self, source: str, target: str, source_password: str | None, target_password: str | None, *, word: str
    ) -> tuple[Endpoint, Endpoint]:
        """As both(), for a word that needs PostgreSQL on both sides."""
        ours, theirs = self.both(source, target, source_password, target_password)
        return postgresql(ours, word), theirs

    def both(
        self, source: str, target: str, source_password: str | None, target_password: str | None
    ) -> tuple[Endpoint | ForeignEndpoint, Endpoint]:
        """What is wrong with one of them is said of that one."""
        with naming(say("source")):
            ours = self.source(source, source_password)
        with naming(say("target")):
            return ours, self.target(target, target_password)

    def _resolve(self, url: str, given: str | None, from_settings: str | None) -> Endpoint | ForeignEndpoint:
        if name := profile_name(url):
            return self._profiles().endpoint(name, given, from_settings)
        password = given or (None if OWN_PASSWORD.search(url) else from_settings)
        if scheme := foreign_scheme(url):
            from pghaul.sources.protocol import engine_of  # noqa: PLC0415 -- few runs read other databases

            return engine_of(scheme).endpoint(url, self._environ, password)
        return resolve(url, environ=self._environ, password=password)
