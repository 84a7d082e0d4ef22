"""From what a person writes to what a driver needs: a profile's name or a URL, and the password that counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pghaul.model.errors import naming
from pghaul.model.profile import OWN_PASSWORD, Endpoint, profile_name
from pghaul.model.text import say
from pghaul.postgres.dsn import resolve
from pghaul.service.settings import Settings

if TYPE_CHECKING:
    from pghaul.service.profiles import Profiles


class Reach:
    """A password said outright wins; then the URL's own; then ours from the environment; then libpq's ways.

    A profile's own way to its password stands where the URL's would.
    """

    def __init__(self, environ: Mapping[str, str], settings: Settings, profiles: Callable[[], Profiles]) -> None:
        self._environ = environ
        self._settings = settings
        self._profiles = profiles

    def source(self, url: str, password: str | None) -> Endpoint:
        """SecretError, UsageError, NotFoundError."""
        return self._resolve(url, password, self._settings.source_password)

    def target(self, url: str, password: str | None) -> Endpoint:
        """SecretError, UsageError, NotFoundError."""
        return self._resolve(url, password, self._settings.target_password)

    def both(
        self, source: str, target: str, source_password: str | None, target_password: str | None
    ) -> tuple[Endpoint, Endpoint]:
        """What is wrong with one of them is said of that one."""
        with naming(say("source")):
            ours = self.source(source, source_password)
        with naming(say("target")):
            return ours, self.target(target, target_password)

    def _resolve(self, url: str, given: str | None, from_settings: str | None) -> Endpoint:
        if name := profile_name(url):
            return self._profiles().endpoint(name, given, from_settings)
        password = given or (None if OWN_PASSWORD.search(url) else from_settings)
        return resolve(url, environ=self._environ, password=password)
