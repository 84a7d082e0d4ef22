"""Tables of a stand-in, as a server's catalogue and the driver have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Column:
    """As ALL_TAB_COLS has it."""

    name: str
    base: str
    owner: str | None = None
    length: int = 22
    chars: int = 0
    used: str | None = None
    precision: int | None = None
    scale: int | None = None
    not_null: bool = False

    @property
    def facts(self) -> tuple[Any, ...]:
        """DATA_TYPE, and what belongs to it."""
        return (self.base, self.owner, self.length, self.chars, self.used, self.precision, self.scale)

    @property
    def arrow(self) -> pa.DataType:
        """What the driver makes of it where it is asked for decimals, and nothing is asked for around the column."""
        if self.base == "NUMBER":
            return pa.decimal128(self.precision or 38, self.scale or 0)
        return pa.string()


def number(name: str, precision: int | None = None, scale: int | None = None, **more: Any) -> Column:
    """NUMBER, NUMBER(p) or NUMBER(p,s)."""
    return Column(
        name=name, base="NUMBER", precision=precision, scale=0 if precision and scale is None else scale, **more
    )


def varchar2(name: str, characters: int, **more: Any) -> Column:
    """VARCHAR2(n CHAR)."""
    return Column(name=name, base="VARCHAR2", length=4 * characters, chars=characters, used="C", **more)


@dataclass(kw_only=True)
class Table:
    """`rows` are of plain columns; `recorded` is, for the text of an expression, the column of a frame."""

    name: str
    columns: tuple[Column, ...]
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    recorded: Mapping[str, pa.Array] = field(default_factory=dict)
    key: str | None = None
    unique: str | None = None
    indexed: str | None = None
    points_to: str | None = None  # another table's key: by `indexed`
    repeated: int = 0  # so many rows, which are the same
