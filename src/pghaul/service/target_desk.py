"""What is done to a target beside a run: before it, after it, and for as long as the database lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pghaul.model.errors import SecretError, UsageError
from pghaul.model.text import say

if TYPE_CHECKING:
    from pathlib import Path

    from pghaul.model.profile import Endpoint
    from pghaul.model.upkeep import Advice, Backup, Cleaned, Health, Preparation, Wanted
    from pghaul.service.schedule_lines import Schedule
    from pghaul.service.switch import Format, Switched

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

    def advise(
        self, url: str, *, memory: int | None = None, distance: str = "cosine", create_vector_indexes: bool = False
    ) -> tuple[list[Advice], list[Advice]]:
        """What could be better, and which vector indexes were made; without these nothing is changed."""
        from pghaul.postgres.session import connect  # noqa: PLC0415 -- drivers
        from pghaul.target import advising, advising_vectors  # noqa: PLC0415

        with connect(self.endpoint(url), application_name="pghaul/advise", role="target") as session:
            found = advising.advise(session, memory=memory, distance=distance)
            made = advising_vectors.create(session, found) if create_vector_indexes else []
        return [a for a in found if a not in made], made

    def backup(self, url: str, folder: Path, *, keep: int | None = None) -> Backup:
        """A verified dump in a dated file; ProgramError, and then no new file."""
        from pghaul.target.backup import backup  # noqa: PLC0415 -- drivers

        return backup(self.endpoint(url), folder, keep=keep)

    def schedule(self, url: str, folder: Path, at: str, *, keep: int | None = None) -> Schedule:
        """Lines for cron and systemd that do this daily; a URL stands in them without its password."""
        from pghaul.model.profile import profile_name  # noqa: PLC0415
        from pghaul.service.endpoint_url import storable_url  # noqa: PLC0415
        from pghaul.service.schedule_lines import schedule  # noqa: PLC0415

        endpoint = self.endpoint(url)
        place = profile_name(url) or storable_url(endpoint)
        words = ["target", "backup", place, "--to", str(folder.resolve()), *(["--keep", str(keep)] if keep else [])]
        return schedule(words, at, endpoint.get("dbname"))

    def switch(self, url: str, form: Format, path: Path | None, reference: str | None) -> Switched:
        """The settings of an application: into its .env file, or with None as lines. `reference` is the name of a
        variable that holds the password; with None it is written itself.
        """
        from pghaul.service import switch  # noqa: PLC0415

        endpoint = self.endpoint(url)
        password = endpoint.password if reference is None else switch.REFERENCE.format(name=reference)
        if not password:
            raise SecretError(
                say("no password of this database is known here"),
                where=endpoint.display,
                advice=say("leave --with-password out, or say it in POSTGRESQL_PASSWORD or a profile"),
                code=6322,
            )
        found = switch.settings(endpoint, form, password)
        if path is None:
            return switch.Switched(keys=tuple(found), text=switch.lines(found))
        return switch.switch(path, found)

    def switch_back(self, path: Path) -> Switched:
        """The file as it was before; UsageError where nothing was switched in it."""
        from pghaul.service import switch  # noqa: PLC0415

        return switch.back(path)

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
