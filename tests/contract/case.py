"""What the contract suite is told of an engine, and the tables that every engine makes for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import MappingProxyType

from pghaul.model.foreign import ForeignDatabase, ForeignEndpoint, ForeignTable, KeyRange, ReadColumn, Reading
from pghaul.model.table import Name
from pghaul.sources.protocol import Source, engine_of

# The tables of a place. What stands in them is said by these functions, for makers and for tests.
NUMBERS = "numbers"  # id integer primary key, half integer NULL, word text; rows 1 … COUNT, in no order
EMPTY = "empty_one"  # the same columns, no rows
CHANGING = "changing"  # the same columns, rows 1 … 10: Place.change() adds to it
VANISHING = "vanishing"  # the same columns, no rows: Place.vanish() drops it
LOOSE = "loose"  # nr integer NULL, word text: the rows of loose_rows(); no key
PARENT = "parent"  # id integer primary key, code varchar(10) NOT NULL UNIQUE
CHILD = "child"  # id integer primary key, parent_id integer REFERENCES parent ON DELETE CASCADE, with an index
WIDE = "wide"  # c0 … c(widest - 1), small integers: one row, each value is its column's number modulo 100
COUNT = 5_000

ODD = (
    "select",
    "two words",
    'quo"ted',
    "it's",
    "한글 이름",
    "smile 😀",
    "UPPER",
    "a.b",
    "per%cent",
    "back\\slash",
    "{brace}",
    "semi;colon --",
)  # tables of one row, with one column of the same name that holds 1


def half(n: int) -> int | None:
    """Of row n."""
    return None if n % 3 == 0 else n * 2


def word(n: int) -> str | None:
    """Of row n."""
    return None if n % 7 == 0 else f"word {n} é 한 😀"[: 6 + n % 9]


def number_rows(count: int = COUNT) -> list[tuple[int, int | None, str | None]]:
    """The rows of NUMBERS, in an order that is not that of the key."""
    return [(n, half(n), word(n)) for n in sorted(range(1, count + 1), key=lambda n: (n * 7919) % 104_729)]


def loose_rows() -> list[tuple[int | None, str]]:
    """With a NULL and negative numbers."""
    return [(None if n % 5 == 0 else n - 50, f"w{n}") for n in range(100)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One column of one table of the type matrix, whose rows are ordered by a column `id`.

    `expected`: what arrives, as PostgreSQL would show it, or None for NULL. None as a whole: it has to be refused.
    """

    table: str
    column: str
    expected: tuple[str | None, ...] | None
    pg_type: str = ""  # empty: what the source proposes, which has to be `proposed`
    proposed: str = ""
    encoding: str | None = None

    def __str__(self) -> str:
        return f"{self.table}.{self.column}{f' as {self.pg_type}' if self.pg_type else ''}"


class Place(ABC):
    """One database with the tables above."""

    engine: str
    url: str
    password: str | None = None
    schema: str = ""
    widest: int = 2_000
    odd: tuple[str, ...] = ODD
    sizes: bool = True  # of several places of an engine one is enough
    keys: bool = True  # keys, indexes and references are described
    probes: tuple[Probe, ...] = ()
    listed: bool = True  # `pghaul types` names types as a description does
    unasked: Mapping[str, str] = MappingProxyType({})  # of what it lists: not in the matrix, and why

    def name(self, table: str) -> Name:
        """As the source calls it."""
        return Name(self.schema, table)

    @abstractmethod
    def above(self, column: str, value: int) -> str:
        """A condition in the source's SQL; only asked for where `guarantees.where` is true."""

    @abstractmethod
    def fat(self) -> Reading:
        """At least 200 MB in at least 20,000 rows, cheap to make: a function that repeats a value, compressed …"""

    @abstractmethod
    def change(self) -> bool:
        """Another program adds a row to CHANGING and commits. False where the source does not let it."""

    @abstractmethod
    def vanish(self) -> None:
        """Another program drops VANISHING."""

    def slow(self) -> Reading | None:
        """Where it can be had: a reading that yields nothing for minutes."""
        return None

    @cached_property
    def described(self) -> ForeignDatabase:
        """As it was when it was first asked for: a description takes a while."""
        with self.open() as source:
            return source.database()

    def table(self, name: str) -> ForeignTable:
        """One of its tables."""
        return next(t for t in self.described.tables if t.name == self.name(name))

    @property
    def endpoint(self) -> ForeignEndpoint:
        """Parsed anew."""
        return engine_of(self.url.partition(":")[0]).endpoint(self.url, {}, self.password)

    @contextmanager
    def open(self) -> Iterator[Source]:
        """A source, closed at the end."""
        source = engine_of(self.engine).open(self.endpoint)
        with source:
            yield source


def whole(table: ForeignTable, **options: object) -> Reading:
    """All columns of a table, as they are proposed."""
    columns = tuple(ReadColumn(name=c.name, native=c.native, pg_type=c.pg_type) for c in table.columns)
    return Reading(table=table.name, columns=columns, **options)  # type: ignore[arg-type]


def rows_of(source: Source, reading: Reading) -> list[tuple[object, ...]]:
    """All of it, as Python values."""
    batches = source.read(reading)
    try:
        return [row for batch in batches for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)]
    finally:
        batches.close()


def pieces(low: int, high: int, column: str, parts: int) -> list[KeyRange]:
    """Ranges that hold everything together: both ends are open."""
    step = max(1, (high - low) // parts)
    cuts: list[int | None] = [None, *(low + step * i for i in range(1, parts)), None]
    return [KeyRange(column=column, low=a, high=b) for a, b in pairwise(cuts)]
