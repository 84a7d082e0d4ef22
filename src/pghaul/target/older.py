"""What a new pg_dump writes and an old target does not read: put into words that it knows.

pg_dump writes for servers of its own version or later. Where the target is older, the script of the chosen entries is
rewritten here, one rule for each thing that has another form there and means the same. What has no other form is not
rewritten: the checks before the run refuse it by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from pghaul.postgres.versions import Capabilities

# Strings, quoted names, dollar-quoted bodies and comments: nothing in them is ours to touch.
STRING = r"E'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'"
QUOTED = re.compile(STRING + r'|"(?:[^"]|"")*"|(?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag)|--[^\n]*', re.DOTALL)
FILLER = "\0"
NAME = r'(?:[\w$]+|"\0*")'

TABLE = re.compile(
    rf"^CREATE (?:UNLOGGED )?TABLE (?P<table>{NAME}\.{NAME}) (?:OF [^(]*)?\((?P<body>.*?)^\)(?P<rest>[^;]*;)",
    re.DOTALL | re.MULTILINE,
)
NOT_NULL = re.compile(rf"(?:CONSTRAINT {NAME} )?NOT NULL (?P<column>{NAME})(?: NO INHERIT)?")
NOT_NULL_NO_INHERIT = re.compile(r"(?<=NOT NULL) NO INHERIT")

SEQUENCE_TYPE = re.compile(r"^    AS (?:integer|smallint|bigint)\n", re.MULTILINE)
MULTIRANGE_NAME = re.compile(rf",?\n    multirange_type_name = (?:{NAME}\.)?{NAME}")
COMPRESSION = re.compile(
    rf"^ALTER TABLE (?:ONLY )?{NAME}\.{NAME} ALTER COLUMN {NAME} SET COMPRESSION \w+;\n", re.MULTILINE
)
TRIGGER_FUNCTION = re.compile(r"(?<= EXECUTE )FUNCTION(?= )")
TRIGGER = re.compile(r"^CREATE (?:CONSTRAINT |EVENT )?TRIGGER [^;]*;", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A part of the script and what stands there instead."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The text, and `mask`: as long, with nothing left of what is quoted but the quotes of names."""

    text: str
    mask: str

    def __getitem__(self, span: tuple[int, int]) -> str:
        return self.text[slice(*span)]


Rule: TypeAlias = Callable[[Script], Iterator[Edit]]


def rewrite(script: str, can: Capabilities) -> str:
    """The same objects, for a server of these capabilities."""
    rules = {
        _plain_not_nulls: can.not_null_constraints,
        _plain_triggers: can.execute_function,
        _without(MULTIRANGE_NAME): can.multiranges,
        _without(COMPRESSION): can.compression,
        _without(SEQUENCE_TYPE): can.sequence_types,
    }
    for rule in (r for r, known in rules.items() if not known):
        script = _edited(script, rule)
    return script


def masked(text: str) -> Script:
    """The text beside its mask."""
    return Script(text=text, mask=QUOTED.sub(_blank, text))


def _blank(found: re.Match[str]) -> str:
    text = found.group()
    return f'"{FILLER * (len(text) - 2)}"' if text.startswith('"') else FILLER * len(text)


def _edited(script: str, rule: Rule) -> str:
    out, at = [], 0
    for edit in rule(masked(script)):
        out += [script[at : edit.start], edit.text]
        at = edit.end
    return "".join([*out, script[at:]])


def _without(pattern: re.Pattern[str]) -> Rule:
    def leave_out(script: Script) -> Iterator[Edit]:
        for found in pattern.finditer(script.mask):
            yield Edit(start=found.start(), end=found.end(), text="")

    return leave_out


def _plain_triggers(script: Script) -> Iterator[Edit]:
    """EXECUTE PROCEDURE meant a function all the same."""
    for trigger in TRIGGER.finditer(script.mask):
        for word in TRIGGER_FUNCTION.finditer(script.mask, *trigger.span()):
            yield Edit(start=word.start(), end=word.end(), text="PROCEDURE")


def _plain_not_nulls(script: Script) -> Iterator[Edit]:
    """NOT NULL as a constraint of its own, which 18 writes for inherited columns, becomes the column's property."""
    for table in TABLE.finditer(script.mask):
        kept, columns = [], []
        for span in _items(script.mask, *table.span("body")):
            found = NOT_NULL.fullmatch(script.mask, *span)
            if found:
                columns.append(script[found.span("column")])
            else:
                kept.append(_edited(script[span], _without(NOT_NULL_NO_INHERIT)))
        body = "".join(f"\n    {item}," for item in kept).rstrip(",") + "\n"
        yield Edit(start=table.start("body"), end=table.end("body"), text=body)
        name = script[table.span("table")]
        after = "".join(f"\nALTER TABLE ONLY {name} ALTER COLUMN {c} SET NOT NULL;" for c in columns)
        yield Edit(start=table.end(), end=table.end(), text=after)


def _items(mask: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The spans of a column list's items: pg_dump gives each a line of its own, a default may take several."""
    depth, begin = 0, start
    for at in range(start, end):
        depth += (mask[at] in "([") - (mask[at] in ")]")
        if mask[at] == "," and depth == 0:
            yield _trimmed(mask, begin, at)
            begin = at + 1
    begin, end = _trimmed(mask, begin, end)
    if begin < end:
        yield begin, end


def _trimmed(mask: str, start: int, end: int) -> tuple[int, int]:
    while start < end and mask[start].isspace():
        start += 1
    while end > start and mask[end - 1].isspace():
        end -= 1
    return start, end
