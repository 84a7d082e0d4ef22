"""MySQL's and MariaDB's types: how they are spelled, and what they become."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pghaul.model.text import Text, say

_SPELLED = re.compile(r"\s*(\w+)\s*(?:\((.*)\))?\s*(.*)", re.DOTALL)
_LABEL = re.compile(r"'((?:[^'\\]|''|\\.)*)'")

SIZES = {"tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "integer": 4, "bigint": 8}
SIGNED = {"tinyint": "smallint", "smallint": "smallint", "mediumint": "integer", "int": "integer", "bigint": "bigint"}
UNSIGNED = SIGNED | {"smallint": "integer", "int": "bigint", "bigint": "numeric(20,0)"}
TEXTS = frozenset({"tinytext", "text", "mediumtext", "longtext"})
CHARACTERS = TEXTS | {"char", "varchar", "enum", "set"}
BINARIES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
SHAPES = frozenset(
    {
        "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
        "geometrycollection", "geomcollection",
    }
)  # fmt: skip
DATES = frozenset({"date", "datetime", "timestamp"})
_PLAIN = {
    "float": "real", "double": "double precision", "real": "double precision", "year": "smallint", "date": "date",
    "json": "jsonb", "inet4": "inet", "inet6": "inet", "uuid": "uuid", "enum": "text", "set": "text[]",
}  # fmt: skip
LONGEST_CHARACTERS = 10_485_760  # of PostgreSQL's varchar(n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """A type, taken apart: "decimal(10,2) unsigned" is ("decimal", (10, 2), unsigned)."""

    base: str
    arguments: str = ""
    unsigned: bool = False

    @property
    def numbers(self) -> tuple[int, ...]:
        """Length, precision, scale."""
        return tuple(int(n) for n in re.findall(r"\d+", self.arguments)) if self.base not in {"enum", "set"} else ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Of an enum or set."""
        if self.base not in {"enum", "set"}:
            return ()
        return tuple(_unquoted(label) for label in _LABEL.findall(self.arguments))

    @property
    def is_boolean(self) -> bool:
        """What MySQL makes of BOOLEAN; it takes any number of one byte."""
        return self.base == "tinyint" and self.numbers == (1,) and not self.unsigned


def _unquoted(label: str) -> str:
    return re.sub(r"\\(.)", r"\1", label.replace("''", "'"))


def parse(native: str) -> Native:
    """Of a type as information_schema spells it."""
    found = _SPELLED.fullmatch(native)
    if found is None:
        return Native(base=native.lower())
    base, arguments, rest = found[1].lower(), found[2] or "", found[3].lower()
    base = {"integer": "int", "numeric": "decimal", "dec": "decimal", "fixed": "decimal", "bool": "tinyint"}.get(
        base, base
    )
    return Native(base=base, arguments=arguments, unsigned="unsigned" in rest or "zerofill" in rest)


def proposed(native: Native) -> str:
    """PostgreSQL's type, in format_type()'s spelling; text for what nobody knows."""
    base, numbers = native.base, native.numbers
    first = numbers[0] if numbers else 0
    if base in SIGNED:
        return (UNSIGNED if native.unsigned else SIGNED)[base]
    if base in {"datetime", "timestamp", "time"}:
        zone = "with" if base == "timestamp" else "without"
        return f"{'time' if base == 'time' else 'timestamp'}({first}) {zone} time zone"
    if base in {"char", "varchar"}:
        return f"character varying({first})" if 0 < first <= LONGEST_CHARACTERS else "text"
    if base in BINARIES:
        return "bytea"
    precision, scale = (*numbers, 0, 0)[:2] if numbers else (10, 0)
    with_length = {
        "decimal": f"numeric({precision},{scale})",
        "bit": "boolean" if first <= 1 else f"bit({first})",
        "vector": f"vector({first})" if numbers else "vector",
    }
    return with_length.get(base) or _PLAIN.get(base, "text")


INTERVAL = "interval"
NEVER_ZERO = say(
    "0000-00-00, 2024-00-10 and their like are refused; zero-dates=null or =text in the URL says otherwise"
)

TABLE: tuple[tuple[str, str, Text | str], ...] = (
    ("tinyint(1)", "boolean", say("where all values are 0, 1 or NULL, and it is no key; else smallint")),
    ("tinyint", "smallint", ""),
    ("tinyint unsigned", "smallint", ""),
    ("smallint", "smallint", ""),
    ("smallint unsigned", "integer", ""),
    ("mediumint", "integer", ""),
    ("mediumint unsigned", "integer", ""),
    ("int", "integer", ""),
    ("int unsigned", "bigint", ""),
    ("bigint", "bigint", ""),
    ("bigint unsigned", "bigint", say("where all values fit; else numeric(20,0)")),
    ("decimal(p,s)", "numeric(p,s)", say("all 65 digits")),
    ("float", "real", say("bit by bit")),
    ("double", "double precision", say("bit by bit")),
    ("bit(1)", "boolean", ""),
    ("bit(n)", "bit(n)", ""),
    ("year", "smallint", ""),
    ("date", "date", NEVER_ZERO),
    ("datetime(n)", "timestamp(n) without time zone", NEVER_ZERO),
    ("timestamp(n)", "timestamp(n) with time zone", NEVER_ZERO),
    ("time(n)", "time(n) without time zone", say("where all values are within a day; else interval")),
    ("char(n)", "character varying(n)", say("MySQL takes blanks at the end away when it is read")),
    ("varchar(n)", "character varying(n)", ""),
    ("tinytext, text, mediumtext, longtext", "text", ""),
    ("binary(n), varbinary(n), tinyblob, blob, mediumblob, longblob", "bytea", ""),
    ("enum(…)", "text", say("with a check of its labels, or a type of its own")),
    ("set(…)", "text[]", ""),
    ("json", "jsonb", say("and longtext that MariaDB checks with json_valid")),
    ("geometry, point, polygon …", "text", say("as WKT, with SRID=n; before it where there is one; bytea: as WKB")),
    ("inet4, inet6", "inet", ""),
    ("uuid", "uuid", ""),
    ("vector(n)", "vector(n)", say("pgvector's")),
)
