"""From two sums that differ to the rows that do: buckets, then lists of hashes, then the values of single rows.

Lists come from both servers in the order of the hashes and are merged as they come: memory does not depend on how many
rows there are. Rows are found again by their place, which does not change under a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias

from psycopg.sql import Composable, Literal

from pghaul.engine import verify_cut
from pghaul.engine.verify_cut import EMPTY, Cut
from pghaul.engine.verify_sides import Pair
from pghaul.engine.verify_sql import (
    CLOSE,
    CURSOR,
    FETCH,
    STATISTICS,
    VALUE_KEPT,
    list_rows,
    values_of,
)
from pghaul.engine.verify_units import Unit
from pghaul.model.verification import Difference, RowDifference

LISTED = 100_000  # rows that are listed at once, of buckets that an index finds
LISTED_BY_SCAN = 2_000_000  # of others: each list of them costs a look at all rows
FETCHED = 5_000  # rows in one answer
SHOWN_AT_ONCE = 100  # rows whose values are asked for at once
WHOLE = 50_000  # a table of so many rows is listed without further ado

Buckets: TypeAlias = dict[int, tuple[int, int]]  # by number: rows, and the sum of their hashes
Entry: TypeAlias = tuple[int, int, int, str]  # hash of the key, of the row, how often, where


@dataclass(slots=True, kw_only=True)
class Found:
    """What was found so far."""

    limit: int
    missing: int = 0
    extra: int = 0
    different: int = 0
    rows: list[_Row] = field(default_factory=list)

    @property
    def enough(self) -> bool:
        return len(self.rows) >= self.limit

    def add(self, kind: Difference, here: str, there: str, times: tuple[int, int], count: int = 1) -> None:
        """One row, of which values are shown if there is room for it."""
        if kind is Difference.DIFFERENT:
            self.different += count
        elif times[0] > times[1]:
            self.missing += count
        else:
            self.extra += count
        if not self.enough:
            self.rows.append(_Row(kind=kind, here=here, there=there, times=times))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    kind: Difference
    here: str  # places; empty where it is not
    there: str
    times: tuple[int, int]


def buckets(rows: Sequence[tuple[int | None, int, str]]) -> Buckets:
    """From a server's answer."""
    return {EMPTY if number is None else number: (count, int(total)) for number, count, total in rows}


def differing(here: Buckets, there: Buckets) -> dict[int, int]:
    """Those that differ, with the rows of the larger side."""
    numbers = sorted(here.keys() | there.keys())
    nothing = (0, 0)
    return {
        n: max(here.get(n, nothing)[0], there.get(n, nothing)[0])
        for n in numbers
        if here.get(n, nothing) != there.get(n, nothing)
    }


def cut_of(unit: Unit, pair: Pair) -> Cut | None:
    """How a table is cut for its first pass; None for one that is small enough to be listed as a whole."""
    if unit.wanted <= WHOLE:
        return None
    spans = _spans(unit, pair)
    return verify_cut.ranges(spans, unit.wanted) or verify_cut.digest(unit.key, unit.wanted)


def _spans(unit: Unit, pair: Pair) -> list[tuple[str, int, int, float]]:
    """The key's integer columns, as far as they lead it, and where their values lie."""
    found = []
    for column in unit.key[:2]:
        both = unit.here.types.get(column.name), unit.there.types.get(column.name)
        if not verify_cut.INTEGERS.issuperset(both):
            break
        span = _span(unit, pair, column.name)
        if span is None:
            break
        found.append((column.name, *span))
    return found


def _span(unit: Unit, pair: Pair, column: str) -> tuple[int, int, float] | None:
    largest = unit.here.parts[0].table if len(unit.here.parts) == 1 else unit.source
    for number, table in enumerate((largest, unit.target)):
        answer = pair.one(number, STATISTICS, (table.schema, table.name, column))
        if not answer:
            continue
        distinct, bounds, common = answer[0]
        values = sorted(int(v) for text in (bounds, common) if text for v in text.strip("{}").split(",") if v)
        if values:
            return values[0], values[-1], distinct if distinct >= 0 else -distinct * unit.wanted
    return None


def narrow(unit: Unit, pair: Pair, cut: Cut | None, here: Buckets, there: Buckets, limit: int) -> tuple[Found, bool]:
    """The rows that differ, and whether all of them were looked at."""
    found = Found(limit=limit)
    return found, _narrow(unit, pair, cut, (), differing(here, there), found)


def _narrow(
    unit: Unit,
    pair: Pair,
    cut: Cut | None,
    outer: Sequence[tuple[Cut, Sequence[int]]],
    differ: dict[int, int],
    found: Found,
) -> bool:
    if cut is None:
        _compare(unit, pair, outer, found)
        return True
    most = LISTED if cut.index else LISTED_BY_SCAN
    batches = list(_batches(differ, most))
    for number, batch in enumerate(batches):
        inner = [*outer, (cut, batch)]
        size = sum(differ[n] for n in batch)
        if size > 2 * most and cut.index:  # values that crowd in a few ranges
            _narrow_crowd(unit, pair, inner, size, found)
        else:
            _compare(unit, pair, inner, found)
        if found.enough and number + 1 < len(batches):
            return False
    return True


def _narrow_crowd(unit: Unit, pair: Pair, outer: Sequence[tuple[Cut, Sequence[int]]], size: int, found: Found) -> None:
    finer = verify_cut.digest(unit.key, size)
    queries = (finer.group(side, _conditions(side, outer)) for side in (unit.here, unit.there))
    here, there = pair.rows(*queries)
    _narrow(unit, pair, finer, outer, differing(buckets(here), buckets(there)), found)


def _batches(differ: dict[int, int], most: int) -> Iterator[list[int]]:
    batch: list[int] = []
    size = 0
    for number, rows in differ.items():
        if batch and size + rows > most:
            yield batch
            batch, size = [], 0
        batch.append(number)
        size += rows
    if batch:
        yield batch


def _conditions(side: Any, cuts: Sequence[tuple[Cut, Sequence[int]]]) -> list[Composable]:
    return [cut.within(side, numbers) for cut, numbers in cuts]


def _compare(unit: Unit, pair: Pair, cuts: Sequence[tuple[Cut, Sequence[int]]], found: Found) -> None:
    """List both sides within the buckets, and merge."""
    lists = (list_rows(side, unit.key, _conditions(side, cuts)) for side in (unit.here, unit.there))
    pair.execute(*(CURSOR.format(query=q) for q in lists))
    try:
        for here, there in _merged(_entries(pair, 0), _entries(pair, 1)):
            _judge(here, there, found, keyed=bool(unit.key))
    finally:
        pair.tidy(CLOSE)


def _entries(pair: Pair, number: int) -> Iterator[tuple[int, list[Entry]]]:
    """By hash of the key."""
    return ((key, list(rows)) for key, rows in groupby(_fetched(pair, number), itemgetter(0)))


def _fetched(pair: Pair, number: int) -> Iterator[Entry]:
    query = FETCH.format(count=Literal(FETCHED))
    while rows := pair.one(number, query):
        yield from rows
        if len(rows) < FETCHED:
            return


def _merged(
    source: Iterator[tuple[int, list[Entry]]], target: Iterator[tuple[int, list[Entry]]]
) -> Iterator[tuple[list[Entry], list[Entry]]]:
    """Entries of the same key side by side, in the order of the keys' hashes."""
    here, there = next(source, None), next(target, None)
    while here is not None or there is not None:
        if there is None or (here is not None and here[0] < there[0]):
            assert here is not None  # noqa: S101
            yield here[1], []
            here = next(source, None)
        elif here is None or there[0] < here[0]:
            yield [], there[1]
            there = next(target, None)
        else:
            yield here[1], there[1]
            here, there = next(source, None), next(target, None)


def _judge(here: list[Entry], there: list[Entry], found: Found, *, keyed: bool) -> None:
    if len(here) == len(there) == 1 and here[0][1:3] == there[0][1:3]:
        return
    (_by_key if keyed else _by_row)(here, there, found)


def _by_key(here: list[Entry], there: list[Entry], found: Found) -> None:
    """Rows of one key: what both sides have is put aside, what is left is paired."""
    times = len(here), len(there)
    left, right = _without(here, there), _without(there, here)
    for one, other in zip(left, right, strict=False):
        found.add(Difference.DIFFERENT, one[3], other[3], times)
    for one in left[len(right) :]:
        found.add(Difference.MISSING, one[3], "", times)
    for other in right[len(left) :]:
        found.add(Difference.EXTRA, "", other[3], times)


def _without(entries: list[Entry], others: list[Entry]) -> list[Entry]:
    hashes = [e[1] for e in others]
    left = []
    for entry in entries:
        if entry[1] in hashes:
            hashes.remove(entry[1])
        else:
            left.append(entry)
    return left


def _by_row(here: list[Entry], there: list[Entry], found: Found) -> None:
    """Without a key: one row, and how often it is on each side."""
    times = sum(e[2] for e in here), sum(e[2] for e in there)
    kind = Difference.TIMES if all(times) else Difference.MISSING if times[0] else Difference.EXTRA
    places = here[0][3] if here else "", there[0][3] if there else ""
    found.add(kind, *places, times, abs(times[0] - times[1]))


# --- values ---


def shown(unit: Unit, pair: Pair, found: Found) -> tuple[RowDifference, ...]:
    """The rows that are to be named, with their values."""
    here = _values(unit, pair, 0, [r.here for r in found.rows if r.here])
    there = _values(unit, pair, 1, [r.there for r in found.rows if r.there])
    return tuple(_difference(unit, row, here.get(row.here), there.get(row.there)) for row in found.rows)


@dataclass(frozen=True, slots=True)
class _Values:
    texts: tuple[str | None, ...]
    hashes: tuple[int, ...]


def _values(unit: Unit, pair: Pair, number: int, places: Sequence[str]) -> dict[str, _Values]:
    side, found = (unit.here, unit.there)[number], {}
    for start in range(0, len(places), SHOWN_AT_ONCE):
        wanted = places[start : start + SHOWN_AT_ONCE]
        for place, texts, hashes in pair.one(number, values_of(side, wanted)):
            if place in wanted:
                values = tuple(_value(t, h, side.recode) for t, h in zip(texts, hashes, strict=True))
                found[place] = _Values(values, tuple(hashes))
    return found


def _value(text: str | bytes, hashed: int, encoding: str | None) -> str | None:
    """Out of ROW(value)::text: NULL is (), everything else may stand in quotes."""
    if isinstance(text, bytes):
        text = _decoded(text, encoding)
    cut = len(text) >= VALUE_KEPT + 4
    if text == "()":
        return None
    inner = text[1:] if cut else text[1:-1]
    if inner.startswith('"'):
        inner = (inner[1:] if cut else inner[1:-1]).replace('""', '"').replace("\\\\", "\\")
    return f"{inner[:VALUE_KEPT]}… #{hashed & 0xFFFFFFFF:08x}" if cut else inner


def _decoded(raw: bytes, encoding: str | None) -> str:
    """Of a database that does not know what its bytes are."""
    codec = {"UHC": "cp949", "SQL_ASCII": "utf-8"}.get(encoding or "SQL_ASCII", encoding or "utf-8")
    try:
        return raw.decode(codec, errors="backslashreplace")
    except LookupError:
        return raw.decode("utf-8", errors="backslashreplace")


def _difference(unit: Unit, row: _Row, here: _Values | None, there: _Values | None) -> RowDifference:
    names = [c.name for c in unit.here.columns]
    one = here or there
    values = dict(zip(names, one.texts, strict=True)) if one else {}
    key = [c.name for c in unit.key] or names
    columns: tuple[tuple[str, str | None, str | None], ...] = ()
    if row.kind is Difference.DIFFERENT and here and there:
        columns = tuple(
            (name, here.texts[i], there.texts[i]) for i, name in enumerate(names) if here.hashes[i] != there.hashes[i]
        )
    return RowDifference(
        kind=row.kind, key=tuple((k, values.get(k)) for k in key), columns=columns, times=_times(unit, row)
    )


def _times(unit: Unit, row: _Row) -> tuple[int, int]:
    """With a key every row is there once; where it is not unique, how often the key is."""
    if unit.key and row.kind is Difference.DIFFERENT:
        return (1, 1)
    return row.times
