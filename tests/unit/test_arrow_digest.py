"""A digest of batches is that of their rows; and facts are exact, whatever batches the rows come in."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pghaul.target.arrow.digest import Digest
from pghaul.target.arrow.facts import ColumnFacts

ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.text(max_size=3),
        st.none() | st.binary(max_size=3),
        st.none() | st.floats(),
        st.none() | st.booleans(),
        st.none() | st.integers(-99999, 99999).map(lambda n: Decimal(f"{n}E-2")),
    ),
    max_size=12,
)
SCHEMA = pa.schema(
    [
        ("int", pa.int64()),
        ("text", pa.string()),
        ("bytes", pa.binary()),
        ("float", pa.float64()),
        ("bool", pa.bool_()),
        ("decimal", pa.decimal128(5, 2)),
    ]
)


def batch_of(rows: list[Any]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [[]] * len(SCHEMA)
    return pa.RecordBatch.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


def cut(batch: pa.RecordBatch, places: list[int]) -> Iterator[pa.RecordBatch]:
    bounds = [0, *sorted(min(p, batch.num_rows) for p in places), batch.num_rows]
    for start, end in pairwise(bounds):
        yield batch.slice(start, end - start)


def digest_of(*batches: pa.RecordBatch) -> Digest:
    digest = Digest(batches[0].schema, facts=True)
    for batch in batches:
        digest.update(batch)
    return digest


@settings(max_examples=60)
@given(ROWS, st.lists(st.integers(0, 12), max_size=3), st.lists(st.integers(0, 12), max_size=3))
def test_batches_make_no_difference(rows: list[Any], one: list[int], other: list[int]) -> None:
    batch = batch_of(rows)
    ours, theirs = digest_of(batch, *cut(batch, one)), digest_of(batch, *cut(batch, other))
    assert (ours.hexdigest(), ours.facts()) == (theirs.hexdigest(), theirs.facts())


@settings(max_examples=60)
@given(ROWS.filter(bool), st.data())
def test_one_value_makes_one(rows: list[Any], data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(rows) - 1))
    changed = [*rows[:row], data.draw(ROWS.filter(bool))[0], *rows[row + 1 :]]
    ours, theirs = digest_of(batch_of(rows)), digest_of(batch_of(changed))
    same = [_seen(a) == _seen(b) for a, b in zip(rows[row], changed[row], strict=True)]
    assert ours.differing(theirs) == tuple(n for n, unchanged in zip(SCHEMA.names, same, strict=True) if not unchanged)


def _seen(value: Any) -> Any:
    """-0 is not 0, and every NaN is NaN."""
    return str(value) if isinstance(value, float) else value


DIFFERENT = [
    (pa.array([None, 0]), pa.array([0, None])),
    (pa.array([""]), pa.array([None], pa.string())),
    (pa.array(["a", "bc"]), pa.array(["ab", "c"])),
    (pa.array([0.0]), pa.array([-0.0])),
    (pa.array([1, 2]), pa.array([2, 1])),
    (pa.array([None, None], pa.string()), pa.array([None], pa.string())),
]


@pytest.mark.parametrize(("ours", "theirs"), DIFFERENT)
def test_what_is_not_the_same_has_another_digest(ours: pa.Array, theirs: pa.Array) -> None:
    mine, other = (digest_of(pa.RecordBatch.from_arrays([a], ["c"])) for a in (ours, theirs))
    assert mine.differing(other) == ("c",)
    assert mine.hexdigest() != other.hexdigest()


def test_what_lies_below_a_null_and_which_nan_it_is_counts_for_nothing() -> None:
    dirty = pa.Array.from_buffers(pa.string(), 2, [pa.py_buffer(b"\x02"), *pa.array(["x", "y"]).buffers()[1:]])
    assert dirty.to_pylist() == [None, "y"]
    nans = np.array([0x7FF8000000000001, 0xFFF8000000000000], np.uint64).view(np.float64)
    ours = pa.RecordBatch.from_arrays([dirty, pa.array(nans)], ["a", "b"])
    theirs = pa.RecordBatch.from_arrays([pa.array([None, "y"]), pa.array([np.nan, np.nan])], ["a", "b"])
    assert digest_of(ours).hexdigest() == digest_of(theirs).hexdigest()


def test_facts_are_exact() -> None:
    most = 2**63 - 1
    batch = pa.RecordBatch.from_pydict(
        {
            "n": pa.array([most, most, None, -5]),
            "d": pa.array([Decimal("9" * 36 + ".99")] * 2 + [None, Decimal(0)], pa.decimal128(38, 2)),
            "t": pa.array([2**62, -1, None, 0], pa.timestamp("us", "UTC")),
            "s": pa.array(["b", "a" * 70, None, None]),
            "f": pa.array([1.5, float("nan"), None, -2.0]),
            "b": pa.array([True, True, False, None]),
            "x": pa.array([b"a", None, None, None]),
        }
    )
    whole, twice = digest_of(batch).facts(), digest_of(batch, batch).facts()
    assert whole[0] == ColumnFacts(name="n", nulls=1, least="-5", greatest=str(most), total=str(2 * most - 5))
    assert twice[1].total == str(4 * (10**38 - 1))[:-2] + "." + str(4 * (10**38 - 1))[-2:]
    assert (whole[2].least, whole[2].greatest) == ("1969-12-31 23:59:59.999999", "148108-07-06 14:00:27.387904")
    assert (whole[3].least, whole[3].nulls) == ("a" * 60 + "…", 2)
    assert (whole[4].least, whole[4].greatest, whole[4].total) == ("-2.0", "1.5", None)
    zeros = pa.RecordBatch.from_arrays([pa.array([-0.0, float("nan")], pa.float32())], ["z"])
    assert [(f.least, f.greatest) for f in digest_of(zeros.slice(1), zeros).facts()] == [("0.0", "0.0")]
    assert (whole[5].total, whole[6].least, whole[6].nulls) == ("2", None, 3)
