"""What SQL Server makes of its values where our statements ask for a conversion, as its documentation has it.

Only the expressions that the source projects are understood; anything else is an error of the test. Written apart from
the source, so that both have to agree with the documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from tests.tds import types as t
from tests.tds.types import Type

CONVERT = re.compile(r"CONVERT\((?P<to>\w+(?:\(\w+(?:,\s*\w+)?\))?), ")
FIRST_DAY = date(1900, 1, 1)
EPOCH_TICKS = 864_000_000_000  # of 100 ns in a day


@dataclass(frozen=True, slots=True)
class Native:
    """A type as CREATE TABLE has it: "decimal(38,10)"."""

    text: str
    page: str = "cp1252"

    @property
    def base(self) -> str:
        return self.text.partition("(")[0]

    @property
    def args(self) -> list[int]:
        inner = self.text.partition("(")[2].rstrip(")")
        return [-1 if a == "max" else int(a) for a in inner.split(",") if a]

    @property
    def sys_columns(self) -> tuple[str, int, int, int]:
        """Base, max_length, precision and scale, as sys.columns has them."""
        args = self.args
        if self.base in {"nvarchar", "nchar"}:
            return self.base, args[0] if args[0] == -1 else 2 * args[0], 0, 0
        if self.base in {"varchar", "char", "varbinary", "binary"}:
            return self.base, args[0], 0, 0
        if self.base in {"decimal", "numeric"}:
            return self.base, 17, args[0], args[1]
        return self.base, 8, 0, args[0] if args else 0

    @property
    def wire(self) -> Type:
        """How it travels."""
        size = self.args[0] if self.args else 0
        made = _WIRE.get(self.base)
        if isinstance(made, Type):
            return made
        assert made is not None, self.text
        return made(size, self)


def _sized(make: Callable[..., Type]) -> Callable[[int, Native], Type]:
    return lambda size, _: make(None if size == -1 else size)


_WIRE: dict[str, Type | Callable[[int, Native], Type]] = {
    "bit": t.BIT, "tinyint": t.TINYINT, "smallint": t.SMALLINT, "int": t.INT, "bigint": t.BIGINT, "real": t.REAL,
    "float": t.FLOAT, "money": t.MONEY, "smallmoney": t.SMALLMONEY, "datetime": t.DATETIME, "date": t.DATE,
    "smalldatetime": t.SMALLDATETIME, "uniqueidentifier": t.GUID, "xml": t.XML, "text": t.TEXT, "ntext": t.NTEXT,
    "image": t.IMAGE, "timestamp": t.binary(8),
    "nvarchar": _sized(t.nvarchar), "varbinary": _sized(t.varbinary), "nchar": _sized(t.nchar),
    "binary": _sized(t.binary),
    "varchar": lambda size, n: t.varchar(None if size == -1 else size, page=n.page),
    "char": lambda size, n: t.char(size, page=n.page),
    "decimal": lambda _, n: t.decimal(*n.args),
    "numeric": lambda _, n: t.decimal(*n.args),
    "time": lambda scale, _: t.time(scale),
    "datetime2": lambda scale, _: t.datetime2(scale),
    "datetimeoffset": lambda scale, _: t.datetimeoffset(scale),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """Of an expression: the type of its values, and how one is made of a column's."""

    column: str
    native: Native
    make: Callable[[Any], Any]


def shape(expression: str, columns: dict[str, Native]) -> Shape:
    """Of what stands in a SELECT."""
    if expression.startswith("[") and expression.endswith("]") and "]." not in expression:
        name = expression[1:-1].replace("]]", "]")
        return Shape(name, columns[name], lambda v: v)
    if expression.startswith("SWITCHOFFSET(") and expression.endswith(", '+00:00')"):
        inner = shape(expression[13:-11], columns)
        return Shape(inner.column, inner.native, lambda v: None if v is None else (*v[:2], 0))
    if expression.startswith("CASE CONVERT(nvarchar(128), SQL_VARIANT_PROPERTY("):
        return Shape(_first(expression), Native("nvarchar(max)"), _of_variant)
    if expression.startswith("N'SRID=' + CONVERT(nvarchar(11), "):
        return Shape(_first(expression), Native("nvarchar(max)"), lambda v: v and f"SRID={v[0]};{v[1]}")
    if expression.endswith(".ToString()"):
        return Shape(_first(expression), Native("nvarchar(4000)"), lambda v: v)
    match = CONVERT.match(expression)
    assert match is not None, expression
    assert expression.endswith(")"), expression
    return _conversion(Native(match["to"]), expression[match.end() : -1], columns)


def _first(expression: str) -> str:
    match = re.search(r"\[([^\]]+)\]", expression)
    assert match is not None
    return match[1]


def _conversion(to: Native, rest: str, columns: dict[str, Native]) -> Shape:
    style = re.search(r", (\d+)$", rest)
    inner = shape(rest[: style.start()] if style else rest, columns)
    number = int(style[1]) if style else 0
    return Shape(inner.column, to, lambda v: converted(inner.make(v), inner.native, to, number))


def converted(value: Any, it: Native, to: Native, style: int) -> Any:
    """CONVERT(to, value, style)."""
    if value is None:
        return None
    if to.base == "varbinary":
        return _bytes(value, it)
    if to.base in {"nvarchar", "varchar"}:
        made = _text(value, it, style)
        assert to.args[0] == -1 or len(made) <= to.args[0], f"{made!r} is cut off by {to.text}"
        return made
    if to.base == "datetime2":
        return value[:2]
    if it.base == "timestamp":
        return int.from_bytes(value, "big", signed=True)
    assert to.base in {"tinyint", "bigint"}, to.text
    return int(value)


def _bytes(value: Any, it: Native) -> bytes:
    if isinstance(value, bytes):
        return value
    return t.utf16(value) if it.base in {"nvarchar", "nchar"} else value.encode(it.page)


def _text(value: Any, it: Native, style: int) -> str:
    if it.base in {"money", "smallmoney"}:
        return f"{value:.4f}" if style == 2 else f"{value:.2f}"
    if it.base in {"datetime2", "datetimeoffset", "time", "date", "datetime", "smalldatetime"}:
        return moment(value, it, style)
    if isinstance(value, bytes):
        return {1: "0x", 2: ""}[style] + value.hex().upper()
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value).upper() if it.base == "uniqueidentifier" else str(value)


def clock(ticks: int, scale: int) -> str:
    """hh:mm:ss[.nnnnnnn] of ticks of 10^-scale seconds."""
    seconds, part = divmod(ticks, 10**scale)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{part:0{scale}}" if scale else text


def moment(value: Any, it: Native, style: int) -> str:
    """Styles 23, 120 and 121."""
    scale = it.args[0] if it.args else 7
    if it.base == "time":
        return clock(value, scale)
    if it.base == "date":
        assert style == 23
        return date.fromordinal(value + 1).isoformat()
    if it.base in {"datetime", "smalldatetime"}:
        day = FIRST_DAY + timedelta(days=value[0])
        assert style == (121 if it.base == "datetime" else 120)
        if it.base == "datetime":
            return f"{day.isoformat()} {clock((value[1] * 1000 + 150) // 300, 3)}"
        return f"{day.isoformat()} {clock(value[1] * 60, 0)}"
    assert style == 121
    ticks, days, *offset = value
    if not offset:
        return f"{date.fromordinal(days + 1).isoformat()} {clock(ticks, scale)}"
    local = days * 86_400 * 10**scale + ticks + offset[0] * 60 * 10**scale
    days, ticks = divmod(local, 86_400 * 10**scale)
    sign, minutes = "-" if offset[0] < 0 else "+", abs(offset[0])
    zone = f"{sign}{minutes // 60:02}:{minutes % 60:02}"
    return f"{date.fromordinal(days + 1).isoformat()} {clock(ticks, scale)} {zone}"


def _of_variant(value: tuple[str, Any] | None) -> str | None:
    """What the CASE over the types of a sql_variant makes of one: its type and its value."""
    if value is None:
        return None
    native = Native(value[0])
    if native.base == "float":
        return f"{value[1]:.16e}"  # style 3
    styles = {"money": 2, "varbinary": 1, "datetime": 121, "datetime2": 121, "datetimeoffset": 121, "time": 121}
    return _text(value[1], native, styles.get(native.base, 23 if native.base == "date" else 0))
