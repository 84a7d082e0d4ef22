"""An application's own registry of partitions: a table partition_table_info, or any with the same columns.

`from_date` and `to_date` are epoch milliseconds, the last one included; they begin at midnight of the plant's own time
zone. Which of `table_name` and `table_data` is the partition is seen by which of them is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg.sql import Identifier

from pghaul.model.errors import NotFoundError, PghaulError
from pghaul.model.table import Name
from pghaul.model.text import say
from pghaul.postgres.trees_sql import ENTRIES, REGISTRIES

if TYPE_CHECKING:
    from pghaul.postgres.session import Session

COLUMNS = ["table_name", "table_data", "from_date", "to_date", "use_flag", "save_date", "cluster_index"]
NEEDED = COLUMNS[:4]  # of one that is named outright


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Epoch milliseconds, both inclusive; None where it holds no number."""

    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """`missing` are entries that name no partition that is here; `unreadable` says why nothing could be read."""

    table: Name
    entries: Mapping[Name, Entry] = field(default_factory=dict)
    missing: tuple[tuple[str, str], ...] = ()  # table_name and table_data
    unreadable: str = ""


def find_registries(session: Session, partitions: Iterable[Name], named: str | None = None) -> list[Registry]:
    """The registries of this database, or the one that is named. NotFoundError where that has not its columns."""
    wanted = COLUMNS if named is None else NEEDED
    found = [Name(schema, name) for schema, name in session.rows(REGISTRIES, (wanted, wanted))]
    if named is not None:
        text = named if "." in named else f"public.{named}"
        found = [n for n in found if str(n) == text]
        if not found:
            raise NotFoundError(
                say("{table} is no registry of partitions that may be read", table=named),
                advice=say("it needs the columns {columns}", columns=", ".join(NEEDED)),
                code=5202,
            )
    by_text: dict[str, list[Name]] = {}
    for partition in partitions:
        by_text.setdefault(partition.name, []).append(partition)
        by_text.setdefault(str(partition), []).append(partition)
    return [_read(session, table, by_text) for table in found]


def _read(session: Session, table: Name, partitions: Mapping[str, list[Name]]) -> Registry:
    try:
        rows = session.rows(ENTRIES.format(Identifier(table.schema, table.name)))
    except PghaulError as exc:
        return Registry(table=table, unreadable=exc.message)
    entries: dict[Name, Entry] = {}
    missing: list[tuple[str, str]] = []
    for name, data, low, high in rows:
        partition = _partition(table, (data, name), partitions)
        if partition is None:
            missing.append((name or "", data or ""))
        else:
            entries[partition] = Entry(low=_number(low), high=_number(high))
    return Registry(table=table, entries=entries, missing=tuple(missing))


def _partition(table: Name, texts: tuple[str | None, ...], partitions: Mapping[str, list[Name]]) -> Name | None:
    """Of several schemas with such a partition the registry's own."""
    for text in texts:
        found = partitions.get((text or "").strip(), [])
        if found:
            return next((n for n in found if n.schema == table.schema), found[0])
    return None


def _number(text: str | None) -> int | None:
    digits = (text or "").strip().partition(".")[0]
    return int(digits) if digits.removeprefix("-").isdigit() else None
