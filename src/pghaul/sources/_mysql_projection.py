"""What is asked of the server for each column, so that nothing is lost on the way, and what is made of it here.

connectorx has been found (0.4.6; tests/integration/test_mysql_types.py) to cut decimals to ten digits behind the point
and to panic at those with more than 28 in all, at dates that are none, times below 0 or from 24 h on, and geometry; its
JSON is parsed and written anew. What it takes exactly is read as it is, the rest as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pghaul.model.foreign import ReadColumn, is_vector
from pghaul.sources._mysql_types import BINARIES, CHARACTERS, DATES, SHAPES, SIGNED, Native, parse

if TYPE_CHECKING:
    import pyarrow as pa

# Never true of a row that may be read: EXP of so much is an error on every server, and it quotes the number.
ALARM = 100_000
_ALARMED = re.compile(r"exp\(\s*(1\d{5})\b", re.IGNORECASE)
_BASE = re.compile(r"\(.*?\)")
_NUMERIC = re.compile(r"numeric\((\d+),\s*(-?\d+)\)|numeric\((\d+)\)")
WHOLE = frozenset({"smallint", "integer", "bigint"})
# What its characters lose nothing in when the server turns them into utf8mb4: single bytes that all mean something, or
# Unicode itself. Of the others a byte that is no character would become a question mark.
SAFE_CHARSETS = frozenset({"", "utf8mb4", "utf8mb3", "utf8", "latin1", "binary"})
SCALE_OF_WHOLE = 18  # at most, of a decimal of 38 digits that any integer fits
FIXED = {"smallint": 4, "integer": 4, "bigint": 8, "boolean": 1, "real": 4, "double precision": 8, "date": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Projected:
    """One column: what the server is asked for, and what is made of the array that comes."""

    name: str
    sql: str
    finish: Callable[[Any], Any] | None = None
    alarm: str = ""  # what is wrong with a row at which the server refuses to go on: "date", "time", "characters"


def quoted(name: str) -> str:
    """An identifier."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A string, under any sql_mode."""
    return f"_utf8mb4 X'{text.encode().hex()}'" if text else "''"


def alarmed(words: str) -> int | None:
    """The number of the column at which the server has refused to go on, of its message."""
    found = _ALARMED.search(words)
    return int(found[1]) - ALARM if found else None


def project(column: ReadColumn, number: int, charset: str, zero_dates: str, *, mariadb: bool) -> Projected:
    """How column `number` of a reading is read."""
    target = _BASE.sub("", column.pg_type).strip()
    if column.expression is not None:
        return _of_expression(column, target)
    native = parse(column.native)
    name = quoted(column.name)
    made = (
        _whole(native, name, target, column.pg_type)
        or _number(native, name, target, column.pg_type)
        or _moment(native, name, target, number, zero_dates)
        or _characters(native, name, target, number, column.encoding, charset)
        or _others(native, name, target, charset, mariadb=mariadb)
        or (f"CAST({name} AS CHAR)", None, "")
    )
    sql, finish, alarm = made
    return Projected(name=column.name, sql=sql, finish=finish, alarm=alarm)


Made = tuple[str, "Callable[[Any], Any] | None", str]


def _of_expression(column: ReadColumn, target: str) -> Projected:
    expression = f"(\n{column.expression}\n)"
    if target == "bytea":
        return Projected(name=column.name, sql=f"CAST({expression} AS BINARY)")
    return Projected(name=column.name, sql=f"CAST({expression} AS CHAR)")


def _whole(native: Native, name: str, target: str, pg_type: str) -> Made | None:
    """Integers, years and bits as numbers: any of them fits 64 bits."""
    bits = native.base == "bit"
    if not (native.base in SIGNED or native.base == "year" or bits):
        return None
    sql = f"({name} + 0)" if bits else name
    if target == "boolean":
        return sql, _boolean, ""
    if target in WHOLE:
        return sql, _cast(_arrow(target)), ""
    if bits:
        width = native.numbers[0] if native.numbers else 1
        return (name, None, "") if target == "bytea" else (f"LPAD(BIN({name} + 0), {width}, '0')", None, "")
    decimal = _decimal(pg_type) if target == "numeric" else None
    if decimal is not None and decimal.scale <= SCALE_OF_WHOLE:
        return sql, _scaled(decimal), ""
    return None


def _number(native: Native, name: str, target: str, pg_type: str) -> Made | None:
    if native.base == "decimal":
        decimal = _decimal(pg_type) if target == "numeric" else None
        return f"CAST({name} AS CHAR)", None if decimal is None else _cast(decimal), ""
    if native.base == "float":
        if target in {"real", "double precision"}:
            return name, _cast(_arrow(target)), ""
        return f"CAST({name} + 0e0 AS CHAR)", None, ""  # as text, a float is cut to six digits
    if native.base in {"double", "real"} and target == "double precision":
        return name, None, ""
    return None


def _moment(native: Native, name: str, target: str, number: int, zero_dates: str) -> Made | None:
    base = native.base
    if base == "time" and target == "time without time zone":
        within = f"{name} IS NULL OR ({name} >= '00:00:00' AND {name} < '24:00:00')"
        guarded = _guarded(within, name, number, "TIME(6)")
        return f"IF({name} BETWEEN '00:00:00' AND '23:59:59.999999', {name}, {guarded})", None, "time"
    takes = {"date": {"date"}, "datetime": _STAMPS, "timestamp": _STAMPS}.get(base, set())
    if target not in takes or (zero_dates == "text" and base in DATES):
        return None
    kind = "DATE" if base == "date" else "DATETIME(6)"
    finish = _cast(_arrow(target))
    if zero_dates == "null":
        return f"IF({_is_date(name)}, {name}, NULL)", finish, ""
    guarded = _guarded(f"{_is_date(name)} OR {name} IS NULL", name, number, kind)
    return f"IF({_is_early(name)}, {name}, {guarded})", finish, "date"


_STAMPS = {"timestamp without time zone", "timestamp with time zone"}


def _is_date(name: str) -> str:
    """A condition, not true of NULL. By the parts, of which all servers say 0, and most rows need no third look."""
    day = f"DAYOFMONTH({name})"
    return f"(MONTH({name}) > 0 AND ({day} BETWEEN 1 AND 28 OR {day} BETWEEN 29 AND DAYOFMONTH(LAST_DAY({name}))))"


def _is_early(name: str) -> str:
    """A condition that is true of dates only, and of most of them. Asked first and alone it costs two thirds."""
    return f"DAYOFMONTH({name}) BETWEEN 1 AND 28 AND MONTH({name})"


def is_no_date(name: str) -> str:
    """A condition: it has a value, which is no date."""
    return f"IF({_is_early(name)}, FALSE, {name} IS NOT NULL AND {_is_date(name)} IS NOT TRUE)"


def is_no_time(name: str) -> str:
    """A condition: it has a value, which is not within a day."""
    return f"({name} < '00:00:00' OR {name} >= '24:00:00')"


def _guarded(condition: str, name: str, number: int, kind: str, value: str = "") -> str:
    """The value, else the column; where the condition fails, an error that tells which column it was."""
    return f"IF({condition}, {value or name}, CAST(EXP({ALARM + number} + ({name} IS NULL)) AS {kind}))"


def _characters(native: Native, name: str, target: str, number: int, encoding: str | None, charset: str) -> Made | None:
    base = native.base
    if base in BINARIES:
        plain = {"bytea", "text", "character varying", "character"}
        as_they_are = encoding is not None or target in plain or is_vector(target)
        return (name if as_they_are else f"HEX({name})"), None, ""
    if base not in CHARACTERS:
        return None
    if encoding is not None or target == "bytea":
        return f"CAST({name} AS BINARY)", None, ""
    if base == "set" and target == "text[]":
        return _array(name), None, ""
    if charset in SAFE_CHARSETS or base in {"enum", "set"}:
        return name, None, ""
    there_and_back = f"CAST(CONVERT(CONVERT({name} USING utf8mb4) USING {charset}) AS BINARY)"
    condition = f"{there_and_back} <=> CAST({name} AS BINARY)"
    return _guarded(condition, name, number, "CHAR", f"CONVERT({name} USING utf8mb4)"), None, "characters"


def _array(name: str) -> str:
    """A set as PostgreSQL writes an array. Labels hold no commas."""
    escaped = f"REPLACE(REPLACE({name}, '\\\\', '\\\\\\\\'), '\"', '\\\\\"')"
    return f"IF({name} = '', '{{}}', CONCAT('{{\"', REPLACE({escaped}, ',', '\",\"'), '\"}}'))"


def _others(native: Native, name: str, target: str, charset: str, *, mariadb: bool) -> Made | None:
    if native.base == "json" and mariadb and charset in SAFE_CHARSETS:  # a longtext there, which a cast would copy
        return name, None, ""
    if native.base in SHAPES:
        if target == "bytea":
            return f"ST_AsBinary({name})", None, ""
        said = f"IF(ST_SRID({name}) = 0, '', CONCAT('SRID=', ST_SRID({name}), ';'))"
        return f"CONCAT({said}, ST_AsText({name}))", None, ""
    if native.base == "vector" and (is_vector(target) or target == "bytea"):
        return f"CAST({name} AS BINARY)", None, ""  # float32; as text it has six digits
    if native.base == "vector":
        return f"{'VEC_ToText' if mariadb else 'VECTOR_TO_STRING'}({name})", None, ""
    return None


def _decimal(pg_type: str) -> pa.DataType | None:
    """Arrow's type for a numeric that fits 128 bits; None for one that does not, or has no precision."""
    found = _NUMERIC.fullmatch(pg_type.replace(" ", ""))
    if found is None:
        return None
    import pyarrow as pa  # noqa: PLC0415

    precision, scale = (int(found[3]), 0) if found[3] else (int(found[1]), int(found[2]))
    return pa.decimal128(precision, scale) if precision <= 38 and 0 <= scale <= precision else None


def _arrow(target: str) -> pa.DataType:
    import pyarrow as pa  # noqa: PLC0415

    return {
        "smallint": pa.int16(),
        "integer": pa.int32(),
        "bigint": pa.int64(),
        "real": pa.float32(),
        "double precision": pa.float64(),
        "date": pa.date32(),
        "timestamp without time zone": pa.timestamp("us"),
        "timestamp with time zone": pa.timestamp("us", "UTC"),
    }[target]


def _cast(kind: pa.DataType) -> Callable[[Any], Any]:
    return lambda array: array if array.type == kind else array.cast(kind)


def _scaled(kind: Any) -> Callable[[Any], Any]:
    """Arrow wants room for any integer of a width first."""
    import pyarrow as pa  # noqa: PLC0415

    return lambda array: array.cast(pa.decimal128(38, kind.scale)).cast(kind)


def _boolean(array: Any) -> Any:
    """ArrowInvalid where a number is neither 0 nor 1."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import compute  # noqa: PLC0415

    most, least = compute.max(array).as_py(), compute.min(array).as_py()
    if most is not None and (most > 1 or least < 0):
        raise pa.ArrowInvalid(f"{most if most > 1 else least} is neither 0 nor 1")
    return array.cast(pa.bool_())
