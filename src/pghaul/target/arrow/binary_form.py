"""Canonical batches as COPY's binary form has them: pgpq, behind this one module.

It names no types to the server, so that an int64 for a timestamp would arrive as some timestamp: what the columns are
has been compared before (way.py), and what pgpq says that it makes is compared here once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pghaul.model.errors import MappingError, NotFoundError
from pghaul.model.text import say
from pghaul.target.arrow.kinds import Payload
from pghaul.target.arrow.way import Way

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NO_FIELDS = b"\0\0"  # a row without columns

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
        self._pgpq = _encoder(ways) if ways else None

    def header(self) -> bytes:
        """What comes first."""
        return HEADER if self._pgpq is None else self._bytes(self._pgpq.write_header())

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Of some of the rows so far, or nothing yet."""
        return NO_FIELDS * batch.num_rows if self._pgpq is None else self._bytes(self._pgpq.write_batch(batch))

    def finish(self) -> bytes:
        """What was kept back, and the end."""
        return TRAILER if self._pgpq is None else self._bytes(self._pgpq.finish())

    @staticmethod
    def _bytes(made: bytes) -> bytes:
        return made


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
