"""How each column is read: what is asked of the server, what the driver hands over, and what Arrow makes of it.

What a driver would lose is projected in SQL. pymssql cuts off the seventh digit of a datetime2(7), and FreeTDS puts a
question mark in the place of half a surrogate pair, both in silence; so moments come as the server spells them, and
characters as UTF-16, which is decoded here and refused where it is none. A varchar goes through nvarchar on the server,
which knows the code page of each column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pghaul.model.foreign import ReadColumn, is_vector
from pghaul.sources._sqlserver_types import DECIMAL, DOUBLE_BYTE, LIKE_TEXT, Spelled, resolved, taken_apart

if TYPE_CHECKING:
    import pyarrow as pa

Turn = Callable[["pa.Array"], "pa.Array"]
LONG = 8_000  # bytes of a value that is not "max", at most
INTEGERS = {"smallint": "int16", "integer": "int32", "bigint": "int64"}
WHOLE = frozenset({"tinyint", "smallint", "int", "bigint"})
REALS = frozenset({"real", "float"})
MONEY = {"money": (19, 4), "smallmoney": (10, 4)}
MOMENTS = frozenset({"datetime", "smalldatetime"})
BYTES = frozenset({"binary", "varbinary", "image", "timestamp"})
LOBS = frozenset({"text", "ntext", "image", "xml", "json", "geometry", "geography", "sql_variant", "vector"})
TIMESTAMP, TIMESTAMPTZ = "timestamp without time zone", "timestamp with time zone"
TIME = "time without time zone"
SHORT_NAMES = {"timestamp": TIMESTAMP, "timestamptz": TIMESTAMPTZ, "time": TIME, "decimal": "numeric"}
DAY = 86_400_000_000  # microseconds

UTF16 = "CONVERT(varbinary({twice}), CONVERT(nvarchar({size}), {{c}}))"
MOMENT = "CONVERT(varchar(27), {c}, 121)"
UTC = "CONVERT(varchar(27), CONVERT(datetime2({scale}), SWITCHOFFSET({{c}}, '+00:00')), 121)"
ZONED = "CONVERT(varchar(34), {c}, 121)"
CLOCK = "CONVERT(varchar(16), {c}, 121)"
EWKT = "N'SRID=' + CONVERT(nvarchar(11), {c}.STSrid) + N';' + {c}.ToString()"
# Each by its own type: a plain conversion would round floats and money, and cut seconds off.
VARIANT = (
    "CASE CONVERT(nvarchar(128), SQL_VARIANT_PROPERTY({c}, 'BaseType'))"
    " WHEN N'float' THEN CONVERT(nvarchar(4000), CONVERT(float, {c}), 3)"
    " WHEN N'real' THEN CONVERT(nvarchar(4000), CONVERT(real, {c}), 3)"
    " WHEN N'money' THEN CONVERT(nvarchar(4000), CONVERT(money, {c}), 2)"
    " WHEN N'smallmoney' THEN CONVERT(nvarchar(4000), CONVERT(smallmoney, {c}), 2)"
    " WHEN N'date' THEN CONVERT(nvarchar(4000), CONVERT(date, {c}), 23)"
    " WHEN N'time' THEN CONVERT(nvarchar(4000), CONVERT(time(7), {c}), 121)"
    " WHEN N'smalldatetime' THEN CONVERT(nvarchar(4000), CONVERT(smalldatetime, {c}), 120)"
    " WHEN N'datetime' THEN CONVERT(nvarchar(4000), CONVERT(datetime, {c}), 121)"
    " WHEN N'datetime2' THEN CONVERT(nvarchar(4000), CONVERT(datetime2(7), {c}), 121)"
    " WHEN N'datetimeoffset' THEN CONVERT(nvarchar(4000), CONVERT(datetimeoffset(7), {c}), 121)"
    " WHEN N'binary' THEN CONVERT(nvarchar(max), CONVERT(varbinary(8000), {c}), 1)"
    " WHEN N'varbinary' THEN CONVERT(nvarchar(max), CONVERT(varbinary(8000), {c}), 1)"
    " ELSE CONVERT(nvarchar(4000), {c}) END"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Of one column. `carried` is the Arrow type of what the driver hands over, `type` that of the batches."""

    name: str
    pg_type: str
    expression: str
    carried: Any  # pa.DataType
    type: Any  # pa.DataType
    turn: Turn | None = None
    decode: bool = False  # UTF-16
    width: int | None = 0  # bytes at most; None: nobody knows

    def array(self, values: Sequence[Any]) -> pa.Array:
        """ValueError where a value is not what it has to be, or OverflowError."""
        arrow = _arrow()
        if self.decode:
            values = [None if v is None else v.decode("utf-16-le") for v in values]
        made = arrow.array(values, self.carried)
        return self.turn(made) if self.turn else made


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    column: ReadColumn
    source: str  # SQL of its value
    it: Spelled  # on the source
    to: Spelled  # PostgreSQL's

    def form(self, expression: str, carried: Any, turn: Turn | None = None, type_: Any = None, **more: Any) -> Form:
        return Form(
            name=self.column.name,
            pg_type=self.column.pg_type,
            expression=expression.replace("{c}", self.source),
            carried=carried,
            type=carried if type_ is None else type_,
            turn=turn,
            **{"width": 16, **more},
        )

    def text(self, expression: str, width: int = 40) -> Form:
        """ASCII, as the server spells it: PostgreSQL reads it."""
        return self.form(expression, _arrow().string(), width=width)


def form(column: ReadColumn, source: str, native: str) -> Form:
    """`source` is SQL: the quoted column, or an expression in parentheses, of type `native`."""
    pg = taken_apart(column.pg_type)
    to = Spelled(SHORT_NAMES.get(pg.base, pg.base), pg.args)
    asked = _Asked(column=column, source=source, it=resolved(native), to=to)
    if column.encoding:
        return _raw(asked)
    for bases, make in _MAKERS:
        if asked.it.base in bases:
            return make(asked)
    return _converted(asked)


def _raw(asked: _Asked) -> Form:
    """The bytes as they are stored, for `encoding`."""
    base = asked.it.base
    inner = {"text": "CONVERT(varchar(max), {c})", "ntext": "CONVERT(nvarchar(max), {c})"}.get(base, "{c}")
    known = base in LIKE_TEXT | BYTES and asked.it.size
    size = (2 if base in DOUBLE_BYTE else 1) * (asked.it.size or 0) if known else None
    expression = f"CONVERT(varbinary({size or 'max'}), {inner})"
    return asked.form(expression, _arrow().binary(), width=size)


def _utf16(asked: _Asked, size: int | None, expression: str = "") -> Form:
    """Characters; `size` in halves of UTF-16."""
    fits = size is not None and 2 * size <= LONG
    made = UTF16.format(size=size if fits else "max", twice=2 * size if fits and size else "max")
    inner = made.replace("{c}", expression) if expression else made
    return asked.form(inner, _arrow().string(), decode=True, width=3 * size if fits and size else None)


def _characters(asked: _Asked) -> Form:
    if asked.to.base == "bytea":
        return _raw(asked)
    return _utf16(asked, asked.it.size)


def _whole(asked: _Asked) -> Form:
    arrow = _arrow()
    int64 = arrow.int64()
    if asked.to.base in INTEGERS:
        kind = getattr(arrow, INTEGERS[asked.to.base])()
        return asked.form("{c}", kind)
    if kind := _decimal_of(asked.to):
        return asked.form("{c}", int64, lambda a: a.cast(arrow.decimal128(38, 0)).cast(kind), kind)
    if asked.to.base == "double precision":
        return asked.form("{c}", int64, _to(arrow.float64()), arrow.float64())
    return asked.form("{c}", int64, _to(arrow.string()), arrow.string())


def _bit(asked: _Asked) -> Form:
    if asked.to.base == "boolean":
        return asked.form("{c}", _arrow().bool_())
    whole = _Asked(column=asked.column, source=f"CONVERT(tinyint, {asked.source})", it=asked.it, to=asked.to)
    return _whole(whole)


def _decimal(asked: _Asked) -> Form:
    arrow = _arrow()
    digits = MONEY.get(asked.it.base) or (*asked.it.args, 0)[:2]
    if asked.it.base in MONEY:
        read, expression = arrow.string(), "CONVERT(varchar(30), {c}, 2)"
    else:
        read, expression = arrow.decimal128(*digits), "{c}"
    exact = arrow.decimal128(*digits)
    kind = exact if asked.to == Spelled("numeric") else _decimal_of(asked.to)
    if kind is None and asked.to.base in INTEGERS:
        kind = getattr(arrow, INTEGERS[asked.to.base])()
    if kind is not None:
        return asked.form(expression, read, lambda a: a.cast(exact).cast(kind), kind)
    return asked.text("CONVERT(varchar(41), {c})" if asked.it.base in DECIMAL else expression)


def _real(asked: _Asked) -> Form:
    arrow = _arrow()
    read = arrow.float32() if asked.it.base == "real" else arrow.float64()
    if asked.to.base == "double precision":
        return asked.form("{c}", read, _to(arrow.float64()), arrow.float64())
    if asked.to.base == "real":
        return asked.form("{c}", arrow.float64(), _to_float, arrow.float32())
    return asked.form("{c}", read, _to(arrow.string()), arrow.string())


def _date(asked: _Asked) -> Form:
    arrow = _arrow()
    day = arrow.date32()
    if asked.to.base == "date":
        return asked.form("{c}", day)
    if asked.to.base == TIMESTAMP:
        moment = arrow.timestamp("us")
        return asked.form("{c}", day, _to(moment), moment)
    return asked.text("CONVERT(varchar(10), {c}, 23)")


def _moment(asked: _Asked) -> Form:
    """datetime and smalldatetime: the driver reads them to the millisecond, which is all that they are shown with."""
    moment = _arrow().timestamp("us")
    if asked.to.base == TIMESTAMP:
        return asked.form("{c}", moment, _no_finer(asked.to))
    if asked.to.base == "date":
        return asked.form("{c}", moment, _midnight, _arrow().date32())
    length, style = (23, 121) if asked.it.base == "datetime" else (19, 120)
    return asked.text(f"CONVERT(varchar({length}), {{c}}, {style})")


def _time(asked: _Asked) -> Form:
    if asked.to.base == TIME:
        return asked.form(CLOCK, _arrow().string(), _clock(asked.to), _arrow().time64("us"), width=16)
    return asked.text(CLOCK, 16)


def _datetime2(asked: _Asked) -> Form:
    arrow = _arrow()
    moment = arrow.timestamp("us")
    if asked.to.base == TIMESTAMP:
        return asked.form(MOMENT, arrow.string(), _parsed(asked.to, moment), moment, width=27)
    if asked.to.base == "date":
        read = _parsed(Spelled(TIMESTAMP), moment)
        return asked.form(MOMENT, arrow.string(), lambda a: _midnight(read(a)), arrow.date32(), width=27)
    return asked.text(MOMENT, 27)


def _datetimeoffset(asked: _Asked) -> Form:
    if asked.to.base == TIMESTAMPTZ:
        utc = _arrow().timestamp("us", "UTC")
        scale = asked.it.args[0] if asked.it.args else 7
        return asked.form(UTC.format(scale=scale), _arrow().string(), _parsed(asked.to, utc), utc, width=27)
    return asked.text(ZONED, 34)


def _bytes(asked: _Asked) -> Form:
    size = 8 if asked.it.base == "timestamp" else asked.it.size
    if asked.to.base == "bytea" or is_vector(asked.to.base):
        expression = f"CONVERT(varbinary({size or 'max'}), {{c}})"
        return asked.form(expression, _arrow().binary(), width=size)
    if asked.to.base in INTEGERS and asked.it.base == "timestamp":
        return asked.form("CONVERT(bigint, {c})", _arrow().int64(), _to(getattr(_arrow(), INTEGERS[asked.to.base])()),
                          getattr(_arrow(), INTEGERS[asked.to.base])())  # fmt: skip
    inner = "CONVERT(varbinary(max), {c})" if asked.it.base == "image" else "{c}"
    style = 2 if asked.to.base == "uuid" else 1  # without 0x, or with it
    long = size is None or 2 * size + 2 > LONG
    expression = f"CONVERT(varchar({'max' if long else 2 * (size or 0) + 2}), {inner}, {style})"
    return asked.form(expression, _arrow().string(), width=None if long else 2 * (size or 0) + 2)


def _uuid(asked: _Asked) -> Form:
    if asked.to.base == "bytea":
        return asked.form("CONVERT(varchar(36), {c})", _arrow().string(), _sixteen, width=36)
    return asked.text("CONVERT(varchar(36), {c})", 36)


def _converted(asked: _Asked) -> Form:
    """Types that are text at the most."""
    base = asked.it.base
    if base == "sql_variant":
        return _utf16(asked, None, VARIANT)
    if base == "hierarchyid":
        return _utf16(asked, 4000, "{c}.ToString()")
    if base in {"geometry", "geography"} and asked.to.base != "bytea":
        return _utf16(asked, None, EWKT)
    if base in {"xml", "json", "vector"}:
        return _utf16(asked, None)
    return asked.form("CONVERT(varbinary(max), {c})", _arrow().binary(), width=None)


_MAKERS: tuple[tuple[frozenset[str], Callable[[_Asked], Form]], ...] = (
    (WHOLE, _whole),
    (frozenset({"bit"}), _bit),
    (DECIMAL | MONEY.keys(), _decimal),
    (REALS, _real),
    (LIKE_TEXT | {"text", "ntext"}, _characters),
    (BYTES, _bytes),
    (frozenset({"date"}), _date),
    (MOMENTS, _moment),
    (frozenset({"time"}), _time),
    (frozenset({"datetime2"}), _datetime2),
    (frozenset({"datetimeoffset"}), _datetimeoffset),
    (frozenset({"uniqueidentifier"}), _uuid),
)


def _arrow() -> Any:
    import pyarrow  # noqa: PLC0415

    return pyarrow


def _sixteen(array: pa.Array) -> pa.Array:
    """The bytes of a uuid in the order of its digits; SQL Server stores the first eight in another one."""
    import pyarrow.compute as pc  # noqa: PLC0415

    return pc.binary_join_element_wise("\\x", pc.utf8_lower(pc.replace_substring(array, "-", "")), "")


def _to(kind: Any) -> Turn:
    return lambda array: array.cast(kind)


def _decimal_of(to: Spelled) -> Any:
    """decimal128, where numeric(p,s) is one."""
    if to.base != "numeric" or not to.args:
        return None
    precision, scale = (*to.args, 0)[:2]
    return _arrow().decimal128(precision, scale) if 0 <= scale <= precision <= 38 else None


def _to_float(array: pa.Array) -> pa.Array:
    """Only what a float4 holds exactly."""
    arrow = _arrow()
    narrow = array.cast(arrow.float32(), safe=False)
    if not narrow.cast(arrow.float64()).equals(array):
        raise ValueError("more digits than real holds")
    return narrow


def _divides(array: pa.Array, unit: int) -> bool:
    import numpy as np  # noqa: PLC0415

    whole = array.view(_arrow().int64()).drop_null().to_numpy(zero_copy_only=False)
    return not np.any(whole % unit)


def _no_finer(to: Spelled) -> Turn:
    """PostgreSQL would round to the digits of timestamp(3)."""

    def turn(array: pa.Array) -> pa.Array:
        if to.args and to.args[0] < 6 and not _divides(array, int(10 ** (6 - to.args[0]))):
            raise ValueError("more digits than it holds")
        return array

    return turn


def _midnight(array: pa.Array) -> pa.Array:
    if not _divides(array, DAY):
        raise ValueError("no midnight")
    return array.cast(_arrow().date32())


def _to_micro(array: pa.Array, length: int) -> pa.Array:
    """Without the seventh digit, which has to be zero; `length` is that of a text with six."""
    import pyarrow.compute as pc  # noqa: PLC0415

    seventh = pc.utf8_slice_codeunits(array, length, length + 1)
    if pc.any(pc.and_(pc.not_equal(seventh, "0"), pc.not_equal(seventh, "")), min_count=0).as_py():
        raise ValueError("digits below a microsecond")
    return pc.utf8_slice_codeunits(array, 0, length)


def _parsed(to: Spelled, kind: Any) -> Turn:
    """ "2024-02-29 23:59:59.1234560" """
    finer = _no_finer(to)

    def turn(array: pa.Array) -> pa.Array:
        moments = _to_micro(array, 26).cast(_arrow().timestamp("us"))
        return finer(moments.cast(kind) if kind.tz else moments)

    return turn


def _clock(to: Spelled) -> Turn:
    """ "23:59:59.1234560" """
    finer = _no_finer(to)

    def turn(array: pa.Array) -> pa.Array:
        import pyarrow.compute as pc  # noqa: PLC0415

        of_a_day = pc.binary_join_element_wise("1970-01-01", _to_micro(array, 15), " ")  # text has no cast to a time
        return finer(of_a_day.cast(_arrow().timestamp("us")).cast(_arrow().time64("us")))

    return turn
