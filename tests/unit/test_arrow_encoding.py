"""What the writer of Arrow refuses, by name and by row, before the target sees it; and the form that it chooses."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pghaul.model.errors import MappingError, RowError
from pghaul.target.arrow import csv_form
from pghaul.target.arrow.binary_form import Binary
from pghaul.target.arrow.column import Spelled
from pghaul.target.arrow.encoding import Encoding, TargetColumn, choose


def one(array: pa.Array, type_: str, **more: Any) -> Encoding:
    """The encoding of a single column."""
    return choose(pa.schema([pa.field("c", array.type)]), [TargetColumn(name="c", type=type_, **more)])


def refused(array: pa.Array, type_: str) -> list[int]:
    """The numbers of the rows that do not fit."""
    batch = pa.RecordBatch.from_arrays([array], ["c"])
    sifted = one(array, type_).sift(batch)
    assert sifted.batch.num_rows == len(array) - len(sifted.refused)
    return [r.row for r in sifted.refused]


D = Decimal
TOO_MUCH = [
    (pa.array([1, 70000, None, -32769]), "smallint", [1, 3]),
    (pa.array([2**63, 1], pa.uint64()), "bigint", [0]),
    (pa.array([D("1.00"), D("1.50"), D("99999.00")]), "smallint", [1, 2]),
    (pa.array([D("1.230"), D("1.239"), D("12345.000")]), "numeric(5,2)", [1, 2]),
    (pa.array([10**6, 999]), "numeric(5,2)", [0]),
    (pa.array([0.1, 0.5, float("nan"), 1e300, None]), "real", [0, 3]),
    (pa.array([2**53 + 1, 2**53]), "double precision", [0]),
    (pa.array([1, 1000], pa.timestamp("ns")), "timestamp without time zone", [0]),
    (pa.array([1000, 1500], pa.timestamp("us")), "timestamp(3) without time zone", [1]),
    (pa.array([-(2**62), 0], pa.timestamp("us", "UTC")), "timestamp with time zone", [0]),
    (pa.array([-(2**31), 0, 2**31 - 1], pa.int32()).view(pa.date32()), "date", [0, 2]),
    (pa.array([-1, 86_400_000_000, 86_400_000_001]).view(pa.time64("us")), "time without time zone", [0, 2]),
    (pa.array(["a", "b\0", None, "\0"]), "text", [1, 3]),
    (pa.array(["abc", "abcd", "abc ", "한글자"]), "character varying(3)", [1, 2]),
    (pa.array(["abc", "abcd", "abc  "]), "character(3)", [1]),
    (pa.array(["n" * 63, "n" * 64, "한" * 22]), "name", [1, 2]),
    (pa.array(["1.239", "1.230", "1e-3", "1.2e1", "NaN"]), "numeric(5,2)", [0, 2]),
    (pa.array(["2020-01-01 00:00:00.1234567", "2020-01-01 00:00:00.1234560"]), "timestamp with time zone", [0]),
    (
        pa.array(["2024-03-04", "03/04/2024", "today", "J2460374", "-infinity", "0044-03-15 BC", "4.3.24"]),
        "date",
        [1, 2, 6],
    ),
    (pa.array(["2024-03-04 10:00:00.12-05", "Epoch", "2024-03-04 allballs"]), "timestamp with time zone", [1, 2]),
    (pa.array(["10:00:00.12", "now", "24:00"]), "time without time zone", [1]),
    (pa.array(['["2024-03-04 00:00:00.12",)', "[now,)", "(,1-2-2024]"]), "tsrange", [1, 2]),
    (pa.array(["00:00:00.1234567", "838:59:59"]), "interval", [0]),
    (pa.array(["00000000-0000-0000-0000-000000000000", "", "x"]), "uuid", [1, 2]),
    (pa.array(["-100", "100", None, " -1"]), "oid", [0, 3]),
    (pa.array([[1, None], [2, 70000], None, [3]]), "smallint[]", [1]),
    (pa.array([["a"], ["abcd", None], []]), "character varying(3)[]", [1]),
    (pa.array([["a\0"], ["b"]]), "text[]", [0]),
]


@pytest.mark.parametrize(("array", "type_", "rows"), TOO_MUCH)
def test_what_would_be_changed_is_refused_by_its_row(array: pa.Array, type_: str, rows: list[int]) -> None:
    assert refused(array, type_) == rows
    # In a slice, too.
    assert refused(pa.concat_arrays([array.slice(0, 1), array]).slice(1), type_) == rows


def test_an_error_names_the_rows_the_column_and_why() -> None:
    array = pa.array(["abc", "abcd"])
    with pytest.raises(RowError, match=r"row 12, column c: value too long for type character varying\(3\)") as error:
        one(array, "character varying(3)").cast(pa.RecordBatch.from_arrays([array], ["c"]), first=11)
    assert (error.value.code, error.value.sqlstate) == ("PGH-3050", "22001")


NO_WAY = [
    (pa.float64(), "integer"),
    (pa.float64(), "numeric(10,2)"),
    (pa.int64(), "boolean"),
    (pa.int64(), "date"),
    (pa.timestamp("us"), "timestamp with time zone"),
    (pa.timestamp("us", "UTC"), "timestamp without time zone"),
    (pa.timestamp("us"), "date"),
    (pa.binary(), "text"),
    (pa.struct([("a", pa.int32())]), "text"),
    (pa.list_(pa.list_(pa.int32())), "integer[]"),
    (pa.list_(pa.int32()), "integer"),
    (pa.int32(), "integer[]"),
    (pa.month_day_nano_interval(), "interval"),
    (pa.decimal128(10, 2), "numeric(5,-2)"),
]


@pytest.mark.parametrize(("arrow", "type_"), NO_WAY)
def test_what_no_cast_keeps_is_refused_before_the_first_row(arrow: pa.DataType, type_: str) -> None:
    with pytest.raises(MappingError, match="column c takes") as error:
        choose(pa.schema([pa.field("c", arrow)]), [TargetColumn(name="c", type=type_)])
    assert error.value.number in {7010, 7011}


def test_binary_is_chosen_only_where_every_column_has_that_form() -> None:
    fields = [pa.field("a", pa.int64()), pa.field("b", pa.string())]
    text, inet = TargetColumn(name="b", type="text", oid=25), TargetColumn(name="b", type="inet", oid=869)
    number = TargetColumn(name="a", type="bigint", oid=20)
    assert choose(pa.schema(fields), [number, text]).format == "binary"
    assert choose(pa.schema(fields), [number, inet]).format == "csv"
    assert one(pa.array(["<a/>"]), "xml", oid=142).format == "csv"  # in binary, a declared encoding would be believed


def test_a_type_of_somebodys_own_with_a_known_name_takes_strings_only() -> None:
    assert one(pa.array(["a"]), "text", oid=70000).format == "csv"
    with pytest.raises(MappingError):
        one(pa.array([1]), "integer", oid=70000)


def test_lists_become_vectors_in_pgvectors_syntax() -> None:
    arrow = pa.list_(pa.float32(), 2)
    array = pa.array([[0.5, -1], None, [1e-7, 3]], arrow)
    encoding = one(array, "public.vector(2)", oid=70000)
    made = encoding.cast(pa.RecordBatch.from_arrays([array], ["c"]))
    assert made.column(0).to_pylist() == ["[0.5,-1]", None, "[1e-7,3]"]


def test_wide_values_are_the_same_in_portions() -> None:
    """As pgpq writes them: the portions are what it would make of the whole row."""
    big = '한b"' * 100_000
    arrays = [pa.array(v) for v in ([1, 2, 3], ["s", big, None], [b"x", big.encode(), b"y"], [None, "[]", "7"])]
    batch = pa.RecordBatch.from_arrays([*arrays, pa.array([None, f'["{big[:2]}"]' + " " * 600_000, "1"])], [*"abcde"])
    types = ["bigint", "text", "bytea", "json", "jsonb"]
    columns = [TargetColumn(name=n, type=t) for n, t in zip("abcde", types, strict=True)]
    encoding = choose(batch.schema, columns)
    pieces = [*encoding.encode(batch.slice(0, 1)), *encoding.encode(batch.slice(1)), encoding.finish()]
    whole = Binary(encoding.ways)
    made = whole.header() + b"".join(whole.rows(batch)) + whole.finish()
    assert b"".join(pieces) == made
    assert max(map(len, pieces)) <= csv_form.PORTION


def test_a_slice_far_behind_in_gigabytes_is_cast() -> None:
    far = np.array([2**31 - 1, 2**31 + 2, 2**31 + 3], np.int64)
    # Nobody reads what is before: memory that is asked for, and not touched.
    data = np.zeros(2**31 + 3, np.uint8)
    data[-4:] = list(b"abcd")
    array = pa.LargeStringArray.from_buffers(2, pa.py_buffer(far), pa.py_buffer(data))
    made = one(array, "text").cast(pa.RecordBatch.from_arrays([array], ["c"]))
    assert made.column(0).to_pylist() == ["abc", "d"]


def test_as_many_columns_as_the_target_takes() -> None:
    with pytest.raises(MappingError, match="1 columns are delivered for 0"):
        choose(pa.schema([pa.field("a", pa.int64())]), [])


def test_rows_without_columns_are_rows() -> None:
    encoding = choose(pa.schema([]), [])
    batch = pa.RecordBatch.from_struct_array(pa.array([{}, {}], pa.struct([])))
    made = b"".join(encoding.encode(encoding.cast(batch))) + encoding.finish()
    assert made == b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\0" * 2 + b"\xff\xff"


def test_a_stream_without_rows_is_whole_and_another_may_follow() -> None:
    encoding = one(pa.array([1]), "bigint")
    empty = encoding.finish()
    assert empty == b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff"
    batch = pa.RecordBatch.from_arrays([pa.array([1])], ["c"])
    streams = [b"".join(encoding.encode(batch)) + encoding.finish() for _ in range(2)]
    assert streams[0] == streams[1] != empty


def test_wide_rows_are_encoded_few_at_a_time() -> None:
    encoding = one(pa.array(["a"]), "inet")
    batch = pa.RecordBatch.from_arrays([pa.array(["x" * (1 << 20)] * 5)], ["c"])
    whole = [len(p) for p in encoding.encode(batch)]
    assert sum(whole) == 5 * ((1 << 20) + 3)
    assert max(whole) <= (1 << 20) + 3


def test_a_wide_row_is_written_as_any_other() -> None:
    big = 'a"b,\n한' * 200_000
    fields = [pa.array([v]) for v in (big, None, "", big.encode(), b"", 7, True)]
    fields.append(pa.array([[None, 'x"']]))
    fields.append(pa.array([-(2**60)], pa.timestamp("us", "UTC")))
    types = ["inet", "text", "text", "bytea", "bytea", "bigint", "boolean", "text[]", "timestamptz"]
    names = [f"c{n}" for n in range(len(types))]
    batch = pa.RecordBatch.from_arrays(fields, names)
    columns = [TargetColumn(name=n, type=t) for n, t in zip(names, types, strict=True)]
    wide = choose(batch.schema, columns)
    made = b"".join(wide.encode(batch))
    assert wide.format == "csv"
    assert max(len(p) for p in wide.encode(batch)) < 1 << 20
    twice = pa.Table.from_batches([batch, batch]).combine_chunks().to_batches()[0]
    assert b"".join(csv_form.lines(twice)) == made * 2


@pytest.mark.parametrize(
    ("spelling", "name", "args", "array"),
    [
        ("numeric(10,2)", "numeric", (10, 2), False),
        ("timestamp(3) with time zone[]", "timestamp with time zone", (3,), True),
        ("int4", "integer", (), False),
        ("char", "character", (1,), False),
        ('"char"', '"char"', (), False),
        ("varchar(5)[]", "character varying", (5,), True),
        ("public.mood", "public.mood", (), False),
        ("interval day to second(3)", "interval day to second", (3,), False),
    ],
)
def test_a_types_name_is_taken_apart(spelling: str, name: str, args: tuple[int, ...], array: bool) -> None:
    assert Spelled.of(spelling) == Spelled(name=name, args=args, array=array)
