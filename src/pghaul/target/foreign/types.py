"""Types of the target: the source's proposal, what the plan says instead, and one spelling for all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pghaul.model.foreign import ForeignColumn

# What people write, and what format_type() calls it.
SPELLED = {
    "int": "integer", "int2": "smallint", "int4": "integer", "int8": "bigint", "bool": "boolean",
    "float": "double precision", "float4": "real", "float8": "double precision", "decimal": "numeric",
    "varchar": "character varying", "timetz": "time with time zone",
    "timestamptz": "timestamp with time zone", "timestamp": "timestamp without time zone",
    "time": "time without time zone", "varbit": "bit varying", "string": "text", "serial": "integer",
    "bigserial": "bigint", "smallserial": "smallint",
}  # fmt: skip
ZONED = re.compile(r"(timestamp|time)\s*(\(\d+\))?\s*(with|without)\s+time\s+zone")
PRECISION = re.compile(r"\(\d+\)")
LENGTH = re.compile(r"\s*\(.*\)", re.DOTALL)
WORD = re.compile(r'(?:"[^"]+"|[\w$]+)(?:\.(?:"[^"]+"|[\w$]+))?')
SAFE = re.compile(r'(?:"[^"]+"|[\w$. ])+(?:\(\s*[\w -]+(?:,\s*[\w -]+)?\s*\))?[\w ]*(?:\[\d*\])*')
CASELESS = re.compile(r"_ci(_|$)|^nocase$", re.IGNORECASE)  # utf8mb4_general_ci, SQL_Latin1_General_CP1_CI_AS, NOCASE
INTEGERS = frozenset({"smallint", "integer", "bigint"})
TEXTS = frozenset({"text", "character varying", "character"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """`by`: who has decided: the plan's column, the plan's type, or the source's table of types."""

    type: str
    by: Literal["column", "type", "source", "nobody"]


def decide(column: ForeignColumn, of_columns: Mapping[str, str], of_types: Mapping[str, str]) -> Typed:
    """The plan's word for this column, else for its type, else the source's proposal; text where nobody knows one."""
    if (own := _lookup(of_columns, column.name)) is not None:
        return Typed(type=spelled(own), by="column")
    rules = {normal(k): v for k, v in of_types.items()}
    for key in keys_of(column.native):
        if key in rules:
            return Typed(type=spelled(rules[key]), by="type")
    return Typed(type=column.pg_type, by="source") if column.pg_type else Typed(type="text", by="nobody")


def keys_of(native: str) -> tuple[str, str]:
    """What a rule for a type may be called: whole, and without length."""
    return normal(native), normal(LENGTH.sub("", native))


def _lookup(said: Mapping[str, str], name: str) -> str | None:
    """By the very name, else by one that differs in case only."""
    return said.get(name, next((t for c, t in said.items() if c.lower() == name.lower()), None))


def normal(native: str) -> str:
    """One spelling of a source's type: "DECIMAL ( 10, 2 )" is "decimal(10,2)"."""
    words = " ".join(native.lower().split())
    return re.sub(r"\s*([(),])\s*", r"\1", words).replace(")", ") ").strip()


def spelled(said: str) -> str:
    """As format_type() says it, as far as that can be known without a server: varchar(20) is character varying(20)."""
    words = _folded(" ".join(said.split()))
    if zoned := ZONED.match(words):
        word, precision, kind = zoned.groups()
        return f"{word}{precision or ''} {kind} time zone{words[zoned.end() :]}"
    found = WORD.match(words)
    name, rest = (found.group(), words[found.end() :]) if found else (words, "")
    rest = re.sub(r"\s*([(),])\s*", r"\1", rest)
    if name == "char":
        return f"character{rest if rest.startswith('(') else '(1)' + rest}"
    first, space, tail = SPELLED.get(name, name).partition(" ")
    if tail.endswith("time zone"):  # the precision stands in the middle
        length = PRECISION.match(rest)
        return f"{first}{length.group() if length else ''} {tail}{rest[length.end() if length else 0 :]}"
    return first + space + tail + rest


def _folded(words: str) -> str:
    """What stands in no quotes is lower case."""
    return re.sub(r'"[^"]*"|[^"]+', lambda m: m.group() if m.group().startswith('"') else m.group().lower(), words)


def base(type_: str) -> str:
    """Without length: "numeric(10,2)" is numeric, "timestamp(3) without time zone" without its precision."""
    return re.sub(r"\(.*?\)", "", type_).strip()


def sees_no_case(column: ForeignColumn, type_: str) -> bool:
    """A text that the source compares by a collation which sees no case; as `type_` the target sees it."""
    return base(type_) in TEXTS and CASELESS.search(column.collation or "") is not None


def is_safe(type_: str) -> bool:
    """Whether it can stand in a statement: a name, a length, brackets; nothing that ends it."""
    return SAFE.fullmatch(type_) is not None
