"""CSV, Parquet and Arrow files, and folders of them.

files:///folder: each file is a table, and each folder in it is one table of all its files; csv:, parquet:, arrow: take
only those. A file holds no keys and takes no condition: a table is one chunk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from pghaul.model.errors import (
    NotFoundError,
    PghaulError,
    ShapeChangedError,
    SnapshotLostError,
    SourceError,
    StoppedError,
    UsageError,
)
from pghaul.model.finding import unreadable
from pghaul.model.foreign import (
    Consistency,
    ForeignColumn,
    ForeignDatabase,
    ForeignEndpoint,
    ForeignTable,
    Guarantees,
    KeyRange,
    Reading,
)
from pghaul.model.probe import ForeignFacts
from pghaul.model.table import Name
from pghaul.model.text import say, saying
from pghaul.sources import _files_folder as folder
from pghaul.sources._files_folder import FileTable
from pghaul.sources._files_formats import Arrow, Csv, Parquet, Wanted, opened, told
from pghaul.sources._files_types import TYPES, Guess, declared
from pghaul.sources._files_values import loosely, natural, strictly

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMES = ("files", "csv", "parquet", "arrow")
TAKES_PASSWORD = False
OPTIONS = {"delimiter", "quote", "header", "null", "encoding", "look", "format"}
LOOK = 32 << 20  # bytes of a CSV up to which all of it is looked at, to tell its types
ROWS = 100_000  # … else so many rows
SORTED = 256 << 20  # bytes that may be sorted in memory
GUESSED = saying("of {rows} rows that were looked at")
EVERY = say("of all rows")


def endpoint(url: str, environ: Mapping[str, str], password: str | None) -> ForeignEndpoint:  # noqa: ARG001
    """files:///folder?delimiter=;&header=no&null=\\N&encoding=cp949&look=all"""
    scheme, _, rest = url.partition(":")
    place, _, query = rest.partition("?")
    if place.startswith("//") and not place.startswith("///"):
        raise UsageError(
            say("a file has no host: {url}", url=url), advice=say("write files:folder or files:///folder"), code=1050
        )
    options = dict(parse_qsl(query, keep_blank_values=True))
    if scheme != "files":
        options["format"] = scheme
    known = set(options) <= OPTIONS and options.get("format", "csv") in {"csv", "parquet", "arrow"}
    if not place.strip("/") or not known or options.get("header", "yes") not in {"yes", "no"}:
        raise UsageError(
            say("the URL is not understood: {url}", url=url),
            advice=say("files:///folder?delimiter=;&header=no&null=\\N&encoding=cp949&look=all"),
            code=1051,
        )
    place = "/" + place.lstrip("/") if place.startswith("//") else place
    path = os.path.abspath(Path(unquote(place)).expanduser())  # noqa: PTH100 -- resolve() would follow links
    return ForeignEndpoint(engine="files", params=(("path", path), *sorted(options.items())))


def open(endpoint: ForeignEndpoint) -> Files:  # noqa: A001 -- the protocol's word
    """Find the files; nothing is kept open."""
    try:
        import pyarrow  # noqa: F401, PLC0415
    except ImportError as exc:
        raise NotFoundError(
            say("files are read by pyarrow, which is not installed"),
            advice=say("pip install 'pghaul[files]'"),
            code=5243,
        ) from exc
    return Files(Path(endpoint.get("path")), dict(endpoint.params))


def types() -> tuple[tuple[str, str, str], ...]:
    """For `pghaul types files`."""
    return TYPES


class Rows:
    """Batches of one reading, cut to what was asked."""

    def __init__(self, source: Files, table: FileTable, reading: Reading) -> None:
        import pyarrow as pa  # noqa: PLC0415

        self._source, self._table, self._reading = source, table, reading
        self._stopped = threading.Event()
        held = {f.name: f.type for f in source.columns(table)}
        missing = [c.name for c in reading.columns if c.name not in held]
        if missing:
            raise ShapeChangedError(
                say("table {name} has no column {columns}", name=table.name, columns=", ".join(missing)),
                where=table.where,
                code=5810,
            )
        kinds = {c.name: _held(held[c.name], c.pg_type, c.encoding, table) for c in reading.columns}
        self._again = source.guessed_numbers(table)
        as_text = table.format == "csv" and reading.loose
        self._types = {n: k for n, k in kinds.items() if not as_text and n not in self._again}
        self._schema = pa.schema([(c.name, natural(c, kinds[c.name])) for c in reading.columns])

    @property
    def schema(self) -> pa.Schema:
        return self._schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        left = self._reading.limit
        for batch in self._ordered() if self._reading.ordered else self._converted():
            for piece in _cut(batch, self._reading):
                self._check()
                if left is not None:
                    piece = piece.slice(0, left)  # noqa: PLW2901
                    left -= piece.num_rows
                if piece.num_rows:
                    yield piece
                if left is not None and left <= 0:
                    return

    def stop(self) -> None:
        """From another thread."""
        self._stopped.set()

    def close(self) -> None:
        self._closed = True

    def _check(self) -> None:
        if self._stopped.is_set():
            raise StoppedError(say("the reading was ended"), code=4010)

    def _converted(self) -> Iterator[pa.RecordBatch]:

        names = tuple(dict.fromkeys(c.name for c in self._reading.columns))
        asked = self._reading
        wanted = Wanted(columns=names, types=self._types, rows=asked.batch_rows, bytes=asked.batch_bytes // 2)
        for file in self._table.files:
            reader = self._source.reader(self._table)
            for batch in reader.batches(file, wanted):
                self._check()
                where = str(file)
                convert = loosely if asked.loose else strictly
                yield convert(batch, self._reading.columns, self._schema, where, self._again)

    def _ordered(self) -> Iterator[pa.RecordBatch]:
        """In memory: a file lies in the order in which it was written."""
        import pyarrow as pa  # noqa: PLC0415

        asked = [c.name for c in self._reading.columns]
        lacking = [n for n in self._reading.ordered if n not in asked]
        keys = self._source.keys(self._table, lacking) if lacking else None
        parts, size = [], 0
        for batch in self._converted():
            parts.append(batch)
            size += batch.nbytes
            if size > SORTED:
                raise SourceError(
                    say("{table} is too large to be sorted: files are read as they lie", table=self._table.name),
                    where=self._table.where,
                    code=6976,
                )
        whole = pa.Table.from_batches(parts, schema=self._schema)
        for name in lacking:
            whole = whole.append_column(name, keys.column(name))  # type: ignore[union-attr]
        in_order = whole.sort_by([(n, "ascending") for n in self._reading.ordered]).select(asked)
        yield from in_order.combine_chunks().to_batches()


def _held(kind: pa.DataType, pg_type: str, encoding: str | None, table: FileTable) -> pa.DataType:
    """What a CSV's column is parsed as: integers are numbers, anything else is text as it stands there."""
    import pyarrow as pa  # noqa: PLC0415

    if table.format != "csv":
        return kind
    if encoding:
        return pa.binary()
    return {"smallint": pa.int16(), "integer": pa.int32(), "bigint": pa.int64()}.get(pg_type, pa.string())


def _cut(batch: pa.RecordBatch, reading: Reading) -> Iterator[pa.RecordBatch]:
    if not batch.num_rows:
        return
    width = max(batch.nbytes / batch.num_rows, 1.0)
    rows = max(1, min(reading.batch_rows, int(reading.batch_bytes / width)))
    for begin in range(0, batch.num_rows, rows):
        yield batch.slice(begin, rows)


class Files:
    """An open folder or file (sources.protocol.Source)."""

    guarantees = Guarantees(consistency=Consistency.TABLE, ranges=False, where=False, sees_changes=True, loose=True)

    def __init__(self, path: Path, options: Mapping[str, str]) -> None:
        self._path, self._options = path, options
        self._tables = folder.tables(path, options.get("format", ""))
        self._seen = folder.fingerprint(self._tables)
        self._rows: list[Rows] = []
        self._schemas: dict[str, pa.Schema] = {}
        self._guessed: dict[str, tuple[dict[str, str], int, bool]] = {}

    def reader(self, table: FileTable) -> Csv | Parquet | Arrow:
        """Of its format."""
        return opened(table.format, self._options)

    def columns(self, table: FileTable) -> pa.Schema:
        """Of its first file; all others have to have the same. Each is opened for it once."""
        if table.name not in self._schemas:
            self._schemas[table.name] = self._same_columns(table)
        return self._schemas[table.name]

    def _same_columns(self, table: FileTable) -> pa.Schema:
        reader = self.reader(table)
        schema = reader.schema(table.files[0])
        for other in table.files[1:]:
            if reader.schema(other).remove_metadata() != schema.remove_metadata():
                raise SourceError(
                    say("the files of {table} do not have the same columns", table=table.name),
                    where=str(other),
                    advice=say("give each kind of files a folder of its own"),
                    code=6977,
                )
        return schema

    def keys(self, table: FileTable, names: Sequence[str]) -> pa.Table:
        """Columns that are only needed for an order."""
        import pyarrow as pa  # noqa: PLC0415

        reader, schema = self.reader(table), self.columns(table)
        types_ = {n: schema.field(n).type for n in names}
        if table.format == "csv":
            types_ = {n: pa.int64() if self._guess(table)[0].get(n) == "bigint" else pa.string() for n in names}
        wanted = Wanted(columns=tuple(names), types=types_)
        return pa.Table.from_batches([b for f in table.files for b in reader.batches(f, wanted)])

    def database(self) -> ForeignDatabase:
        return ForeignDatabase(
            engine="files",
            product="files",
            identity=f"files:{self._path}",
            dialect="",
            tables=tuple(self._described(t) for t in self._tables.values()),
            others=tuple(folder.left_out(self._path, self._options.get("format", ""))),
            encoding=self._options.get("encoding", "utf-8"),
        )

    def facts(self) -> ForeignFacts:
        """For `pghaul profile test`: which kinds of files there are, without a look into them."""
        kinds = sorted({t.format for t in self._tables.values()})
        return ForeignFacts(
            product=", ".join(kinds) or "files",
            encoding=self._options.get("encoding", "utf-8") if "csv" in kinds else "",
            tables=len(self._tables),
        )

    def clock(self) -> None:
        """There is no server."""

    def _described(self, table: FileTable) -> ForeignTable:
        """One that cannot be read keeps nobody from the others."""
        try:
            if table.trouble is not None:
                raise table.trouble
            with told(Path(table.where)):
                return self._sound(table)
        except PghaulError as exc:
            name = Name("", table.name)
            return ForeignTable(name=name, columns=(), trouble=unreadable(exc, name))

    def _sound(self, table: FileTable) -> ForeignTable:
        schema = self.columns(table)
        counted = [self.reader(table).rows(f) for f in table.files]
        rows = None if None in counted else sum(c or 0 for c in counted)
        guessed, seen, whole = self._guess(table) if table.format == "csv" else ({}, 0, True)
        note = EVERY if whole else GUESSED.format(rows=seen)
        return ForeignTable(
            name=Name("", table.name),
            columns=tuple(
                ForeignColumn(
                    name=f.name,
                    native="csv" if table.format == "csv" else str(f.type),
                    not_null=False,
                    pg_type=guessed.get(f.name) or declared(f.type),
                    note=note if table.format == "csv" else "",
                )
                for f in schema
            ),
            rows=seen if table.format == "csv" and whole else rows,
            exact_rows=rows is not None or (table.format == "csv" and whole),
            bytes=table.bytes,
        )

    def _guess(self, table: FileTable) -> tuple[dict[str, str], int, bool]:
        """Types, how many rows were looked at, and whether these are all."""
        if table.name not in self._guessed:
            self._guessed[table.name] = self._look(table)
        return self._guessed[table.name]

    def guessed_numbers(self, table: FileTable) -> frozenset[str]:
        """Columns of which not all values were looked at: one that comes later may be spelled as a text."""
        if table.format != "csv" or table.bytes <= LOOK or self._options.get("look") == "all":
            return frozenset()
        return frozenset(n for n, kind in self._guess(table)[0].items() if kind == "bigint")

    def _look(self, table: FileTable) -> tuple[dict[str, str], int, bool]:
        names = self.columns(table).names
        guesses = {n: Guess() for n in names}
        whole = self._options.get("look") == "all" or table.bytes <= LOOK
        seen = size = 0
        for file in table.files:
            for batch in self.reader(table).batches(file, Wanted(columns=tuple(names))):
                seen, size = seen + batch.num_rows, size + batch.nbytes
                for name, guess in guesses.items():
                    guess.feed(batch.column(name))
                if not whole and (seen >= ROWS or size >= LOOK):
                    return {n: g.pg_type for n, g in guesses.items()}, seen, False
        return {n: g.pg_type for n, g in guesses.items()}, seen, True

    def bounds(self, table: Name, column: str, where: str | None = None) -> tuple[int, int] | None:
        raise NotImplementedError("guarantees.ranges is False")

    def count(self, table: Name, where: str | None = None, range_: KeyRange | None = None) -> int:  # noqa: ARG002
        found = self._found(table)
        total = 0
        for file in found.files:
            known = self.reader(found).rows(file)
            total += known if known is not None else sum(b.num_rows for b in self._all(found, file))
        return total

    def _all(self, table: FileTable, file: Path) -> Iterator[pa.RecordBatch]:
        reader = self.reader(table)
        yield from reader.batches(file, Wanted(columns=tuple(self.columns(table).names[:1])))

    def _found(self, name: Name) -> FileTable:
        table = self._tables.get(name.name)
        if table is None or not all(f.exists() for f in table.files):
            raise NotFoundError(say("there is no table {name}", name=name.name), where=str(self._path), code=5262)
        if table.trouble is not None:
            raise table.trouble
        return table

    def read(self, reading: Reading) -> Rows:
        rows = Rows(self, self._found(reading.table), reading)
        self._rows.append(rows)
        return rows

    def hold(self) -> str:
        return self._seen

    def join(self, token: str) -> None:
        if folder.fingerprint(self._tables) != token:
            raise self._changed()

    def check(self) -> None:
        if folder.fingerprint(self._tables) != self._seen:
            raise self._changed()

    def _changed(self) -> SnapshotLostError:
        return SnapshotLostError(
            say("a file has changed, come or gone meanwhile"),
            where=str(self._path),
            advice=say("end what writes there, or move a copy"),
            code=2415,
        )

    def cancel(self) -> None:
        for rows in self._rows:
            rows.stop()

    def close(self) -> None:
        for rows in self._rows:
            rows.close()

    def __enter__(self) -> Files:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
