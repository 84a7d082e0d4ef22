"""One reading of an Oracle table: data frames of the driver, checked and put together to batches.

A fetch is as many rows as fit the batch at their widest: by the declared lengths, and of LOBs by the longest one, which
the server is asked for before. Of a LONG nobody can tell: its rows are fetched one at a time.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pghaul.model.errors import PghaulError, SourceError
from pghaul.model.foreign import KeyRange, Reading
from pghaul.model.table import Name
from pghaul.sources import _oracle_sql as sql
from pghaul.sources._oracle_connection import Connection, quoted
from pghaul.sources._oracle_forms import Form
from pghaul.sources.gathering import first_failing, gathered, unreadable
from pghaul.sources.reading_ahead import stopped
from pghaul.sources.reading_sql import where_clause

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 16_384  # of a fetch
CHARACTER = 4  # bytes of one, at most


def table_sql(name: Name) -> str:
    """Qualified."""
    return f"{quoted(name.schema)}.{quoted(name.name)}" if name.schema else quoted(name.name)


def condition(where: str | None, range_: KeyRange | None) -> str:
    """ " WHERE …", or nothing."""
    return where_clause(where, range_, lambda c: f"t.{quoted(c)}")


def statement(reading: Reading, forms: Sequence[Form], *, moment: bool) -> str:
    """What is run for it."""
    return sql.READ.format(
        columns=", ".join(f"{f.expression} AS C{i}" for i, f in enumerate(forms)),
        table=table_sql(reading.table),
        moment=sql.MOMENT if moment else "",
        where=condition(reading.where, reading.range),
        order=f" ORDER BY {', '.join(f't.{quoted(c)}' for c in reading.ordered)}" if reading.ordered else "",
        limit=sql.LIMIT.format(n=reading.limit) if reading.limit is not None else "",
    )


class Rows:
    """Batches of one reading (sources.protocol.Batches). `released` gets the connection when all has been read."""

    def __init__(
        self,
        connection: Connection,
        reading: Reading,
        forms: Sequence[Form],
        scn: int | None,
        released: Callable[[Connection], None],
        *,
        unicode: bool = True,
    ) -> None:
        import pyarrow as pa  # noqa: PLC0415

        self.schema = pa.schema([pa.field(f.name, f.type) for f in forms])
        self._connection, self._reading, self._forms, self._released = connection, reading, forms, released
        self._values = {} if scn is None else {"scn": scn}
        self._unicode = unicode
        self._where = f"{connection.where}, {reading.table}"
        self._stopped = threading.Event()
        self.done = threading.Event()  # the connection has been let go

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        reading = self._reading
        return gathered(self._batches(), rows=reading.batch_rows, size=reading.batch_bytes // 2)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if self.done.is_set():
            return
        try:
            with self._connection.translated():
                for batch in self._frames():
                    if self._stopped.is_set():
                        raise stopped(self._where)
                    yield batch
        except PghaulError as exc:
            self.close()
            if self._stopped.is_set():
                raise stopped(self._where) from None
            exc.where = exc.where or self._where
            raise
        if self._stopped.is_set():
            self.close()
            raise stopped(self._where)
        self.done.set()
        self._released(self._connection)

    def _frames(self) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa  # noqa: PLC0415

        frames = self._connection.raw.fetch_df_batches(
            statement(self._reading, self._forms, moment=bool(self._values)),
            self._values,
            size=self._rows_of_a_fetch(),
            fetch_decimals=True,
        )
        with contextlib.closing(frames):
            for frame in frames:
                for batch in pa.table(frame).to_batches():
                    if batch.num_rows:
                        yield self._finished(batch)

    def _rows_of_a_fetch(self) -> int:
        if any(f.width is None and not f.sized for f in self._forms):
            return 1
        width = sum(f.width or 0 for f in self._forms) + 1 + self._longest()
        return max(1, min(MOST_ROWS, self._reading.batch_rows, self._reading.batch_bytes // 2 // width))

    def _longest(self) -> int:
        """Bytes of the LOBs of a row, at most."""
        lobs = [sql.SIZE.format(c=f.expression) for f in self._forms if f.sized]
        if not lobs:
            return 0
        asked = sql.WIDEST.format(
            sizes=" + ".join(lobs),
            table=table_sql(self._reading.table),
            moment=sql.MOMENT if self._values else "",
            where=condition(self._reading.where, self._reading.range),
        )
        return CHARACTER * int(self._connection.ask(asked, self._values)[0][0])

    def _finished(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow as pa  # noqa: PLC0415

        arrays = [self._column(f, a) for f, a in zip(self._forms, batch.columns, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _column(self, form: Form, array: pa.Array) -> pa.Array:
        try:
            return form.array(array, unicode=self._unicode)
        except (ValueError, NotImplementedError) as exc:  # Arrow's errors are among them
            raise self._refused(form, array, exc) from None

    def _refused(self, form: Form, array: pa.Array, why: Exception) -> SourceError:
        first = first_failing(array, lambda part: self._fails(form, part))
        return unreadable(form.name, form.pg_type, shown=_shown(first), why=why, where=self._where)

    def _fails(self, form: Form, array: pa.Array) -> bool:
        try:
            form.array(array, unicode=self._unicode)
        except (ValueError, NotImplementedError):
            return True
        return False

    def stop(self) -> None:
        """From another thread."""
        self._stopped.set()
        if not self.done.is_set():
            self._connection.cancel()

    def close(self) -> None:
        """What was not read to its end ends with its session."""
        if not self.done.is_set():
            self.done.set()
            self._connection.close()


def _shown(array: pa.Array) -> str:
    try:
        value: Any = array[0].as_py()
    except ValueError:
        value = "?"
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
