"""What a plan asks to be done with values on their way: the keys of one transform, and what it makes of a column.

Names are always the source's. What needs no values (which names and types the target gets) is answered here, because
the mapping, the plan's preview and the workers all have to say the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pghaul.model.text import say

VALUE = str | bool | int | float
ENVIRONMENT = "env:"  # what stands before the name of a variable
TEXTS = re.compile(r"text|character\b.*|varchar\b.*|char\b.*|bpchar|name|citext")


class Side(StrEnum):
    BOTH = "both"
    LEFT = "left"
    RIGHT = "right"


class Otherwise(StrEnum):
    """What becomes of a value that a map does not name."""

    KEEP = "keep"
    NULL = "null"
    FAIL = "fail"


class Digits(StrEnum):
    """How the bytes of a hash are written."""

    HEX = "hex"
    BASE64 = "base64"


class Fake(StrEnum):
    """What is made up."""

    NAME = "name"
    FIRST_NAME = "first-name"
    LAST_NAME = "last-name"
    EMAIL = "email"
    PHONE = "phone"
    ADDRESS = "address"
    COMPANY = "company"
    DATE = "date"


class Tongue(StrEnum):
    """Whose names."""

    EN = "en"
    KO = "ko"


# What each of our kinds takes besides kind, column and columns: needed, and possible. `type` goes with all of them.
KEYS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "rename": (frozenset({"to"}), frozenset()),
    "cast": (frozenset({"to"}), frozenset()),
    "default": (frozenset({"value"}), frozenset()),
    "trim": (frozenset(), frozenset({"side", "characters"})),
    "null-if": (frozenset({"values"}), frozenset()),
    "map": (frozenset({"map"}), frozenset({"otherwise"})),
    "expression": (frozenset({"expression"}), frozenset()),
    "sql": (frozenset({"expression"}), frozenset()),
    "python": (frozenset({"function"}), frozenset()),
    "hash": (frozenset({"key"}), frozenset({"digits", "length"})),
    "partial": (frozenset(), frozenset({"first", "last", "fill"})),
    "redact": (frozenset(), frozenset({"value"})),
    "shuffle": (frozenset(), frozenset({"key"})),
    "fake": (frozenset({"key", "fake"}), frozenset({"language", "unique"})),
}
MASKING = frozenset({"hash", "partial", "redact", "shuffle", "fake"})  # nobody is to see what was there
SINGLE = frozenset({"rename", "expression", "sql"})  # of one column each
OF_ROWS = frozenset({"python"})  # may be of whole rows


class Transform(BaseModel):
    """One step on the way of a table's rows; each sees what the ones before it have made."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    kind: str
    """What is done: `"rename"`, `"cast"`, `"default"`, `"trim"`, `"null-if"`, `"map"`, `"expression"`, `"sql"`,
    `"python"`, `"hash"`, `"partial"`, `"redact"`, `"shuffle"`, `"fake"`, or the name of one that an installed package
    brings.
    """
    column: str | None = None
    """The column, by the source's name, whatever it is called on the target. A name that the source does not have makes
    a new column (`expression`, `sql`, `python`), which needs a `type`.
    """
    columns: Annotated[list[str], Field(min_length=1)] | None = None
    """Several columns, each of which is treated so. Without either, `python` gets whole rows."""
    to: str | None = None
    """`rename`: the name on the target. `cast`: a type of PostgreSQL, `"numeric(10,2)"`."""
    type: str | None = None
    """The type on the target, where it is another one afterwards."""
    value: VALUE | None = None
    """`default`: what NULL becomes. `redact`: what every value becomes; NULL if nothing is said."""
    values: Annotated[list[VALUE], Field(min_length=1)] | None = None
    """`null-if`: the values that become NULL."""
    side: Side = Side.BOTH
    """`trim`: `"both"`, `"left"` or `"right"`."""
    characters: Annotated[str, Field(min_length=1)] | None = None
    """`trim`: the characters that are taken off; white space if nothing is said."""
    map: Annotated[dict[str, VALUE], Field(min_length=1)] | None = None
    """`map`: what becomes of which value: `{ M = "male", F = "female" }`."""
    otherwise: Otherwise = Otherwise.KEEP
    """`map`: what a value that is not named becomes: `"keep"`, `"null"`, or `"fail"`: its row is refused."""
    expression: Annotated[str, Field(min_length=1)] | None = None
    """`expression`: computed here, from the columns of the row. `sql`: the source's own SQL, computed there."""
    function: Annotated[str, Field(pattern=r"^.+\.py:[A-Za-z_]\w*$")] | None = None
    """`python`: `"file.py:function"`; a relative path begins at the plan's folder."""
    key: str | None = None
    """`hash`, `fake`, `shuffle`: where the key is, `"env:NAME"` or a file; never the key itself."""
    digits: Digits = Digits.HEX
    """`hash`: `"hex"` or `"base64"`."""
    length: Annotated[int, Field(ge=8, le=64)] | None = None
    """`hash`: so many characters only; as many as a varchar(n) holds, if nothing is said."""
    first: Annotated[int, Field(ge=0)] = 0
    """`partial`: so many characters at the beginning stay."""
    last: Annotated[int, Field(ge=0)] = 0
    """`partial`: and so many at the end."""
    fill: Annotated[str, Field(min_length=1, max_length=1)] = "*"
    """`partial`: the character that takes the place of each of the others."""
    fake: Fake | None = None
    """`fake`: `"name"`, `"first-name"`, `"last-name"`, `"email"`, `"phone"`, `"address"`, `"company"` or `"date"`."""
    language: Tongue = Tongue.EN
    """`fake`: of names, phones, addresses: `"en"` or `"ko"`."""
    unique: bool = False
    """`fake`: with digits of the hash, so that different values stay different."""
    options: dict[str, Any] | None = None
    """The parameters of a kind that another package brings."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Transform:
        wrong = next(_complaints(self), None)
        if wrong is not None:
            raise ValueError(wrong)
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it is about; none: whole rows."""
        return (self.column,) if self.column else tuple(self.columns or ())

    def within(self, folder: Path) -> Transform:
        """The same; files that it names by relative paths lie in `folder`."""
        update: dict[str, str] = {}
        if self.function is not None:
            file, _, name = self.function.rpartition(":")
            update["function"] = f"{folder / file}:{name}"
        if self.key is not None and not self.key.startswith(ENVIRONMENT):
            update["key"] = str(folder / self.key)
        return self.model_copy(update=update) if update else self


def _complaints(it: Transform) -> Iterator[str]:
    # A plan that was kept has every key in it: what counts is what differs from what a key is if nothing is said.
    fields = type(it).model_fields.items()
    said = {k for k, f in fields if getattr(it, k) != f.default} - {"kind", "column", "columns", "type"}
    if it.column is not None and it.columns is not None:
        yield say("a transform takes column or columns, not both")
    if it.kind not in KEYS:
        if wrong := sorted(said - {"options"}):
            yield say("the transform {kind} is not one of ours: {key} goes under options", kind=it.kind, key=wrong[0])
        return
    needed, possible = KEYS[it.kind]
    if missing := sorted(needed - said):
        yield say("the transform {kind} needs {key}", kind=it.kind, key=missing[0])
    if wrong := sorted(said - needed - possible):
        yield say("the transform {kind} takes no {key}", kind=it.kind, key=wrong[0])
    if not it.names and it.kind not in OF_ROWS:
        yield say("the transform {kind} needs a column", kind=it.kind)
    if it.kind in SINGLE and len(it.names) != 1:
        yield say("the transform {kind} is of one column", kind=it.kind)


# --- what the target gets -----------------------------------------------------------------------------------------


def new_name(transforms: Iterable[Transform], column: str) -> str | None:
    """What a column is called on the target; None where no transform says so."""
    said = [t.to for t in transforms if t.kind == "rename" and column in t.names]
    return said[-1] if said else None


def new_type(transforms: Iterable[Transform], column: str, before: str) -> str | None:
    """The column's type on the target, after `before`, which it is read as; None where it stays."""
    type_ = before
    for transform in transforms:
        if column in transform.names:
            type_ = _type_after(transform, type_)
    return type_ if type_ != before else None


def _type_after(transform: Transform, before: str) -> str:
    if transform.type is not None:
        return transform.type
    if transform.kind == "cast" and transform.to:
        return transform.to
    if transform.kind == "hash" and before != "uuid" and not TEXTS.fullmatch(before):
        return "text"
    if transform.kind == "partial" and not TEXTS.fullmatch(before):
        return "text"
    if transform.kind == "fake" and not TEXTS.fullmatch(before):
        return "date" if transform.fake is Fake.DATE and before.startswith(("date", "timestamp")) else "text"
    return before


def changes(transforms: Iterable[Transform], column: str) -> bool:
    """Whether anything may happen to its values."""
    return any((column in t.names and t.kind != "rename") or not t.names for t in transforms)


def new_columns(transforms: Sequence[Transform], known: Iterable[str]) -> dict[str, str | None]:
    """Columns that the source does not have, in their order, and their types; None: nothing says which."""
    there = set(known)
    made: dict[str, str | None] = {}
    for transform in transforms:
        for name in transform.names:
            if name not in there and transform.kind in {"expression", "sql", "python"}:
                made.setdefault(name, transform.type)
    return made
