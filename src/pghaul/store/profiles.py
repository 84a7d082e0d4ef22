"""Profiles in the state store. Secrets go in and out as they are: encrypted, and never opened here.

What writes goes through `changing()`, one process at a time: a key that one of them makes for a secret must be there
before another looks for it, and the rotation of keys must see all secrets or none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import URL, delete, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from pghaul.model.plan import Plan
from pghaul.model.profile import POSTGRESQL, Profile, Way
from pghaul.model.run import RunState
from pghaul.store.models import IdentityRow, ProfileRow, RunRow
from pghaul.store.session import BUSY_TIMEOUT_MS, translating

ENDED = (RunState.DONE.value, RunState.DIFFERENT.value)
FORGET_MS = 500  # how long readers are waited for, so that the log can be emptied
LOCK = "LOCK TABLE pghaul_profile IN SHARE ROW EXCLUSIVE MODE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A profile and its encrypted password, where one is kept."""

    profile: Profile
    secret: str | None


class Profiles:
    """The table of profiles."""

    def __init__(self, sessions: sessionmaker[Session], url: URL) -> None:
        self._sessions = sessions
        self._url = url

    def identity(self) -> str:
        """Of this store, whatever its file is called."""
        with self._scope() as session:
            return str(session.scalar(select(IdentityRow.id)))

    def all(self) -> list[Kept]:
        """By name."""
        with self._scope() as session:
            return _all(session)

    def find(self, name: str) -> Kept | None:
        """The profile of this name, if there is one."""
        with self._scope() as session:
            return _find(session, name)

    def unfinished(self, name: str) -> list[str]:
        """Ids of the runs that are not at their end and whose plan names this profile."""
        query = select(RunRow.id, RunRow.plan).where(RunRow.state.not_in(ENDED)).order_by(RunRow.started)
        with self._scope() as session:
            plans = [(run_id, Plan.model_validate_json(plan)) for run_id, plan in session.execute(query)]
        return [run_id for run_id, plan in plans if name in {plan.source, plan.target}]

    @contextmanager
    def changing(self) -> Iterator[Change]:
        """A transaction that only one process is in at a time; all of it is kept, or nothing."""
        with translating(self._url), self._sessions() as session:
            if self._url.get_backend_name() == "sqlite":
                session.connection(execution_options={"immediate": True})
                session.execute(text("PRAGMA secure_delete = ON"))  # what a secret was does not stay in free pages
            else:
                session.execute(text(LOCK))
            yield Change(session)
            session.commit()
        self._forget()

    @contextmanager
    def _scope(self) -> Iterator[Session]:
        with translating(self._url), self._sessions.begin() as session:
            yield session

    def _forget(self) -> None:
        """Nor does it stay in the log of SQLite; where somebody reads just now, it will go later."""
        if self._url.get_backend_name() == "sqlite":
            with suppress(SQLAlchemyError), self._sessions() as session:
                engine = session.get_bind().engine
                with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.exec_driver_sql(f"PRAGMA busy_timeout = {FORGET_MS}")
                    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
                    connection.exec_driver_sql(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")


class Change:
    """What may be done within `changing()`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def all(self) -> list[Kept]:
        """As they are now, and stay until the end of the change."""
        return _all(self._session)

    def find(self, name: str) -> Kept | None:
        """The profile of this name, if there is one."""
        return _find(self._session, name)

    def put(self, profile: Profile, secret: str | None) -> None:
        """In the place of what had this name before."""
        self._session.merge(
            ProfileRow(
                name=profile.name,
                engine=None if profile.engine == POSTGRESQL else profile.engine,
                params=dict(profile.params),
                secret=secret,
                password_from=profile.way.spelled,
                note=profile.note or None,
                changed=datetime.now(UTC),
            )
        )
        self._session.flush()

    def reseal(self, name: str, secret: str) -> None:
        """The same password under another key: the profile is not changed by it."""
        self._session.execute(update(ProfileRow).where(ProfileRow.name == name).values(secret=secret))

    def drop(self, name: str) -> None:
        """Forget it."""
        self._session.execute(delete(ProfileRow).where(ProfileRow.name == name))


def _all(session: Session) -> list[Kept]:
    return [_kept(row) for row in session.scalars(select(ProfileRow).order_by(ProfileRow.name))]


def _find(session: Session, name: str) -> Kept | None:
    row = session.get(ProfileRow, name)
    return None if row is None else _kept(row)


def _kept(row: ProfileRow) -> Kept:
    profile = Profile(
        name=row.name,
        engine=row.engine or POSTGRESQL,
        params=tuple(sorted((str(k), str(v)) for k, v in row.params.items())),
        way=Way.parse(row.password_from or "pgpass"),
        note=row.note or "",
        changed=row.changed,
    )
    return Kept(profile=profile, secret=row.secret)
