"""Vectors as other databases keep them, in pgvector's syntax; what is none is told by its row."""

from __future__ import annotations

import struct

import pyarrow as pa
import pytest

from pghaul.model.foreign import ReadColumn, is_vector
from pghaul.sources import _sqlserver_forms
from pghaul.sources._mysql_projection import project
from pghaul.target.arrow.encoding import TargetColumn, choose

COLUMN = TargetColumn(name="v", type="public.vector(3)", oid=99_999)


def floats(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def sifted(values: list[object], type_: pa.DataType) -> tuple[list[object], dict[int, str]]:
    batch = pa.RecordBatch.from_arrays([pa.array(values, type_)], names=["v"])
    found = choose(batch.schema, [COLUMN]).sift(batch)
    return found.batch.column(0).to_pylist(), {r.row: str(r.message) for r in found.refused}


@pytest.mark.parametrize("type_", [pa.binary(), pa.large_binary()])
def test_bytes_are_float32_in_little_endian(type_: pa.DataType) -> None:
    values = [floats(1, -0.5, 3e-8), None, floats(0.1, 16777216, 3)]
    assert sifted(values, type_) == (["[1,-0.5,3e-8]", None, "[0.1,16777216,3]"], {})


def test_bytes_of_a_width_are_the_same() -> None:
    assert sifted([floats(1, 2, 3)], pa.binary(12)) == (["[1,2,3]"], {})


def test_what_is_no_vector_is_told_by_its_row() -> None:
    values = [floats(1, 2, 3), b"12345", floats(1, 2), floats(1, float("nan"), 2), floats(1, 2, float("-inf")), None]
    kept, refused = sifted(values, pa.binary())
    assert kept == ["[1,2,3]", None]
    assert sorted(refused) == [1, 2, 3, 4]
    assert "neither an array" in refused[1]
    assert "dimensions" in refused[2]
    assert "NaN" in refused[3]
    assert "infinity" in refused[4]


def test_texts_are_arrays_of_numbers_and_bytes_among_them_have_digits() -> None:
    values = ["[1,2,3]", " [ 1.5 , 2 , 3 ]", "\\x" + floats(4, 5, 6).hex(), "words", "[1,2]", "\\x12", None]
    kept, refused = sifted(values, pa.string())
    assert kept == ["[1,2,3]", " [ 1.5 , 2 , 3 ]", "[4,5,6]", None]
    assert sorted(refused) == [3, 4, 5]


def test_a_slice_of_a_batch_is_its_own_rows() -> None:
    whole = pa.array([floats(n, n, n) for n in range(6)], pa.binary())
    batch = pa.RecordBatch.from_arrays([whole.slice(2, 3)], names=["v"])
    assert choose(batch.schema, [COLUMN]).cast(batch).column(0).to_pylist() == ["[2,2,2]", "[3,3,3]", "[4,4,4]"]


@pytest.mark.parametrize(
    ("type_", "yes"),
    [("vector(3)", True), ("public.halfvec(8)", True), ("vector", True), ("vector(3)[]", False), ("tsvector", False)],
)
def test_which_types_are_vectors(type_: str, yes: bool) -> None:
    assert is_vector(type_) is yes


@pytest.mark.parametrize("mariadb", [True, False])
def test_a_vector_of_mysql_is_read_as_its_bytes_and_not_by_six_digits(mariadb: bool) -> None:
    column = ReadColumn(name="v", native="vector(3)", pg_type="public.vector(3)")
    assert project(column, 0, "", "refuse", mariadb=mariadb).sql == "CAST(`v` AS BINARY)"


def test_varbinary_of_sql_server_is_read_as_it_is() -> None:
    column = ReadColumn(name="v", native="varbinary(12)", pg_type="vector(3)")
    assert _sqlserver_forms.form(column, "[v]", "varbinary(12)").carried == pa.binary()
