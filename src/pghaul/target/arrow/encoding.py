"""Record batches into the bytes of COPY: which of its two forms a table gets, and what is cast or refused before.

    encoding = choose(batches.schema, columns)          # MappingError, by name
    words = encoding.copy_sql_options()                 # for asyncpg's copy_to_table
    for batch in batches:
        canonical = encoding.cast(batch)                # RowError; sift() tells the rows that fit from the others
        for piece in encoding.encode(canonical): …
    … encoding.finish()

Binary where every column has a form that pgpq encodes (0.14 s of CPU for a million rows of 14 mixed columns), else csv,
which takes strings in PostgreSQL's input syntax for any type (0.6 s). The canonical form is the same for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from pghaul.model.errors import MappingError, RowError
from pghaul.model.text import Text, joined, say
from pghaul.target.arrow import binary_form, csv_form
from pghaul.target.arrow.column import TargetColumn
from pghaul.target.arrow.kinds import Payload
from pghaul.target.arrow.way import Way, way_of

__all__ = ["Encoding", "Refused", "Sifted", "TargetColumn", "choose"]

Format: TypeAlias = Literal["binary", "csv"]

# What is encoded at once. pgpq is quickest with few rows (65,536 cost half as much again as 4,096) …
ROWS = 4096
PIECE = 1 << 20  # … and wide rows are not to be in memory twice
FIRST = 5  # refused rows that are named
MOST_COLUMNS = 1600  # of a PostgreSQL table


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A row of a batch, from 0, that its column cannot hold."""

    row: int
    column: str
    message: Text
    sqlstate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sifted:
    """The canonical batch of the rows that fit; `refused` by row, once each. `kept`: their numbers, None for all."""

    batch: pa.RecordBatch
    refused: tuple[Refused, ...] = ()
    kept: Any = None


class Encoding:
    """Of one table's columns. One object encodes one stream: encode() … finish(), then the next may begin."""

    def __init__(self, ways: Sequence[Way], format_: Format) -> None:
        self.ways = tuple(ways)
        self.format: Format = format_
        self.schema = pa.schema([pa.field(w.column.name, w.type) for w in ways])
        self._stream = self._new_stream()  # now, so that what it cannot take is known before the first row
        self._begun = False

    def copy_sql_options(self) -> dict[str, Any]:
        """For asyncpg's copy_to_table; a session of ours speaks UTF8 in the binary form, too."""
        return {"format": "binary"} if self.format == "binary" else {"format": "csv", "encoding": "UTF8"}

    def sift(self, batch: pa.RecordBatch) -> Sifted:
        """Cast it; the rows that cannot be are told apart."""
        arrays, refused, bad = [], [], np.zeros(batch.num_rows, np.bool_)
        for way, array in zip(self.ways, batch.columns, strict=True):
            made, problems = way.fit(array)
            arrays.append(made)
            for problem in problems:
                found = problem.mask & ~bad
                refused += [
                    Refused(row=int(r), column=way.column.name, message=problem.message, sqlstate=problem.sqlstate)
                    for r in np.flatnonzero(found)
                ]
                bad |= problem.mask
        if not refused:
            return Sifted(batch=pa.RecordBatch.from_arrays(arrays, schema=self.schema) if arrays else batch)
        kept = np.flatnonzero(~bad)
        rest = self.sift(batch.take(pa.array(kept)))
        return Sifted(batch=rest.batch, refused=tuple(sorted(refused, key=lambda r: r.row)), kept=kept)

    def cast(self, batch: pa.RecordBatch, *, where: str | None = None, first: int = 1) -> pa.RecordBatch:
        """The canonical batch. Raises RowError with the numbers of the rows that do not fit; `first` is the first's."""
        sifted = self.sift(batch)
        if not sifted.refused:
            return sifted.batch
        raise RowError(
            say(
                "{n} rows do not fit into the target; the first: {rows}",
                n=len(sifted.refused),
                rows=joined(" | ", [_words(r, first) for r in sifted.refused[:FIRST]]),
            ),
            where=where,
            advice=say("mend them on the source, leave them out with --where, or let them be set aside: --max-rejects"),
            sqlstate=sifted.refused[0].sqlstate,
            code=3050,
        )

    def encode(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        """The bytes of a canonical batch, in pieces of about a megabyte, or one row where that is larger."""
        if self._stream is None:
            for part in parts(batch):
                yield from csv_form.lines(part)
            return
        if header := self._header():
            yield header
        for part in parts(batch):
            yield from self._stream.rows(part)

    def begin(self) -> None:
        """A new stream, whatever has become of the one before; the first needs none."""
        if self._begun:
            self._stream, self._begun = self._new_stream(), False

    def finish(self) -> bytes:
        """The end of the stream."""
        if self._stream is None:
            return b""
        end = self._header() + self._stream.finish()
        self._stream, self._begun = self._new_stream(), False
        return end

    def _new_stream(self) -> binary_form.Binary | None:
        return binary_form.Binary(self.ways) if self.format == "binary" else None

    def _header(self) -> bytes:
        begun, self._begun = self._begun, True
        return b"" if begun or self._stream is None else self._stream.header()


def parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch in slices, so that what is made of one stays small."""
    if not batch.num_rows:
        return
    rows = max(1, min(ROWS, PIECE * batch.num_rows // max(1, batch.nbytes)))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def choose(schema: pa.Schema, columns: Sequence[TargetColumn]) -> Encoding:
    """How batches of `schema` go into `columns`, by position. Raises MappingError for a column that has no way."""
    if len(schema) != len(columns) or len(columns) > MOST_COLUMNS:
        raise MappingError(
            say(
                "{delivered} columns are delivered for {taken} of the target", delivered=len(schema), taken=len(columns)
            ),
            code=7014,
        )
    ways = [way_of(field, column) for field, column in zip(schema, columns, strict=True)]
    binary = not ways or all(w.payload is not Payload.NONE for w in ways)
    return Encoding(ways, "binary" if binary else "csv")


def _words(refused: Refused, first: int) -> Text:
    return say(
        "row {n}, column {column}: {message}", n=refused.row + first, column=refused.column, message=refused.message
    )
