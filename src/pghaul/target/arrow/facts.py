"""What a person looks at to believe that a column has arrived: its NULLs, the least and the greatest value, the sum."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pghaul.target.arrow.checks import DAY

LONGEST = 60  # characters of a text that are shown
EXACT = Context(prec=200)  # digits; Python's own stops at 28
NO_RANGE = (pa.types.is_binary, pa.types.is_fixed_size_binary, pa.types.is_list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFacts:
    """Of one column. Texts have an order of bytes here; sums of floats hang on their order, so there are none."""

    name: str
    nulls: int
    least: str | None
    greatest: str | None
    total: str | None


class Facts:
    """Of the batches of one column."""

    def __init__(self, name: str, type_: pa.DataType) -> None:
        self._name = name
        self._type = type_
        self._nulls = 0
        self._least: Any = None
        self._greatest: Any = None
        self._total: int | Decimal | None = None
        self._ordered = not any(test(type_) for test in NO_RANGE)

    def update(self, array: pa.Array) -> None:
        """More of it."""
        self._nulls += array.null_count
        if not self._ordered or array.null_count == len(array):
            return
        array = _comparable(array)
        bounds = pc.min_max(array)
        least, greatest = bounds["min"].as_py(), bounds["max"].as_py()
        if least is not None:
            self._least = least if self._least is None else min(self._least, least)
            self._greatest = greatest if self._greatest is None else max(self._greatest, greatest)
        self._add(array)

    def add(self, other: Facts) -> None:
        """Those of another part of the same column."""
        self._nulls += other._nulls
        if other._least is not None:
            self._least = other._least if self._least is None else min(self._least, other._least)
            self._greatest = other._greatest if self._greatest is None else max(self._greatest, other._greatest)
        if isinstance(other._total, Decimal):
            self._total = EXACT.add(Decimal(self._total or 0), other._total)
        elif other._total is not None:
            self._total = int(self._total or 0) + other._total

    def told(self) -> ColumnFacts:
        """As text."""
        least, greatest = (_words(v, self._type) for v in (self._least, self._greatest))
        total = None if self._total is None else str(self._total)
        return ColumnFacts(name=self._name, nulls=self._nulls, least=least, greatest=greatest, total=total)

    def _add(self, array: pa.Array) -> None:
        if pa.types.is_integer(self._type):
            self._total = int(self._total or 0) + _sum(array)
        elif pa.types.is_decimal(self._type):
            wide = pa.decimal256(76, self._type.scale)
            self._total = EXACT.add(Decimal(self._total or 0), pc.sum(pc.cast(array, wide)).as_py() or Decimal(0))
        elif pa.types.is_boolean(self._type):
            self._total = int(self._total or 0) + array.true_count


Pair: TypeAlias = tuple[Facts, Facts]  # of the source's column and the target's


def _comparable(array: pa.Array) -> pa.Array:
    """Moments as numbers: Python has no year 10000. NaN is neither small nor great; -0 is 0."""
    if pa.types.is_floating(array.type):
        return pc.add(pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array), pa.scalar(0, array.type))
    if pa.types.is_temporal(array.type):
        return array.view(pa.int32() if array.type.bit_width == 32 else pa.int64())
    return array.cast(pa.binary()) if pa.types.is_string(array.type) else array  # it may be none, and is refused later


def _sum(array: pa.Array) -> int:
    """Exact, in two halves of 32 bits: pyarrow's own sum of int64 overflows without a word."""
    numbers = pc.fill_null(array, 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return (int((numbers >> 32).sum()) << 32) + int((numbers & 0xFFFFFFFF).sum())


def _words(value: Any, type_: pa.DataType) -> str | None:
    if value is None:
        return None
    if pa.types.is_time(type_):
        return "24:00:00" if value == DAY else str(pa.array([value]).view(type_).cast(pa.string())[0])
    if pa.types.is_temporal(type_):  # as numpy spells them, which has years before 1 and after 9999
        return str(np.datetime64(value, "D" if pa.types.is_date(type_) else "us")).replace("T", " ")
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    words = f"{value:f}" if isinstance(value, Decimal) else str(value)
    return words if len(words) <= LONGEST else words[:LONGEST] + "…"
