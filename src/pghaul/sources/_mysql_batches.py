"""Record batches of one reading: what connectorx makes of each piece, counted against what the server has sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from pghaul.model.errors import ConnectionLostError, CountMismatchError, PghaulError, SourceError
from pghaul.model.foreign import Reading
from pghaul.model.text import say
from pghaul.sources._mysql_projection import Projected
from pghaul.sources._mysql_reader import Link, panics
from pghaul.sources._mysql_session import kind_of, translated

if TYPE_CHECKING:
    import pyarrow as pa

AHEAD = 2  # batches on their way, if they are small: one is decoded while another is used
SMALL = 6 << 20  # bytes as they come; connectorx takes some four times of that for a while


class RawBatches:
    """As connectorx decodes them. `refused(number, words)` makes our error of a server's."""

    def __init__(
        self,
        link: Link,
        sql: str,
        *,
        rows: int,
        size: int,
        refused: Callable[[int, str], PghaulError] | None = None,
        kill: Callable[[], None] = lambda: None,
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._link = link
        self._rows = rows
        self._refused = refused or (lambda number, words: translated(number, words, link.where))
        self._kill = kill
        self._waiting = waiting
        self._ended = False
        link.read(sql, rows, size)
        self._asked = 0  # batches that are on their way
        self._ask(1)
        self._stream = link.stream(rows)
        self.schema: pa.Schema = self._stream.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        while not self._ended:
            self._ask(1)
            with self._waiting():
                said = self._link.next()
            self._asked -= 1
            if said["rows"]:
                if not said["over"] and said["bytes"] <= SMALL:
                    self._ask(AHEAD)
                yield self._next(said)
            if said["error"]:
                self._ended = True
                self._link.broken = kind_of(said["error"][0]) is ConnectionLostError
                raise self._refused(*said["error"])
            self._ended = said["last"]
            if said["over"]:
                self._end_of_stream()
            if said["over"] and not said["last"]:
                self._stream = self._link.stream(self._rows)

    def _ask(self, batches: int) -> None:
        """So that so many are on their way."""
        if batches > self._asked:
            self._link.tell({"more": batches - self._asked})
            self._asked = batches

    def _next(self, said: dict[str, Any]) -> pa.RecordBatch:
        with panics(self._link.where):
            batch = next(self._stream, None)
        made = batch.num_rows if batch is not None else 0
        if made != said["rows"]:
            raise _miscounted(said["rows"], made, self._link.where)
        return batch

    def _end_of_stream(self) -> None:
        with panics(self._link.where):
            batch = next(self._stream, None)
        if batch is not None and batch.num_rows:
            raise _miscounted(0, batch.num_rows, self._link.where)

    def close(self) -> None:
        """End it. The query is ended on the server, too."""
        if not self._ended:
            self._ended = True
            try:
                self._link.interrupt(self._kill)
            except PghaulError:  # it ends by itself, then
                self._link.broken = True


class FinishedBatches:
    """In the form that the reading asks for; see sources/protocol.py."""

    def __init__(
        self,
        raw: RawBatches,
        reading: Reading,
        columns: Sequence[Projected],
        go_on: Callable[[], None],
        where: str,
    ) -> None:
        import pyarrow as pa  # noqa: PLC0415

        self._raw = raw
        self._reading = reading
        self._columns = columns
        self._go_on = go_on
        self._where = where
        nothing = pa.RecordBatch.from_pylist([], schema=raw.schema)
        self.schema: pa.Schema = self._finished(nothing).schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._raw:
            self._go_on()
            finished = self._finished(batch)
            del batch  # while the next one is made
            yield finished
            del finished

    def _finished(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow as pa  # noqa: PLC0415

        arrays = [self._array(c, batch.column(i)) for i, c in enumerate(self._columns)]
        fields = [pa.field(c.name, a.type) for c, a in zip(self._columns, arrays, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))

    def _array(self, column: Projected, array: Any) -> Any:
        import pyarrow as pa  # noqa: PLC0415

        if column.finish is None:
            return array
        try:
            return column.finish(array)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
            wanted = {c.name: c.pg_type for c in self._reading.columns}
            raise SourceError(
                say(
                    "{column} of {table} has a value that {type} cannot hold: {why}",
                    column=column.name,
                    table=self._reading.table.name,
                    type=wanted[column.name],
                    why=str(exc),
                ),
                where=self._where,
                advice=say("give the column another type in the plan"),
                code=6934,
            ) from exc

    def close(self) -> None:
        """End it on the server, too."""
        self._raw.close()


def _miscounted(sent: int, made: int, where: str) -> CountMismatchError:
    return CountMismatchError(
        say("the server sent {sent} rows, and connectorx made {made} of them", sent=sent, made=made),
        where=where,
        code=5920,
    )
