"""How each column is read: what is asked of the server, what the driver hands over, and what Arrow makes of it.

What the driver would lose is projected in SQL: a NUMBER without precision would come as a double, a moment by way of
Python's datetime, without its last three digits. Both come as the server spells them, in words that no setting changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pghaul.model.errors import SourceError
from pghaul.model.foreign import ReadColumn, is_vector
from pghaul.model.text import say
from pghaul.sources._oracle_types import LOBS, LONGS, MOMENTS, PLAIN, Spelled, resolved, taken_apart

if TYPE_CHECKING:
    import pyarrow as pa

Turn = Callable[["pa.Array"], "pa.Array"]
INTEGERS = {"smallint": "int16", "integer": "int32", "bigint": "int64"}
TIMESTAMP, TIMESTAMPTZ = "timestamp without time zone", "timestamp with time zone"
SHORT_NAMES = {"timestamp": TIMESTAMP, "timestamptz": TIMESTAMPTZ, "decimal": "numeric"}
EXACT = 38  # digits of decimal128
RAW_BYTES = 2_000  # of UTL_RAW
FLOATS = {"BINARY_FLOAT": "float32", "BINARY_DOUBLE": "float64"}
UNREAL_CHARACTER = "�"

# The fewest digits that are all of it; more than 64 characters come with an exponent.
DIGITS = "TO_CHAR({c}, 'TM9', 'NLS_NUMERIC_CHARACTERS=''.,''')"
DATE = "LTRIM(TO_CHAR({c}, 'SYYYY-MM-DD HH24:MI:SS'))"
MOMENT = "LTRIM(TO_CHAR({c}, 'SYYYY-MM-DD HH24:MI:SS.FF9'))"
UTC = "LTRIM(TO_CHAR(SYS_EXTRACT_UTC(CAST({c} AS TIMESTAMP(9) WITH TIME ZONE)), 'SYYYY-MM-DD HH24:MI:SS.FF9'))"
ZONED = "LTRIM(TO_CHAR({c}, 'SYYYY-MM-DD HH24:MI:SS.FF9 TZR'))"
SECONDS = DIGITS.replace("{c}", "EXTRACT(SECOND FROM {c})")
# Each field with its own sign: "-01 02:03:04" would be minus one day plus two hours to PostgreSQL.
DAYS = (
    "CASE WHEN {c} IS NOT NULL THEN EXTRACT(DAY FROM {c}) || ' days ' || EXTRACT(HOUR FROM {c}) || ' hours '"
    " || EXTRACT(MINUTE FROM {c}) || ' mins ' || " + SECONDS + " || ' secs' END"
)
YEARS = "CASE WHEN {c} IS NOT NULL THEN EXTRACT(YEAR FROM {c}) || ' years ' || EXTRACT(MONTH FROM {c}) || ' mons' END"
UUID = "LOWER(REGEXP_REPLACE(RAWTOHEX({c}), '^(.{8})(.{4})(.{4})(.{4})(.{12})$', '\\1-\\2-\\3-\\4-\\5'))"
EWKT = (
    "CASE WHEN {c} IS NULL THEN NULL WHEN {c}.SDO_SRID IS NULL THEN SDO_UTIL.TO_WKTGEOMETRY({c})"
    " ELSE TO_CLOB('SRID=' || {c}.SDO_SRID || ';') || SDO_UTIL.TO_WKTGEOMETRY({c}) END"
)
CONVERTED = {
    "ROWID": "CAST({c} AS VARCHAR2(4000))",
    "UROWID": "CAST({c} AS VARCHAR2(4000))",
    "XMLTYPE": "XMLSERIALIZE(CONTENT {c} AS CLOB)",
    "JSON": "JSON_SERIALIZE({c} RETURNING CLOB)",
    "VECTOR": "FROM_VECTOR({c} RETURNING CLOB)",
    "SDO_GEOMETRY": EWKT,
    "INTERVAL YEAR TO MONTH": YEARS,
}
CLOBS = frozenset({"XMLTYPE", "JSON", "VECTOR", "SDO_GEOMETRY"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Of one column. `carried`: what the driver may hand over: "text", "bytes", "number", "float", "bool"."""

    name: str
    pg_type: str
    expression: str
    carried: str
    type: Any  # pa.DataType of the batches
    turn: Turn | None = None
    width: int | None = 24  # bytes at most; None: nobody knows
    sized: bool = False  # a LOB, stored or made, whose length the server can tell

    def array(self, given: pa.Array, *, unicode: bool = True) -> pa.Array:
        """ValueError where a value is not what it has to be."""
        _expected(self.carried, given.type)
        if self.carried == "text":
            given = _characters(given, unicode=unicode)
        made = self.turn(given) if self.turn else given
        return made if made.type == self.type else made.cast(self.type)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    column: ReadColumn
    source: str
    it: Spelled
    to: Spelled

    def form(self, expression: str, carried: str, type_: Any, turn: Turn | None = None, **more: Any) -> Form:
        return Form(
            name=self.column.name,
            pg_type=self.column.pg_type,
            expression=expression.replace("{c}", self.source),
            carried=carried,
            type=type_,
            turn=turn,
            **more,
        )

    def text(self, expression: str, turn: Turn | None = None, **more: Any) -> Form:
        """As the server spells it."""
        return self.form(expression, "text", _arrow().large_string(), turn, **{"width": 64, **more})


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
    raise _unread(column, native)


def _unread(column: ReadColumn, native: str) -> SourceError:
    return SourceError(
        say("column {column} is of the type {type}, which is not read", column=column.name, type=native),
        advice=say("leave the column out in the plan, or give it an expression that makes a text of it"),
        code=6961,
    )


def _raw(asked: _Asked) -> Form:
    """The bytes as they are stored, for `encoding`."""
    size = asked.it.args[0] if asked.it.args else 0
    if asked.it.base in {"RAW", "BLOB", "LONG RAW"}:
        return _bytes(asked)
    if asked.it.base not in {"VARCHAR2", "CHAR"} or size > 2 * RAW_BYTES:
        raise SourceError(
            say(
                "the stored bytes of column {column} cannot be read: it is of the type {type}",
                column=asked.column.name,
                type=asked.column.native,
            ),
            advice=say("encodings are for CHAR and VARCHAR2 of Oracle"),
            code=6962,
        )
    return asked.form("UTL_RAW.CAST_TO_RAW({c})", "bytes", _arrow().large_binary(), width=4 * size)


def _plain(asked: _Asked) -> Form:
    size = asked.it.args[0] if asked.it.args else 4_000
    if asked.to.base == "bytea":
        return _raw(asked)
    return asked.text("{c}", width=4 * size)


def _clob(asked: _Asked) -> Form:
    return asked.text("{c}", width=None, sized=asked.it.base in LOBS)


def _number(asked: _Asked) -> Form:
    arrow = _arrow()
    precision, scale = (*asked.it.args, 0)[:2] if asked.it.args else (0, 0)
    native = asked.it.base == "NUMBER" and 1 <= precision <= EXACT and 0 <= scale <= precision
    kind = _exact(asked.to)
    if kind is None and native and asked.to == Spelled("numeric"):
        kind = arrow.decimal128(precision, scale)
    if native and kind is not None:
        return asked.form("{c}", "number", kind, _numbers(kind))
    if asked.to.base == "boolean":
        return asked.form(DIGITS, "text", arrow.bool_(), _truth)
    if asked.to.base in {"real", "double precision"}:
        kind = arrow.float32() if asked.to.base == "real" else arrow.float64()
    if kind is not None:
        return asked.form(DIGITS, "text", kind, lambda a: a.cast(kind), width=64)
    return asked.text(DIGITS, _scaled(asked.to))


def _float(asked: _Asked) -> Form:
    arrow = _arrow()
    own = getattr(arrow, FLOATS[asked.it.base])()
    if asked.to.base == "double precision":
        return asked.form("{c}", "float", arrow.float64())
    if asked.to.base == "real":
        return asked.form("{c}", "float", arrow.float32(), _to_float)
    return asked.form("{c}", "float", arrow.large_string(), lambda a: a.cast(own).cast(arrow.large_string()))


def _date(asked: _Asked) -> Form:
    arrow = _arrow()
    moment = arrow.timestamp("us")
    if asked.to.base == TIMESTAMP:
        return asked.form(DATE, "text", moment, lambda a: a.cast(moment))
    if asked.to.base == "date":
        return asked.form(DATE, "text", arrow.date32(), lambda a: _midnight(a.cast(moment)))
    return asked.text(DATE)


def _moment(asked: _Asked) -> Form:
    arrow = _arrow()
    zoned = asked.it.base != "TIMESTAMP"
    if asked.to.base == TIMESTAMPTZ and zoned:
        utc = arrow.timestamp("us", "UTC")
        return asked.form(UTC, "text", utc, _parsed(asked.to, utc), width=32)
    if asked.to.base == TIMESTAMP and not zoned:
        return asked.form(MOMENT, "text", arrow.timestamp("us"), _parsed(asked.to, arrow.timestamp("us")), width=32)
    if asked.to.base == "date" and not zoned:
        read = _parsed(Spelled(TIMESTAMP), arrow.timestamp("us"))
        return asked.form(MOMENT, "text", arrow.date32(), lambda a: _midnight(read(a)), width=32)
    return asked.text(ZONED if zoned else MOMENT)


def _bytes(asked: _Asked) -> Form:
    sized, size = asked.it.base == "BLOB", asked.it.args[0] if asked.it.args else None
    if asked.to.base == "uuid" and asked.it.base == "RAW":
        return asked.text(UUID)
    if asked.to.base == "bytea" or is_vector(asked.to.base) or asked.column.encoding:
        return asked.form("{c}", "bytes", _arrow().large_binary(), width=size, sized=sized)
    if asked.it.base == "RAW":
        return asked.text("RAWTOHEX({c})", width=2 * (size or RAW_BYTES))
    return asked.form("{c}", "bytes", _arrow().large_string(), _hexadecimal, width=None, sized=sized)


def _converted(asked: _Asked) -> Form:
    large = asked.it.base in CLOBS
    return asked.text(CONVERTED[asked.it.base], width=None if large else 64, sized=large)


def _interval(asked: _Asked) -> Form:
    return asked.text(DAYS, _no_nanoseconds if asked.to.base == "interval" else None)


def _boolean(asked: _Asked) -> Form:
    arrow = _arrow()
    if asked.to.base == "boolean":
        return asked.form("{c}", "bool", arrow.bool_())
    if kind := _exact(asked.to):
        return asked.form("{c}", "bool", kind, lambda a: a.cast(arrow.int8()).cast(arrow.int16()).cast(kind))
    return asked.form("{c}", "bool", arrow.large_string(), lambda a: a.cast(arrow.large_string()))


_MAKERS: tuple[tuple[frozenset[str], Callable[[_Asked], Form]], ...] = (
    (frozenset({"NUMBER", "FLOAT"}), _number),
    (PLAIN, _plain),
    (frozenset({"CLOB", "NCLOB", "LONG"}), _clob),
    (frozenset({"DATE"}), _date),
    (MOMENTS, _moment),
    (frozenset({"RAW", "BLOB"} | LONGS), _bytes),
    (frozenset(FLOATS), _float),
    (frozenset({"BOOLEAN"}), _boolean),
    (frozenset({"INTERVAL DAY TO SECOND"}), _interval),
    (frozenset(CONVERTED), _converted),
)


def _arrow() -> Any:
    import pyarrow  # noqa: PLC0415

    return pyarrow


def _expected(carried: str, type_: Any) -> None:
    """A double in the place of a number would have lost digits already."""
    types = _arrow().types
    of = {
        "text": types.is_string(type_) or types.is_large_string(type_),
        "bytes": types.is_binary(type_) or types.is_large_binary(type_),
        "number": types.is_integer(type_) or types.is_decimal(type_),
        "float": types.is_floating(type_),
        "bool": types.is_boolean(type_),
    }
    if not (of[carried] or types.is_null(type_)):
        raise ValueError(f"the driver hands over {type_}")


def _characters(array: pa.Array, *, unicode: bool) -> pa.Array:
    """Characters that are some. A server that is not Unicode puts U+FFFD where its character set has none."""
    import pyarrow.compute as pc  # noqa: PLC0415

    array.validate(full=True)
    if not unicode and pc.any(pc.match_substring(array, UNREAL_CHARACTER), min_count=0).as_py():
        raise ValueError("bytes that are no characters of the database: an encoding in the plan reads them")
    return array


def _exact(to: Spelled) -> Any:
    """The Arrow type of an integer, or of numeric(p,s), where there is one."""
    arrow = _arrow()
    if to.base in INTEGERS:
        return getattr(arrow, INTEGERS[to.base])()
    if to.base != "numeric" or not to.args:
        return None
    precision, scale = (*to.args, 0)[:2]
    return arrow.decimal128(precision, scale) if 0 <= scale <= precision <= EXACT else None


def _numbers(kind: Any) -> Turn:
    def turn(array: pa.Array) -> pa.Array:
        arrow = _arrow()
        if arrow.types.is_integer(array.type) and arrow.types.is_decimal(kind):
            array = array.cast(arrow.int64()).cast(arrow.decimal128(EXACT, 0))
        return array.cast(kind)

    return turn


def _scaled(to: Spelled) -> Turn | None:
    """Of numeric(p,s) of more than 38 digits: PostgreSQL would round what has more digits than it."""
    precision, scale = (*to.args, 0, 0)[:2]
    if to.base != "numeric" or not to.args or not 0 <= scale <= precision <= 2 * EXACT:
        return None

    def turn(array: pa.Array) -> pa.Array:
        array.cast(_arrow().decimal256(precision, scale))
        return array

    return turn


def _truth(array: pa.Array) -> pa.Array:
    import pyarrow.compute as pc  # noqa: PLC0415

    whole = array.cast(_arrow().int8())
    if pc.any(pc.or_(pc.less(whole, 0), pc.greater(whole, 1)), min_count=0).as_py():
        raise ValueError("neither 0 nor 1")
    return whole.cast(_arrow().bool_())


def _to_float(array: pa.Array) -> pa.Array:
    """Only what a float4 holds exactly."""
    import pyarrow.compute as pc  # noqa: PLC0415

    arrow = _arrow()
    narrow = array.cast(arrow.float32(), safe=False)
    wide = array.cast(arrow.float64())
    same = pc.or_(pc.equal(narrow.cast(arrow.float64()), wide), pc.is_nan(wide))
    if not pc.all(same, min_count=0).as_py():
        raise ValueError("more digits than real holds")
    return narrow


def _divides(array: pa.Array, unit: int) -> bool:
    import numpy as np  # noqa: PLC0415

    return not np.any(array.cast(_arrow().int64()).drop_null().to_numpy(zero_copy_only=False) % unit)


def _midnight(array: pa.Array) -> pa.Array:
    if not _divides(array, 86_400_000_000):
        raise ValueError("no midnight")
    return array.cast(_arrow().date32())


def _parsed(to: Spelled, kind: Any) -> Turn:
    """ "2024-02-29 23:59:59.123456000", with digits that `to` holds."""
    import pyarrow.compute as pc  # noqa: PLC0415

    def turn(array: pa.Array) -> pa.Array:
        if not pc.all(pc.ends_with(array, "000"), min_count=0).as_py():
            raise ValueError("digits below a microsecond")
        micro = pc.utf8_slice_codeunits(array, 0, -3).cast(_arrow().timestamp("us"))
        if to.args and to.args[0] < 6 and not _divides(micro, int(10 ** (6 - to.args[0]))):
            raise ValueError("more digits than it holds")
        return micro.cast(kind)

    return turn


def _no_nanoseconds(array: pa.Array) -> pa.Array:
    import pyarrow.compute as pc  # noqa: PLC0415

    if pc.any(pc.match_substring_regex(array, r"\.\d{7}"), min_count=0).as_py():
        raise ValueError("digits below a microsecond")
    return array


def _hexadecimal(array: pa.Array) -> pa.Array:
    """A large value that is to be a text."""
    return _arrow().array([None if v is None else v.hex() for v in array.to_pylist()], _arrow().large_string())
