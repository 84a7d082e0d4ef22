r"""Rows that were set aside, as a file: one row of the file for each, its values under `row`, by their columns.

The shape is the same in all formats, so that one file holds rows of many tables: in JSON lines `row` is an object, in
CSV the same object as text, in Parquet a map of strings. Nothing is lost: NULL is null, '' is '', and where bytes are
no text of the row's encoding, the column stands under `escaped`, and its value has them as `\xHH` and its own
backslashes doubled.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from pghaul.model.errors import NotFoundError, QuarantineError
from pghaul.model.quarantine import SetAside
from pghaul.model.text import say

Write = Callable[[Sequence[SetAside]], None]

FIELDS = (
    "id",
    "run",
    "table",
    "chunk",
    "key",
    "sqlstate",
    "message",
    "column",
    "constraint",
    "set_aside_at",
    "replayed_by",
    "replayed_at",
    "encoding",
    "escaped",
    "row",
)


class Format(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


def record(row: SetAside) -> dict[str, Any]:
    """A row by the names of FIELDS, as JSON has it."""
    return {
        "id": row.id,
        "run": row.run,
        "table": row.table,
        "chunk": row.chunk,
        "key": row.key,
        "sqlstate": row.sqlstate,
        "message": row.message,
        "column": row.column,
        "constraint": row.constraint,
        "set_aside_at": row.at.isoformat(),
        "replayed_by": row.replayed_by,
        "replayed_at": row.replayed_at and row.replayed_at.isoformat(),
        "encoding": row.encoding,
        "escaped": row.escaped,
        "row": row.shown,
    }


@contextmanager
def writer(form: Format, file: BinaryIO) -> Iterator[Write]:
    """What writes portions of rows into an open file; leaving it completes what has to be."""
    with _WRITERS[form](file) as write:
        yield write
    file.flush()


@contextmanager
def new_file(path: Path) -> Iterator[Callable[[], BinaryIO]]:
    """0600, under its name only once it is whole. It is opened when it is asked for."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    opened: list[BinaryIO] = []

    def opener() -> BinaryIO:
        try:
            draft.unlink(missing_ok=True)
            file = os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
        except OSError as exc:
            raise _not_written(path, exc) from exc
        opened.append(file)
        return file

    try:
        yield opener
        for file in opened:
            file.close()
            draft.replace(path)
    except OSError as exc:
        raise _not_written(path, exc) from exc
    finally:
        for file in opened:
            file.close()
        draft.unlink(missing_ok=True)


def _not_written(path: Path, exc: OSError) -> QuarantineError:
    why = exc.strerror or type(exc).__name__
    return QuarantineError(
        say("the rows cannot be written: {why}", why=why),
        where=str(path),
        advice=say("choose another --output"),
        code=6840,
    )


@contextmanager
def _jsonl(file: BinaryIO) -> Iterator[Write]:
    def write(rows: Sequence[SetAside]) -> None:
        file.writelines(json.dumps(record(row), ensure_ascii=False).encode() + b"\n" for row in rows)

    yield write


class _Encoding:
    """What csv needs of a text file: a wrapper around stdout would close it in the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """In UTF-8."""
        return self._file.write(text.encode())


@contextmanager
def _csv(file: BinaryIO) -> Iterator[Write]:
    lines = csv.writer(_Encoding(file), lineterminator="\n")
    lines.writerow(FIELDS)

    def write(rows: Sequence[SetAside]) -> None:
        for row in rows:
            found = record(row)
            found["escaped"] = " ".join(json.dumps(name, ensure_ascii=False) for name in found["escaped"])
            found["row"] = json.dumps(found["row"], ensure_ascii=False)
            lines.writerow([found[name] for name in FIELDS])

    yield write


@contextmanager
def _parquet(file: BinaryIO) -> Iterator[Write]:
    try:
        import pyarrow as pa  # noqa: PLC0415 -- 60 MB, for this alone
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as exc:
        raise NotFoundError(
            say("Parquet needs pyarrow, which is not installed"),
            advice=say("pip install 'pghaul[arrow]', or choose --format jsonl"),
            code=5299,
        ) from exc
    moment, text = pa.timestamp("us", tz="UTC"), pa.string()
    kinds = {
        "id": pa.int64(),
        "set_aside_at": moment,
        "replayed_at": moment,
        "escaped": pa.list_(text),
        "row": pa.map_(text, text),
    }
    schema = pa.schema([(name, kinds.get(name, text)) for name in FIELDS])
    with pq.ParquetWriter(file, schema) as parquet:

        def write(rows: Sequence[SetAside]) -> None:
            found = [record(r) | {"set_aside_at": r.at, "replayed_at": r.replayed_at} for r in rows]
            for each in found:
                each["row"] = list(each["row"].items())
            parquet.write_table(pa.Table.from_pylist(found, schema=schema))

        yield write


_WRITERS = {Format.JSONL: _jsonl, Format.CSV: _csv, Format.PARQUET: _parquet}
