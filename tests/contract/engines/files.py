"""Files for the contract: a folder of Parquet files, one of Arrow files, one of CSV."""

# ruff: noqa: E501 -- a table is easier to read in lines

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
from pyarrow import parquet
from tests.contract import case
from tests.contract.case import Place, Probe

from pghaul.model.foreign import ReadColumn, Reading

MATRIX: dict[str, tuple[pa.DataType, tuple[object, ...], str, tuple[str | None, ...]]] = {
    "i8": (pa.int8(), (-128, 127, None), "smallint", ("-128", "127", None)),
    "u8": (pa.uint8(), (0, 255, None), "smallint", ("0", "255", None)),
    "u16": (pa.uint16(), (65535, 0, None), "integer", ("65535", "0", None)),
    "u32": (pa.uint32(), (2**32 - 1, 0, None), "bigint", (str(2**32 - 1), "0", None)),
    "i64": (pa.int64(), (-(2**63), 2**63 - 1, None), "bigint", (str(-(2**63)), str(2**63 - 1), None)),
    "u64": (pa.uint64(), (2**64 - 1, 0, None), "numeric(20,0)", (str(2**64 - 1), "0", None)),
    "f32": (pa.float32(), (0.5, float("inf"), None), "real", ("0.5", "inf", None)),
    "f64": (pa.float64(), (0.1, 5e-324, None), "double precision", ("0.1", "5e-324", None)),
    "yes": (pa.bool_(), (True, False, None), "boolean", ("t", "f", None)),
    "price": (pa.decimal128(38, 10), (Decimal("-9999999999999999999999999999.0000000001"), Decimal(0), None), "numeric(38,10)", ("-9999999999999999999999999999.0000000001", "0", None)),
    "huge": (pa.decimal256(65, 30), (Decimal("9" * 35 + "." + "9" * 30), Decimal(1), None), "numeric(65,30)", ("9" * 35 + "." + "9" * 30, "1", None)),
    "word": (pa.string(), ("", "한 😀\n\"", None), "text", ("", "한 😀\n\"", None)),
    "many": (pa.dictionary(pa.int8(), pa.string()), ("a", "a", None), "text", ("a", "a", None)),
    "nothing": (pa.null(), (None, None, None), "text", (None, None, None)),
    "bytes": (pa.binary(), (b"", b"\x00\xff", None), "bytea", ("\\x", "\\x00ff", None)),
    "fixed": (pa.binary(2), (b"ab", b"\x00\xff", None), "bytea", ("\\x6162", "\\x00ff", None)),
    "day": (pa.date32(), (date(1, 1, 1), date(9999, 12, 31), None), "date", ("0001-01-01", "9999-12-31", None)),
    "clock": (pa.time64("us"), (time(0, 0), time(23, 59, 59, 999999), None), "time(6) without time zone", ("00:00:00", "23:59:59.999999", None)),
    "moment": (pa.timestamp("ms"), (datetime(1969, 12, 31, 23, 59, 59, 999000), datetime(9999, 12, 31), None), "timestamp(3) without time zone", ("1969-12-31 23:59:59.999000", "9999-12-31 00:00:00", None)),
    "zoned": (pa.timestamp("us", "Asia/Seoul"), (datetime(2024, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC), None), "timestamp(6) with time zone", ("2024-01-01 00:00:00+00", "1970-01-01 00:00:00+00", None)),
    "span": (pa.duration("us"), (timedelta(days=-40, microseconds=1), timedelta(0), None), "interval", ("-3455999999999 microseconds", "0 microseconds", None)),
    "list": (pa.list_(pa.string()), (["a\"b\\", None, ""], [], None), "text[]", ('{"a\\"b\\\\",NULL,""}', "{}", None)),
    "struct": (pa.struct([("a", pa.int64()), ("b", pa.list_(pa.int8()))]), ({"a": 1, "b": [2]}, {"a": None, "b": []}, None), "jsonb", ('{"a": 1, "b": [2]}', '{"a": null, "b": []}', None)),
    "vector": (pa.list_(pa.float32(), 2), ([0.5, 1], [0, -1.25], None), "real[]", ('{"0.5","1.0"}', '{"0.0","-1.25"}', None)),
    "nanos": (pa.timestamp("ns"), (1, 1000, None), "timestamp(6) without time zone", ()),
}  # fmt: skip
OVERRIDES: tuple[tuple[str, str, tuple[str | None, ...] | None], ...] = (
    ("i64", "integer", None),
    ("nanos", "timestamp(6) without time zone", None),
    ("nanos", "text", ("1970-01-01 00:00:00.000000001", "1970-01-01 00:00:00.000001000", None)),
    ("vector", "vector(2)", ("[0.5,1.0]", "[0.0,-1.25]", None)),
    ("i8", "text", ("-128", "127", None)),
    ("i8", "bigint", ("-128", "127", None)),
)
# Of a CSV: field as it stands there, type that is proposed, and what arrives.
SPELLED: dict[str, tuple[tuple[str, ...], str, tuple[str | None, ...]]] = {
    "n": (("1", "-5", ""), "bigint", ("1", "-5", None)),
    "code": (("007", "1", ""), "text", ("007", "1", None)),
    "price": (("1.50", "-0.1", ""), "numeric", ("1.50", "-0.1", None)),
    "large": (("12345678901234567890", "1", ""), "numeric", ("12345678901234567890", "1", None)),
    "f": (("1e3", "-2.5E-7", ""), "double precision", ("1e3", "-2.5E-7", None)),
    "day": (("2024-02-29", "0001-01-01", ""), "date", ("2024-02-29", "0001-01-01", None)),
    "no_day": (("2023-02-29", "2024-01-01", ""), "text", ("2023-02-29", "2024-01-01", None)),
    "at": (("2024-01-01 10:00", "2024-01-01T10:00:00.5", ""), "timestamp without time zone", ("2024-01-01 10:00", "2024-01-01T10:00:00.5", None)),
    "zoned": (("2024-01-01 10:00+09:00", "2024-01-01T10:00:00Z", ""), "timestamp with time zone", ("2024-01-01 10:00+09:00", "2024-01-01T10:00:00Z", None)),
    "yes": (("true", "f", ""), "boolean", ("true", "f", None)),
    "id_": (("123e4567-e89b-12d3-a456-426655440000",) * 2 + ("",), "uuid", ("123e4567-e89b-12d3-a456-426655440000",) * 2 + (None,)),
    "word": (('"a,""b\n"', '""', ""), "text", ('a,"b\n', "", None)),
}  # fmt: skip


FAT = "x" * 10_000
FAT_ROWS = 20_972


class Folder(Place):
    """One file for each table."""

    engine = "files"
    keys = False
    listed = False
    schema = ""
    ending = ""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"files://{quote(str(path))}"
        if sys.platform == "win32":
            self.odd = tuple(n for n in case.ODD if not set(n) & set('"\\'))

    def write(self, table: str, columns: dict[str, pa.Array]) -> None:
        """A file."""
        raise NotImplementedError

    def file(self, table: str) -> Path:
        """Where a table stands."""
        return self.path / f"{table}{self.ending}"

    def above(self, column: str, value: int) -> str:
        raise NotImplementedError

    def fat(self) -> Reading:
        column = ReadColumn(name="body", native="string", pg_type="text")
        return Reading(table=self.name("fat"), columns=(column,))

    def change(self) -> bool:
        self.write(case.CHANGING, _numbers(case.number_rows(11)))
        return True

    def vanish(self) -> None:
        self.file(case.VANISHING).unlink()

    def fill(self) -> None:
        """The tables of the contract."""
        self.write(case.NUMBERS, _numbers(case.number_rows()))
        self.write(case.EMPTY, _numbers([]))
        self.write(case.VANISHING, _numbers([]))
        self.write(case.CHANGING, _numbers(case.number_rows(10)))
        numbers, words = zip(*case.loose_rows(), strict=True)
        self.write(case.LOOSE, {"nr": pa.array(numbers, pa.int32()), "word": pa.array(words)})
        self.write(case.PARENT, {"id": pa.array([], pa.int32()), "code": pa.array([], pa.string())})
        self.write(case.CHILD, {"id": pa.array([], pa.int32()), "parent_id": pa.array([], pa.int32())})
        self.write(case.WIDE, {f"c{i}": pa.array([i % 100], pa.int16()) for i in range(self.widest)})
        for name in self.odd:
            self.write(name, {name: pa.array([1], pa.int32())})
        self.make_fat()

    def make_fat(self) -> None:
        """200 MB of one value."""
        self.write("fat", {"body": pa.array([FAT]).take(pa.array([0] * FAT_ROWS))})


def _numbers(rows: Sequence[tuple[int, int | None, str | None]]) -> dict[str, pa.Array]:
    ids, halves, words = zip(*rows, strict=True) if rows else ((), (), ())
    return {"id": pa.array(ids, pa.int32()), "half": pa.array(halves, pa.int64()), "word": pa.array(words, pa.string())}


class TypedFolder(Folder):
    """With the types of Arrow."""

    probes = (
        *(Probe(table="matrix", column=n, expected=m[3], proposed=m[2]) for n, m in MATRIX.items() if m[3]),
        *(Probe(table="matrix", column=n, expected=found, pg_type=pg_type) for n, pg_type, found in OVERRIDES),
    )

    def fill(self) -> None:
        super().fill()
        self.write(
            "matrix",
            {"id": pa.array([1, 2, 3])} | {n: pa.array(values, kind) for n, (kind, values, *_) in MATRIX.items()},
        )


class ParquetFolder(TypedFolder):
    ending = ".parquet"

    def write(self, table: str, columns: dict[str, pa.Array]) -> None:
        parquet.write_table(pa.table(columns), self.file(table), row_group_size=5_000, compression="zstd")


class ArrowFolder(TypedFolder):
    ending = ".arrow"

    def write(self, table: str, columns: dict[str, pa.Array]) -> None:
        whole = pa.table(columns)
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with (
            pa.OSFile(str(self.file(table)), "wb") as file,
            pa.ipc.new_file(file, whole.schema, options=options) as writer,
        ):
            writer.write_table(whole, max_chunksize=1_000)


class CsvFolder(Folder):
    ending = ".csv"
    probes = (
        *(Probe(table="matrix", column=n, expected=m[2], proposed=m[1]) for n, m in SPELLED.items()),
        Probe(table="matrix", column="n", pg_type="text", expected=("1", "-5", None)),
        Probe(table="matrix", column="code", pg_type="integer", expected=("7", "1", None)),
        Probe(table="matrix", column="price", pg_type="bigint", expected=None),
        Probe(table="matrix", column="word", pg_type="text", encoding="utf-8", expected=('a,"b\n', "", None)),
    )

    def write(self, table: str, columns: dict[str, pa.Array]) -> None:
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n", quoting=csv.QUOTE_STRINGS if sys.version_info >= (3, 12) else 0)
        writer.writerow(columns)
        writer.writerows(zip(*(c.to_pylist() for c in columns.values()), strict=True))
        self.file(table).write_text(lines.getvalue(), encoding="utf-8")

    def make_fat(self) -> None:
        self.file("fat").write_bytes(b"body\n" + f"{FAT}\n".encode() * FAT_ROWS)

    def fill(self) -> None:
        super().fill()
        names = ["id", *SPELLED]
        rows = [[str(i + 1), *(fields[i] for fields, *_ in SPELLED.values())] for i in range(3)]
        self.file("matrix").write_text("\n".join(",".join(r) for r in [names, *rows]) + "\n", encoding="utf-8")


def _made(kind: type[Folder], folder: Path) -> Iterator[Place]:
    place = kind(folder)
    place.fill()
    yield place


@contextmanager
def parquet_files(folder: Path) -> Iterator[Place]:
    """Parquet."""
    yield from _made(ParquetFolder, folder)


@contextmanager
def arrow_files(folder: Path) -> Iterator[Place]:
    """Arrow's own."""
    yield from _made(ArrowFolder, folder)


@contextmanager
def csv_files(folder: Path) -> Iterator[Place]:
    """Texts."""
    yield from _made(CsvFolder, folder)


PLACES: tuple[Callable[[Path], AbstractContextManager[Place]], ...] = (parquet_files, arrow_files, csv_files)
