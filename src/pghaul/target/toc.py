"""The table of contents of a pg_dump archive, as `pg_restore --list --verbose` prints it and `-L` reads it back.

A line is `dumpId; tableoid oid DESC schema tag owner`. Names may hold spaces, so a line cannot be taken apart
safely; entries are chosen by (tableoid, oid), which the source's catalogue knows. Comments and grants have no oid, but
depend on the entry of their object alone. The few others without one (TABLE ATTACH, INDEX ATTACH, SEQUENCE OWNED BY,
SHELL TYPE) are found by the words a known object must give.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pghaul.model.table import Name

LINE = re.compile(r"(?P<dump_id>\d+); (?P<tableoid>\d+) (?P<oid>\d+) (?P<words>.*)")
DEPENDS = ";\tdepends on:"

TABLE_ATTACH = "TABLE ATTACH"
INDEX_ATTACH = "INDEX ATTACH"
SEQUENCE_OWNED_BY = "SEQUENCE OWNED BY"
SHELL_TYPE = "SHELL TYPE"
COMMENT = "COMMENT "
GRANTS = "ACL "
DEFAULT_GRANTS = "DEFAULT ACL "
# What hangs on an object under no oid of its own, but would pass by name: chosen by what it depends on, or never.
BY_OBJECT = (GRANTS, COMMENT, "SECURITY LABEL ", "SEQUENCE SET ", "TABLE DATA ", "STATISTICS DATA ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line; `words` is everything after the oids, `depends` the dump ids of what must be there before."""

    tableoid: int
    oid: int
    words: str
    line: str
    dump_id: int = 0
    depends: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to pick: by (tableoid, oid), and by description and name where entries have no oid."""

    ids: Collection[tuple[int, int]] = ()
    named: Collection[tuple[str, Name]] = ()


def parse(listing: str) -> list[Entry]:
    """The entries of `pg_restore --list --verbose`, in the archive's order."""
    found: list[Entry] = []
    depends: list[int] = []
    for line in listing.split("\n"):
        if m := LINE.fullmatch(line):
            depends = []
            found.append(
                Entry(
                    tableoid=int(m["tableoid"]),
                    oid=int(m["oid"]),
                    words=m["words"],
                    line=line,
                    dump_id=int(m["dump_id"]),
                    depends=depends,
                )
            )
        elif line.startswith(DEPENDS):
            depends += map(int, line[len(DEPENDS) :].split())
    return found


def choose(entries: Iterable[Entry], wanted: Wanted) -> list[Entry]:
    """The wanted entries, in the archive's order, which is a safe order of creation."""
    names = {_words(description, name) for description, name in wanted.named}
    return [e for e in entries if not e.words.startswith(BY_OBJECT) and _matches(e, wanted.ids, names)]


def belonging(entries: Sequence[Entry], kind: str, objects: Collection[tuple[int, int]]) -> list[Entry]:
    """The entries of this kind that hang on these objects."""
    homes = {e.dump_id for e in entries if (e.tableoid, e.oid) in objects}
    return [e for e in entries if e.words.startswith(kind) and e.depends and e.depends[0] in homes]


def _matches(entry: Entry, ids: Collection[tuple[int, int]], names: set[str]) -> bool:
    if entry.tableoid or entry.oid:  # ROW SECURITY has its table's oid alone
        return (entry.tableoid, entry.oid) in ids
    # The owner is the last word or words (it may be absent): try every place where it may begin.
    ends = [m.start() for m in re.finditer(" ", entry.words)]
    return any(entry.words[:end] in names for end in ends)


def _words(description: str, name: Name) -> str:
    """pg_restore prints line breaks in names as blanks."""
    return re.sub(r"[\r\n]", " ", f"{description} {name.schema} {name.name}")


def list_file(entries: Iterable[Entry]) -> str:
    """The text for `pg_restore -L`."""
    return "".join(f"{e.line}\n" for e in entries)
