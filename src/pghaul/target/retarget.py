"""Definitions that the server wrote for one table, turned to another: by their known beginning, never by searching.

pg_get_indexdef and pg_get_constraintdef write names quoted where they must be. What follows the names (expressions,
predicates, options) stays the server's own text.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import replace

from psycopg import sql

from pghaul.model.table import Index, Name
from pghaul.model.text import say

IDENTIFIER = r'(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_]*)'  # what quote_ident() leaves bare
COLUMN = rf"(?:PERIOD )?{IDENTIFIER}"
INDEX = re.compile(
    rf"CREATE (?P<unique>UNIQUE )?INDEX (?P<index>{IDENTIFIER}) ON (?:ONLY )?"
    rf"(?P<schema>{IDENTIFIER})\.(?P<table>{IDENTIFIER}) (?P<rest>USING .*)",
    re.DOTALL,
)
FOREIGN_KEY = re.compile(
    rf"FOREIGN KEY \((?P<columns>{COLUMN}(?:, {COLUMN})*)\) REFERENCES "
    rf"(?P<schema>{IDENTIFIER})\.(?P<table>{IDENTIFIER})(?P<rest>\(.*)",
    re.DOTALL,
)
LONGEST = 63  # bytes of a name (NAMEDATALEN - 1)


def derived(name: str, old: str, new: str) -> str:
    """The name of what belongs to `old`, for its successor: t_id_seq of t becomes u_id_seq of u."""
    if old == new:
        return name
    return fitting(new + name[len(old) :] if name.startswith(old) else f"{new}_{name}")


def fitting(name: str) -> str:
    """Cut to what a name may hold; a checksum of the whole keeps it apart from others cut alike."""
    if len(name.encode()) <= LONGEST:
        return name
    mark = f"_{zlib.crc32(name.encode()):08x}"
    return name.encode()[: LONGEST - len(mark)].decode(errors="ignore") + mark


def index(given: Index, old: Name, new: Name) -> Index:
    """The same index on another table; its name and its constraint's follow the table's."""
    name = derived(given.name, old.name, new.name)
    text = sql.SQL("CREATE {unique}INDEX {index} ON {table} ").format(
        unique=sql.SQL("UNIQUE " if _parts(given, old)["unique"] else ""),
        index=sql.Identifier(name),
        table=sql.Identifier(new.schema, new.name),
    )
    constraint = None if given.constraint is None else derived(given.constraint, old.name, new.name)
    return replace(given, name=name, definition=text.as_string(None) + rest(given, old), constraint=constraint)


def rest(given: Index, old: Name) -> str:
    """What the index is, whatever its name and its table: the method, the columns and all behind them."""
    return _parts(given, old)["rest"]


def _parts(given: Index, table: Name) -> dict[str, str]:
    found = INDEX.fullmatch(given.definition)
    if found is None or (unquoted(found["schema"]), unquoted(found["table"])) != (table.schema, table.name):
        words = say("not a definition of an index on {table}: {text}", table=str(table), text=given.definition)
        raise ValueError(words)
    return found.groupdict()


def foreign_key(definition: str, references: Mapping[Name, Name]) -> str:
    """A foreign key's definition that points at the successor of what it pointed at."""
    found = FOREIGN_KEY.fullmatch(definition)
    if found is None:
        raise ValueError(say("not a definition of a foreign key: {text}", text=definition))
    old = Name(unquoted(found["schema"]), unquoted(found["table"]))
    new = references.get(old, old)
    text = sql.Identifier(new.schema, new.name).as_string(None)
    return f"FOREIGN KEY ({found['columns']}) REFERENCES {text}{found['rest']}"


def unquoted(text: str) -> str:
    """A name as quote_ident() wrote it."""
    return text[1:-1].replace('""', '"') if text.startswith('"') else text
