"""One reading of a SQLite table: a statement whose first row types the columns, its batches made and checked ahead.

The driver cannot be interrupted. So a thread of its own pulls the batches, and whoever is told to stop leaves it
behind: it ends with the batch that it is in, and lets its connection go.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pghaul.model.errors import PghaulError, SourceError, StoppedError
from pghaul.model.foreign import KeyRange, Reading
from pghaul.model.text import say
from pghaul.sources import _sqlite_sql as sql
from pghaul.sources._sqlite_connection import Connection, quoted
from pghaul.sources._sqlite_forms import SENTINELS, Form
from pghaul.sources.reading_sql import where_clause

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 8_192  # of a batch of the driver: more is not faster
MOST_BYTES = 4 << 20  # of a batch of ours: larger ones are not faster either, and several are on their way at once
LOOKED_AT = 0.1  # seconds between looks at the wish to stop
PATIENCE = 0.5  # seconds for a batch that is being read when nobody wants it any more


def condition(where: str | None, range_: KeyRange | None) -> str:
    """ " WHERE …", or nothing."""
    return where_clause(where, range_, quoted)


def statement(reading: Reading, forms: Sequence[Form]) -> str:
    """What is run for it."""
    order = f" ORDER BY {', '.join(f'{quoted(c)} COLLATE BINARY' for c in reading.ordered)}" if reading.ordered else ""
    rows = sql.ROWS.format(
        columns=", ".join(f.expression for f in forms),
        table=quoted(reading.table.name),
        where=condition(reading.where, reading.range),
        order=order,
    )
    if order or reading.limit is not None:
        rows = sql.LIMITED.format(rows=rows, limit=reading.limit if reading.limit is not None else -1)
    return sql.TYPED.format(first=", ".join(SENTINELS[f.carried] for f in forms), rows=rows)


class Rows:
    """Batches of one reading (sources.protocol.Batches)."""

    def __init__(
        self,
        connection: Connection,
        reading: Reading,
        forms: Sequence[Form],
        rows: int,
        locate: Callable[[], None],
    ) -> None:
        import pyarrow as pa  # noqa: PLC0415

        self.schema = pa.schema([pa.field(f.name, f.type) for f in forms])
        self._connection, self._reading, self._forms = connection, reading, forms
        self._locate = locate
        self._batch_rows = rows
        self._ready: queue.Queue[pa.RecordBatch | PghaulError | None] = queue.Queue(maxsize=1)
        self._end = threading.Event()
        self._stopped = threading.Event()
        self._turn_of = threading.Lock()
        self.done = threading.Event()  # the thread has let go of the connection
        self._left = False  # nobody waits for it: it closes the connection
        self._sql = statement(reading, forms)
        self._thread = threading.Thread(target=self._work, name="sqlite", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        while not self._end.is_set():
            try:
                item = self._ready.get(timeout=LOOKED_AT)
            except queue.Empty:
                continue
            if self._stopped.is_set():
                break
            if item is None:
                return
            if isinstance(item, PghaulError):
                raise item
            yield item
        if self._stopped.is_set():
            raise StoppedError(say("reading was stopped"), where=self._connection.where, code=4020)

    def stop(self) -> None:
        """From another thread."""
        self._stopped.set()
        self._end.set()

    def close(self) -> None:
        self._end.set()
        self.done.wait(0.0 if self._stopped.is_set() else PATIENCE)

    @property
    def stopped(self) -> bool:
        """Somebody has asked for its end, or does not want the rest."""
        return self._end.is_set()

    def leave(self) -> bool:
        """Have the thread close the connection at its end; False where it is at its end already."""
        self._end.set()
        with self._turn_of:
            self._left = not self.done.is_set()
            return self._left

    def _work(self) -> None:
        try:
            last: PghaulError | None = None
            try:
                self._pull()
            except PghaulError as exc:
                last = exc
            except Exception as exc:  # noqa: BLE001 -- it is raised again, in the thread that reads
                last = self._connection.error(exc)
            self._give(last)
        finally:
            with self._turn_of:
                self.done.set()
            if self._left:
                self._connection.close()

    def _give(self, item: Any) -> bool:
        while not self._end.is_set():
            try:
                self._ready.put(item, timeout=LOOKED_AT)
            except queue.Full:
                continue
            return True
        return False

    def _pull(self) -> None:
        from adbc_driver_sqlite import StatementOptions  # noqa: PLC0415

        with self._connection.translated(), self._connection.raw.cursor() as cursor:
            cursor.adbc_statement.set_options(**{StatementOptions.BATCH_ROWS.value: str(self._batch_rows)})
            try:
                cursor.execute(self._sql)
                reader = cursor.fetch_record_batch()
                self._check_types(reader.schema)
                self._pass_on(reader)
            except PghaulError:
                raise
            except Exception as exc:
                words = str(exc)
                if "overflow" in words or "mismatch" in words:
                    self._locate()
                raise

    def _check_types(self, schema: pa.Schema) -> None:
        """The first batch decides them: another type means a value of another class in it."""
        import pyarrow as pa  # noqa: PLC0415

        known = {"integer": pa.int64(), "real": pa.float64(), "text": pa.string(), "blob": pa.binary()}
        if any(field.type != known[f.carried] for field, f in zip(schema, self._forms, strict=True)):
            self._locate()
            raise SourceError(
                say("the driver has read other types than were asked for"), where=self._connection.where, code=6925
            )

    def _pass_on(self, reader: Any) -> None:
        import pyarrow as pa  # noqa: PLC0415

        first, rows, size = True, 0, 0
        most = min(self._reading.batch_bytes, MOST_BYTES)
        waiting: list[pa.RecordBatch] = []
        for raw in reader:
            batch = self._turned(raw.slice(1) if first else raw)
            first = False
            if waiting and (rows + batch.num_rows > self._reading.batch_rows or size + batch.nbytes > most):
                if not self._give(pa.concat_batches(waiting)):
                    return
                waiting, rows, size = [], 0, 0
            if batch.num_rows:
                waiting.append(batch)
                rows, size = rows + batch.num_rows, size + batch.nbytes
            if self._end.is_set():
                return
        if waiting:
            self._give(pa.concat_batches(waiting))

    def _turned(self, raw: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow as pa  # noqa: PLC0415

        columns = [self._turn(f, a) for f, a in zip(self._forms, raw.columns, strict=True)]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _turn(self, form: Form, array: pa.Array) -> pa.Array:
        try:
            if form.carried == "text":
                array.validate(full=True)  # the driver hands on bytes that are no UTF-8
            return form.turn(array) if form.turn else array
        except ValueError:  # Arrow's errors are
            raise self._refused(form, array) from None

    def _refused(self, form: Form, array: pa.Array) -> SourceError:
        """The first value that cannot be turned: halved until it stands alone."""
        while len(array) > 1:
            middle = len(array) // 2
            array = array[:middle] if _fails(form, array[:middle]) else array[middle:]
        return SourceError(
            say(
                "column {column} holds {value}, which is no {type}",
                column=form.name,
                value=_shown(array),
                type=_type_of(self._reading, form.name),
            ),
            where=f"{self._connection.where}, {self._reading.table.name}",
            advice=say("give the column another type in the plan: text holds everything that is text"),
            code=6926,
        )


def _fails(form: Form, array: pa.Array) -> bool:
    try:
        if form.carried == "text":
            array.validate(full=True)
        if form.turn:
            form.turn(array)
    except ValueError:
        return True
    return False


def _shown(array: pa.Array) -> str:
    import pyarrow as pa  # noqa: PLC0415

    value = array.view(pa.binary())[0].as_py() if pa.types.is_string(array.type) else array[0].as_py()
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return say("bytes that are no UTF-8 (0x{hex})", hex=value[:16].hex())
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _type_of(reading: Reading, name: str) -> str:
    return next(c.pg_type for c in reading.columns if c.name == name)
