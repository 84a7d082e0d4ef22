"""Which PostgreSQL type each type of SQL Server is proposed, and how both are spelled."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from pghaul.model.text import Text, say

MAX = -1  # the length of varchar(max)
_SPELLED = re.compile(
    r"^\s*(?P<base>[^()]+?)\s*(?:\(\s*(?P<args>[^()]*?)\s*\))?\s*(?P<after>with(?:out)? time zone)?\s*$"
)
LIKE_TEXT = frozenset({"varchar", "nvarchar", "char", "nchar"})
DOUBLE_BYTE = frozenset({"nvarchar", "nchar"})
BINARY = frozenset({"binary", "varbinary"})
DECIMAL = frozenset({"decimal", "numeric"})
SCALED = frozenset({"time", "datetime2", "datetimeoffset"})
SINGLE = 24  # float(1) … float(24) are real


@dataclass(frozen=True, slots=True)
class Spelled:
    """A type, taken apart: "decimal(10, 2)", "varchar(max)", "timestamp(3) without time zone"."""

    base: str
    args: tuple[int, ...] = ()

    @property
    def size(self) -> int | None:
        """The length; None for max, or for none."""
        return self.args[0] if self.args and self.args[0] != MAX else None


def taken_apart(type_: str) -> Spelled:
    """Of either side."""
    match = _SPELLED.match(type_.lower())
    if match is None:
        return Spelled(type_.lower())
    base = " ".join(match["base"].split()) + (f" {match['after']}" if match["after"] else "")
    args = [a.strip() for a in (match["args"] or "").split(",") if a.strip()]
    return Spelled(base, tuple(MAX if a == "max" else int(a) for a in args if a == "max" or a.lstrip("-").isdigit()))


def native(base: str, max_length: int, precision: int, scale: int) -> str:
    """As a CREATE TABLE has it, of what sys.columns has."""
    if base in LIKE_TEXT | BINARY:
        size = max_length // 2 if base in DOUBLE_BYTE else max_length
        return f"{base}({'max' if max_length == MAX else size})"
    if base in DECIMAL:
        return f"{base}({precision},{scale})"
    if base in SCALED:
        return f"{base}({scale})"
    return base


def resolved(type_: str) -> Spelled:
    """Other names of a type, and lengths that are left out, as the server resolves them."""
    it = taken_apart(type_)
    base = ALSO.get(it.base, it.base)
    if base == "float" and it.args and it.args[0] <= SINGLE:
        return Spelled("real")
    if base in DEFAULTS and not it.args:
        return Spelled(base, DEFAULTS[base])
    if base in DECIMAL and len(it.args) == 1:
        return Spelled(base, (it.args[0], 0))
    return Spelled(base, it.args)


ALSO = {
    "integer": "int",
    "dec": "decimal",
    "double precision": "float",
    "character": "char",
    "char varying": "varchar",
    "character varying": "varchar",
    "national character": "nchar",
    "national char": "nchar",
    "national character varying": "nvarchar",
    "national char varying": "nvarchar",
    "national text": "ntext",
    "binary varying": "varbinary",
    "rowversion": "timestamp",
    "sysname": "nvarchar",
}
DEFAULTS: dict[str, tuple[int, ...]] = {
    "char": (1,), "nchar": (1,), "varchar": (1,), "nvarchar": (1,), "binary": (1,), "varbinary": (1,),
    "decimal": (18, 0), "numeric": (18, 0), "time": (7,), "datetime2": (7,), "datetimeoffset": (7,),
}  # fmt: skip

FINE = say("it may hold digits below a microsecond, which are refused: text keeps them")
NOTES: dict[str, Text] = {
    "datetimeoffset": say("the moment is kept, the offset that it was written with is not: text keeps both"),
    "sql_variant": say("each value as text; the type of each is not kept"),
    "hierarchyid": say("as a path: /1/2/"),
    "geometry": say("as EWKT: SRID=4326;POINT (1 2)"),
    "geography": say("as EWKT: SRID=4326;POINT (1 2)"),
    "timestamp": say("the value as it was: PostgreSQL does not go on counting"),
    "vector": say("vector(n) in the plan, where the target has pgvector"),
}


def propose(type_: str) -> tuple[str, str]:
    """PostgreSQL's type, and why, where it is not obvious. A type that nobody knows is read as bytes."""
    it = resolved(type_)
    if it.base in _FIXED:
        pg_type = _FIXED[it.base]
    elif it.base in _SIZED:
        pg_type = _SIZED[it.base](it)
    else:
        return "bytea", say("a type of its own, as its bytes")
    if it.base in SCALED and it.args == (7,) and it.base != "datetimeoffset":
        return pg_type, FINE
    return pg_type, NOTES.get(it.base, "")


def _of_length(kind: str) -> Callable[[Spelled], str]:
    return lambda it: f"{kind}({it.size})" if it.size else "text"


def _scaled(kind: str, zone: str) -> Callable[[Spelled], str]:
    """PostgreSQL counts to the microsecond at most, and so by default."""
    return lambda it: f"{kind}({it.args[0]}) {zone}" if it.args and it.args[0] < 6 else f"{kind} {zone}"


_FIXED = {
    "bit": "boolean",
    "tinyint": "smallint",
    "smallint": "smallint",
    "int": "integer",
    "bigint": "bigint",
    "real": "real",
    "float": "double precision",
    "money": "numeric(19,4)",
    "smallmoney": "numeric(10,4)",
    "date": "date",
    "datetime": "timestamp(3) without time zone",
    "smalldatetime": "timestamp(0) without time zone",
    "text": "text",
    "ntext": "text",
    "image": "bytea",
    "binary": "bytea",
    "varbinary": "bytea",
    "timestamp": "bytea",
    "uniqueidentifier": "uuid",
    "xml": "xml",
    "json": "json",
    "sql_variant": "text",
    "hierarchyid": "text",
    "geometry": "text",
    "geography": "text",
    "vector": "text",
}
_SIZED: dict[str, Callable[[Spelled], str]] = {
    "decimal": lambda it: f"numeric({it.args[0]},{it.args[1]})",
    "numeric": lambda it: f"numeric({it.args[0]},{it.args[1]})",
    "char": _of_length("character"),
    "nchar": _of_length("character"),
    "varchar": _of_length("character varying"),
    "nvarchar": _of_length("character varying"),
    "time": _scaled("time", "without time zone"),
    "datetime2": _scaled("timestamp", "without time zone"),
    "datetimeoffset": _scaled("timestamp", "with time zone"),
}

TYPES: tuple[tuple[str, str, str], ...] = (
    ("bit", "boolean", ""),
    ("tinyint, smallint", "smallint", ""),
    ("int", "integer", ""),
    ("bigint", "bigint", ""),
    ("decimal(p,s), numeric(p,s)", "numeric(p,s)", ""),
    ("money", "numeric(19,4)", ""),
    ("smallmoney", "numeric(10,4)", ""),
    ("real, float(1 … 24)", "real", ""),
    ("float", "double precision", ""),
    ("date", "date", ""),
    ("time(s)", "time without time zone", FINE),
    ("datetime", "timestamp(3) without time zone", ""),
    ("smalldatetime", "timestamp(0) without time zone", ""),
    ("datetime2(s)", "timestamp without time zone", FINE),
    ("datetimeoffset(s)", "timestamp with time zone", NOTES["datetimeoffset"]),
    ("char(n), nchar(n)", "character(n)", ""),
    (
        "varchar(n), nvarchar(n)",
        "character varying(n)",
        say("read by the server's code page; encodings in the plan override it"),
    ),
    ("varchar(max), nvarchar(max), text, ntext", "text", ""),
    ("binary(n), varbinary(n), varbinary(max), image", "bytea", ""),
    ("rowversion, timestamp", "bytea", NOTES["timestamp"]),
    ("uniqueidentifier", "uuid", ""),
    ("xml", "xml", ""),
    ("json", "json", ""),
    ("sql_variant", "text", NOTES["sql_variant"]),
    ("hierarchyid", "text", NOTES["hierarchyid"]),
    ("geometry, geography", "text", NOTES["geometry"]),
    ("vector(n)", "text", NOTES["vector"]),
    (say("a CLR type of its own"), "bytea", ""),
)
