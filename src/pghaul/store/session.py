"""Opens the state store: one engine, one session scope (`sessionmaker.begin()`), the schema up to date.

SQLite is driven with explicit BEGINs: the driver opens transactions late by itself, and a migration would run
half outside of one.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from pghaul.model.errors import PghaulError, StateError
from pghaul.model.text import say
from pghaul.store import damage, faults
from pghaul.store.backup import copy_before, forget_others

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0007"  # the newest revision: equal to the store's, Alembic is not even imported
VERSION_TABLE = "pghaul_state_version"
# Several faces share the file; a writer holds it for milliseconds, the record of ten thousand leaves for a second.
BUSY_TIMEOUT_MS = 10_000
REACH = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "2",
    "tcp_user_timeout": "10000",
}
WAITS = "pghaul.busy_timeout"  # in a connection's info: what it was told last
MIGRATION_LOCK = 0x7067_6861_756C  # "pghaul": PostgreSQL's advisory lock while the schema is made

ANEW = say("the state store was damaged; it was set aside, and a new one begun")
WHAT_IS_LEFT = say(
    "say the command again. What runs had copied is on their targets: `pghaul runs --target URL` lists them, "
    "docs/state.md says how to go on, and how to read the damaged file"
)

PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA foreign_keys = ON",
    # The ledger is what must survive a power cut; a crash of the process loses nothing here either.
    "PRAGMA synchronous = NORMAL",
)


@dataclass(kw_only=True)
class Patience:
    """How long a transaction waits for another process; a run that goes on waits less than a command does."""

    milliseconds: int = BUSY_TIMEOUT_MS


def open_store(url: str, patience: Patience | None = None) -> sessionmaker[Session]:
    """The session factory of a state store, made or migrated where needed. StateError.

    A damaged one is set aside and a new one begun, which is said by an error too: nobody may take it for the old one.
    """
    parsed = parse(url)
    try:
        return sessionmaker(_opened(parsed, patience or Patience()), expire_on_commit=False)
    except StateError as exc:
        raise begin_anew(parsed, exc) from exc


def _opened(url: URL, patience: Patience) -> Engine:
    with translating(url):
        engine = _engine(url, patience)
        try:
            _migrate(engine)
        except BaseException:
            engine.dispose()
            raise
    return engine


def begin_anew(url: URL, exc: StateError) -> StateError:
    """Set a damaged store aside and begin a new one; the error that says so, or `exc` where it is not damaged."""
    if exc.number != faults.DAMAGED or url.get_backend_name() != "sqlite" or not url.database:
        return exc
    path = Path(url.database)
    if not damage.is_ours(path):
        return StateError(
            say("this file is no state store, and is left as it is"),
            where=str(path),
            advice=say("look at PGHAUL_STATE"),
            code=6410,
        )
    if not damage.is_confirmed(path):
        return exc
    try:
        moved = damage.set_aside(path)
    except OSError as why:
        return StateError(
            say("the state store is damaged, and cannot be set aside: {why}", why=str(why.strerror)),
            where=str(path),
            advice=say("end what has it open, move it away, and try again"),
            code=6411,
        )
    try:
        _opened(url, Patience()).dispose()
    except StateError as why:
        return why
    return StateError(ANEW, where=str(moved), advice=WHAT_IS_LEFT, code=6404)


@contextmanager
def translating(url: URL) -> Iterator[None]:
    """SQLAlchemy's errors become ours; statements and parameters stay out of the message."""
    try:
        yield
    except PghaulError:
        raise
    except (SQLAlchemyError, sqlite3.Error, OSError) as exc:
        raise faults.translated(exc, url) from exc


def parse(url: str) -> URL:
    """StateError for what is no URL of a store."""
    try:
        parsed = make_url(url)
        if parsed.drivername in {"postgresql", "postgres"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError):  # a port that is none, which may be a password
        raise StateError(
            say("PGHAUL_STATE is not a URL of SQLite or PostgreSQL"),
            advice=say("write sqlite:////absolute/path/state.db or postgresql://user@host/database"),
            code=6401,
        ) from None
    return parsed


def _engine(url: URL, patience: Patience) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(_reachable(url), hide_parameters=True, pool_pre_ping=True)
    if url.database and url.database != ":memory:":
        _private_file(Path(url.database))
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", partial(_begin_sqlite, patience))
    return engine


def _reachable(url: URL) -> URL:
    """A run waits for its store: a server that has gone away must be found out soon. What the URL says, wins."""
    return url.set(query=REACH | dict(url.query)) if url.get_backend_name() == "postgresql" else url


def _private_file(path: Path) -> None:
    """Plans name hosts and users: the file is its owner's alone. SQLite gives -wal and -shm the same mode."""
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # BEGIN is ours
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin_sqlite(patience: Patience, connection: Connection) -> None:
    if connection.info.get(WAITS) != patience.milliseconds:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {patience.milliseconds}")
        connection.info[WAITS] = patience.milliseconds
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    return found


def _migrate(engine: Engine) -> None:
    """In one transaction, behind a lock: two first commands at once must not both create the tables."""
    with engine.connect() as connection:
        if _revision(connection) == HEAD:
            return
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = {BUSY_TIMEOUT_MS}"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        found = _revision(connection)
        if found != HEAD:
            _upgrade(connection, found)


def _upgrade(connection: Connection, found: str | None) -> None:
    from alembic import command  # noqa: PLC0415 -- 20 MiB that a store of today does not need
    from alembic.util import CommandError  # noqa: PLC0415

    if found is not None and found > HEAD:  # revisions are numbered
        raise _newer(found)
    path = Path(connection.engine.url.database or "") if connection.dialect.name == "sqlite" else None
    copy = copy_before(path, HEAD) if path is not None and path.is_file() and found is not None else None
    try:
        command.upgrade(_alembic(connection), "head")
    except CommandError as exc:
        raise _newer(found or "") from exc
    if path is not None and copy is not None:
        forget_others(path, copy)


def _alembic(connection: Connection) -> Config:
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _newer(found: str) -> StateError:
    return StateError(
        say(
            "the state store was written by a newer pghaul: its revision is {found}, ours {ours}",
            found=found,
            ours=HEAD,
        ),
        advice=say("update pghaul, or set PGHAUL_STATE to another store"),
        code=6402,
    )
