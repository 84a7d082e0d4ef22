"""How the target spells values that it was sent as text: jsonb without its blanks, 90 minutes as 01:30:00, lists.

They are cast by the server that is to be compared with, in a temporary table: nobody else knows how. It needs the
privilege TEMPORARY, and a transaction that may write; it is asked only where texts differ.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType

import asyncpg
import pyarrow as pa

from pghaul.target.arrow.encoding import Encoding
from pghaul.target.arrow.reading_back import WORDS, BackReader, compared_schema, ours

TABLE = "pghaul_spelled"
CREATE = "CREATE TEMPORARY TABLE {0} ({1})"
DROP = "DROP TABLE IF EXISTS pg_temp.{0}"
EMPTY = "TRUNCATE pg_temp.{0}"
READ = "SELECT {1} FROM pg_temp.{0}"


class Speller:
    """On one connection of ours. Column names are numbers, so that nothing is to be quoted; types are the server's."""

    def __init__(self, connection: asyncpg.Connection, encoding: Encoding) -> None:
        self._connection = connection
        self._encoding = encoding
        ways = [w for w in encoding.ways if not w.exact]
        self._places = [n for n, w in enumerate(encoding.ways) if not w.exact]
        self._part = Encoding(ways, "csv")
        self._names = [f"c{n}" for n in self._places]
        self._types = [w.column.type for w in ways]

    async def __aenter__(self) -> Speller:
        if self._names:
            await self._connection.execute(DROP.format(TABLE))
            columns = ", ".join(f"{n} {t}" for n, t in zip(self._names, self._types, strict=True))
            await self._connection.execute(CREATE.format(TABLE, columns))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._names and error is None:
            await self._connection.execute(DROP.format(TABLE))

    async def spelled(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A canonical batch in the schema of comparisons, every value as the server has it."""
        mine = ours(self._encoding, batch)
        if not self._names or not batch.num_rows:
            return mine
        await self._connection.execute(EMPTY.format(TABLE))
        await self._connection.copy_to_table(
            TABLE,
            schema_name="pg_temp",
            source=self._pieces(batch.select(self._places)),
            columns=self._names,
            **self._part.copy_sql_options(),
        )
        return self._put_in(mine, await self._read())

    async def _pieces(self, batch: pa.RecordBatch) -> AsyncIterator[bytes]:
        for piece in self._part.encode(batch):
            yield piece

    async def _read(self) -> pa.RecordBatch:
        back = BackReader(self._part)
        found: list[pa.RecordBatch] = []

        async def sink(data: bytes) -> None:
            found.extend(back.feed(data))

        await self._connection.copy_from_query(READ.format(TABLE, ", ".join(self._names)), output=sink, **WORDS)
        found.extend(back.end())
        return pa.Table.from_batches(found, back.schema).combine_chunks().to_batches()[0]

    def _put_in(self, mine: pa.RecordBatch, theirs: pa.RecordBatch) -> pa.RecordBatch:
        arrays = list(mine.columns)
        for place, array in zip(self._places, theirs.columns, strict=True):
            arrays[place] = array
        return pa.RecordBatch.from_arrays(arrays, schema=compared_schema(self._encoding))
