"""How much of the target's disk tables of another database take: rows by width, with what PostgreSQL adds to each.

An estimate, and said to be one: a source knows its rows and bytes as estimates too. Widths of fixed types are their
own; what texts, bytes and documents take is what the source's row has beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pghaul.engine import space
from pghaul.engine.arrow.ground import Ground
from pghaul.engine.preflight import Fate
from pghaul.model.foreign import ForeignIndex
from pghaul.model.mapped import MappedColumn, MappedDatabase, MappedTable
from pghaul.model.plan import Plan
from pghaul.model.preview import Space
from pghaul.target.arrow.column import Spelled
from pghaul.target.foreign.keys import B_TREES
from pghaul.target.foreign.selection import said

ROW = 28  # bytes of a row beside its values: 24 of its header, 4 of its place in the page
ENTRY = 12  # of an index: 8 of its header, 4 of its place in the page
FULL = 0.9  # of a B-tree's page that was built at once
ALIGNED = 8
UNKNOWN = 24  # bytes of a text of which nobody knows anything
LONGEST_KEY = 200  # bytes of a text in an index: names and codes, not documents
FIXED: Mapping[str, int] = {
    "boolean": 1,
    "smallint": 2,
    "integer": 4,
    "bigint": 8,
    "real": 4,
    "double precision": 8,
    "money": 8,
    "date": 4,
    "time without time zone": 8,
    "time with time zone": 12,
    "timestamp without time zone": 8,
    "timestamp with time zone": 8,
    "interval": 16,
    "uuid": 16,
    "inet": 8,
}
PER_ELEMENT = {"vector": 4, "halfvec": 2}
DIGITS = 4  # of a numeric in two bytes
PRECISION = 10  # of a numeric that says none


def measured(plan: Plan, mapped: MappedDatabase, fate: Fate, ground: Ground) -> Space:
    """Of all tables that are filled, against what is free."""
    filled = [t for t in mapped.tables if fate.dispositions[t.name] != "skip"]
    emptied = {t.name for t in filled if fate.dispositions[t.name] == "truncate"}
    there = space.sizes_of(ground.target, emptied)
    indexed = {m.table for m in mapped.after} if plan.options.indexes else set()
    heap = indexes = needed = 0
    for table in filled:
        rows, building = heap_of(table), index_of(table) if table.exists or table.name in indexed else 0
        heap, indexes = heap + rows, indexes + building
        needed += max(0, rows + building - sum(there.get(table.name, (0, 0))))
    freed = [sum(pair) for pair in there.values()]
    free, at = space.free_on(ground.target, plan.options.target_free)
    return Space(
        heap=heap,
        indexes=indexes,
        returned=sum(freed),
        needed=needed + max(freed, default=0),
        free=free,
        at=at,
        exact=not any(said(plan, t.source.name, "where") for t in filled),
        estimated=True,
    )


def heap_of(table: MappedTable) -> int:
    """Bytes of its rows. Where nobody knows how many there are, those of the source."""
    rows = table.source.rows
    if rows is None:
        return table.source.bytes
    return rows * (ROW + _aligned(sum(_fixed(table)) + len(_flexible(table)) * _each(table)))


def index_of(table: MappedTable) -> int:
    """Bytes of its keys and indexes."""
    rows = table.source.rows or 0
    made = [i for i in table.source.indexes if i.kind.lower() in B_TREES]
    return round(sum(rows * (ENTRY + _aligned(_key(table, i))) for i in made) / FULL)


def width(type_: str) -> int | None:
    """Bytes of a value; None where it depends on the value."""
    spelled = Spelled.of(type_)
    name = spelled.name.rpartition(".")[2]
    if spelled.array:
        return None
    if name in PER_ELEMENT:
        return 8 + PER_ELEMENT[name] * spelled.args[0] if spelled.args else None
    if name == "numeric":
        return 5 + 2 * -(-min(spelled.args[0] if spelled.args else PRECISION, PRECISION) // DIGITS)
    if name.startswith("interval"):
        return FIXED["interval"]
    return FIXED.get(name)


def _fixed(table: MappedTable) -> Iterator[int]:
    yield from (w for w in (width(c.type) for c in table.columns) if w is not None)


def _flexible(table: MappedTable) -> list[MappedColumn]:
    return [c for c in table.columns if width(c.type) is None]


def _each(table: MappedTable) -> int:
    """Of a value whose width depends on it."""
    several, rows = len(_flexible(table)), table.source.rows
    if not several:
        return 0
    if not rows or not table.source.bytes:
        return UNKNOWN
    return max(1, round((table.source.bytes / rows - sum(_fixed(table))) / several))


def _key(table: MappedTable, index: ForeignIndex) -> int:
    columns = {c.source.name: c for c in table.columns}
    flexible = min(_each(table), LONGEST_KEY)
    found = [width(columns[n].type) for n in (*index.columns, *index.include) if n in columns]
    return sum(flexible if w is None else w for w in found) or flexible


def _aligned(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED
