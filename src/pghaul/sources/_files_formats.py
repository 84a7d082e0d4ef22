"""Files as record batches: columns as the file has them, in batches that fit into memory."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pghaul.model.errors import AccessError, NotFoundError, PghaulError, SourceError
from pghaul.model.text import say
from pghaul.sources._files_ending import Ending, ended
from pghaul.sources.misfits import SQLSTATE

if TYPE_CHECKING:
    import pyarrow as pa

# Bytes of a CSV that are parsed at a time; a row has to fit in.
BLOCKS = (1 << 20, 4 << 20, 32 << 20, 256 << 20)  # Arrow reads up to 32 of them ahead of what is taken
FEW = 256  # rows
COLUMN = re.compile(r"CSV column #(\d+)")


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """What Arrow says of a file, as ours."""
    import pyarrow as pa  # noqa: PLC0415

    try:
        yield
    except PghaulError:
        raise
    except FileNotFoundError as exc:
        raise NotFoundError(say("the file {file} is gone", file=str(path)), code=5242) from exc
    except PermissionError as exc:
        raise AccessError(say("the file may not be read"), where=str(path), code=5190) from exc
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise SourceError(
            say("the file cannot be read: {error}", error=str(exc).strip()[:300]),
            where=str(path),
            advice=say("look at it with another program; a column that is to be read as it is takes the type text"),
            code=6974,
        ) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Of a file. `types` are those that a CSV's columns are parsed as, text if nothing is said."""

    columns: tuple[str, ...]
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    rows: int = 65_536
    bytes: int = 8 << 20


class Csv:
    """Options: delimiter, quote, header=no, null (its spelling), encoding."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = options

    def schema(self, path: Path) -> pa.Schema:
        """All columns are text."""
        import pyarrow as pa  # noqa: PLC0415

        if not path.stat().st_size:
            raise SourceError(
                say("the file is empty: it has not even a line with names"),
                where=str(path),
                advice=say("write the names of its columns into it, with which it is an empty table"),
                code=6980,
            )
        for block in BLOCKS:
            try:
                with told(path), self._open(path, block) as reader:
                    return pa.schema([(name, pa.string()) for name in _once(reader.schema.names, path)])
            except SourceError as exc:
                if not _is_too_long(exc, block):
                    raise
        raise AssertionError(path)

    def rows(self, path: Path) -> int | None:
        """Nobody knows before it is read."""
        return 0 if path.stat().st_size == 0 else None

    def batches(self, path: Path, wanted: Wanted) -> Iterator[pa.RecordBatch]:
        """Rows that are longer than a block make it larger, as long as none was handed on."""
        handed = False
        for block in BLOCKS:
            try:
                ending = self._ending(path)
                with told(path), self._naming(path), self._open(path, block, wanted, ending) as reader:
                    for batch in reader:
                        handed = True
                        yield batch
                ending.check()
            except SourceError as exc:
                if handed or not _is_too_long(exc, block):
                    raise
            else:
                return

    def _ending(self, path: Path) -> Ending:
        delimiter = self._delimiter(path) if len(self.schema(path).names) == 1 else ""
        return Ending(path, delimiter, self._options.get("encoding", "utf8"))

    def _delimiter(self, path: Path) -> str:
        return self._options.get("delimiter", "\t" if ".tsv" in path.suffixes else ",").replace("\\t", "\t")

    @contextlib.contextmanager
    def _naming(self, path: Path) -> Iterator[None]:
        """Arrow counts columns; a person knows them by their names."""
        import pyarrow as pa  # noqa: PLC0415

        try:
            yield
        except pa.ArrowInvalid as exc:
            found = COLUMN.search(str(exc))
            if found is None:
                raise
            names = self.schema(path).names
            raise SourceError(
                say(
                    "column {column} holds a value that is no such number: {error}",
                    column=names[int(found[1])] if int(found[1]) < len(names) else found[1],
                    error=str(exc)[:200],
                ),
                where=str(path),
                advice=say("give the column another type in the plan: text holds everything that is text"),
                sqlstate=SQLSTATE,
                code=6978,
            ) from exc

    def _open(self, path: Path, block: int, wanted: Wanted | None = None, ending: Ending | None = None) -> Any:
        from pyarrow import csv, input_stream  # noqa: PLC0415

        said, types = self._options, None
        if wanted is not None:
            import pyarrow as pa  # noqa: PLC0415

            types = {n: pa.string() for n in self.schema(path).names} | dict(wanted.types)
        stream = input_stream(str(path), compression="detect")
        return csv.open_csv(
            ended(stream, said.get("encoding", "utf8")) if ending is None else ending.behind(stream),
            read_options=csv.ReadOptions(
                block_size=block,
                use_threads=False,
                encoding=said.get("encoding", "utf8"),
                autogenerate_column_names=said.get("header") == "no",
            ),
            parse_options=csv.ParseOptions(
                delimiter=self._delimiter(path),
                quote_char=said.get("quote", '"'),
                newlines_in_values=True,
                invalid_row_handler=None if ending is None else ending.met,
            ),
            convert_options=csv.ConvertOptions(
                include_columns=None if wanted is None else list(wanted.columns),
                column_types=types,
                null_values=[said.get("null", "")],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )


def _is_too_long(exc: SourceError, block: int) -> bool:
    """Was it a row that is longer than this block, and is there a larger one?"""
    return "straddling" in str(exc.__cause__) and block != BLOCKS[-1]


class Parquet:
    def schema(self, path: Path) -> pa.Schema:
        """As the file declares it."""
        from pyarrow import parquet  # noqa: PLC0415

        with told(path):
            schema = parquet.read_schema(path)
        _once(schema.names, path)
        return schema

    def rows(self, path: Path) -> int | None:
        """From its footer."""
        from pyarrow import parquet  # noqa: PLC0415

        with told(path):
            return int(parquet.read_metadata(path).num_rows)

    def batches(self, path: Path, wanted: Wanted) -> Iterator[pa.RecordBatch]:
        """Row groups are decoded piece by piece. How wide rows are, only their values tell: a few are read first."""
        from pyarrow import parquet  # noqa: PLC0415

        columns = list(wanted.columns)
        with told(path), parquet.ParquetFile(path, pre_buffer=False) as file:
            first = next(file.iter_batches(batch_size=FEW, columns=columns, use_threads=False), None)
            if first is None:
                return
            rows = int(wanted.bytes / max(first.nbytes / max(first.num_rows, 1), 1.0))
            rows = max(1, min(wanted.rows, rows))
            for batch in file.iter_batches(batch_size=rows, columns=columns, use_threads=False):
                yield batch.select(columns)


class Arrow:
    """IPC, as a file or as a stream."""

    def schema(self, path: Path) -> pa.Schema:
        """As the file declares it."""
        with told(path), _ipc(path) as reader:
            _once(reader.schema.names, path)
            return reader.schema

    def rows(self, path: Path) -> int | None:
        """Of a file, by its batches' headers; of a stream nobody knows."""
        with told(path), _ipc(path) as reader:
            return int(reader.count_rows()) if hasattr(reader, "count_rows") else None

    def batches(self, path: Path, wanted: Wanted) -> Iterator[pa.RecordBatch]:
        """As they were written: the file is mapped into memory, not read into it."""
        with told(path), _ipc(path) as reader:
            whole = (
                (reader.get_batch(i) for i in range(reader.num_record_batches))
                if hasattr(reader, "get_batch")
                else iter(reader)
            )
            for batch in whole:
                yield batch.select(list(wanted.columns))


def _ipc(path: Path) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    with path.open("rb") as file:
        is_file = file.read(6) == b"ARROW1"
    source = pa.memory_map(str(path)) if path.stat().st_size else pa.BufferReader(b"")
    return pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)


def _once(names: list[str], path: Path) -> list[str]:
    twice = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) != len(names) else []
    if twice:
        raise SourceError(
            say("two columns have the same name: {names}", names=", ".join(twice)),
            where=str(path),
            advice=say("give one of them another name"),
            code=6975,
        )
    return names


def opened(format_: str, options: Mapping[str, str]) -> Csv | Parquet | Arrow:
    """The reader of a format."""
    return Csv(options) if format_ == "csv" else Parquet() if format_ == "parquet" else Arrow()
