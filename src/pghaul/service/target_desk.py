"""What is done to a target beside a run: before it, after it, and for as long as the database lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pghaul.model.errors import UsageError
from pghaul.model.text import say

if TYPE_CHECKING:
    from pghaul.model.profile import Endpoint
    from pghaul.model.upkeep import Cleaned, Health, Preparation, Wanted

HEALTH_SECONDS = 5.0


class TargetDesk:
    """Each takes a URL or a profile's name; methods raise PghaulError only."""

    def __init__(self, reach: Callable[[str, str | None], Endpoint]) -> None:
        self._reach = reach

    def endpoint(self, url: str) -> Endpoint:
        """SecretError, UsageError, NotFoundError."""
        return self._reach(url, None)

    def check(self, url: str, *, timeout: float = HEALTH_SECONDS) -> Health:
        """Does it answer, and how full and how far behind is it? What is wrong with the server is no exception."""
        from pghaul.target.answering import health  # noqa: PLC0415 -- drivers

        return health(self.endpoint(url), timeout)

    def prepare(self, url: str, wanted: Callable[[str], Wanted]) -> Preparation:
        """Database, role, schemas and extensions, as wanted; `wanted` is told the database of the URL."""
        from pghaul.target.preparing import prepare  # noqa: PLC0415 -- drivers

        endpoint = self.endpoint(url)
        return prepare(endpoint, wanted(endpoint.get("dbname")))

    def clean(self, url: str, run: str | None, *, everything: bool = False, force: bool = False) -> Cleaned:
        """Take a finished run, or everything, out of the ledger. TerminalError where it is still needed."""
        from pghaul.postgres.session import connect  # noqa: PLC0415 -- drivers
        from pghaul.target.cleaning import clean  # noqa: PLC0415

        if everything == bool(run):
            raise UsageError(
                say("either a run or --all is to be said"),
                advice=say("pghaul runs --target URL lists the runs that the ledger knows"),
                code=1041,
            )
        with connect(self.endpoint(url), application_name="pghaul/clean", role="target") as session:
            return clean(session, run, force=force)
