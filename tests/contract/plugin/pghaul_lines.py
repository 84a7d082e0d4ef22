"""Text files as a source of pghaul: lines:///var/log/messages is a table of two columns, `number` and `line`."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa

from pghaul.model.errors import NotFoundError, ShapeChangedError, SnapshotLostError, StoppedError, UsageError
from pghaul.model.foreign import (
    Consistency,
    ForeignColumn,
    ForeignDatabase,
    ForeignEndpoint,
    ForeignIndex,
    ForeignTable,
    Guarantees,
    KeyRange,
    Reading,
)
from pghaul.model.table import Name

SCHEMES = ("lines",)
COLUMNS = (
    ForeignColumn(name="number", native="number", not_null=True, pg_type="bigint"),
    ForeignColumn(name="line", native="line", not_null=True, pg_type="text"),
)
KEY = ForeignIndex(name="", columns=("number",), unique=True, primary=True, constraint=True)
FORMS = {"number": pa.int64(), "line": pa.string()}


def endpoint(url: str, environ: Mapping[str, str], password: str | None) -> ForeignEndpoint:
    """Parse the URL; nothing is opened yet."""
    path = url.partition(":")[2].removeprefix("//")
    if not path.startswith("/"):
        raise UsageError("a path is missing", advice="write lines:///path/to/file.txt")
    return ForeignEndpoint(engine="lines", params=(("path", path),))


def open(endpoint: ForeignEndpoint) -> Lines:  # noqa: A001
    """Look whether it is there."""
    path = Path(endpoint.get("path"))
    if not path.is_file():
        raise NotFoundError("there is no such file", where=str(path))
    return Lines(path)


def types() -> tuple[tuple[str, str, str], ...]:
    """For `pghaul types lines`."""
    return (("number", "bigint", "counted from 1"), ("line", "text", "without its end"))


@dataclass
class Batches:
    """One reading: the schema first, then a batch for every so many lines."""

    path: Path
    reading: Reading
    stop: threading.Event

    @property
    def schema(self) -> pa.Schema:
        """The natural types of what was asked for."""
        return pa.schema([(c.name, FORMS[c.name]) for c in self.reading.columns])

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with self.path.open(encoding="utf-8") as file:
            rows = iter(_part(file, self.reading.range, self.reading.limit))
            while batch := list(islice(rows, self.reading.batch_rows)):
                if self.stop.is_set():
                    raise StoppedError("reading was stopped", where=str(self.path))
                columns = {"number": [n for n, _ in batch], "line": [w for _, w in batch]}
                yield pa.record_batch([pa.array(columns[f.name], f.type) for f in self.schema], schema=self.schema)

    def close(self) -> None:
        """Nothing is open between batches but the file, which ends with the iterator."""


class Lines:
    """An open file."""

    guarantees = Guarantees(consistency=Consistency.STATEMENT, where=False, sees_changes=True)

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen = self._state()
        self.stop = threading.Event()

    def _state(self) -> str:
        known = self.path.stat()
        return f"{known.st_size}.{known.st_mtime_ns}"

    def database(self) -> ForeignDatabase:
        """One table, named like the file."""
        table = ForeignTable(
            name=Name("", self.path.stem), columns=COLUMNS, indexes=(KEY,), bytes=self.path.stat().st_size
        )
        return ForeignDatabase(
            engine="lines", product="text file", identity=str(self.path), dialect="", tables=(table,)
        )

    def bounds(self, table: Name, column: str, where: str | None = None) -> tuple[int, int] | None:  # noqa: ARG002
        """Lines are numbered from 1."""
        count = self.count(table)
        return (1, count) if count else None

    def count(self, table: Name, where: str | None = None, range_: KeyRange | None = None) -> int:  # noqa: ARG002
        """By reading it."""
        with self.path.open(encoding="utf-8") as file:
            return sum(1 for _ in _part(file, range_, None))

    def read(self, reading: Reading) -> Batches:
        """What is not there is an error now, not with the first batch."""
        if unknown := [c.name for c in reading.columns if c.name not in FORMS]:
            raise ShapeChangedError(f"there is no column {unknown[0]}", where=str(self.path))
        return Batches(self.path, reading, self.stop)

    def hold(self) -> str:
        """A file cannot be held: who joins compares, and check() tells of a change."""
        self.seen = self._state()
        return self.seen

    def join(self, token: str) -> None:
        """Only what is still as it was."""
        self.seen = token
        self.check()

    def check(self) -> None:
        """Whether somebody has written to it."""
        if self._state() != self.seen:
            raise SnapshotLostError("the file has changed", where=str(self.path))

    def cancel(self) -> None:
        """Seen before the next batch."""
        self.stop.set()

    def close(self) -> None:
        """Nothing to let go."""

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _part(file: Iterator[str], range_: KeyRange | None, limit: int | None) -> Iterator[tuple[int, str]]:
    """The numbered lines of a part, at most so many."""
    low = range_.low if range_ and range_.low is not None else 1
    high = range_.high - 1 if range_ and range_.high is not None else None
    numbered = ((n, line.removesuffix("\n")) for n, line in enumerate(islice(file, max(low, 1) - 1, high), max(low, 1)))
    return islice(numbered, limit)
