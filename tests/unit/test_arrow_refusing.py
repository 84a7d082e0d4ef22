"""Rows that a target refuses are found whatever it says of them; all others are loaded, once, in their order."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pghaul.model import copy_text
from pghaul.target.arrow.encoding import TargetColumn, choose
from pghaul.target.arrow.refusing import Loaded, Refusal, RefusedRow, Tries
from pghaul.target.arrow.row_text import line_of


class Target:
    """Takes csv of one integer a line, but for some; says of the first of those that it is so many lines further."""

    def __init__(self, bad: set[int], *, off: int | None) -> None:
        self.bad = bad
        self.off = off
        self.kept: list[int] = []
        self.open: list[int] = []
        self.copies = 0

    async def copy(self, stream: AsyncIterator[bytes]) -> None:
        self.copies += 1
        data = b"".join([piece async for piece in stream])
        self.open = [int(line.strip(b'"')) for line in data.splitlines()]
        for number, value in enumerate(self.open, start=1):
            if value in self.bad:
                raise Refusal(ValueError("" if self.off is None else number + self.off))

    async def keep(self) -> None:
        self.kept += self.open

    async def undo(self) -> None:
        self.open = []


def tried(target: Target, rows: int, *, certain: bool = False) -> list[int]:
    """Of so many rows, those that are refused; in two batches."""
    batch = pa.RecordBatch.from_arrays([pa.array([str(n) for n in range(rows)])], ["c"])
    tries = Tries(
        choose(batch.schema, [TargetColumn(name="c", type="inet")]),
        copy=target.copy,
        keep=target.keep,
        undo=target.undo,
        named=lambda error: error.args[0] if isinstance(error.args[0], int) else None,
        certain=lambda _: certain,
    )

    async def all_of_them() -> list[int]:
        refused, loaded = [], []
        for start, part in ((0, batch.slice(0, rows // 3)), (rows // 3, batch.slice(rows // 3))):
            async for found in tries.of(part):
                if isinstance(found, RefusedRow):
                    refused.append(start + found.row)
                elif isinstance(found, Loaded):
                    loaded += [int(v) for v in found.batch.column(0).to_pylist()]
        assert loaded == target.kept
        return refused

    return asyncio.run(all_of_them())


@settings(max_examples=25)
@given(st.integers(0, 120), st.sets(st.integers(0, 119)), st.sampled_from([None, 0, 0, -1, 5, 10**6]))
def test_every_row_is_loaded_or_refused_by_itself(rows: int, bad: set[int], off: int | None) -> None:
    """A server that is believed has to be right."""
    target = Target(bad, off=off)
    assert tried(target, rows, certain=off == 0) == sorted(b for b in bad if b < rows)
    assert target.kept == [n for n in range(rows) if n not in bad]


def test_a_row_that_is_named_takes_few_steps() -> None:
    target = Target({20_000}, off=0)
    assert tried(target, 30_000) == [20_000]
    assert target.copies < 12
    blind = Target({20_000}, off=None)
    assert tried(blind, 30_000) == [20_000]
    assert blind.copies < 40


def test_many_rows_at_fault_make_small_batches() -> None:
    target = Target(set(range(0, 5_000, 2)), off=0)
    assert len(tried(target, 5_000, certain=True)) == 2_500
    assert target.copies < 5_500


def test_an_encoders_stream_begins_anew_after_one_that_was_broken_off() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([1, 2, 3])], ["c"])
    encoding = choose(batch.schema, [TargetColumn(name="c", type="bigint")])
    whole = b"".join(encoding.encode(batch)) + encoding.finish()
    list(encoding.encode(batch))  # and nobody asks for the end
    encoding.begin()
    assert b"".join(encoding.encode(batch)) + encoding.finish() == whole


LINES = [
    (pa.array(["a\tb\\\n\r"]), "a\tb\\\n\r"),
    (pa.array([None], pa.int32()), None),
    (pa.array([""]), ""),
    (pa.array(["a\0b"]), "a\0b"),
    (pa.array([True]), "true"),
    (pa.array([0.1]), "0.1"),
    (pa.array([Decimal("1.2390")]), "1.2390"),
    (pa.array([b"\x00\xff"]), "\\x00ff"),
    (pa.array([b"\x01" * 16], pa.binary(16)), "01" * 16),
    (pa.array([1], pa.timestamp("ns")), "1970-01-01 00:00:00.000000001"),
    (pa.array([0], pa.timestamp("us", "Asia/Seoul")), "1970-01-01 00:00:00.000000+00"),
    (pa.array([datetime.date(2020, 1, 2)]), "2020-01-02"),
    (pa.array([86_400_000_000]).view(pa.time64("us")), "24:00:00.000000"),
    (pa.array([3_661], pa.time32("s")), "01:01:01"),
    (pa.array([-5]).view(pa.time64("us")), "-5 us"),
    (pa.array([["a", None, 'b"']]), '{"a",NULL,"b\\""}'),
    (pa.array(["x"]).dictionary_encode(), "x"),
    (pa.array([datetime.timedelta(seconds=1)], pa.duration("ms")), "1000 ms"),
]


@pytest.mark.parametrize(("array", "text"), LINES)
def test_a_row_is_kept_as_a_line_that_postgresql_reads(array: pa.Array, text: Any) -> None:
    batch = pa.RecordBatch.from_arrays([pa.concat_arrays([array, array]), pa.array([7, 8])], ["a", "b"])
    assert copy_text.decode(line_of(batch, 1), "UTF8") == (text, "8")


def test_bytes_that_are_no_text_are_kept_as_they_are() -> None:
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff")])
    assert line_of(pa.RecordBatch.from_arrays([broken], ["a"]), 0) == b"a\xff"
