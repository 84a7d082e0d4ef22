"""What a comparison of two databases found: by table, and narrowed down to the rows that differ."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from pghaul.model.table import Name
from pghaul.model.text import Text, saying

SET_ASIDE = saying("{n} of them set aside")  # of rows that are missing


class Method(Enum):
    COUNT = "count"  # rows of both sides
    CHECKSUM = "checksum"  # the sum of row hashes of both sides, narrowed to rows where it differs


class Difference(Enum):
    MISSING = "missing"  # on the source only
    EXTRA = "extra"  # on the target only
    DIFFERENT = "different"  # the same key, other values
    TIMES = "times"  # without a key: the same row, another number of times


@dataclass(frozen=True, slots=True, kw_only=True)
class RowDifference:
    """One row. `key`: columns and their values as text (all columns where the table has no key).

    `columns`: of a DIFFERENT row, what differs, as (name, source's text, target's text); None is NULL.
    `times`: how often the row is on the source and on the target; (1, 0), (0, 1) and (1, 1) with a key.
    """

    kind: Difference
    key: tuple[tuple[str, str | None], ...]
    columns: tuple[tuple[str, str | None, str | None], ...] = ()
    times: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnVerdict:
    """What a person looks at to believe that a column has arrived; each on the source and on the target, as text."""

    name: str
    nulls: tuple[int, int]
    least: tuple[str | None, str | None]
    greatest: tuple[str | None, str | None]
    total: tuple[str | None, str | None]  # the sum, of numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class TableVerdict:
    """`agrees` None: it could not be compared, and `why` says so. Hashes are empty where rows were counted only.

    `missing`, `extra`, `different` count all such rows as far as they were looked at; `rows` names the first of them.
    `complete`: all differing rows were looked at; else the limit ended it.
    """

    source: Name
    target: Name
    agrees: bool | None
    source_rows: int = 0
    target_rows: int = 0
    source_hash: str = ""
    target_hash: str = ""
    key: tuple[str, ...] = ()
    missing: int = 0
    extra: int = 0
    different: int = 0
    rows: tuple[RowDifference, ...] = ()
    complete: bool = True
    seconds: float = 0.0
    why: Text | str = ""
    aside: int = 0  # of the rows that are missing: so many wait in the quarantine
    columns: tuple[ColumnVerdict, ...] = ()  # where the source is not PostgreSQL


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """`id` as a run's; `run` the run that it is about, None where pghaul did not copy. URLs without passwords."""

    id: str
    run: str | None
    source: str
    target: str
    method: Method
    started: datetime
    finished: datetime
    tables: tuple[TableVerdict, ...]
    who: str = ""  # user@machine

    @property
    def agrees(self) -> bool:
        """Every table was compared, and is the same on both sides."""
        return all(t.agrees for t in self.tables)
