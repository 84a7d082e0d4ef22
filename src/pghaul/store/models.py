"""Tables of the state store. Names carry a prefix, because the store may live in somebody's PostgreSQL.

A described table is one JSON document: nothing here asks for its insides, and ten thousand leaves must be
written and read in a moment. Chunks have columns, since their state changes one by one.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import JSON, BigInteger, DateTime, ForeignKey, Index, Integer, MetaData, TypeDecorator
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from pghaul.model.redaction import redacted
from pghaul.model.text import revive, storable


class Moment(TypeDecorator[datetime]):
    """An aware datetime in UTC: SQLite forgets the zone, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Words(TypeDecorator[str]):
    """A Text with its template, so that it can be read in any language; any other string as itself. No passwords."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        stored = None if value is None else storable(redacted(value))
        return json.dumps(stored, ensure_ascii=False) if isinstance(stored, dict) else stored

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return revive(json.loads(value)) if value is not None and value.startswith('{"say":') else value


NAMING = {
    "pk": "%(table_name)s_pkey",
    "fk": "%(table_name)s_%(column_0_name)s_fkey",
    "ix": "%(table_name)s_%(column_0_name)s_idx",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 -- SQLAlchemy's own protocol
        datetime: Moment,
        str: sa.Text,
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


class RunRow(Base):
    __tablename__ = "pghaul_run"
    __table_args__ = (Index("pghaul_run_series_idx", "series", "started"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    source: Mapped[str]
    target: Mapped[str]
    started: Mapped[datetime] = mapped_column(index=True)
    finished: Mapped[datetime | None]
    epoch: Mapped[int]
    chunks: Mapped[int]
    chunks_done: Mapped[int]
    rows: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)
    bytes_estimated: Mapped[int] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(Words)
    pid: Mapped[int] = mapped_column(BigInteger)
    process: Mapped[str]  # machine and birth of that pid: the number alone is given out again
    wish: Mapped[str]
    plan: Mapped[str]  # JSON of the Plan, without passwords
    source_identity: Mapped[str]
    target_identity: Mapped[str]
    not_carried: Mapped[str]  # JSON
    note: Mapped[str | None] = mapped_column(Words)  # why it is paused
    progress: Mapped[dict[str, Any] | None]  # the data of its last PROGRESS event, for who watches from elsewhere
    placements: Mapped[str | None]  # JSON; an older run has none: every table came from itself
    facts: Mapped[dict[str, Any] | None]  # who, where, versions and settings: for the report
    series: Mapped[str | None]  # that it is a round of


class SeriesRow(Base):
    __tablename__ = "pghaul_series"

    id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    source: Mapped[str]
    target: Mapped[str]
    every: Mapped[float] = mapped_column(sa.Double)  # seconds
    started: Mapped[datetime] = mapped_column(index=True)
    finished: Mapped[datetime | None]
    rounds: Mapped[int] = mapped_column(BigInteger)
    empty_rounds: Mapped[int] = mapped_column(BigInteger)
    failed_rounds: Mapped[int] = mapped_column(BigInteger)
    different_rounds: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int] = mapped_column(BigInteger)
    last_round: Mapped[datetime | None]
    read_at: Mapped[datetime | None]
    last_run: Mapped[str | None]
    error: Mapped[str | None] = mapped_column(Words)
    error_at: Mapped[datetime | None]
    failures: Mapped[int]
    marks: Mapped[dict[str, Any]]
    pid: Mapped[int] = mapped_column(BigInteger)
    process: Mapped[str]  # machine and birth of that pid
    wish: Mapped[str]
    plan: Mapped[str]  # JSON of the Plan, without passwords
    note: Mapped[str | None] = mapped_column(Words)  # why it is paused


class TableRow(Base):
    __tablename__ = "pghaul_table"

    run_id: Mapped[str] = mapped_column(ForeignKey("pghaul_run.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    definition: Mapped[str]  # JSON of the Table


class ChunkRow(Base):
    __tablename__ = "pghaul_chunk"

    run_id: Mapped[str] = mapped_column(ForeignKey("pghaul_run.id", ondelete="CASCADE"), primary_key=True)
    table_schema: Mapped[str] = mapped_column(primary_key=True)
    table_name: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    kind: Mapped[str]
    first_page: Mapped[int] = mapped_column(BigInteger)
    end_page: Mapped[int | None] = mapped_column(BigInteger)
    key_column: Mapped[str | None]  # of a range: its key, from `low` to below `high`
    key_low: Mapped[int | None] = mapped_column(BigInteger)
    key_high: Mapped[int | None] = mapped_column(BigInteger)
    bytes_estimated: Mapped[int] = mapped_column(BigInteger)
    rows_estimated: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[str]
    attempts: Mapped[int]
    error: Mapped[str | None] = mapped_column(Words)
    receipt: Mapped[str | None]  # JSON of the Receipt


class EventRow(Base):
    __tablename__ = "pghaul_event"
    __table_args__ = (Index("pghaul_event_run_id_idx", "run_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("pghaul_run.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    kind: Mapped[str]
    relation: Mapped[str | None]
    chunk: Mapped[str | None]
    message: Mapped[str] = mapped_column(Words)
    data: Mapped[dict[str, Any]]


class SampleRow(Base):
    __tablename__ = "pghaul_sample"
    __table_args__ = (Index("pghaul_sample_run_id_idx", "run_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("pghaul_run.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    rows: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)
    in_flight: Mapped[int] = mapped_column(BigInteger)
    chunks_done: Mapped[int]


class IdentityRow(Base):
    __tablename__ = "pghaul_identity"

    id: Mapped[str] = mapped_column(primary_key=True)  # one row, made with the table: a secret belongs to its store


class ProfileRow(Base):
    __tablename__ = "pghaul_profile"

    name: Mapped[str] = mapped_column(primary_key=True)
    engine: Mapped[str | None]  # None: PostgreSQL
    params: Mapped[dict[str, Any]]  # the engine's words, libpq's keywords of PostgreSQL; without the password
    secret: Mapped[str | None]  # encrypted, with the id of its key
    password_from: Mapped[str | None]  # kept, env:NAME, pgpass, prompt or command:CMD
    note: Mapped[str | None]
    changed: Mapped[datetime]


class VerificationRow(Base):
    __tablename__ = "pghaul_verification"
    __table_args__ = (Index("pghaul_verification_run_id_idx", "run_id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str | None]  # None: of databases that pghaul did not copy
    started: Mapped[datetime]
    agrees: Mapped[bool]
    definition: Mapped[str]  # JSON of the Verification
