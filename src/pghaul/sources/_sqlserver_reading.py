"""One reading of a SQL Server table: rows are fetched ahead by a thread, and made into columns piece by piece.

pymssql makes a Python object of every value, and there is no way around it; nothing else is done per value but the
decoding of UTF-16. Whoever is told to stop leaves the thread behind: it ends by itself, and lets its connection go.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pghaul.model.errors import PghaulError, SourceError
from pghaul.model.foreign import KeyRange, Reading
from pghaul.model.table import Name
from pghaul.model.text import say
from pghaul.sources import _sqlserver_sql as sql
from pghaul.sources._sqlserver_connection import Connection, quoted
from pghaul.sources._sqlserver_forms import Form
from pghaul.sources.gathering import first_failing, gathered, unreadable
from pghaul.sources.reading_ahead import Ahead
from pghaul.sources.reading_sql import where_clause

if TYPE_CHECKING:
    import pyarrow as pa

MOST_VALUES = 100_000  # of a piece: each is a Python object of some 60 bytes while the piece is made
MOST_ROWS = 8_192  # of a piece
PIECE = 2 << 20  # bytes of a piece, but for a single row that is larger


def table_sql(name: Name) -> str:
    """Qualified."""
    return f"{quoted(name.schema)}.{quoted(name.name)}" if name.schema else quoted(name.name)


def condition(where: str | None, range_: KeyRange | None) -> str:
    """ " WHERE …", or nothing."""
    return where_clause(where, range_, quoted)


def statement(reading: Reading, forms: Sequence[Form]) -> str:
    """What is run for it."""
    return sql.READ.format(
        top=f"TOP ({reading.limit}) " if reading.limit is not None else "",
        columns=", ".join(f.expression for f in forms),
        table=table_sql(reading.table),
        where=condition(reading.where, reading.range),
        order=f" ORDER BY {', '.join(quoted(c) for c in reading.ordered)}" if reading.ordered else "",
    )


class Rows:
    """Batches of one reading (sources.protocol.Batches). `released` gets the connection when all has been read."""

    def __init__(
        self,
        connection: Connection,
        reading: Reading,
        forms: Sequence[Form],
        released: Callable[[Connection], None],
    ) -> None:
        import pyarrow as pa  # noqa: PLC0415

        self.schema = pa.schema([pa.field(f.name, f.type) for f in forms])
        self._connection, self._reading, self._forms, self._released = connection, reading, forms, released
        self._where = f"{connection.where}, {reading.table}"
        self._ahead = Ahead(self._where, 2)
        self.done = threading.Event()  # the thread has let go of the connection
        threading.Thread(target=self._work, name="sqlserver", daemon=True).start()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return iter(self._ahead)

    def stop(self) -> None:
        """From another thread."""
        self._ahead.stop()

    def close(self) -> None:
        self._ahead.end.set()
        self.done.wait(1.0)

    def _work(self) -> None:
        last: PghaulError | None = None
        try:
            self._pull()
        except PghaulError as exc:
            exc.where = exc.where or self._where
            last = exc
        except Exception as exc:  # noqa: BLE001 -- it is raised again, in the thread that reads
            last = SourceError(
                say("SQL Server's rows cannot be read: {why}", why=type(exc).__name__), where=self._where, code=6947
            )
        if last is None and not self._ahead.end.is_set():
            self._released(self._connection)
        else:
            self._connection.close()  # what was not read to its end is not fetched any more
        self.done.set()
        self._ahead.give(last)

    def _pull(self) -> None:
        reading, ahead = self._reading, self._ahead
        with self._connection.rows(statement(reading, self._forms), ahead.end) as cursor:
            for batch in gathered(self._made(cursor), rows=reading.batch_rows, size=reading.batch_bytes // 2):
                if not ahead.give(batch):
                    return
                del batch  # while the next one is made

    def _made(self, cursor: Any) -> Iterator[pa.RecordBatch]:
        for piece in self._pieces(cursor):
            yield self._columns(piece)
            if self._ahead.end.is_set():
                return

    def _pieces(self, cursor: Any) -> Iterator[list[tuple[Any, ...]]]:
        most = min(MOST_ROWS, self._reading.batch_rows, max(1, MOST_VALUES // len(self._forms)))
        room = min(PIECE, self._reading.batch_bytes // 4)
        endless = [i for i, f in enumerate(self._forms) if f.width is None]
        fixed = sum(f.width or 0 for f in self._forms) + 1
        most = max(1, min(most, room // fixed))
        while True:
            rows = _up_to(cursor, endless, most, room) if endless else cursor.fetchmany(most)
            if not rows:
                return
            yield rows

    def _columns(self, rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
        import pyarrow as pa  # noqa: PLC0415

        columns = zip(*rows, strict=True)
        arrays = [self._column(f, values) for f, values in zip(self._forms, columns, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _column(self, form: Form, values: Sequence[Any]) -> pa.Array:
        try:
            return form.array(values)
        except (ValueError, OverflowError, TypeError) as exc:  # Arrow's errors are among them
            raise self._refused(form, values, exc) from None

    def _refused(self, form: Form, values: Sequence[Any], why: Exception) -> SourceError:
        first = first_failing(values, lambda part: _fails(form, part))[0]
        return unreadable(form.name, form.pg_type, shown=_shown(first), why=why, where=self._where)


def _up_to(cursor: Any, endless: list[int], most: int, room: int) -> list[tuple[Any, ...]]:
    """Rows until their large values fill the room."""
    rows: list[tuple[Any, ...]] = []
    size = 0
    while len(rows) < most and size < room:
        row = cursor.fetchone()
        if row is None:
            break
        rows.append(row)
        size += sum([len(row[i]) for i in endless if row[i] is not None])
    return rows


def _fails(form: Form, values: Sequence[Any]) -> bool:
    try:
        form.array(values)
    except (ValueError, OverflowError, TypeError):
        return True
    return False


def _shown(value: Any) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    text = f"0x{text}" if isinstance(value, bytes) else text
    return text if len(text) <= 60 else f"{text[:60]}…"
