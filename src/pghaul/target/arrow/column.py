"""A column of the target as the writer needs to know it: its type's name taken apart, and its atttypid."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

# format_type(): name, modifiers, what stands behind them, dimensions. "timestamp(3) with time zone", "numeric(10,2)[]".
SPELLED = re.compile(
    r"^(?P<name>.*?)(?:\((?P<args>-?\d+(?:,-?\d+)*)\))?(?P<rest> with(?:out)? time zone)?(?P<dims>(?:\[\])*)$",
    re.DOTALL,
)
SHORT = {
    "int2": "smallint",
    "int4": "integer",
    "int": "integer",
    "int8": "bigint",
    "bool": "boolean",
    "float4": "real",
    "float8": "double precision",
    "decimal": "numeric",
    "varchar": "character varying",
    "char": "character",
    "bpchar": "character",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "time": "time without time zone",
    "timetz": "time with time zone",
    "varbit": "bit varying",
}


@dataclass(frozen=True, kw_only=True)
class TargetColumn:
    """`type` as format_type() spells it, `oid` is atttypid; of a domain, both are those of its base type.

    Without an oid the name is believed: that is for columns which are yet to be made.
    """

    name: str
    type: str
    oid: int = 0
    enum: bool = False  # its binary form is the label

    @cached_property
    def spelled(self) -> Spelled:
        """The type, taken apart."""
        return Spelled.of(self.type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelled:
    """`name` without modifiers and dimensions; `args` the modifiers: (10, 2) of numeric(10,2)."""

    name: str
    args: tuple[int, ...]
    array: bool

    @classmethod
    def of(cls, type_: str) -> Spelled:
        """Short names become those that format_type() uses; but "char" in quotes is another type than char."""
        found = SPELLED.match(type_.strip())
        if found is None:  # no type is spelled so
            return cls(name=type_, args=(), array=False)
        name = found["name"] + (found["rest"] or "")
        args = tuple(int(a) for a in (found["args"] or "").split(",") if a)
        if name == "char" and not args:
            args = (1,)
        return cls(name=SHORT.get(name, name), args=args, array=bool(found["dims"]))
