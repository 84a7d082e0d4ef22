"""Which PostgreSQL type each type of Oracle is proposed, and how both are spelled."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pghaul.model.text import Text, say

MOST_DIGITS = 1000  # of PostgreSQL's numeric(p,s)
_ARGS = re.compile(r"\(([^()]*)\)")
_INTEGER = re.compile(r"-?\d+|\*")
ANY = 38  # NUMBER(*,s)
PLAIN = frozenset({"VARCHAR2", "VARCHAR", "NVARCHAR2", "CHAR", "NCHAR"})
SIZED_IN_CHARACTERS = frozenset({"NVARCHAR2", "NCHAR"})
LOBS = frozenset({"CLOB", "NCLOB", "BLOB"})
LONGS = frozenset({"LONG", "LONG RAW"})
MOMENTS = frozenset({"TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP WITH LOCAL TIME ZONE"})


@dataclass(frozen=True, slots=True)
class Spelled:
    """A type, taken apart: "TIMESTAMP(6) WITH TIME ZONE" is ("TIMESTAMP WITH TIME ZONE", (6,))."""

    base: str
    args: tuple[int, ...] = ()


def taken_apart(type_: str) -> Spelled:
    """Of either side; Oracle's come out in capitals, PostgreSQL's as they are."""
    args = tuple(ANY if a == "*" else int(a) for inner in _ARGS.findall(type_) for a in _INTEGER.findall(inner))
    return Spelled(" ".join(_ARGS.sub(" ", type_).split()), args)


def resolved(type_: str) -> Spelled:
    """Other names of a type as Oracle itself resolves them."""
    it = taken_apart(type_.upper())
    if it.base in {"INTEGER", "INT", "SMALLINT"}:
        return Spelled("NUMBER", (ANY, 0))
    if it.base in {"NUMERIC", "DECIMAL", "DEC"}:
        return Spelled("NUMBER", it.args or (ANY, 0))
    if it.base in {"REAL", "DOUBLE PRECISION"}:
        return Spelled("FLOAT", (63 if it.base == "REAL" else 126,))
    return Spelled(ALSO.get(it.base, it.base), it.args)


ALSO = {
    "CHARACTER": "CHAR", "CHAR VARYING": "VARCHAR2", "CHARACTER VARYING": "VARCHAR2", "VARCHAR": "VARCHAR2",
    "NATIONAL CHARACTER": "NCHAR", "NATIONAL CHAR": "NCHAR", "NATIONAL CHARACTER VARYING": "NVARCHAR2",
    "NCHAR VARYING": "NVARCHAR2", "SYS.XMLTYPE": "XMLTYPE", "PUBLIC.XMLTYPE": "XMLTYPE",
    "MDSYS.SDO_GEOMETRY": "SDO_GEOMETRY", "BOOL": "BOOLEAN",
}  # fmt: skip


def native(
    base: str, owner: str | None, length: int, chars: int, used: str | None, precision: int | None, scale: int | None
) -> str:
    """As a CREATE TABLE has it, of what ALL_TAB_COLS has."""
    if owner:
        known = ALSO.get(f"{owner}.{base}")
        return known or f"{owner}.{base}"
    if base in PLAIN:
        characters = used == "C" and base not in SIZED_IN_CHARACTERS
        return f"{base}({chars}{' CHAR' if characters else ''})"
    if base == "NUMBER" and (precision is not None or scale is not None):
        return f"NUMBER({ANY if precision is None else precision},{scale or 0})"
    if base == "FLOAT" and precision is not None:
        return f"FLOAT({precision})"
    if base in {"RAW", "UROWID"}:
        return f"{base}({length})"
    return base


EMPTY = say("an empty text is NULL in Oracle")
WIDE = say("double precision in the plan, where 15 digits are enough")
FINE = say("it may hold digits below a microsecond, which are refused: text keeps them")
ZONE = say("the moment is kept, its offset or region is not: text keeps both")
NOT_READ = say("it cannot be read: leave the column out, or give it an expression")
NOTES: dict[str, Text] = {
    "DATE": say("it has a time of day; date in the plan, where that is always midnight"),
    "XMLTYPE": say("as text: xml of PostgreSQL is as well-formed"),
    "SDO_GEOMETRY": say("as EWKT, in two dimensions: PostGIS reads it"),
    "VECTOR": say("vector(n) in the plan, where the target has pgvector"),
    "RAW": say("uuid in the plan, where it holds 16 bytes of one"),
    "FLOAT": WIDE,
}


def propose(type_: str) -> tuple[str, str]:
    """PostgreSQL's type, and a remark, where there is one."""
    it = resolved(type_)
    if it.base == "NUMBER":
        return number(it.args), ""
    if it.base in PLAIN:
        kind = "character" if it.base in {"CHAR", "NCHAR"} else "character varying"
        return (f"{kind}({it.args[0]})" if it.args and it.args[0] else "text"), EMPTY
    if it.base in MOMENTS:
        return _moment(it)
    if it.base == "RAW":
        return "bytea", NOTES["RAW"] if it.args == (16,) else ""
    if it.base in _FIXED:
        return _FIXED[it.base], NOTES.get(it.base, "")
    return "text", NOT_READ


def is_read(type_: str) -> bool:
    """Whether there is a form for it (_oracle_forms.py)."""
    base = resolved(type_).base
    return base in {"NUMBER", *PLAIN, *MOMENTS, "RAW", *_FIXED}


def number(args: tuple[int, ...]) -> str:
    """Of NUMBER, NUMBER(p) and NUMBER(p,s), where s may be less than nothing, or more than p."""
    if not args:
        return "numeric"
    precision, scale = (*args, 0)[:2]
    if scale < 0:
        precision, scale = precision - scale, 0
    precision = max(precision, scale)
    if scale:
        return f"numeric({precision},{scale})"
    whole = ((4, "smallint"), (9, "integer"), (18, "bigint"))
    return next((kind for digits, kind in whole if precision <= digits), f"numeric({precision},0)")


def _moment(it: Spelled) -> tuple[str, str]:
    zoned = it.base != "TIMESTAMP"
    digits = it.args[0] if it.args else 6
    sized = f"timestamp({digits})" if digits < 6 else "timestamp"
    note = ZONE if it.base == "TIMESTAMP WITH TIME ZONE" else ""
    return f"{sized} {'with' if zoned else 'without'} time zone", FINE if digits > 6 else note


_FIXED = {
    "FLOAT": "numeric",
    "BINARY_FLOAT": "real",
    "BINARY_DOUBLE": "double precision",
    "DATE": "timestamp(0) without time zone",
    "INTERVAL YEAR TO MONTH": "interval",
    "INTERVAL DAY TO SECOND": "interval",
    "CLOB": "text",
    "NCLOB": "text",
    "LONG": "text",
    "BLOB": "bytea",
    "LONG RAW": "bytea",
    "ROWID": "text",
    "UROWID": "text",
    "XMLTYPE": "xml",
    "JSON": "jsonb",
    "BOOLEAN": "boolean",
    "VECTOR": "text",
    "SDO_GEOMETRY": "text",
}

TYPES: tuple[tuple[str, str, str], ...] = (
    ("NUMBER", "numeric", ""),
    ("NUMBER(1 … 4)", "smallint", say("boolean in the plan, where it holds 0 and 1")),
    ("NUMBER(5 … 9)", "integer", ""),
    ("NUMBER(10 … 18)", "bigint", ""),
    ("NUMBER(19 … 38), INTEGER", "numeric(p,0)", ""),
    ("NUMBER(p,s)", "numeric(p,s)", say("NUMBER(25,-2) is numeric(27,0), NUMBER(2,5) is numeric(5,5)")),
    ("FLOAT(b), REAL, DOUBLE PRECISION", "numeric", WIDE),
    ("BINARY_FLOAT", "real", ""),
    ("BINARY_DOUBLE", "double precision", ""),
    ("DATE", "timestamp(0) without time zone", NOTES["DATE"]),
    ("TIMESTAMP(n)", "timestamp without time zone", FINE),
    ("TIMESTAMP(n) WITH TIME ZONE", "timestamp with time zone", ZONE),
    ("TIMESTAMP(n) WITH LOCAL TIME ZONE", "timestamp with time zone", ""),
    ("INTERVAL YEAR TO MONTH, INTERVAL DAY TO SECOND", "interval", ""),
    ("CHAR(n), NCHAR(n)", "character(n)", EMPTY),
    ("VARCHAR2(n), NVARCHAR2(n)", "character varying(n)", EMPTY),
    ("CLOB, NCLOB, LONG", "text", ""),
    ("RAW(n), BLOB, LONG RAW", "bytea", NOTES["RAW"]),
    ("ROWID, UROWID", "text", ""),
    ("XMLTYPE", "xml", NOTES["XMLTYPE"]),
    ("JSON", "jsonb", ""),
    ("BOOLEAN", "boolean", ""),
    ("VECTOR", "text", NOTES["VECTOR"]),
    ("SDO_GEOMETRY", "text", NOTES["SDO_GEOMETRY"]),
    (say("BFILE, ANYDATA, REF, types of your own"), "text", NOT_READ),
)
