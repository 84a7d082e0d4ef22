"""Rows that were set aside: what is kept of each, which of them are meant, and what became of a replay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from pghaul.model import copy_text
from pghaul.model.event import Event
from pghaul.model.receipt import Receipt
from pghaul.model.table import Name

SET_ASIDE = "SET ASIDE"  # the kind of a run's notices that say so


def gone_later(events: Iterable[Event]) -> list[Receipt]:
    """What steps after the load have set aside of rows that chunks had loaded, for their indexes and foreign keys.

    As receipts beside those of the chunks: with them the rows of a table add up. A step's last word counts.
    """
    told = [e.data for e in events if e.data.get("kind") == SET_ASIDE and "step" in e.data]
    last = {(str(d["name"]), str(d["step"])): int(d["rows"]) for d in told}
    return [
        Receipt(table=Name.read(table), chunk=step, rows=0, bytes=0, seconds=0.0, epoch=0, rejected=rows)
        for (table, step), rows in last.items()
    ]


class Conflict(StrEnum):
    """What a replay does with a row whose key is on the target now."""

    ERROR = "error"  # it stays set aside
    IGNORE = "ignore"  # the target's row stays as it is, and the one set aside is done with
    UPDATE = "update"  # the target's row becomes the one that was set aside


@dataclass(frozen=True, kw_only=True)
class Which:
    """Rows in quarantine, by all of what is said; nothing said means all of them."""

    runs: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()  # schema.table, with the shell's wildcards: any of them
    ids: tuple[int, ...] = ()
    conditions: tuple[tuple[str, str], ...] = ()  # a field's name and its value: WHERE
    older_than: float | None = None  # seconds
    replayed: bool | None = None  # only those that were, or that were not


# By what else rows are found: the word, and the column of pghaul.quarantine.
WHERE: Mapping[str, str] = {
    "sqlstate": "sqlstate",
    "constraint": "constraint_name",
    "column": "column_name",
    "chunk": "chunk",
    "key": "source_key",
}


@dataclass(frozen=True, kw_only=True)
class SetAside:
    """One row, and why the target did not take it. `line` is its COPY text, in `encoding`."""

    id: int
    run: str
    table: str
    chunk: str
    key: str | None
    columns: tuple[str, ...]
    line: bytes
    encoding: str
    sqlstate: str
    message: str
    column: str | None
    constraint: str | None
    at: datetime
    replayed_by: str | None
    replayed_at: datetime | None

    @cached_property
    def row(self) -> dict[str, str | None]:
        """The values by their columns; bytes that are no text of the encoding are lone surrogates."""
        if not self.columns:
            return {}
        values = copy_text.decode(self.line, self.encoding)
        names = (*self.columns, *(f"#{n}" for n in range(len(self.columns) + 1, len(values) + 1)))
        return dict(zip(names, values, strict=False))

    @property
    def escaped(self) -> list[str]:
        """Columns whose values are no text: they are shown with their bytes as numbers."""
        return [name for name, value in self.row.items() if copy_text.undecoded(value)]

    @property
    def shown(self) -> dict[str, str | None]:
        """The values as text: where bytes are no text of the encoding, as copy_text.escaped() says."""
        return {n: copy_text.escaped(v) if v is not None and copy_text.undecoded(v) else v for n, v in self.row.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why rows of a table wait."""

    sqlstate: str
    constraint: str | None
    column: str | None
    rows: int
    message: str  # of the first of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """The rows of a table that one run has set aside."""

    run: str
    table: str
    rows: int
    replayed: int
    bytes: int
    first: datetime
    last: datetime
    reasons: tuple[Reason, ...] = ()  # of those that wait, the most frequent first

    @property
    def waiting(self) -> int:
        """Not replayed yet."""
        return self.rows - self.replayed


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What became of a table's rows in a replay."""

    table: str
    inserted: int = 0
    updated: int = 0
    ignored: int = 0  # a row with their key is there, and stays as it is
    left: int = 0  # still set aside
    reasons: tuple[Reason, ...] = ()  # of those that are left

    @property
    def done(self) -> int:
        """No longer set aside."""
        return self.inserted + self.updated + self.ignored
