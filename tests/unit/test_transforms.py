"""Chains of transforms: characters, casts, rows that are refused or set aside, and what is refused before the run."""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa
import pytest

from pghaul.model.errors import RowError, TransformError
from pghaul.model.foreign import ReadColumn
from pghaul.model.plan import Mapping, Undecodable
from pghaul.model.transforming import Transform, new_columns, new_name, new_type
from pghaul.transforms.chain import Applied, chain
from pghaul.transforms.steps import refused_by

KOREAN = ["가나다".encode("cp949"), None, b"", "뷁".encode("cp949")]


def applied(
    data: dict[str, Any],
    *transforms: dict[str, Any],
    encodings: dict[str, str] | None = None,
    mapping: Mapping | None = None,
    strict: bool = True,
) -> Applied:
    batch = pa.record_batch(data)
    columns = [
        ReadColumn(name=n, native="", pg_type="text", encoding=(encodings or {}).get(n)) for n in batch.schema.names
    ]
    made = chain(columns, batch.schema.names, [Transform(**t) for t in transforms], mapping, strict=strict)
    schema = made.bind(batch.schema)
    done = made.apply(batch, first=101)
    assert done.batch.schema == schema
    return done


def values(done: Applied, column: str = "a") -> list[Any]:
    found: list[Any] = done.batch.column(column).to_pylist()
    return found


# --- casts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "type_", "made"),
    [
        (["1.50", "-0"], "numeric(10,2)", ["1.50", "0.00"]),
        ([1.5, 0.1], "numeric(10,2)", ["1.50", "0.10"]),
        ([1, 2], "numeric(40,2)", ["1.00", "2.00"]),
        ([70_000, None], "text", ["70000", None]),
        ([True, False], "text", ["true", "false"]),
        ([datetime.datetime(2020, 1, 2, 3, 4, 5, 120_000)], "text", ["2020-01-02 03:04:05.12"]),
        (["2020-01-02T03:04:05Z"], "timestamptz", ["2020-01-02 03:04:05+00:00"]),
        (["2020-01-02 00:00:00"], "date", ["2020-01-02"]),
        (["03:04:05.5"], "time", ["03:04:05.500000"]),
        (["1 day 2 hours"], "interval", ["1 day 2 hours"]),
    ],
)
def test_a_value_becomes_the_same_of_another_type(given: list[Any], type_: str, made: list[str | None]) -> None:
    done = applied({"a": given}, {"kind": "cast", "column": "a", "to": type_})
    assert [None if v is None else str(v) for v in values(done)] == made


@pytest.mark.parametrize(
    ("given", "type_"),
    [
        (["1.555"], "numeric(10,2)"),
        ([70_000], "smallint"),
        ([1.5], "integer"),
        ([datetime.datetime(2020, 1, 2, 3)], "date"),
        (["maybe"], "boolean"),
        ([0.1], "real"),
        (["25:00:00"], "time"),
    ],
)
def test_what_would_be_lost_by_a_cast_is_refused_by_its_row(given: list[Any], type_: str) -> None:
    with pytest.raises(RowError, match="row 101, column a"):
        applied({"a": given}, {"kind": "cast", "column": "a", "to": type_})


def test_rows_that_are_set_aside_keep_their_numbers_through_the_steps() -> None:
    data = {"a": ["1", "x", "3", "4"], "b": ["p", "q", "?", "p"]}
    steps = ({"kind": "cast", "column": "a", "to": "integer"},)
    mapped = {"kind": "map", "column": "b", "map": {"p": "P", "q": "Q"}, "otherwise": "fail"}
    done = applied(data, *steps, mapped, strict=False)
    assert [(r.row, r.column) for r in done.rejected] == [(1, "a"), (2, "b")]
    assert done.kept.tolist() == [0, 3]
    assert done.batch.to_pydict() == {"a": [1, 4], "b": ["P", "P"]}
    assert done.aside.to_pydict() == {"a": ["x", "3"], "b": ["Q", "?"]}


def test_rows_at_fault_are_found_by_halves() -> None:
    found = refused_by(lambda a: a.cast(pa.int16()), [pa.array([1, 70_000, 3, 70_000])], 4)
    assert found.tolist() == [False, True, False, True]


# --- characters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["cp949", "euc-kr", "latin-1", "utf-8", "utf-16-le", "shift_jis", "gb18030"])
def test_bytes_become_characters(encoding: str) -> None:
    texts = ["abc", None, "", {"latin-1": "çé", "shift_jis": "日本", "gb18030": "汉字"}.get(encoding, "가나")]
    data = {"a": [None if t is None else t.encode(encoding) for t in texts]}
    assert values(applied(data, encodings={"a": encoding})) == texts


def test_a_value_with_a_nul_in_it_is_decoded_by_itself() -> None:
    data = {"a": ["가\0나".encode("cp949"), "다".encode("cp949")]}
    done = applied(data, encodings={"a": "cp949"}, mapping=Mapping(nul=Undecodable.REPLACE))
    assert (values(done), done.replaced) == (["가나", "다"], {"a": 1})


def test_bytes_that_are_no_characters_end_it_with_row_column_and_bytes() -> None:
    with pytest.raises(RowError, match="row 105, column a: bytes that are no characters of cp949: b0"):
        applied({"a": [*KOREAN, b"\xb0"]}, encodings={"a": "cp949"})


def test_an_error_names_ten_of_them() -> None:
    with pytest.raises(RowError) as caught:
        applied({"a": [b"\xff"] * 12}, encodings={"a": "utf-8"})
    assert caught.value.message.startswith("12 values")
    assert caught.value.message.count("row ") == 10


def test_they_are_set_aside_where_the_plan_says_so() -> None:
    mapping = Mapping(undecodable=Undecodable.QUARANTINE)
    done = applied({"a": [*KOREAN, b"\xb0"]}, encodings={"a": "cp949"}, mapping=mapping, strict=False)
    assert values(done) == ["가나다", None, "", "뷁"]
    assert [(r.row, r.sqlstate) for r in done.rejected] == [(4, "22021")]
    assert "b0" in done.rejected[0].message
    assert done.aside.to_pydict() == {"a": ["\\xb0"]}


def test_or_replaced_and_counted() -> None:
    mapping = Mapping(undecodable=Undecodable.REPLACE)
    done = applied({"a": [*KOREAN, b"x\xb0"]}, encodings={"a": "cp949"}, mapping=mapping)
    assert values(done) == ["가나다", None, "", "뷁", "x\N{REPLACEMENT CHARACTER}"]
    assert done.replaced == {"a": 1}


def test_a_nul_character_is_found_in_any_text() -> None:
    with pytest.raises(RowError, match="row 102, column a: a NUL character: 61 00 62"):
        applied({"a": ["x", "a\0b"], "n": [1, 2]})


def test_a_slice_of_a_batch_is_looked_at_alone() -> None:
    batch = pa.record_batch({"a": ["a\0b", "x", "y"]})
    made = chain([ReadColumn(name="a", native="", pg_type="text")], ["a"])
    made.bind(batch.schema)
    assert made.apply(batch.slice(1)).batch.to_pydict() == {"a": ["x", "y"]}


# --- before the run -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        ({"kind": "trim", "column": "n"}, "trim cannot be applied to the column n"),
        ({"kind": "trim", "column": "b"}, "there are a, n"),
        ({"kind": "default", "column": "n", "value": "none"}, "'none' is no value of the column n"),
        ({"kind": "null-if", "column": "n", "values": [1, "x"]}, "'x' is no value of the column n"),
        ({"kind": "trimm", "column": "a"}, "there is no transform trimm"),
    ],
)
def test_what_cannot_be_applied_is_named_before_the_first_row(transform: dict[str, Any], words: str) -> None:
    with pytest.raises(TransformError, match=words):
        applied({"a": ["x"], "n": [1]}, transform)


def test_an_encoding_that_nobody_knows_is_named() -> None:
    with pytest.raises(TransformError, match="there is no encoding klingon"):
        applied({"a": [b"x"]}, encodings={"a": "klingon"})


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"kind": "cast", "column": "a"}, "cast needs to"),
        ({"kind": "trim"}, "trim needs a column"),
        ({"kind": "trim", "column": "a", "to": "b"}, "trim takes no to"),
        ({"kind": "trim", "column": "a", "columns": ["a"]}, "column or columns"),
        ({"kind": "rename", "columns": ["a", "b"], "to": "c"}, "rename is of one column"),
        ({"kind": "theirs", "column": "a", "fill": "x"}, "fill goes under options"),
        ({"kind": "python", "function": "rules.py"}, "should match pattern"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Transform(**said)


def test_a_plan_that_was_kept_whole_reads_the_same() -> None:
    said = Transform(kind="map", column="a", map={"1": "x"}, type="text")
    assert Transform.model_validate_json(said.model_dump_json()) == said


# --- what the target gets -----------------------------------------------------------------------------------------


def test_the_result_has_the_columns_that_are_carried_in_their_order() -> None:
    batch = pa.record_batch({"a": [1], "b": ["x"], "c": [True]})
    read = [ReadColumn(name=n, native="", pg_type="text") for n in batch.schema.names]
    made = chain(read, ["c", "a"], [Transform(kind="rename", column="a", to="z")])
    made.bind(batch.schema)
    assert made.apply(batch).batch.to_pydict() == {"c": [True], "z": [1]}


def test_names_and_types_of_the_target_are_known_without_a_value() -> None:
    steps = [
        Transform(kind="rename", column="a", to="b"),
        Transform(kind="cast", column="a", to="numeric(8,2)"),
        Transform(kind="hash", column="n", key="env:K"),
        Transform(kind="hash", column="v", key="env:K"),
        Transform(kind="expression", column="new", expression="a + 1", type="bigint"),
    ]
    assert (new_name(steps, "a"), new_name(steps, "n")) == ("b", None)
    assert new_type(steps, "a", "text") == "numeric(8,2)"
    assert new_type(steps, "n", "bigint") == "text"
    assert new_type(steps, "v", "character varying(20)") is None
    assert new_columns(steps, ["a", "n", "v"]) == {"new": "bigint"}
