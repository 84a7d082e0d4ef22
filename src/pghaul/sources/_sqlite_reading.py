"""One reading of a SQLite table: a statement whose first row types the columns, its batches made and checked ahead.

The driver cannot be interrupted. So a thread of its own pulls the batches, and whoever is told to stop leaves it
behind: it ends with the batch that it is in, and lets its connection go.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pghaul.model.errors import PghaulError, SourceError
from pghaul.model.foreign import KeyRange, Misfit, Reading
from pghaul.model.text import say
from pghaul.sources import _sqlite_sql as sql
from pghaul.sources import misfits
from pghaul.sources._sqlite_connection import Connection, quoted
from pghaul.sources._sqlite_forms import SENTINELS, Form, loosely
from pghaul.sources.gathering import first_failing, gathered
from pghaul.sources.reading_ahead import Ahead
from pghaul.sources.reading_sql import where_clause

if TYPE_CHECKING:
    import pyarrow as pa

MOST_COLUMNS = 2_000  # of a result of SQLite
MOST_ROWS = 8_192  # of a batch of the driver: more is not faster
MOST_BYTES = 4 << 20  # of a batch of ours: larger ones are not faster either, and several are on their way at once
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
        self._loose = reading.loose and len(forms) < MOST_COLUMNS
        forms = loosely(forms) if self._loose else forms
        self._connection, self._reading, self._forms = connection, reading, forms
        self._locate = locate
        self._batch_rows = rows
        self._ahead = Ahead(connection.where, 1)
        self._turn_of = threading.Lock()
        self.done = threading.Event()  # the thread has let go of the connection
        self._left = False  # nobody waits for it: it closes the connection
        self._sql = statement(reading, forms)
        self._thread = threading.Thread(target=self._work, name="sqlite", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return iter(self._ahead)

    def stop(self) -> None:
        """From another thread."""
        self._ahead.stop()

    def close(self) -> None:
        self._ahead.end.set()
        self.done.wait(0.0 if self._ahead.stopped.is_set() else PATIENCE)

    @property
    def stopped(self) -> bool:
        """Somebody has asked for its end, or does not want the rest."""
        return self._ahead.end.is_set()

    def leave(self) -> bool:
        """Have the thread close the connection at its end; False where it is at its end already."""
        self._ahead.end.set()
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
            self._ahead.give(last)
        finally:
            with self._turn_of:
                self.done.set()
            if self._left:
                self._connection.close()

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
        reading = self._reading
        most = min(reading.batch_bytes, MOST_BYTES)
        made = self._made(reader)  # loosely: one by one, as each has its own misfits
        for batch in made if self._loose else gathered(made, rows=reading.batch_rows, size=most):
            if not self._ahead.give(batch):
                return
            del batch  # while the next one is made

    def _made(self, reader: Any) -> Iterator[pa.RecordBatch]:
        first = True
        for raw in reader:
            batch = (self._sorted_out if self._loose else self._turned)(raw.slice(1) if first else raw)
            first = False
            if batch.num_rows:
                yield batch
            if self._ahead.end.is_set():
                return

    def _turned(self, raw: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow as pa  # noqa: PLC0415

        columns = [self._turn(f, a) for f, a in zip(self._forms, raw.columns, strict=True)]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _sorted_out(self, raw: pa.RecordBatch) -> pa.RecordBatch:
        """As _turned; values that cannot be read so are NULL, and told of."""
        import pyarrow as pa  # noqa: PLC0415

        found = [_refused_by_class(n, t, self._reading, self._forms) for n, t in _tellings(raw.columns[-1])]
        columns = []
        for form, array in zip(self._forms[:-1], raw.columns, strict=False):
            bad = misfits.failing(array, partial(_fails, form))
            found += [self._misfit(form, array, n) for n in bad]
            columns.append(self._turn(form, misfits.without(array, bad) if bad else array))
        return misfits.marked(pa.RecordBatch.from_arrays(columns, schema=self.schema), found)

    def _misfit(self, form: Form, array: pa.Array, row: int) -> Misfit:
        value, kind = _shown(array.slice(row, 1)), _type_of(self._reading, form.name)
        return Misfit(row, form.name, _raw(array, row), say("{value} is no {type}", value=value, type=kind))

    def _turn(self, form: Form, array: pa.Array) -> pa.Array:
        try:
            if form.carried == "text":
                array.validate(full=True)  # the driver hands on bytes that are no UTF-8
            return form.turn(array) if form.turn else array
        except ValueError:  # Arrow's errors are
            raise self._refused(form, array) from None

    def _refused(self, form: Form, array: pa.Array) -> SourceError:
        array = first_failing(array, lambda part: _fails(form, part))
        return SourceError(
            say(
                "column {column} holds {value}, which is no {type}",
                column=form.name,
                value=_shown(array),
                type=_type_of(self._reading, form.name),
            ),
            where=f"{self._connection.where}, {self._reading.table.name}",
            advice=say("give the column another type in the plan: text holds everything that is text"),
            sqlstate=misfits.SQLSTATE,
            code=6926,
        )


def _tellings(column: pa.Array) -> Iterator[tuple[int, str]]:
    """Row, and what is told of it."""
    import pyarrow as pa  # noqa: PLC0415

    for n in column.is_valid().to_numpy(zero_copy_only=False).nonzero()[0]:
        yield int(n), column.view(pa.binary())[int(n)].as_py().decode("utf-8", "backslashreplace")


def _refused_by_class(row: int, told: str, reading: Reading, forms: Sequence[Form]) -> Misfit:
    place, kind, value = told.split(" ", 2)
    name = forms[int(place)].name
    if kind == "text":
        value = value[1:-1].replace("''", "'")
    elif kind == "blob":
        value = "\\x" + value[2:-1].lower()
    message = say(
        "a value of class {found} cannot become {type}: {value}",
        found=kind,
        type=_type_of(reading, name),
        value=value if len(value) <= 60 else f"{value[:60]}…",
    )
    return Misfit(row, name, value, message)


def _raw(array: pa.Array, row: int) -> str:
    """A value as a line of text takes it."""
    import pyarrow as pa  # noqa: PLC0415

    value = array.view(pa.binary())[row].as_py() if pa.types.is_string(array.type) else array[row].as_py()
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode() if pa.types.is_string(array.type) else "\\x" + value.hex()
    except UnicodeDecodeError:
        return "\\x" + value.hex()


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
