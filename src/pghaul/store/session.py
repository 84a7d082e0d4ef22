"""Opens the state store: one engine, one session scope (`sessionmaker.begin()`), the schema up to date.

SQLite is driven with explicit BEGINs: the driver opens transactions late by itself, and a migration would run
half outside of one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from pghaul.model.errors import AccessError, NotSupportedError, PghaulError

HEAD = "0004"  # the newest revision: equal to the store's, Alembic is not even imported
VERSION_TABLE = "pghaul_state_version"
BUSY_TIMEOUT_MS = 30_000  # several faces share the file; a writer holds it for milliseconds
MIGRATION_LOCK = 0x7067_6861_756C  # "pghaul": PostgreSQL's advisory lock while the schema is made

PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA foreign_keys = ON",
    # The ledger is what must survive a power cut; a crash of the process loses nothing here either.
    "PRAGMA synchronous = NORMAL",
)


def open_store(url: str) -> sessionmaker[Session]:
    """The session factory of a state store, made or migrated where needed. AccessError, NotSupportedError."""
    parsed = _parse(url)
    with translating(parsed):
        engine = _engine(parsed)
        try:
            _migrate(engine)
        except BaseException:
            engine.dispose()
            raise
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def translating(url: URL) -> Iterator[None]:
    """SQLAlchemy's errors become ours; statements and parameters stay out of the message."""
    try:
        yield
    except PghaulError:
        raise
    except (SQLAlchemyError, OSError) as exc:
        cause = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
        raise AccessError(
            f"the state store cannot be used: {str(cause).strip()}",
            where=url.render_as_string(hide_password=True),
            advice="set PGHAUL_STATE to a place that can be written, e.g. sqlite:////var/lib/pghaul/state.db",
        ) from exc


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        if parsed.drivername in {"postgresql", "postgres"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ImportError) as exc:
        raise NotSupportedError(
            "PGHAUL_STATE is not a URL of SQLite or PostgreSQL",
            advice="write sqlite:////absolute/path/state.db or postgresql://user@host/database",
        ) from exc
    return parsed


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, hide_parameters=True, pool_pre_ping=True)
    if url.database and url.database != ":memory:":
        _private_file(Path(url.database))
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


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


def _begin_sqlite(connection: Connection) -> None:
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
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        if _revision(connection) != HEAD:
            _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 -- 20 MiB that a store of today does not need
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as exc:
        raise NotSupportedError(
            "the state store was written by a newer pghaul",
            advice="update pghaul, or set PGHAUL_STATE to another store",
        ) from exc
