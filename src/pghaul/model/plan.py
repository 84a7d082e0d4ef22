"""What a person asks for. A plan is validated here, read and written as TOML by the service."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class OnExisting(StrEnum):
    FAIL = "fail"  # refuse tables that hold rows; the default
    TRUNCATE = "truncate"  # empty them first
    APPEND = "append"  # add to what is there
    SKIP = "skip"  # leave tables that hold rows alone
    ASK = "ask"  # call back into the face


class Verify(StrEnum):
    COUNT = "count"  # rows read = rows written, always
    CHECKSUM = "checksum"  # and a content hash of both sides


class Format(StrEnum):
    AUTO = "auto"  # binary where every type's binary form is the same on both servers, else text
    TEXT = "text"
    BINARY = "binary"


class Locks(StrEnum):
    RUN = "run"  # ACCESS SHARE on every table for the whole run, taken before the snapshot
    CHUNK = "chunk"  # taken per chunk, and the relation's filenode compared


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Selection(Model):
    """`name` is `schema.table` with shell wildcards in either part; without a dot it means public."""

    name: Annotated[str, Field(min_length=1)]
    on_existing: OnExisting | None = None  # overrides the plan's


class Options(Model):
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    on_existing: OnExisting = OnExisting.FAIL
    verify: Verify = Verify.COUNT
    format: Format = Format.AUTO
    locks: Locks = Locks.RUN
    split_bytes: Annotated[int, Field(ge=8192)] = 1 << 30  # a bigger table is read in ctid ranges of this size
    create: bool = True  # create missing tables from pg_dump's pre-data section
    indexes: bool = True  # and their indexes and constraints afterwards
    analyze: bool = True
    source_encoding: str | None = None  # what a SQL_ASCII source's bytes really are, e.g. UHC
    retries: Annotated[int, Field(ge=0)] = 8  # per chunk
    give_up_after: Annotated[float, Field(gt=0)] = 300.0  # seconds of faults without any progress
    stall_timeout: Annotated[float, Field(gt=0)] = 60.0  # seconds of silence before the server is asked
    lock_timeout: Annotated[float, Field(gt=0)] = 10.0  # seconds


class Plan(Model):
    source: str
    target: str
    tables: Annotated[list[Selection], Field(min_length=1)]
    options: Options = Options()
