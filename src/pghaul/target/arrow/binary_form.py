"""Canonical batches as COPY's binary form has them: pgpq, behind this one module.

It names no types to the server, so that an int64 for a timestamp would arrive as some timestamp: what the columns are
has been compared before (way.py), and what pgpq says that it makes is compared here once more.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pghaul.model.errors import MappingError, NotFoundError
from pghaul.model.text import say
from pghaul.target.arrow.csv_form import PORTION, WIDE, portions
from pghaul.target.arrow.kinds import Payload
from pghaul.target.arrow.way import Way

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NO_FIELDS = b"\0\0"  # a row without columns
COUNT = 2  # bytes of the number of fields, before them
LENGTH = struct.Struct(">i")  # before each field; -1 is NULL

# What pgpq calls what it makes, of columns of these types. Text, bytes and times have one binary form for many types.
MADE = {
    "BOOL": {"boolean"},
    "INT2": {"smallint"},
    "INT4": {"integer"},
    "INT8": {"bigint"},
    "FLOAT4": {"real"},
    "FLOAT8": {"double precision"},
    "NUMERIC": {"numeric"},
    "TEXT": {"text", "character varying", "character", "name", "json"},
    "JSONB": {"jsonb"},
    "BYTEA": {"bytea", "uuid"},
    "DATE": {"date"},
    "TIME": {"time without time zone"},
    "TIMESTAMP": {"timestamp without time zone", "timestamp with time zone"},
}


class Binary:
    """One stream of batches, which all have the same canonical schema.

    pgpq keeps back what it has made until that is worth a write: rows are whole only after finish().
    """

    def __init__(self, ways: Sequence[Way]) -> None:
        self._ways = tuple(ways)
        self._pgpq = _encoder(ways) if ways else None

    def header(self) -> bytes:
        """What comes first."""
        return HEADER if self._pgpq is None else self._bytes(self._pgpq.write_header())

    def rows(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        """Of some of the rows so far, or nothing yet."""
        if self._pgpq is None:
            yield NO_FIELDS * batch.num_rows
        elif batch.num_rows == 1 and batch.nbytes > WIDE:
            yield self._kept_back()
            yield from self._wide(batch)
        elif made := self._bytes(self._pgpq.write_batch(batch)):
            yield made

    def finish(self) -> bytes:
        """What was kept back, and the end."""
        return TRAILER if self._pgpq is None else self._bytes(self._pgpq.finish())

    def _kept_back(self) -> bytes:
        """All rows so far; the stream goes on."""
        held = self.finish().removesuffix(TRAILER)
        self._pgpq = _encoder(self._ways)
        self.header()
        return held

    def _wide(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        """One row, in portions: pgpq would hold it twice more. It writes the others of its fields."""
        wide = [_is_wide(c) for c in batch.columns]
        slim = [pa.nulls(1, c.type) if w else c for c, w in zip(batch.columns, wide, strict=True)]
        alone = Binary(self._ways)
        alone.header()
        row = b"".join(alone.rows(pa.RecordBatch.from_arrays(slim, names=batch.schema.names))) + alone.finish()
        yield row[:COUNT]
        at = COUNT
        for array, way, is_wide in zip(batch.columns, self._ways, wide, strict=True):
            (size,) = LENGTH.unpack_from(row, at)
            end = at + LENGTH.size + max(0, size)
            if is_wide:
                yield from _field(array, b"\x01" if way.payload is Payload.JSONB else b"")
            else:
                yield row[at:end]
            at = end

    @staticmethod
    def _bytes(made: bytes) -> bytes:
        return made


def _is_wide(array: pa.Array) -> bool:
    return bool((pa.types.is_string(array.type) or pa.types.is_binary(array.type)) and array.nbytes > PORTION)


def _field(array: pa.Array, version: bytes) -> Iterator[bytes]:
    """A text or bytes: its length, and what it is."""
    if array.null_count:
        yield LENGTH.pack(-1)
        return
    yield LENGTH.pack(len(version) + pc.binary_length(array)[0].as_py()) + version
    yield from map(bytes, portions(array))


def _encoder(ways: Sequence[Way]) -> Any:
    try:
        import pgpq  # noqa: PLC0415 -- an extra
        from pgpq import encoders, schema  # noqa: PLC0415
    except ImportError:
        raise NotFoundError(
            say("the program library pgpq is not installed"), advice=say("pip install 'pghaul[arrow]'"), code=5268
        ) from None
    arrow = pa.schema([pa.field(str(n), w.type) for n, w in enumerate(ways)])
    builders = {
        f.name: encoders.StringEncoderBuilder.new_with_output(f, schema.Jsonb())
        if w.payload is Payload.JSONB
        else pgpq.ArrowToPostgresBinaryEncoder.infer_encoder(f)
        for f, w in zip(arrow, ways, strict=True)
    }
    made = pgpq.ArrowToPostgresBinaryEncoder.new_with_encoders(arrow, builders)
    for column, way in zip(made.schema().columns, ways, strict=True):
        _compare(column.data_type.ddl() or "", way)
    return made


def _compare(made: str, way: Way) -> None:
    name, _, dims = made.partition("[")
    column = way.column
    fits = column.enum and name == "TEXT"
    if (fits or column.spelled.name in MADE.get(name, ())) and bool(dims) == column.spelled.array:
        return
    raise MappingError(
        say(
            "column {column} takes {type}, and the encoder would send it {made}",
            column=column.name,
            type=column.type,
            made=made,
        ),
        code=7013,
    )
