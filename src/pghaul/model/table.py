"""Described relations: what the catalogues say, with sizes and rows as *estimates*."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from pghaul.model.text import Text, saying

SHOWN = 2000  # characters of a definition that is left
WITH_TEXT = saying("{why}. Its text: {text}")
PART = re.compile(r'(?:^|\.)(?:"((?:[^"]|"")*)"|([^."]*))', re.DOTALL)


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """A schema-qualified name; `schema` is empty where a database has none. Servers agree on names, never on oids."""

    schema: str
    name: str

    def __str__(self) -> str:
        """As a person reads it and as the ledger keys it: unambiguous, but never for use in SQL."""
        return f"{_plain(self.schema)}.{_plain(self.name)}" if self.schema else _plain(self.name)

    @classmethod
    def read(cls, text: str) -> Name:
        """The name that str() gave this text for."""
        parts = [q.replace('""', '"') if q else p for q, p in PART.findall(text)]
        if len(parts) != 2:
            raise ValueError(text)
        return cls(*parts)


def _plain(part: str) -> str:
    return '"' + part.replace('"', '""') + '"' if "." in part or '"' in part else part


class RelationKind(Enum):
    TABLE = "r"  # an ordinary table: leaf, inheritance parent or standalone
    PARTITIONED = "p"  # holds no rows of its own
    FOREIGN = "f"  # rows live elsewhere: listed, never copied


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    name: str
    type: str  # format_type(), schema-qualified unless built in: "numeric(10,2)", "public.mood[]"
    type_oid: int
    not_null: bool = False
    generated: bool = False  # a stored or virtual generated column: never copied
    identity: bool = False
    # Facts about the type, resolved through domains, arrays, ranges and composites by the catalogue:
    portable_binary: bool = False  # the binary form holds no oid, no locale, no server-made number
    holds_float: bool = False  # float4/float8 somewhere inside: text may differ between versions
    send_function: str = ""  # schema-qualified output function of the binary form, e.g. pg_catalog.float8send
    output_function: str = ""  # the same of the text form, e.g. pg_catalog.float8out; empty: made for another type
    base: str = ""  # the type below all domains, without modifier: "numeric", "public.mood", "bpchar"
    unnests: bool = False  # values of `base` can be taken out of one array of it, parted by commas


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    name: str
    definition: str  # pg_get_indexdef: schema-qualified under an empty search_path
    unique: bool
    constraint: str | None = None  # name of the constraint it backs
    constraint_definition: str | None = None  # pg_get_constraintdef
    constraint_kind: str | None = None  # p, u or x
    columns: tuple[str, ...] = ()  # its key, where that is plain columns of all rows; empty for anything cleverer
    immediate: bool = True  # uniqueness is checked at once: not deferrable
    # Of a unique one: what is compared, each as SQL over the table's columns; of which rows; and whether NULL is NULL.
    keys: tuple[str, ...] = ()
    predicate: str | None = None
    nulls_distinct: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One relation as a server described it. `pages`, `bytes` are the heap's own, without children.

    `rows` is None where the catalogue does not know (reltuples 0 on old servers with pages > 0, −1 on 14+).
    """

    name: Name
    oid: int
    kind: RelationKind
    columns: tuple[Column, ...]
    parent: Name | None = None  # nearest parent, declarative or inherited
    partition: bool = False  # a declarative partition
    has_children: bool = False
    pages: int = 0
    bytes: int = 0
    rows: int | None = None
    unlogged: bool = False
    filenode: int = 0
    row_security: bool = False
    row_triggers: bool = False  # enabled user triggers that COPY would fire
    indexes: tuple[Index, ...] = ()

    @property
    def copied_columns(self) -> tuple[Column, ...]:
        """The columns that COPY carries: all but the generated ones."""
        return tuple(c for c in self.columns if not c.generated)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A foreign key on the target that stands in the way of a load and is put back afterwards."""

    table: Name
    constraint: str
    references: Name
    definition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported:
    """Something that belongs to the selection and is not carried: named, never dropped in silence."""

    kind: str  # TRIGGER, RULE, VIEW, COLUMN, …
    name: str
    why: Text | str

    @classmethod
    def with_text(cls, kind: str, name: str, why: str, text: str | None) -> Unsupported:
        """With the source's own words, so that somebody can write it anew."""
        return cls(kind=kind, name=name, why=WITH_TEXT.format(why=why, text=shortened(text)) if text else why)

    @property
    def reason(self) -> str:
        """Why, without the source's own words."""
        texted = isinstance(self.why, Text) and self.why.template == WITH_TEXT.template
        return self.why.values["why"] if texted else self.why  # type: ignore[union-attr, return-value]


def shortened(text: str, most: int = SHOWN) -> str:
    """On one line, and not without end."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]} …"
